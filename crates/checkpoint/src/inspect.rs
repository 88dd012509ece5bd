//! Telling what a file or folder is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::{Prediction, open_base_with};
use crate::component::{Component, Part};
use crate::detect::{Contents, detect, is_lora_key, trains};
use crate::dtype::Dtype;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::folder;
use crate::hub_cache::cached;
use crate::parts::PartFiles;
use crate::safetensors::SafetensorsFile;

/// What [`inspect`] found.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub path: PathBuf,
    /// What it is: fits behind "this is".
    pub what: String,
    /// What to do with it, as a sentence.
    pub advice: String,
    pub family: Option<Family>,
    /// Whether [`open_base`] opens it and this version trains its family.
    pub trainable: bool,
    pub parts: Vec<PartFacts>,
    /// Of a whole base.
    pub prediction: Option<Prediction>,
    /// Numbers of the part that removes noise, of a whole base.
    pub denoiser_parameters: Option<u64>,
    /// Pixels on a side that a whole base was made for.
    pub native_resolution: Option<u32>,
    /// Size of the file, or of the weight files of a folder, in bytes.
    pub size: u64,
    pub metadata: BTreeMap<String, String>,
    /// Further lines, such as the ranks of a LoRA or warnings.
    pub notes: Vec<String>,
}

/// A group of tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFacts {
    pub name: String,
    pub tensors: usize,
    pub parameters: u64,
    /// Stored size in bytes.
    pub bytes: u64,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<Dtype, usize>,
}

/// Tells what a file or folder is. A file that is not safetensors is an answer, not an error; errors are for what
/// cannot be read or is damaged.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, CheckpointError> {
    inspect_with(path, &PartFiles::default())
}

/// As [`inspect`], for a base that takes some of its parts from other files.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(path: impl AsRef<Path>, files: &PartFiles) -> Result<Inspection, CheckpointError> {
    let path = &cached(path.as_ref());
    let facts = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?;
    let found = if facts.is_dir() { inspect_folder(path)? } else { inspect_file(path, facts.len())? };
    Ok(with_base_facts(found, files))
}

fn inspect_folder(path: &Path) -> Result<Inspection, CheckpointError> {
    let kind = folder::kind(path)?;
    let mut parts = Vec::new();
    let mut notes = Vec::new();
    for name in folder_names(path) {
        let mut facts = PartFacts::new(name.clone());
        let part = Part::ALL.into_iter().find(|part| part.folder() == name);
        let files = match part.map(|part| folder::weight_files(&path.join(&name), part)) {
            Some(Ok(files)) => files,
            Some(Err(error)) => {
                notes.push(error.to_string());
                continue;
            }
            None => safetensors_files(&path.join(&name)),
        };
        for file in files {
            match SafetensorsFile::open(&file) {
                Ok(file) => file.tensors().for_each(|(_, info)| facts.add(info)),
                Err(error) => notes.push(error.to_string()),
            }
        }
        if facts.tensors > 0 {
            parts.push(facts);
        }
    }
    Ok(Inspection {
        path: path.to_owned(),
        what: kind.what,
        advice: kind.obstacle.unwrap_or_default(),
        family: kind.family,
        trainable: false,
        size: parts.iter().map(|part| part.bytes).sum(),
        parts,
        prediction: None,
        denoiser_parameters: None,
        native_resolution: None,
        metadata: BTreeMap::new(),
        notes,
    })
}

fn inspect_file(path: &Path, size: u64) -> Result<Inspection, CheckpointError> {
    let mut found = Inspection {
        path: path.to_owned(),
        what: String::new(),
        advice: String::new(),
        family: None,
        trainable: false,
        parts: Vec::new(),
        prediction: None,
        denoiser_parameters: None,
        native_resolution: None,
        size,
        metadata: BTreeMap::new(),
        notes: Vec::new(),
    };
    let file = match SafetensorsFile::open(path) {
        Ok(file) => file,
        Err(CheckpointError::NotSafetensors { what, advice, .. }) => {
            return Ok(Inspection { what, advice, ..found });
        }
        Err(error) => return Err(error),
    };
    let contents = detect(&file);
    found.what = contents.what();
    found.advice = contents.advice();
    found.metadata = file.metadata().clone();
    found.family = match &contents {
        Contents::Model { family, .. } => Some(*family),
        Contents::Lora { family } => *family,
        _ => None,
    };
    let prefix = if let Contents::Model { prefix, .. } = &contents { prefix.as_str() } else { "" };
    let mut groups: BTreeMap<&str, PartFacts> = BTreeMap::new();
    for (name, info) in file.tensors() {
        let group = if matches!(contents, Contents::Model { .. }) { group_of(name, prefix) } else { "tensors" };
        groups.entry(group).or_insert_with(|| PartFacts::new(group.to_owned())).add(info);
    }
    found.parts = groups.into_values().collect();
    if matches!(contents, Contents::Lora { .. }) {
        found.notes = lora_notes(&file);
    }
    Ok(found)
}

/// Tries to open what looks trainable: only that tells whether all parts are there.
fn with_base_facts(mut found: Inspection, files: &PartFiles) -> Inspection {
    let Some(family) = found.family.filter(|family| family.openable() && !found.what.contains("LoRA")) else {
        return found;
    };
    match open_base_with(&found.path, files) {
        Ok(base) => {
            found.trainable = family.trainable();
            found.advice = trains(family);
            found.denoiser_parameters = base.part(base.denoiser()).ok().map(Component::parameters);
            found.prediction = Some(base.prediction);
            found.native_resolution = Some(base.native_resolution());
            found.notes.extend(base.warnings);
        }
        // The advice for a part or a variant already says what the error would.
        Err(CheckpointError::Unsupported { advice, .. }) => found.advice = advice,
        Err(error) => found.advice = format!("It cannot be trained as it is: {error}"),
    }
    found
}

fn lora_notes(file: &SafetensorsFile) -> Vec<String> {
    let down =
        |name: &str| ["lora_down.", "lora_A", "lora.down.", "layer.down."].iter().any(|mark| name.contains(mark));
    let shapes: Vec<usize> = file
        .tensors()
        .filter(|(name, _)| is_lora_key(name) && down(name))
        .filter_map(|(_, i)| i.shape.first().copied())
        .collect();
    let ranks: BTreeSet<usize> = shapes.iter().copied().collect();
    let mut notes = Vec::new();
    if !shapes.is_empty() {
        let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
        notes.push(format!("{} adapted layers, rank {}", shapes.len(), ranks.join(", ")));
    }
    let told = [
        ("ss_output_name", "name"),
        ("ss_network_alpha", "alpha"),
        ("ss_sd_model_name", "trained on"),
        ("modelspec.trigger_phrase", "trigger"),
        ("ss_steps", "steps"),
    ];
    let value = |key: &str| file.metadata().get(key).filter(|text| !text.is_empty() && *text != "None");
    notes.extend(told.iter().filter_map(|(key, label)| value(key).map(|text| format!("{label}: {text}"))));
    notes
}

fn group_of(name: &str, prefix: &str) -> &'static str {
    let starts = |marks: &[&str]| marks.iter().any(|mark| name.starts_with(mark));
    if starts(&["first_stage_model.", "vae."]) {
        return "VAE";
    }
    if starts(&["conditioner.embedders.1.", "text_encoders.clip_g."]) {
        return "text encoder 2";
    }
    if starts(&["text_encoders.t5xxl."]) {
        return "T5 text encoder";
    }
    if starts(&["cond_stage_model.", "conditioner.", "text_encoders."]) {
        return "text encoder";
    }
    if starts(&["model_ema."]) {
        return "EMA copy (not used)";
    }
    if name.starts_with(prefix) { "denoiser" } else { "other" }
}

fn folder_names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn safetensors_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    files
}

impl PartFacts {
    fn new(name: String) -> Self {
        Self { name, tensors: 0, parameters: 0, bytes: 0, dtypes: BTreeMap::new() }
    }

    fn add(&mut self, info: &crate::safetensors::TensorInfo) {
        self.tensors += 1;
        self.parameters += info.elements();
        self.bytes += info.range.len() as u64;
        *self.dtypes.entry(info.dtype).or_default() += 1;
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.path.display())?;
        writeln!(out, "  This is {}.", self.what)?;
        if !self.advice.is_empty() {
            writeln!(out, "  {}", self.advice)?;
        }
        writeln!(out, "  size          {}", bytes_text(self.size))?;
        if let Some(prediction) = self.prediction {
            writeln!(out, "  prediction    {}", prediction.name())?;
        }
        if let Some(pixels) = self.native_resolution {
            writeln!(out, "  made for      {pixels} x {pixels} pixels")?;
        }
        for part in &self.parts {
            let types: Vec<String> = part.dtypes.iter().map(|(dtype, count)| format!("{count} x {dtype}")).collect();
            writeln!(
                out,
                "  {:<13} {:>8} parameters, {:>9}, {} tensors ({})",
                part.name,
                count_text(part.parameters),
                bytes_text(part.bytes),
                part.tensors,
                types.join(", ")
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))
    }
}

fn bytes_text(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.2} GB", size / 1e9),
    }
}

fn count_text(count: u64) -> String {
    let size = count as f64;
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{:.1} k", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", size / 1e6),
        _ => format!("{:.2} G", size / 1e9),
    }
}
