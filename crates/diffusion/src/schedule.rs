use std::fmt;
use std::str::FromStr;

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use serde_json::Value;

use crate::{DiffusionError, FlowSchedule, NoiseSchedule, TimestepSampling};

/// How noise is added to the pictures of a base.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Stable Diffusion 1, 2 and XL.
    Ddpm(NoiseSchedule),
    /// FLUX.
    Flow(FlowSchedule),
}

impl Schedule {
    /// From the JSON of the model's scheduler, whose `_class_name` tells which it is.
    pub fn from_config(config: &Value) -> Result<Self, DiffusionError> {
        match config["_class_name"].as_str() {
            Some(class) if class.starts_with("FlowMatch") => FlowSchedule::from_config(config).map(Self::Flow),
            _ => NoiseSchedule::from_config(config).map(Self::Ddpm),
        }
    }

    /// What the model's own configuration says that it predicts.
    pub fn prediction(&self) -> Prediction {
        match self {
            Self::Ddpm(schedule) => schedule.prediction(),
            Self::Flow(_) => Prediction::Flow,
        }
    }

    /// `part` of the way from clean, 0, to pure noise, 1, by the timesteps of training: for comparisons at fixed levels.
    pub fn level(&self, part: f64) -> NoiseLevel {
        match self {
            Self::Ddpm(schedule) => {
                let t = (part * schedule.timesteps() as f64).max(0.0) as usize;
                schedule.level(t.min(schedule.timesteps() - 1))
            }
            Self::Flow(_) => NoiseLevel::flow(part),
        }
    }

    /// The level that a sample is trained at. `uniform` is drawn from [0, 1), `normal` from the unit normal
    /// distribution; `size` is the latent's `[height, width]`, which only shifts by resolution read.
    pub fn draw(&self, sampling: &TimestepSampling, uniform: f64, normal: f64, size: [usize; 2]) -> NoiseLevel {
        let part = sampling.density.draw(uniform, normal);
        match self {
            Self::Ddpm(_) => self.level(part),
            Self::Flow(_) => self.level(sampling.shift.apply(part, size)),
        }
    }
}

/// How noisy a sample is: `x = signal x0 + spread noise`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevel {
    /// What the network is told: 0 to 999 for DDPM, sigma for flow.
    pub timestep: f64,
    pub signal: f64,
    pub spread: f64,
}

impl NoiseLevel {
    /// On the straight line from picture to noise, `sigma` of the way.
    pub fn flow(sigma: f64) -> Self {
        Self { timestep: sigma, signal: 1.0 - sigma, spread: sigma }
    }

    /// Signal to noise in variance; infinite without noise.
    pub fn snr(&self) -> f64 {
        (self.signal / self.spread).powi(2)
    }
}

/// `signal x0 + spread noise`, with one level for each sample of the batch `[b, c, h, w]`.
pub fn add_noise(x0: Tensor<4>, noise: Tensor<4>, levels: &[NoiseLevel]) -> Tensor<4> {
    let (signal, spread) = factors(&x0, levels);
    x0 * signal + noise * spread
}

/// What the network should answer to [`add_noise`] of the same batch.
pub fn target(prediction: Prediction, x0: Tensor<4>, noise: Tensor<4>, levels: &[NoiseLevel]) -> Tensor<4> {
    match prediction {
        Prediction::Epsilon => noise,
        Prediction::V => {
            let (signal, spread) = factors(&x0, levels);
            noise * signal - x0 * spread
        }
        Prediction::Flow => noise - x0,
    }
}

/// `signal` and `spread` of each sample, `[batch, 1, 1, 1]` beside `like`.
fn factors(like: &Tensor<4>, levels: &[NoiseLevel]) -> (Tensor<4>, Tensor<4>) {
    let tensor = |part: fn(&NoiseLevel) -> f64| {
        let values: Vec<f32> = levels.iter().map(|level| part(level) as f32).collect();
        let data = TensorData::new(values, [levels.len(), 1, 1, 1]);
        Tensor::<4>::from_data(data, (&like.device(), DType::F32)).cast(like.dtype())
    };
    (tensor(|level| level.signal), tensor(|level| level.spread))
}

/// What the network's output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity, `sqrt(abar) noise - sqrt(1 - abar) x0`. Salimans and Ho 2022.
    V,
    /// The way from picture to noise, `noise - x0`. Liu et al. 2022, arXiv 2209.03003.
    Flow,
}

impl FromStr for Prediction {
    type Err = DiffusionError;

    fn from_str(text: &str) -> Result<Self, DiffusionError> {
        match text {
            "epsilon" => Ok(Self::Epsilon),
            "v" | "v_prediction" => Ok(Self::V),
            "flow" => Ok(Self::Flow),
            _ => Err(DiffusionError::Unknown {
                what: "prediction",
                found: text.into(),
                choices: "epsilon, v, v_prediction, flow",
            }),
        }
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epsilon => "epsilon",
            Self::V => "v",
            Self::Flow => "flow",
        })
    }
}
