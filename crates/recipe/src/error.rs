//! What can be wrong with a recipe.

use std::io;
use std::path::PathBuf;

/// Why a recipe, one of its values, or a plan was refused. Each message names the setting or file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error("there is no setting `{id}`{}", suggestion(nearest.as_deref()))]
    UnknownSetting { id: String, nearest: Option<String> },

    #[error("there is no preset `{given}`{}", suggestion(nearest.as_deref()))]
    UnknownPreset { given: String, nearest: Option<String> },

    #[error("{id} takes {expected}, not {given} ({value}); allowed: {allowed}")]
    WrongType { id: &'static str, expected: &'static str, given: &'static str, value: String, allowed: String },

    #[error("{id} = {value} is out of range; allowed: {allowed}")]
    OutOfRange { id: &'static str, value: String, allowed: String },

    #[error("{id} = \"{value}\" is not a choice; allowed: {allowed}{}", suggestion(nearest.as_deref()))]
    NotAChoice { id: &'static str, value: String, allowed: String, nearest: Option<String> },

    #[error("{id} = \"{value}\" cannot be used: {why}; allowed: {allowed}")]
    BadText { id: &'static str, value: String, why: String, allowed: String },

    /// Two settings that cannot hold together.
    #[error("{id} = {value} does not go with {other} = {other_value}: {why}")]
    Conflict { id: &'static str, value: String, other: &'static str, other_value: String, why: String },

    #[error("the recipe is not valid TOML at line {line}, column {column}: {message}")]
    Toml { line: usize, column: usize, message: String },

    #[error("it is not valid JSON: {0}")]
    Json(String),

    #[error(
        "it holds no setting of kohya's sd-scripts or of OneTrainer; choose a TOML or JSON file that one of them saved"
    )]
    NotSettings,

    #[error("line {line}: {source}")]
    AtLine { line: usize, source: Box<RecipeError> },

    #[error("in recipe {}: {source}", path.display())]
    InFile { path: PathBuf, source: Box<RecipeError> },

    #[error("cannot read the recipe ({source}): {}; check that the file exists and is a text file", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("{} is a folder, not a recipe; choose a recipe file", path.display())]
    Folder { path: PathBuf },

    #[error("cannot write the recipe ({source}): {}; choose a folder that can be written to", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("the run has {planned} steps already; give it more than that, not {steps}")]
    NotLonger { steps: u64, planned: u64 },

    #[error(
        "the learning rate fell to zero over the run's {done} steps (train.schedule = \"{schedule}\"): with {steps} steps it \
         would jump back to {rate:.1e} and fall again, so the LoRA would not be that of a run of {steps} steps. Start a new \
         run with that many, or ask for the restart"
    )]
    ScheduleRestarts { schedule: &'static str, done: u64, steps: u64, rate: f64 },

    #[error("no dataset folder is chosen; set dataset.folder to a folder with pictures")]
    NoFolder,

    #[error(
        "no usable picture in {folder}{detail}; put .png, .jpg, .webp or .bmp files in it, or choose another dataset.folder"
    )]
    NoPictures { folder: String, detail: String },

    #[error("the base {base} has no layer that a LoRA can be put on; choose another base.path")]
    NoTargets { base: String },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// The candidate most like `given`, if any is like it enough to be meant.
pub(crate) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let given = given.trim().to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&given, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance * 5 <= candidate.chars().count().max(given.chars().count()) * 2)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
