//! The loss settings of a plan at work: noise, timesteps, distance and weight.

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::DType;
use lorikeet_diffusion::{
    Density, HuberSchedule, NoiseLevel, Shift, TimestepSampling, Weighting, pyramid_noise, weighted_huber, weighted_mse,
};
use lorikeet_recipe::{LossKind, LossSettings, PlanSettings};
use lorikeet_seeded::{Purpose, Stream};

/// How a batch's outputs are compared with their targets.
pub(crate) struct Measure {
    /// Of each sample; for smooth L1, which is Huber divided by its threshold, divided already.
    weights: Vec<f32>,
    /// The Huber threshold of each sample.
    huber: Option<Vec<f32>>,
    /// How much each place counts, `[b, 1, h, w]`; none where all count alike.
    mask: Option<Tensor<4>>,
}

impl Measure {
    pub(crate) fn new(
        loss: &LossSettings,
        levels: &[NoiseLevel],
        mut weights: Vec<f32>,
        mask: Option<Tensor<4>>,
    ) -> Self {
        let (schedule, c, smooth_l1) = match loss.kind {
            LossKind::L2 => return Self { weights, huber: None, mask },
            LossKind::Huber { schedule, c } => (schedule, c, false),
            LossKind::SmoothL1 { schedule, c } => (schedule, c, true),
        };
        let schedule = match schedule {
            lorikeet_recipe::HuberSchedule::Constant => HuberSchedule::Constant,
            lorikeet_recipe::HuberSchedule::Exponential => HuberSchedule::Exponential,
            lorikeet_recipe::HuberSchedule::Snr => HuberSchedule::Snr,
        };
        // The part of the way to noise: DDPM counts timesteps, flow models have it as sigma.
        let steps = if loss.prediction == lorikeet_recipe::Prediction::Flow { 1.0 } else { 1000.0 };
        let thresholds: Vec<f32> =
            levels.iter().map(|level| schedule.c(c, level.timestep / steps, level) as f32).collect();
        if smooth_l1 {
            weights.iter_mut().zip(&thresholds).for_each(|(weight, c)| *weight /= c);
        }
        Self { weights, huber: Some(thresholds), mask }
    }

    /// `output` and `target` `[b, c, h, w]` → one number, computed in f32.
    pub(crate) fn loss(&self, output: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
        let (output, mask) = (output.cast(DType::F32), self.mask.clone());
        match &self.huber {
            None => weighted_mse(output, target, &self.weights, mask),
            Some(c) => weighted_huber(output, target, &self.weights, c, mask),
        }
    }
}

/// Noise of one sample, `shape` `[channels, height, width]`: unit noise, one number more for each channel with noise
/// offset, and coarser layers with pyramid noise, in the order of kohya's scripts. `at` addresses the sample.
pub(crate) fn noise_of(loss: &LossSettings, seed: u64, at: &[u64], shape: [usize; 3]) -> Vec<f32> {
    let area = shape[1] * shape[2];
    let mut noise = Stream::new(seed, Purpose::Noise, at).normals(shape[0] * area);
    if loss.noise_offset > 0.0 {
        let mut stream = Stream::new(seed, Purpose::NoiseOffset, at);
        for channel in noise.chunks_mut(area) {
            let offset = loss.noise_offset as f32 * stream.normal();
            channel.iter_mut().for_each(|value| *value += offset);
        }
    }
    if loss.pyramid_iterations > 0 {
        let mut sizes = Stream::new(seed, Purpose::PyramidSizes, at);
        let mut layers = Stream::new(seed, Purpose::PyramidNoise, at);
        let (mut uniform, mut normals) = (|| sizes.unit(), |n| layers.normals(n));
        pyramid_noise(&mut noise, shape, loss.pyramid_iterations, loss.pyramid_discount, &mut uniform, &mut normals);
    }
    noise
}

pub(crate) fn weighting(loss: &LossSettings) -> Weighting {
    match (loss.weighting, loss.min_snr_gamma) {
        (lorikeet_recipe::Weighting::MinSnr, Some(gamma)) => Weighting::MinSnr { gamma },
        (lorikeet_recipe::Weighting::MinSnr | lorikeet_recipe::Weighting::None, _) => Weighting::None,
        (lorikeet_recipe::Weighting::Debiased, _) => Weighting::Debiased,
        (lorikeet_recipe::Weighting::SigmaSqrt, _) => Weighting::SigmaSqrt,
        (lorikeet_recipe::Weighting::CosMap, _) => Weighting::CosMap,
    }
}

pub(crate) fn timestep_sampling(loss: &LossSettings) -> TimestepSampling {
    let density = match loss.timestep_sampling {
        lorikeet_recipe::TimestepSampling::Uniform => Density::Uniform { from: 0.0, to: 1.0 },
        _ => Density::LogitNormal { mean: 0.0, std: loss.sigmoid_scale },
    };
    let shift = match loss.timestep_sampling {
        lorikeet_recipe::TimestepSampling::Shift => Shift::Constant(loss.flow_shift),
        lorikeet_recipe::TimestepSampling::FluxShift => Shift::FLUX,
        _ => Shift::NONE,
    };
    TimestepSampling { density, shift }
}

/// What an exported LoRA tells of it, under the names of kohya's scripts.
pub(crate) fn metadata(settings: &PlanSettings) -> BTreeMap<String, String> {
    let loss = &settings.loss;
    let (kind, huber) = match loss.kind {
        LossKind::L2 => ("l2", None),
        LossKind::Huber { schedule, c } => ("huber", Some((schedule, c))),
        LossKind::SmoothL1 { schedule, c } => ("smooth_l1", Some((schedule, c))),
    };
    let schedule = |schedule| match schedule {
        lorikeet_recipe::HuberSchedule::Constant => "constant",
        lorikeet_recipe::HuberSchedule::Exponential => "exponential",
        lorikeet_recipe::HuberSchedule::Snr => "snr",
    };
    let mut entries = vec![("ss_loss_type", kind.to_owned())];
    if let Some((kind, c)) = huber {
        entries.extend([("ss_huber_schedule", schedule(kind).to_owned()), ("ss_huber_c", c.to_string())]);
    }
    if loss.pyramid_iterations > 0 {
        entries.push(("ss_multires_noise_iterations", loss.pyramid_iterations.to_string()));
        entries.push(("ss_multires_noise_discount", loss.pyramid_discount.to_string()));
    }
    if settings.dataset.caption_rows > 1 {
        entries.push(("ss_max_token_length", (75 * settings.dataset.caption_rows).to_string()));
    }
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use lorikeet_recipe::{HuberSchedule, Recipe, settings};

    use super::*;
    use crate::optim::scalar;

    fn resolved(values: &[(&str, &str)]) -> PlanSettings {
        let mut recipe = Recipe::default();
        for (id, value) in values {
            recipe.set_text(id, value).unwrap();
        }
        settings(&recipe, &lorikeet_recipe::example::demo_base()).unwrap()
    }

    fn loss(values: &[(&str, &str)]) -> LossSettings {
        resolved(values).loss
    }

    #[test]
    fn what_is_not_usual_is_told_with_the_lora() {
        let told = |values: &[(&str, &str)]| {
            let entries = metadata(&resolved(values));
            entries.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&[]), "ss_loss_type=l2");
        let huber = told(&[("loss.kind", "smooth_l1"), ("loss.huber_c", "0.2"), ("dataset.caption_length", "225")]);
        assert_eq!(huber, "ss_huber_c=0.2 ss_huber_schedule=snr ss_loss_type=smooth_l1 ss_max_token_length=225");
        let pyramid = told(&[("loss.pyramid_iterations", "6")]);
        assert_eq!(pyramid, "ss_loss_type=l2 ss_multires_noise_discount=0.3 ss_multires_noise_iterations=6");
    }

    #[test]
    fn the_kind_of_loss_is_what_the_recipe_says() {
        let level = NoiseLevel { timestep: 500.0, signal: 0.8, spread: 0.6 };
        let tensor = |v: f32| Tensor::<4>::full([1, 1, 2, 2], v, (&Device::flex(), DType::F32));
        let of = |values: &[(&str, &str)]| {
            let measure = Measure::new(&loss(values), &[level], vec![2.0], None);
            scalar(measure.loss(tensor(1.5), tensor(0.3))).unwrap()
        };
        let close = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        close(of(&[]), 2.0 * 1.44);
        // 2 c (sqrt(d^2 + c^2) - c), and the same divided by c.
        let huber = |c: f32| 2.0 * c * ((1.44 + c * c).sqrt() - c);
        close(of(&[("loss.kind", "huber"), ("loss.huber_schedule", "constant")]), 2.0 * huber(0.1));
        let half = 0.1f32.sqrt();
        close(of(&[("loss.kind", "huber"), ("loss.huber_schedule", "exponential")]), 2.0 * huber(half));
        close(
            of(&[("loss.kind", "smooth_l1"), ("loss.huber_schedule", "constant"), ("loss.huber_c", "0.5")]),
            2.0 * huber(0.5) / 0.5,
        );
        assert_eq!(loss(&[("loss.kind", "huber")]).kind, LossKind::Huber { schedule: HuberSchedule::Snr, c: 0.1 });
    }

    #[test]
    fn pyramid_noise_joins_neighbours_and_keeps_its_size() {
        let correlation = |values: &[(&str, &str)]| {
            let noise = noise_of(&loss(values), 3, &[1, 0, 0], [4, 32, 32]);
            let square = noise.iter().map(|v| f64::from(v * v)).sum::<f64>() / noise.len() as f64;
            assert!((0.9..1.1).contains(&square), "{square}");
            let pairs: Vec<f64> = noise.chunks(2).map(|pair| f64::from(pair[0] * pair[1])).collect();
            pairs.iter().sum::<f64>() / pairs.len() as f64 / square
        };
        let (plain, pyramid) =
            (correlation(&[]), correlation(&[("loss.pyramid_iterations", "6"), ("loss.pyramid_discount", "0.8")]));
        assert!(plain.abs() < 0.1 && pyramid > 0.1, "{plain} {pyramid}");
        assert_eq!(correlation(&[("loss.pyramid_iterations", "0")]), plain);
    }
}
