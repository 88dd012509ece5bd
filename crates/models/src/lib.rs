//! The networks, one folder an architecture, under the names their checkpoints use.
//!
//! A model asks a [`lorikeet_nn::Loader`] for weights by name and runs forward. It knows nothing of adapters, training
//! or files.

pub mod clip;
mod error;
pub mod flux;
mod resnet;
pub mod t5;
pub mod unet;
pub mod vae;

pub use error::ModelError;
