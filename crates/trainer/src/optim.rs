//! AdamW on the adapters' f32 matrices, with global-norm clipping.

use std::collections::BTreeMap;

use burn::Tensor;
use lorikeet_adapters::LoraSet;

use crate::moments::{Moment, Order};

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
    pub first: Moment,
    pub second: Moment,
}

/// The optimiser's state: what has to be saved beside the matrices to go on equally.
#[derive(Clone, Debug, Default)]
pub struct AdamW {
    /// Steps taken.
    pub steps: u64,
    /// Whether averages are kept in 8 bits between steps. A step itself is computed in f32, with this step's averages
    /// before they are packed.
    pub eight_bit: bool,
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
            let zero = |t: &Tensor<2>| Moment::F32(t.zeros_like());
            let zeros = || [&module.a, &module.b].map(|t| Moments { first: zero(t), second: zero(t) });
            let moments = self.moments.entry(name).or_insert_with(zeros);
            for ((weight, gradient), state) in [&mut module.a, &mut module.b].into_iter().zip(gradients).zip(moments) {
                let first = state.first.decode() * config.beta1 + gradient.clone() * (1.0 - config.beta1);
                let second = state.second.decode() * config.beta2 + gradient.clone() * gradient * (1.0 - config.beta2);
                let denominator = (second.clone() / correction2).sqrt() + config.epsilon;
                *weight = weight.clone() * (1.0 - rate * config.weight_decay)
                    - first.clone() / denominator * (rate / correction1);
                let keep = |values, order| match self.eight_bit {
                    true => Moment::encode(values, order),
                    false => Moment::F32(values),
                };
                *state = Moments { first: keep(first, Order::First), second: keep(second, Order::Second) };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{DType, Device, TensorData};
    use lorikeet_adapters::LoraModule;
    use lorikeet_nn::LayerKind;
    use lorikeet_seeded::{Purpose, Stream};

    use super::*;

    fn random(shape: [usize; 2], seed: u64) -> Tensor<2> {
        let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape[0] * shape[1]);
        Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
    }

    fn length(t: Tensor<2>) -> f32 {
        scalar((t.clone() * t).sum()).unwrap().sqrt()
    }

    /// Fits A and B to targets whose columns differ in size, from gradients with noise. Returns what is left of the distance.
    fn fit(eight_bit: bool) -> (f32, Tensor<2>) {
        let kind = LayerKind::Linear { inputs: 120, outputs: 90 };
        let module = LoraModule { kind, alpha: 1.0, a: random([8, 120], 1), b: random([90, 8], 2) };
        let mut set = LoraSet::from_modules(BTreeMap::from([("x".to_owned(), module)]));
        let targets = [random([8, 120], 3), random([90, 8], 4)];
        let mut adamw = AdamW { eight_bit, ..AdamW::default() };
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
        for step in 0..200 {
            let module = &set.modules["x"];
            let gradient = |weight: &Tensor<2>, target: &Tensor<2>, seed: u64| {
                let shape = weight.dims();
                (weight.clone() - target.clone()) * random(shape, 9).abs() + random(shape, 100 + seed) * 0.05
            };
            let [a, b] = [gradient(&module.a, &targets[0], 2 * step), gradient(&module.b, &targets[1], 2 * step + 1)];
            adamw.step(&config, &mut set, BTreeMap::from([("x".to_owned(), [a, b])]), |_| 0.02);
        }
        let module = &set.modules["x"];
        let left = length(module.a.clone() - targets[0].clone()) / length(targets[0].clone());
        (left, module.a.clone())
    }

    #[test]
    fn eight_bit_averages_arrive_where_f32_arrives() {
        let ((full, a), (eight, b)) = (fit(false), fit(true));
        assert!(full < 0.3, "{full}");
        assert!((eight - full).abs() < 0.2 * full, "left of the distance: {eight} in 8 bits, {full} in f32");
        let apart = length(a.clone() - b) / length(a);
        assert!(apart < 0.1, "{apart}");
    }
}
