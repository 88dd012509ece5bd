//! What crosses between a face (studio, command line) and a worker: plain data, and the trait that carries it.
//!
//! A face sends [`Command`]s and drains [`Event`]s. Nothing here knows tensors or widgets: a loss is an `f32`, a
//! preview is the path of a PNG. Both enums are tagged JSON, one object a line, between processes and in `events.jsonl`.

mod draw;
mod load;
mod run_folder;
mod workplace;

use std::path::PathBuf;

pub use draw::{BaseParts, DrawEnd, DrawRequest, Drawn, LoraUse, PictureSettings, StepSpacing, ToDraw, UsedLora};
pub use load::{CardLoad, CardMemory, Load};
pub use run_folder::{LOAD_FILE, LOCK_FILE, PAUSE_FILE, STOP_FILE, hold, in_use, is_held, note_process};
pub use workplace::Workplace;

use lorikeet_recipe::{Plan, Recipe};
use serde::{Deserialize, Serialize};

/// What a face asks of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Resolve the recipe and answer with [`Event::Planned`], training nothing.
    Probe {
        recipe: Box<Recipe>,
    },
    /// Start a new run in a folder of its own under the recipe's output folder.
    Start {
        recipe: Box<Recipe>,
    },
    /// Go on with the run in this folder from its last save.
    ResumeRun {
        run_dir: PathBuf,
    },
    /// Wait after the current step until [`Command::Resume`].
    Pause,
    Resume,
    /// Save after the current step, then finish.
    Stop,
    SaveNow,
    SampleNow,
    /// Draw previews of these prompts once, beside the regular ones.
    SamplePrompts {
        prompts: Vec<String>,
    },
    /// The regular previews are of these prompts from the next one on.
    SetPrompts {
        prompts: Vec<String>,
    },
    /// Write the adapters of a save as a LoRA file for other programs.
    Export(ExportRequest),
    /// Draw pictures without a run. Answered by [`Event::Drawn`] for each, and [`Event::DrawEnded`]; [`Command::Stop`] ends
    /// it between two steps.
    Draw(DrawRequest),
}

/// A LoRA file to be made of a save.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExportRequest {
    pub run_dir: PathBuf,
    /// `None`: the last save.
    pub step: Option<u64>,
    /// A file, or a folder, in which it gets the name of the recipe.
    pub to: PathBuf,
    pub dtype: ExportDtype,
    pub names: ExportNames,
    pub about: About,
    /// Shown with the LoRA: put small into its metadata, and whole beside it as `<name>.preview.png`.
    pub thumbnail: Option<PathBuf>,
}

/// What layers are called in an exported LoRA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportNames {
    /// As in kohya's sd-scripts: `lora_unet_...`. Every program reads them.
    #[default]
    Kohya,
    /// As in diffusers and PEFT: `transformer.....lora_A.weight`. ComfyUI reads them for FLUX, but not for UNets.
    Diffusers,
}

/// What people are told of a LoRA, in its metadata. Empty: not told; an empty title is the recipe's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    pub title: String,
    pub author: String,
    pub description: String,
    pub license: String,
    pub usage_hint: String,
    pub tags: Vec<String>,
}

/// Number format of an exported LoRA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportDtype {
    #[default]
    F16,
    Bf16,
    F32,
}

/// What a worker tells. Steps and readings of the load may be dropped when a face is slow; no other event ever is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Planned {
        plan: Box<Plan>,
    },
    /// A run folder exists and the run goes to work in it.
    Started {
        run_dir: PathBuf,
        resumed_at: u64,
    },
    /// Progress of a stage before or beside the steps. `total` 0: not countable.
    Stage {
        stage: Stage,
        done: u64,
        total: u64,
    },
    Step(Step),
    /// About once a second while a run goes on, also between steps.
    Load(Load),
    Sample(Sample),
    Validation {
        step: u64,
        loss: f32,
        base_loss: f32,
    },
    /// The prompts of the regular previews were changed.
    Prompts {
        prompts: Vec<String>,
    },
    /// `path` is the save's folder under `checkpoints/`.
    Saved {
        step: u64,
        path: PathBuf,
    },
    Paused {
        step: u64,
    },
    Resumed {
        step: u64,
    },
    Exported {
        path: PathBuf,
        modules: usize,
    },
    Drawn(Drawn),
    DrawEnded(DrawEnd),
    Warning {
        message: String,
    },
    /// Something worth knowing that is no warning.
    Note {
        message: String,
    },
    /// At the end of a run: the most memory it had for itself at any time, and what its plan expected
    /// ([`lorikeet_recipe::MemoryEstimate::needed_bytes`]). Of the card where there is one, else of the process without mapped
    /// files.
    Memory {
        measured_bytes: u64,
        planned_bytes: u64,
    },
    /// All steps done, or stopped by request. `lora` is the exported file.
    Finished {
        run_dir: PathBuf,
        step: u64,
        lora: Option<PathBuf>,
        seconds: f64,
    },
    Failed(Failure),
}

impl Event {
    /// Whether a slow face may miss it.
    pub fn may_drop(&self) -> bool {
        matches!(self, Event::Step(_) | Event::Load(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    ScanDataset,
    LoadModel,
    CacheLatents,
    CacheText,
    Validate,
    Sample,
    Save,
    Train,
}

impl Stage {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Stage::ScanDataset => "Looking at the pictures",
            Stage::LoadModel => "Loading the model",
            Stage::CacheLatents => "Encoding pictures",
            Stage::CacheText => "Encoding captions",
            Stage::Validate => "Measuring validation loss",
            Stage::Sample => "Drawing previews",
            Stage::Save => "Saving",
            Stage::Train => "Training",
        }
    }
}

/// One optimiser step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Steps done, from 1.
    pub step: u64,
    pub steps: u64,
    pub epoch: u64,
    pub epochs: u64,
    pub loss: f32,
    /// Bias-corrected exponential average of `loss`.
    pub smoothed: f32,
    pub learning_rate: f64,
    /// Global norm before clipping.
    pub grad_norm: f32,
    /// Wall time of this step, and what is left of the run at the recent pace, with previews, validations and saves.
    pub seconds: f64,
    pub seconds_left: f64,
    /// Resident memory of the process, and device memory in use where the device tells.
    pub memory_bytes: u64,
    pub device_memory_bytes: Option<u64>,
}

/// One preview picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// 0: the untouched base.
    pub step: u64,
    pub epoch: u64,
    /// Index into the recipe's prompts; higher where others were asked for during the run. It stays with its prompt.
    pub prompt_index: usize,
    pub prompt: String,
    pub seed: u64,
    pub path: PathBuf,
}

/// Why a run or command failed, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub what: String,
    pub why: String,
    /// What to do about it.
    pub todo: String,
    /// The last good save, when there is one.
    pub last_save: Option<PathBuf>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}. {}. {}", self.what, self.why, self.todo)?;
        if let Some(save) = &self.last_save {
            write!(f, " The last good save is {}", save.display())?;
        }
        Ok(())
    }
}

/// A worker as a face sees it: in this process, in a child process, or on another machine.
pub trait Engine {
    /// Never blocks. A command that makes no sense now is answered by [`Event::Warning`].
    fn send(&mut self, command: Command);
    /// Hands over all events since the last call, in order. Never blocks.
    fn poll(&mut self, sink: &mut dyn FnMut(Event));
    /// Called from the worker whenever there is something to poll.
    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>);

    /// Where runs work from the next one on, for an engine that has the choice.
    fn set_workplace(&mut self, _workplace: Workplace) {}
    /// Whether the run that is on can go on when this engine is dropped.
    fn can_leave(&self) -> bool {
        false
    }
    /// From now on only to be dropped: the run that is on goes on without a face.
    fn leave(&mut self) {}
}
