//! What the worker thread runs.

use std::path::Path;

use lorikeet_protocol::{ExportRequest, Failure};
use lorikeet_recipe::{Plan, Recipe};
pub use lorikeet_trainer::{Done, Exported, Host};

/// The work behind the commands. Failures are in words for a person.
pub trait Jobs: Send {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure>;

    /// Trains in `run_dir`, which exists and holds `recipe.toml`.
    fn train(&self, recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure>;

    /// Goes on from the last save in `run_dir`.
    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure>;

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure>;
}

/// The real trainer.
pub struct Trainer;

impl Jobs for Trainer {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        lorikeet_trainer::probe(recipe).map_err(|error| error.failure())
    }

    fn train(&self, recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        lorikeet_trainer::train(recipe, run_dir, host).map_err(|error| error.failure())
    }

    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        lorikeet_trainer::resume(run_dir, host).map_err(|error| error.failure())
    }

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure> {
        lorikeet_trainer::export(request).map_err(|error| error.failure())
    }
}
