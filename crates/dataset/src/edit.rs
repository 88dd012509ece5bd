//! Changing captions: what is done to a text, and the files that hold it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    captions::{PLACEHOLDER, contains_word, one_line, same_word, sidecar, tags},
    error::DatasetError,
    masks::is_mask,
    scan::{Dataset, Picture, ScanOptions, numbered_words},
};

/// What is done to a caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptionEdit {
    Set(String),
    /// Wherever `find` stands, letter for letter.
    Replace {
        find: String,
        with: String,
    },
    /// Unless the caption has the tag.
    AddTag {
        tag: String,
        front: bool,
    },
    RemoveTag(String),
    /// To the front or the end, where the caption has it.
    MoveTag {
        tag: String,
        front: bool,
    },
    /// The word goes first unless the caption has it anywhere.
    AddTrigger(String),
}

impl CaptionEdit {
    /// The caption after it, as one line.
    pub fn apply(&self, caption: &str) -> String {
        match self {
            CaptionEdit::Set(text) => one_line(text),
            CaptionEdit::Replace { find, with } if !find.is_empty() => one_line(&caption.replace(find, with)),
            CaptionEdit::Replace { .. } => caption.to_owned(),
            CaptionEdit::AddTag { tag, front } => {
                let tag = one_line(tag);
                if tag.is_empty() || tags(caption).any(|have| same_word(have, &tag)) {
                    caption.to_owned()
                } else if caption.is_empty() {
                    tag
                } else if *front {
                    format!("{tag}, {caption}")
                } else {
                    format!("{}, {tag}", caption.trim_end_matches([',', ' ']))
                }
            }
            CaptionEdit::RemoveTag(tag) => {
                let count = tags(caption).count();
                let kept: Vec<_> = tags(caption).filter(|have| !same_word(have, tag.trim())).collect();
                // A caption without the tag keeps its commas as they are.
                if kept.len() == count { caption.to_owned() } else { kept.join(", ") }
            }
            CaptionEdit::MoveTag { tag, front } => {
                let (moved, others): (Vec<_>, Vec<_>) = tags(caption).partition(|have| same_word(have, tag.trim()));
                let order = if *front { [&moved, &others] } else { [&others, &moved] };
                let text = order.into_iter().flatten().copied().collect::<Vec<_>>().join(", ");
                // A caption that has it there already, or not at all, keeps its commas as they are.
                if moved.is_empty() || tags(caption).eq(tags(&text)) { caption.to_owned() } else { text }
            }
            CaptionEdit::AddTrigger(trigger) => {
                if has_trigger(caption, trigger) {
                    caption.to_owned()
                } else {
                    CaptionEdit::AddTag { tag: trigger.clone(), front: true }.apply(caption)
                }
            }
        }
    }
}

/// Whether the word stands in the caption, or a place for it does. No word is in every caption.
pub fn has_trigger(caption: &str, trigger: &str) -> bool {
    let trigger = trigger.trim();
    trigger.is_empty() || caption.contains(PLACEHOLDER) || contains_word(caption, trigger)
}

/// Tags with the number of pictures that have them, the most frequent first. Case does not tell tags apart.
pub fn tag_counts<'a>(pictures: impl IntoIterator<Item = &'a Picture>) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for picture in pictures {
        let own: std::collections::BTreeSet<String> = tags(&picture.caption).map(str::to_lowercase).collect();
        own.into_iter().for_each(|tag| *counts.entry(tag).or_default() += 1);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// A caption file or mask as it was and as it is now, so that a change can be taken back byte for byte. `None`: there is no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptionChange {
    pub picture: PathBuf,
    pub file: PathBuf,
    pub before: Option<Vec<u8>>,
    pub after: Option<Vec<u8>>,
}

impl CaptionChange {
    /// What takes it back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { before: self.after.clone(), after: self.before.clone(), ..self.clone() }
    }

    /// Makes the file what `after` says.
    ///
    /// # Errors
    /// When the file is not what `before` says any more, so that work of another program is never lost; or cannot be
    /// written.
    pub fn make(&self) -> Result<(), DatasetError> {
        let (path, mask) = (|| self.file.clone(), is_mask(&self.file));
        let failed = |source| match mask {
            true => DatasetError::MaskWrite { path: path(), source },
            false => DatasetError::CaptionWrite { path: path(), source },
        };
        if read_if_any(&self.file).map_err(failed)? != self.before {
            return Err(match mask {
                true => DatasetError::MaskChanged { path: path() },
                false => DatasetError::CaptionChanged { path: path() },
            });
        }
        match &self.after {
            Some(bytes) => replace(&self.file, bytes),
            None => fs::remove_file(&self.file),
        }
        .map_err(failed)
    }
}

/// The change that gives a picture this caption, in the file its caption came from or in `NAME.txt`. An empty caption
/// takes the file away. Nothing where the caption is that already.
///
/// # Errors
/// When the caption file is there and cannot be read.
pub fn caption_change(picture: &Picture, caption: &str) -> Result<Option<CaptionChange>, DatasetError> {
    if one_line(caption) == picture.caption {
        return Ok(None);
    }
    let file = picture.caption_path.clone().unwrap_or_else(|| picture.path.with_extension("txt"));
    let before = read_if_any(&file).map_err(|source| DatasetError::CaptionWrite { path: file.clone(), source })?;
    let after = Some(one_line(caption)).filter(|text| !text.is_empty()).map(|text| format!("{text}\n").into_bytes());
    if before == after {
        return Ok(None);
    }
    Ok(Some(CaptionChange { picture: picture.path.clone(), file, before, after }))
}

/// Changes the captions of these pictures, in their files and in `part` itself. Returns what was changed, and what could
/// not be.
pub fn edit_captions(
    part: &mut Dataset,
    options: &ScanOptions,
    edit: &CaptionEdit,
) -> (Vec<CaptionChange>, Vec<DatasetError>) {
    let (mut changes, mut failures) = (Vec::new(), Vec::new());
    let roots = part.emptied();
    for picture in &mut part.images {
        let root = roots.folder_of(&picture.path);
        let seen = std::mem::take(&mut picture.caption);
        (picture.caption, picture.caption_path) = current_caption(root, &picture.path, options, &mut Vec::new());
        // A whole new text is an answer to the one that was seen.
        if matches!(edit, CaptionEdit::Set(_)) && picture.caption != seen {
            let path = picture.caption_path.clone().unwrap_or_else(|| picture.path.clone());
            failures.push(DatasetError::CaptionChanged { path });
            continue;
        }
        let changed = caption_change(picture, &edit.apply(&picture.caption))
            .and_then(|change| change.map(|change| change.make().map(|()| change)).transpose());
        match changed {
            Ok(None) => {}
            Ok(Some(change)) => {
                (picture.caption, picture.caption_path) =
                    current_caption(root, &picture.path, options, &mut Vec::new());
                changes.push(change);
            }
            Err(error) => failures.push(error),
        }
    }
    (changes, failures)
}

/// What the files say now: the caption, and where it came from.
pub(crate) fn current_caption(
    root: &Path,
    picture: &Path,
    options: &ScanOptions,
    warnings: &mut Vec<String>,
) -> (String, Option<PathBuf>) {
    match sidecar(picture, warnings) {
        Some(sidecar) => (sidecar.text, Some(sidecar.path)),
        None => (numbered_words(root, picture).unwrap_or_else(|| one_line(&options.default_caption)), None),
    }
}

/// Moves a picture with its caption and mask out of the scanned folder, to `.set-aside` within it, where scans do not
/// look. Returns where the files were and are, for moving them back.
///
/// # Errors
/// When a file cannot be moved; those before it are back in their place then.
pub fn set_aside(root: &Path, picture: &Path) -> Result<Vec<(PathBuf, PathBuf)>, DatasetError> {
    let within = picture.strip_prefix(root).unwrap_or(Path::new(picture.file_name().unwrap_or_default()));
    let target = root.join(SET_ASIDE).join(within);
    let mut moved = Vec::new();
    for name in belonging(picture) {
        let (from, to) = (picture.with_file_name(&name), target.with_file_name(&name));
        if let Err(error) = move_file(&from, &to) {
            // The first failure is what the user must hear of.
            move_back(&moved).ok();
            return Err(error);
        }
        moved.push((from, to));
    }
    Ok(moved)
}

/// The names of the picture and the files that go with it. A caption that another picture shares stays.
fn belonging(picture: &Path) -> Vec<std::ffi::OsString> {
    let stem = picture.file_stem().unwrap_or_default();
    let sibling = |ending: &str| {
        let mut name = stem.to_owned();
        name.push(ending);
        name
    };
    let there = |name: &std::ffi::OsString| picture.with_file_name(name).is_file();
    let own = picture.file_name().unwrap_or_default().to_owned();
    let shared =
        [".png", ".jpg", ".jpeg", ".webp", ".bmp"].into_iter().map(sibling).any(|name| name != own && there(&name));
    let captions = [".txt", ".TXT", ".caption", ".CAPTION", "-masklabel.png"].into_iter().map(sibling);
    std::iter::once(own).chain(captions.filter(|name| !shared && there(name))).collect()
}

/// Where [`set_aside`] puts pictures. Hidden, so that no scan looks there.
pub const SET_ASIDE: &str = ".set-aside";

/// Undoes [`set_aside`].
///
/// # Errors
/// At the first file that cannot be moved.
pub fn move_back(moved: &[(PathBuf, PathBuf)]) -> Result<(), DatasetError> {
    moved.iter().try_for_each(|(was, is)| move_file(is, was))
}

/// Never over a file that is there.
fn move_file(from: &Path, to: &Path) -> Result<(), DatasetError> {
    let failed = |source| DatasetError::Move { from: from.to_owned(), to: to.to_owned(), source };
    if to.exists() {
        return Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::rename(from, to).map_err(failed)
}

fn read_if_any(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Beside its place first, so that a kill or a full disk leaves the old caption whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}
