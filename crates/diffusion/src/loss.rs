use std::f64::consts::PI;

use burn::Tensor;
use burn::tensor::{DType, TensorData};

use crate::ddpm::LEAST_ALPHA_BAR;
use crate::{NoiseLevel, Prediction};

/// How much the loss of a sample counts by its noise level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weighting {
    /// 1.
    None,
    /// See [`min_snr_weight`].
    MinSnr { gamma: f64 },
    /// `1 / sqrt(snr)` for noise, `1 / (snr + 1)` for velocity. Yu et al. 2023, arXiv 2310.08442; as in kohya's scripts.
    Debiased,
    /// `sigma^-2`, for flow models.
    SigmaSqrt,
    /// `2 / (pi (1 - 2 sigma + 2 sigma^2))`, for flow models. Esser et al. 2024, formula 21.
    CosMap,
}

impl Weighting {
    pub fn weight(self, level: &NoiseLevel, prediction: Prediction) -> f64 {
        match self {
            Self::None => 1.0,
            Self::MinSnr { gamma } => min_snr_weight(level.snr(), gamma, prediction),
            // The limits are those of kohya's scripts above, of the samplers below.
            Self::Debiased => match prediction {
                Prediction::V => 1.0 / (level.snr().min(1000.0) + 1.0),
                _ => level.snr().clamp(LEAST_ALPHA_BAR, 1000.0).sqrt().recip(),
            },
            // The cleanest of 1000 timesteps, so that no single sample outweighs a run.
            Self::SigmaSqrt => level.spread.max(1e-3).powi(-2),
            Self::CosMap => 2.0 / (PI * (1.0 - 2.0 * level.spread + 2.0 * level.spread.powi(2))),
        }
    }
}

/// The weight of a sample's loss by min-SNR-gamma: `min(snr, gamma) / snr` for noise, `min(snr, gamma) / (snr + 1)` for
/// velocity. Hang et al. 2023, arXiv 2303.09556. Without any signal it takes the limit: 1 and 0.
pub fn min_snr_weight(snr: f64, gamma: f64, prediction: Prediction) -> f64 {
    match prediction {
        Prediction::V => snr.min(gamma) / (snr + 1.0),
        _ if snr <= gamma => 1.0,
        _ => gamma / snr,
    }
}

/// The mean over each sample's values of `(output - target)^2`, times that sample's weight, then the mean over the
/// batch. `output` and `target` are `[b, c, h, w]`, `weights` has `b` entries; computed in f32. `mask` `[b, 1, h, w]`: how
/// much each place counts; the mean stays one over all places, as in OneTrainer and kohya's scripts.
pub fn weighted_mse(output: Tensor<4>, target: Tensor<4>, weights: &[f32], mask: Option<Tensor<4>>) -> Tensor<1> {
    let difference = output.cast(DType::F32) - target.cast(DType::F32);
    weighted(difference.clone() * difference, weights, mask)
}

/// As [`weighted_mse`] with `2 c (sqrt(d^2 + c^2) - c)` for the square: single wrong pixels pull less. `c` has `b`
/// entries, see [`HuberSchedule`]. kohya's "huber"; its "smooth_l1" is this divided by c.
pub fn weighted_huber(
    output: Tensor<4>,
    target: Tensor<4>,
    weights: &[f32],
    c: &[f32],
    mask: Option<Tensor<4>>,
) -> Tensor<1> {
    let difference = output.cast(DType::F32) - target.cast(DType::F32);
    let c = per_sample(c, &difference);
    let root = (difference.clone() * difference + c.clone() * c.clone()).sqrt();
    weighted((root - c.clone()) * c * 2.0, weights, mask)
}

/// The `c` of [`weighted_huber`] by noise level, as in kohya's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HuberSchedule {
    Constant,
    /// From 1 without noise down to `c` at full noise.
    Exponential,
    /// From 1 without noise toward `c`, by the ratio of noise to signal. Not for flow models.
    Snr,
}

impl HuberSchedule {
    /// `part`: of the schedule from clean to noise, 0 to 1.
    pub fn c(self, c: f64, part: f64, level: &NoiseLevel) -> f64 {
        match self {
            Self::Constant => c,
            Self::Exponential => c.powf(part),
            Self::Snr => (1.0 - c) / (1.0 + level.spread / level.signal.max(LEAST_ALPHA_BAR.sqrt())).powi(2) + c,
        }
    }
}

fn weighted(each: Tensor<4>, weights: &[f32], mask: Option<Tensor<4>>) -> Tensor<1> {
    let each = match mask {
        Some(mask) => each * mask,
        None => each,
    };
    let weights = per_sample(weights, &each);
    (each.mean_dims(&[1, 2, 3]) * weights).mean()
}

/// `[b, 1, 1, 1]`.
fn per_sample(values: &[f32], beside: &Tensor<4>) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]);
    Tensor::from_data(data, (&beside.device(), DType::F32))
}
