//! Many runs: a worker on its own thread, the folder each run lives in, and what is written there.
//!
//! [`ThreadEngine`] is the [`Engine`](lorikeet_protocol::Engine) of this process. It hands commands to one named thread,
//! because CubeCL orders the work of a graphics card by thread, and keeps what the thread tells until the face asks.
//! What the thread runs is a [`Jobs`], so that tests can put something quick in the trainer's place.
//!
//! [`ChildEngine`] has the same worker in a process of its own, which [`serve`] is the other end of; [`RoutingEngine`] hands
//! each command to the one or the other.

mod child;
mod drawing;
mod engine;
mod error;
mod folder;
mod jobs;
mod queue;
mod recorder;
mod routing;
mod serve;
mod wishes;
mod worker;

pub use child::{ChildEngine, WorkerProgram, apart};
pub use engine::ThreadEngine;
pub use error::SessionError;
pub use folder::{RunFolder, list_runs, run_name};
pub use jobs::{Aside, Done, Exported, Host, Jobs, Trainer};
pub use routing::RoutingEngine;
pub use serve::serve;
pub use worker::with_absolute_paths;
