//! Diffusion mathematics: noise schedules, training targets and losses, and samplers.
//!
//! Nothing here knows a network or a file. Latents are `Tensor<4>` `[batch, channels, height, width]` on any device;
//! every scalar is computed in f64 and rounded once, when it meets a tensor.

mod config;
mod ddpm;
mod error;
mod flow;
mod loss;
mod noise;
mod sampling;
mod schedule;
mod steps;

pub use ddpm::{NoiseSchedule, ScheduleSettings, Spacing};
pub use error::DiffusionError;
pub use flow::{Density, FlowSchedule, Shift, TimestepSampling};
pub use loss::{HuberSchedule, Weighting, min_snr_weight, weighted_huber, weighted_mse};
pub use noise::pyramid_noise;
pub use sampling::{SamplerKind, guided, sample};
pub use schedule::{NoiseLevel, Prediction, Schedule, add_noise, target};
pub use steps::{SamplingPlan, Step};
