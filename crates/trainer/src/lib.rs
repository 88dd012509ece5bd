//! One training run, and the jobs around it: planning, caching, drawing, exporting.

mod base;
mod cache;
mod draw;
mod easel;
mod error;
mod export;
mod facts;
mod family;
mod load;
mod loss;
pub mod lr;
mod meter;
pub mod moments;
pub mod optim;
mod previews;
mod prompts;
mod run;
mod save;
mod setup;
mod step;
#[cfg(test)]
mod testing;
mod thumbnail;
mod validate;

pub use base::{Base, asset_folder, choose_device, open_model};
pub use cache::{LatentCache, Moments, TextCache, cache_folder, cache_latents};
pub use draw::{DrawSettings, Painter, draw_noise, load_lora, lora_set};
pub use easel::{Easel, draw};
pub use error::TrainError;
pub use export::{Exported, RunFacts, export, read_adapter, saves, to_modules, write_adapter};
pub use facts::{Pictures, base_facts, dataset_facts, machine_facts, pictures, plan_for, probe, usual_drawing};
pub use family::{Architecture, Condition, Denoiser, Sizes, TextEncoders, TextShape, TextStates};
pub use lorikeet_diffusion::SamplerKind;
pub use run::{Done, resume, train};
pub use step::side_backward;

use lorikeet_protocol::{Command, Event};

/// Tells from another thread than the worker's.
pub type Aside = Box<dyn Fn(Event) + Send>;

/// What a job tells, and asks for commands.
pub trait Host {
    fn event(&mut self, event: Event);
    /// The next command if there is one. Never blocks.
    fn command(&mut self) -> Option<Command>;
    /// Blocks for a command. `None`: the face is gone.
    fn wait(&mut self) -> Option<Command>;
    /// For what a run tells beside its work. `None`: nobody wants to know.
    fn aside(&self) -> Option<Aside> {
        None
    }
}
