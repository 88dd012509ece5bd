//! What can stop a run, a drawing or an export.

use std::io;
use std::path::{Path, PathBuf};

use lorikeet_adapters::AdapterError;
use lorikeet_checkpoint::CheckpointError;
use lorikeet_dataset::DatasetError;
use lorikeet_diffusion::DiffusionError;
use lorikeet_models::ModelError;
use lorikeet_nn::NnError;
use lorikeet_protocol::Failure;
use lorikeet_recipe::RecipeError;

/// Why the work ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Nn(#[from] NnError),
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Of a model whose weights lie there.
    #[error("'{}': {source}", place.display())]
    Weights { place: PathBuf, source: ModelError },
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    #[error("the LoRA '{}' cannot be used: {source}", path.display())]
    Adapter { path: PathBuf, source: AdapterError },
    /// Asked for; not a failure.
    #[error("stopped as asked")]
    Stopped,
    #[error("cannot {what} '{}': {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the built-in base {name} was not found; looked in {looked}")]
    NoDemoBase { name: String, looked: String },
    /// Parts of a base that are fine by themselves.
    #[error("the parts of '{}' do not belong together: {problem}", path.display())]
    Mismatch { path: PathBuf, problem: String },
    #[error("none of the {count} pictures could be decoded; the first: {first}")]
    AllBroken { count: usize, first: String },
    /// A file of a run folder that is missing or damaged.
    #[error("'{}' {problem}", path.display())]
    RunFile { path: PathBuf, problem: String },
    #[error("there is no save in '{}'", run_dir.display())]
    NoSave { run_dir: PathBuf },
    #[error("there is no save of step {step} in '{}'; there are saves of steps {have}", run_dir.display())]
    NoSuchSave { run_dir: PathBuf, step: u64, have: String },
    #[error("the {what} of step {step} is no longer a number; the pictures of that step: {pictures}")]
    Diverged {
        what: &'static str,
        step: u64,
        pictures: String,
        last_save: Option<PathBuf>,
        /// Whether it was computed in f16, which holds nothing above 65504.
        f16: bool,
    },
    /// Within a step, while there may be smaller ways to do it.
    #[error("memory use has come to {:.2} GB where {:.2} GB are allowed", *used as f64 / 1e9, *budget as f64 / 1e9)]
    OverBudget { used: u64, budget: u64 },
    /// Before anything is computed.
    #[error("{lack}")]
    TooLarge { lack: String },
    #[error("about {needed} bytes are needed for a save and the LoRA, but only {free} are free in '{}'", folder.display())]
    DiskFull { folder: PathBuf, needed: u64, free: u64 },
    /// A request that makes no sense by itself.
    #[error("{problem}")]
    Request { problem: String, todo: &'static str },
}

impl TrainError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn run_file(path: &Path, problem: impl Into<String>) -> Self {
        Self::RunFile { path: path.to_owned(), problem: problem.into() }
    }

    /// Whether a smaller way may succeed. A device that ran out of memory tells it like any other failure of its own.
    pub(crate) fn lacks_memory(&self) -> bool {
        matches!(self, Self::OverBudget { .. } | Self::Nn(NnError::Execution { .. }))
    }

    /// In words for a person.
    pub fn failure(&self) -> Failure {
        let (what, todo) = match self {
            Self::Recipe(_) => ("The recipe cannot be used", "Change the setting and try again"),
            Self::Dataset(_) => ("The pictures cannot be used", "Choose another folder or repair this one"),
            Self::Checkpoint(CheckpointError::Write { .. }) => {
                ("Saving failed", "Free some space or choose a folder that can be written to")
            }
            Self::Checkpoint(_) => ("A model file cannot be used", "Choose another file"),
            Self::Nn(_) => ("The device cannot do it", "Choose another device, or lower resolution or batch"),
            Self::Model(_) | Self::Weights { .. } => ("The base model cannot be used", "Choose another base"),
            Self::Diffusion(_) => ("The base model's noise schedule cannot be used", "Choose another base"),
            Self::Adapter { .. } => ("A LoRA does not fit the base", "Choose a LoRA made for this kind of model"),
            Self::Stopped => ("Stopped", "Start again when you like"),
            Self::Io { .. } => ("A file operation failed", "Check the path, its permissions and the free space"),
            Self::NoDemoBase { .. } => (
                "A built-in base is missing",
                "Put the assets folder beside the program, or set LORIKEET_ASSETS to the folder that holds demo-base and demo-flux",
            ),
            Self::Mismatch { .. } => ("The base model is mixed up", "Fetch the whole model folder again"),
            Self::AllBroken { .. } => ("The pictures cannot be used", "Save them again as PNG or JPEG"),
            Self::RunFile { .. } => ("The run folder is damaged", "Choose another run or an earlier save"),
            Self::NoSave { .. } => ("There is nothing to export yet", "Train until the first save, or press Save now"),
            Self::Diverged { f16: true, .. } => (
                "Training went wrong and was stopped",
                "Set run.precision to f32 and start again; if it goes wrong again, lower train.learning_rate",
            ),
            Self::Diverged { .. } => (
                "Training went wrong and was stopped",
                "Lower train.learning_rate (a third is a good try) and start again, or resume from the last good save",
            ),
            Self::OverBudget { .. } => {
                ("There is too little memory", "Lower the resolution or batch, or set memory.limit higher")
            }
            Self::TooLarge { .. } => (
                "The computer has too little memory for this run",
                "Change the setting and start again, or choose a smaller base or another device",
            ),
            Self::DiskFull { .. } => ("The disk has too little room", "Free some space, or choose another save.folder"),
            Self::NoSuchSave { .. } => ("There is no such save", "Choose one of the steps that were saved"),
            Self::Request { todo, .. } => ("That cannot be done", *todo),
        };
        let last_save = if let Self::Diverged { last_save, .. } = self { last_save.clone() } else { None };
        Failure { what: what.to_owned(), why: self.to_string(), todo: todo.to_owned(), last_save }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_numbers_that_went_wrong_depends_on_what_they_were_computed_in() {
        let todo = |f16| {
            let (what, pictures) = ("gradients", String::new());
            TrainError::Diverged { what, step: 7, pictures, last_save: None, f16 }.failure().todo
        };
        assert!(todo(true).contains("run.precision to f32"), "{}", todo(true));
        assert!(todo(false).contains("train.learning_rate") && !todo(false).contains("precision"), "{}", todo(false));
    }
}
