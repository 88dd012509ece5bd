//! What the user asks for, and what comes of it.
//!
//! [`SETTINGS`] is the table of all settings. A [`Recipe`] is a preset and the values typed over its defaults. [`plan`]
//! resolves it against facts about base, pictures and machine into a [`Plan`]. Knows neither tensors nor files other
//! than the recipe itself.

mod built_in;
mod check;
mod docs;
mod error;
pub mod example;
mod facts;
mod folders;
mod import;
mod longer;
mod memory;
mod numbers;
mod plan;
mod recipe;
mod setting;
mod table;
mod toml_file;

pub use built_in::{BUILT_IN, BuiltIn, built_in};
pub use docs::settings_markdown;
pub use error::RecipeError;
pub use facts::{
    BaseFacts, BucketFacts, DatasetFacts, DenoiserShape, Family, FluxShape, FolderFacts, ImageFacts, MachineFacts,
    Prediction, TargetFacts, TextFacts, UnetShape,
};
pub use folders::PictureFolder;
pub use import::{Import, Left, Program, Taken, import, import_text};
pub use longer::{Longer, lengthen_run, longer};
pub use memory::{
    Load, MemoryChoice, MemoryEstimate, MemoryPart, MemoryStage, Placement, Quantise, Segments, estimate,
};
pub use plan::{
    BaseSettings, DatasetSettings, Decision, HuberSchedule, LossKind, LossSettings, Memory, NetworkSettings, Optimiser,
    Plan, PlanSettings, Precision, RunSettings, SampleSettings, SampleUnit, Sampler, SaveDtype, SaveSettings, Schedule,
    TimestepSampling, TrainSettings, ValidationSettings, Weighting, plan, settings,
};
pub use recipe::Recipe;
pub use setting::{BaseClass, Choice, DefaultRow, Fixed, Kind, Level, Preset, Section, Setting, TextRule, Value, When};
pub use table::{AutoSteps, SECTIONS, SETTINGS, auto_steps, setting};
