//! What the worker thread runs.

use std::cell::RefCell;
use std::path::Path;

use lorikeet_protocol::{DrawRequest, ExportRequest, Failure};
use lorikeet_recipe::{Plan, Recipe};
pub use lorikeet_trainer::{Aside, Done, Exported, Host};
use lorikeet_trainer::{Easel, TrainError};

/// The work behind the commands. Failures are in words for a person.
pub trait Jobs: Send {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure>;

    /// Trains in `run_dir`, which exists and holds `recipe.toml`.
    fn train(&self, recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure>;

    /// Goes on from the last save in `run_dir`.
    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure>;

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure>;

    /// Tells each picture. One that is stopped is no failure.
    fn draw(&self, request: &DrawRequest, host: &mut dyn Host) -> Result<(), Failure>;
}

/// The real trainer.
#[derive(Default)]
pub struct Trainer {
    /// With what was drawn with last, until a run needs the memory.
    easel: RefCell<Easel>,
}

impl Jobs for Trainer {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        lorikeet_trainer::probe(recipe).map_err(|error| error.failure())
    }

    fn train(&self, recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        self.easel.take();
        lorikeet_trainer::train(recipe, run_dir, host).map_err(|error| error.failure())
    }

    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        self.easel.take();
        lorikeet_trainer::resume(run_dir, host).map_err(|error| error.failure())
    }

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure> {
        lorikeet_trainer::export(request).map_err(|error| error.failure())
    }

    fn draw(&self, request: &DrawRequest, host: &mut dyn Host) -> Result<(), Failure> {
        // Taken out, so that a panic leaves an empty one.
        let mut easel = self.easel.take();
        let end = easel.draw(request, host);
        self.easel.replace(easel);
        match end {
            Ok(_) | Err(TrainError::Stopped) => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }
}
