use burn::Tensor;
use burn::tensor::{DType, TensorData};

use crate::Prediction;

/// The weight of a sample's loss by min-SNR-gamma: `min(snr, gamma) / snr` for noise, `min(snr, gamma) / (snr + 1)` for
/// velocity. Hang et al. 2023, arXiv 2303.09556. Without any signal it takes the limit: 1 and 0.
pub fn min_snr_weight(snr: f64, gamma: f64, prediction: Prediction) -> f64 {
    match prediction {
        Prediction::Epsilon if snr <= gamma => 1.0,
        Prediction::Epsilon => gamma / snr,
        Prediction::V => snr.min(gamma) / (snr + 1.0),
    }
}

/// The mean over each sample's values of `(output - target)^2`, times that sample's weight, then the mean over the
/// batch. `output` and `target` are `[b, c, h, w]`, `weights` has `b` entries; computed in f32.
pub fn weighted_mse(output: Tensor<4>, target: Tensor<4>, weights: &[f32]) -> Tensor<1> {
    let difference = output.cast(DType::F32) - target.cast(DType::F32);
    let data = TensorData::new(weights.to_vec(), [weights.len(), 1, 1, 1]);
    let weights = Tensor::<4>::from_data(data, (&difference.device(), DType::F32));
    let each = (difference.clone() * difference).mean_dims(&[1, 2, 3]);
    (each * weights).mean()
}
