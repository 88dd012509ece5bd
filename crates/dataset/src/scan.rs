//! Finding the pictures of a folder and their captions. Only headers are read.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use lorikeet_seeded::{Purpose, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use walkdir::{DirEntry, WalkDir};

use crate::{
    captions::one_line,
    edit::current_caption,
    error::{DatasetError, PictureProblem},
    header,
    masks::mask_path,
};

/// What a scan assumes where folder and files say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanOptions {
    /// How often an epoch shows each picture, times the number of its `10_name` folder.
    pub repeats: u32,
    /// For pictures without caption file and `10_name` folder; may be empty.
    pub default_caption: String,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { repeats: 1, default_caption: String::new() }
    }
}

/// A picture that can be trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub path: PathBuf,
    /// Size in pixels as seen, after EXIF orientation.
    pub width: u32,
    pub height: u32,
    /// How often an epoch shows it.
    pub repeats: u32,
    /// One line, without trigger word; empty when there is none.
    pub caption: String,
    /// The file the caption came from. `None`: the folder's name or the default.
    pub caption_path: Option<PathBuf>,
    /// Which part of it is learned; see [`crate::Mask`].
    #[serde(default)]
    pub mask: Option<PathBuf>,
    /// Name of the folder the picture lies in, for metadata. Names only, so that exports tell nothing of the disk.
    pub folder: String,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub path: PathBuf,
    /// Why, and what to do.
    pub reason: String,
}

/// The pictures of a folder or of several, folder by folder, in natural order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    pub folder: PathBuf,
    /// Those beside the first.
    #[serde(default)]
    pub more_folders: Vec<PathBuf>,
    pub images: Vec<Picture>,
    pub skipped: Vec<Skipped>,
    /// Worth telling, but nothing was left out.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Pictures without a caption file.
    pub fn captions_missing(&self) -> usize {
        self.images.iter().filter(|picture| picture.caption_path.is_none()).count()
    }

    /// How many pictures an epoch shows, repeats counted.
    pub fn shown_per_epoch(&self) -> u64 {
        self.images.iter().map(|picture| u64::from(picture.repeats)).sum()
    }
}

/// Lists all pictures in and under `folder`. Broken ones are left out and told in [`Dataset::skipped`].
pub fn scan(folder: &Path, options: &ScanOptions) -> Result<Dataset, DatasetError> {
    scan_one(folder, options, &HashSet::new())
}

/// `apart`: folders that are not gone into, by their real paths.
pub(crate) fn scan_one(folder: &Path, options: &ScanOptions, apart: &HashSet<&Path>) -> Result<Dataset, DatasetError> {
    check_folder(folder)?;
    let mut found = Found::default();
    found.walk(folder, apart);
    let examined: Vec<_> = found.pictures.par_iter().map(|path| examine(folder, path, options)).collect();
    let mut dataset = Dataset { folder: folder.to_owned(), skipped: found.skipped, ..Dataset::default() };
    for (path, (result, warnings)) in found.pictures.into_iter().zip(examined) {
        match result {
            Ok(picture) => {
                dataset.images.push(picture);
                dataset.warnings.extend(warnings);
            }
            Err(reason) => dataset.skipped.push(Skipped { path, reason }),
        }
    }
    // All of a folder's pictures may lie in a subfolder that is named by itself.
    if !dataset.images.is_empty() || found.kept_apart {
        return Ok(dataset);
    }
    Err(match (dataset.skipped.first(), found.files) {
        (Some(first), _) => DatasetError::AllSkipped {
            folder: folder.to_owned(),
            count: dataset.skipped.len(),
            first: first.path.clone(),
            reason: first.reason.clone(),
        },
        (None, 0) => DatasetError::EmptyFolder { folder: folder.to_owned() },
        (None, files) => DatasetError::NoPictures { folder: folder.to_owned(), files },
    })
}

fn check_folder(folder: &Path) -> Result<(), DatasetError> {
    let unreadable = |source| DatasetError::FolderUnreadable { folder: folder.to_owned(), source };
    match fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DatasetError::FolderMissing { folder: folder.to_owned() })
        }
        Err(error) => Err(unreadable(error)),
        Ok(facts) if !facts.is_dir() => Err(DatasetError::NotAFolder { path: folder.to_owned() }),
        Ok(_) => fs::read_dir(folder).map(drop).map_err(unreadable),
    }
}

#[derive(Default)]
struct Found {
    pictures: Vec<PathBuf>,
    skipped: Vec<Skipped>,
    /// Of any kind, hidden ones not counted.
    files: usize,
    /// A folder was not gone into because it stands for itself.
    kept_apart: bool,
}

impl Found {
    fn walk(&mut self, folder: &Path, apart: &HashSet<&Path>) {
        // A folder reached twice through links counts once; the walker itself only stops at a link to a folder above.
        let mut visited = HashSet::new();
        let walker = WalkDir::new(folder).follow_links(true).sort_by(natural_order).into_iter();
        let entries = walker.filter_entry(|entry| {
            entry.depth() == 0
                || !(is_hidden(entry.file_name()) || entry.file_type().is_dir() && is_cache(entry.path()))
        });
        let mut entries = entries;
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    let real = fs::canonicalize(entry.path()).unwrap_or_else(|_| entry.path().to_owned());
                    let stands_for_itself = entry.depth() > 0 && apart.contains(real.as_path());
                    self.kept_apart |= stands_for_itself;
                    if stands_for_itself || !visited.insert(real) {
                        entries.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_file() => self.file(entry.into_path()),
                Ok(_) => {}
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_owned();
                    let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.skipped.push(Skipped { path, reason: format!("it cannot be read ({reason})") });
                }
            }
        }
    }

    fn file(&mut self, path: PathBuf) {
        self.files += 1;
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
        let unsupported = match extension.as_str() {
            "png" | "jpg" | "jpeg" | "webp" | "bmp" => {
                if !is_mask(&path) {
                    self.pictures.push(path);
                }
                return;
            }
            "gif" => "GIF",
            "tif" | "tiff" => "TIFF",
            "heic" | "heif" => "HEIC",
            "avif" => "AVIF",
            "jxl" => "JPEG XL",
            "psd" => "Photoshop",
            _ => return,
        };
        self.skipped.push(Skipped { path, reason: PictureProblem::Unsupported(unsupported).to_string() });
    }
}

/// 2 before 10, case only to tell otherwise equal names apart.
fn natural_order(a: &DirEntry, b: &DirEntry) -> std::cmp::Ordering {
    let pieces = |entry: &DirEntry| natural_pieces(&entry.file_name().to_string_lossy().to_lowercase());
    pieces(a).cmp(&pieces(b)).then_with(|| a.file_name().cmp(b.file_name()))
}

/// Numbers compare by length without leading zeros, then digit by digit, which no count of digits overflows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(usize, String),
    Text(String),
}

/// Comparing keys rather than names is what makes this a total order, without which sorting may panic.
fn natural_pieces(name: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(if digits {
            let digits = piece.trim_start_matches('0');
            Piece::Number(digits.len(), digits.to_owned())
        } else {
            Piece::Text(piece.to_owned())
        });
        rest = after;
    }
    pieces
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Folders that programs fill for themselves: tagged, known by name, or a run of ours whose previews lie within.
fn is_cache(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    matches!(name, "__MACOSX" | "__pycache__" | "@eaDir" | "$RECYCLE.BIN" | "System Volume Information")
        || path.join("CACHEDIR.TAG").is_file()
        || path.join("recipe.toml").is_file() && path.join("plan.json").is_file()
}

/// OneTrainer's names for masks, which lie beside their pictures.
fn is_mask(path: &Path) -> bool {
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    stem.ends_with("-masklabel") || stem.ends_with("-condlabel")
}

fn examine(root: &Path, path: &Path, options: &ScanOptions) -> (Result<Picture, String>, Vec<String>) {
    let mut warnings = Vec::new();
    let picture = picture(root, path, options, &mut warnings);
    (picture, warnings)
}

fn picture(root: &Path, path: &Path, options: &ScanOptions, warnings: &mut Vec<String>) -> Result<Picture, String> {
    if path.to_str().is_none() {
        return Err(PictureProblem::Name.to_string());
    }
    let header = header::read_file(path).map_err(|problem| problem.to_string())?;
    let numbered = numbered_folder(root, path);
    let repeats = numbered.as_ref().map_or(1, |(repeats, _)| *repeats).saturating_mul(options.repeats.max(1));
    if repeats == 0 {
        return Err("its folder's name asks for 0 repeats; rename the folder to use it".into());
    }
    let (caption, caption_path) = current_caption(root, path, options, warnings);
    Ok(Picture {
        path: path.to_owned(),
        width: header.width,
        height: header.height,
        repeats,
        caption,
        caption_path,
        mask: Some(mask_path(path)).filter(|mask| mask.is_file()),
        folder: folder_name(path),
    })
}

fn folder_name(path: &Path) -> String {
    let parent = path.parent().unwrap_or(Path::new(""));
    // "." has no name of its own.
    let parent =
        if parent.file_name().is_some() { parent.to_owned() } else { fs::canonicalize(parent).unwrap_or_default() };
    parent.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Repeats and class words of the innermost `10_name` folder from the picture up to and including the root.
fn numbered_folder(root: &Path, path: &Path) -> Option<(u32, String)> {
    let folders = path.ancestors().skip(1);
    let within = folders.take_while(|folder| folder.starts_with(root));
    within.filter_map(|folder| repeats_and_words(folder.file_name()?.to_str()?)).next()
}

/// The class words that such a folder gives its pictures.
pub(crate) fn numbered_words(root: &Path, path: &Path) -> Option<String> {
    numbered_folder(root, path).map(|(_, words)| words)
}

/// The repeats in a folder's name such as `10_cat`.
pub fn repeats_in_name(name: &str) -> Option<u32> {
    repeats_and_words(name).map(|(repeats, _)| repeats)
}

fn repeats_and_words(name: &str) -> Option<(u32, String)> {
    let (number, words) = name.split_once('_')?;
    // Longer numbers are years and dates ("2024_holiday").
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, one_line(words)))
}

/// Two datasets: for training, and held out to measure on. The second has `fraction` of the pictures, at least one when
/// there are two, and is the same for the same seed. A picture's place depends on its own path alone, so that adding
/// pictures to a folder moves few of the others.
pub fn split_validation(dataset: &Dataset, fraction: f64, seed: u64) -> (Dataset, Dataset) {
    let total = dataset.images.len();
    let held_out = dataset.emptied();
    if fraction.is_nan() || fraction <= 0.0 || total < 2 {
        return (dataset.clone(), held_out);
    }
    let wanted = ((total as f64 * fraction.min(1.0)).round() as usize).clamp(1, total - 1);
    let rank = |picture: &Picture| {
        let hash = blake3::hash(dataset.within(&picture.path).as_os_str().as_encoded_bytes());
        let mut at = [0; 8];
        at.copy_from_slice(&hash.as_bytes()[..8]);
        Stream::new(seed, Purpose::ValidationSplit, &[u64::from_le_bytes(at)]).u64()
    };
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_cached_key(|index| rank(&dataset.images[*index]));
    let chosen: HashSet<usize> = order.into_iter().take(wanted).collect();
    let pick = |held_out: bool| {
        let indexed = dataset.images.iter().enumerate();
        indexed.filter(|(index, _)| chosen.contains(index) == held_out).map(|(_, picture)| picture.clone()).collect()
    };
    (Dataset { images: pick(false), ..dataset.clone() }, Dataset { images: pick(true), ..held_out })
}
