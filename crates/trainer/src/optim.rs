//! AdamW on the adapters' f32 matrices, with global-norm clipping.

use std::collections::BTreeMap;

use burn::Tensor;
use lorikeet_adapters::LoraSet;

/// Gradients of A and B by layer name.
pub type Gradients = BTreeMap<String, [Tensor<2>; 2]>;

/// Loshchilov and Hutter 2019, with the bias correction and order of operations of PyTorch's `AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

/// First and second moment of one matrix.
#[derive(Clone, Debug)]
pub struct Moments {
    pub first: Tensor<2>,
    pub second: Tensor<2>,
}

/// The optimiser's state: what has to be saved beside the matrices to go on equally.
#[derive(Clone, Debug, Default)]
pub struct AdamW {
    /// Steps taken.
    pub steps: u64,
    /// Of A and B, by layer name.
    pub moments: BTreeMap<String, [Moments; 2]>,
}

impl AdamW {
    /// Takes one step. `learning_rate` is asked for each layer by name.
    pub fn step(
        &mut self,
        config: &AdamWConfig,
        set: &mut LoraSet,
        gradients: Gradients,
        learning_rate: impl Fn(&str) -> f64,
    ) {
        self.steps += 1;
        let correction1 = 1.0 - config.beta1.powf(self.steps as f64);
        let correction2 = 1.0 - config.beta2.powf(self.steps as f64);
        for (name, gradients) in gradients {
            let Some(module) = set.modules.get_mut(&name) else { continue };
            let rate = learning_rate(&name);
            let zeros = || [&module.a, &module.b].map(|t| Moments { first: t.zeros_like(), second: t.zeros_like() });
            let moments = self.moments.entry(name).or_insert_with(zeros);
            for ((weight, gradient), state) in [&mut module.a, &mut module.b].into_iter().zip(gradients).zip(moments) {
                let first = state.first.clone() * config.beta1 + gradient.clone() * (1.0 - config.beta1);
                let second = state.second.clone() * config.beta2 + gradient.clone() * gradient * (1.0 - config.beta2);
                let denominator = (second.clone() / correction2).sqrt() + config.epsilon;
                *weight = weight.clone() * (1.0 - rate * config.weight_decay)
                    - first.clone() / denominator * (rate / correction1);
                *state = Moments { first, second };
            }
        }
    }
}

/// Norm over all gradients together.
///
/// # Errors
/// When the device failed while computing them.
pub fn global_norm(gradients: &Gradients) -> Result<f32, lorikeet_nn::NnError> {
    let squares = gradients.values().flatten().map(|g| (g.clone() * g.clone()).sum()).reduce(|a, b| a + b);
    Ok(squares.map(scalar).transpose()?.unwrap_or(0.0).sqrt())
}

/// Scales gradients whose global norm is above `limit` down to it, as PyTorch's `clip_grad_norm_`; 0 clips nothing.
pub fn clip(gradients: &mut Gradients, norm: f32, limit: f64) {
    let scale = limit / (f64::from(norm) + 1e-6);
    if limit > 0.0 && scale < 1.0 {
        for gradient in gradients.values_mut().flatten() {
            *gradient = gradient.clone() * scale;
        }
    }
}

/// Reads one number back.
///
/// # Errors
/// When the device failed while computing it.
pub fn scalar(value: Tensor<1>) -> Result<f32, lorikeet_nn::NnError> {
    let failed = |reason: String| lorikeet_nn::NnError::Execution { reason };
    let data = value.try_into_data().map_err(|error| failed(error.to_string()))?;
    data.iter::<f32>().next().ok_or_else(|| failed("an empty tensor came back".to_owned()))
}
