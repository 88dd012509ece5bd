//! Diffusion mathematics: the noise schedule, training targets and losses, and samplers.
//!
//! Nothing here knows a network or a file. Latents are `Tensor<4>` `[batch, channels, height, width]` on any device;
//! every scalar is computed in f64 and rounded once, when it meets a tensor.

mod error;
mod loss;
mod sampling;
mod schedule;
mod steps;

pub use error::DiffusionError;
pub use loss::{min_snr_weight, weighted_mse};
pub use sampling::{SamplerKind, guided, sample};
pub use schedule::{NoiseSchedule, Prediction, ScheduleSettings, Spacing};
pub use steps::{SamplingPlan, Step};
