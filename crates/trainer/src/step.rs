//! Forward and backward of one micro-batch.

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_adapters::LoraSet;
use lorikeet_dataset::Item;
use lorikeet_diffusion::{Density, NoiseLevel, Shift, TimestepSampling, Weighting, add_noise, target, weighted_mse};
use lorikeet_nn::segmented::{self, LeafSource as _, Segments, Side, Wanted};
use lorikeet_nn::{Context, Deltas};
use lorikeet_recipe::LossSettings;
use lorikeet_seeded::{Purpose, Stream};

use crate::optim::scalar;
use crate::{Base, Condition, Denoiser, LatentCache, Sizes, TextCache, TextEncoders, TextStates, TrainError};

/// Pictures of one size that go through the model together.
pub(crate) struct MicroBatch {
    pub(crate) items: Vec<Item>,
    pub(crate) captions: Vec<String>,
    pub(crate) flipped: Vec<bool>,
    pub(crate) epoch: u64,
}

/// The models and adapters of a run.
pub(crate) struct Stepper {
    pub(crate) base: Base,
    pub(crate) denoiser: Box<dyn Denoiser>,
    /// When they are trained too.
    pub(crate) encoders: Option<Box<dyn TextEncoders>>,
    pub(crate) set: LoraSet,
    pub(crate) text: TextCache,
    pub(crate) segments: Segments,
    pub(crate) loss: LossSettings,
}

impl Stepper {
    /// Adds the batch's gradients to the adapters' and returns its loss. `address`: step and micro-batch, from 0.
    pub(crate) fn micro_batch(
        &self,
        batch: &MicroBatch,
        latents: &LatentCache,
        seed: u64,
        address: [u64; 2],
    ) -> Result<f32, TrainError> {
        self.set.set_position(address[0], address[1]);
        let (mut x0, mut noise, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut shape, mut sizes) = ([0; 3], Vec::new());
        for (i, (item, flipped)) in batch.items.iter().zip(&batch.flipped).enumerate() {
            let at = [address[0], address[1], i as u64];
            shape = latents.shape(item.image);
            sizes.push(latents.sizes(item.image, *flipped));
            let mut posterior = Stream::new(seed, Purpose::Posterior, &[batch.epoch, item.key()]);
            x0.extend(latents.latent(item.image, *flipped, Some(&mut posterior))?);
            noise.extend(self.noise(seed, &at, shape));
            let mut stream = Stream::new(seed, Purpose::Timestep, &at);
            let (uniform, normal) = (stream.unit(), f64::from(stream.normal()));
            let sampling = timestep_sampling(&self.loss);
            levels.push(self.base.schedule.draw(&sampling, uniform, normal, [shape[1], shape[2]]));
        }
        let input = Noised { x0, noise, levels, shape };
        let text = match &self.encoders {
            Some(encoders) => encoders.encode(&Context::with(&*self.set.plain()), &texts(&batch.captions)),
            None => self.text.batch(&batch.captions)?,
        };
        let (noisy, target, weights) = self.noised(&input);
        let side_of = |text| self.denoiser.side(&input.timesteps(), &self.condition(text, sizes.clone()));
        let side = side_of(text);
        let wanted = match &self.encoders {
            Some(_) => Wanted { input: false, side: self.denoiser.side_of_text() },
            None => Wanted::default(),
        };
        let outcome = segmented::backward(&*self.denoiser, self.segments, noisy, &side, &wanted, &self.set, |output| {
            weighted_mse(output.cast(DType::F32), target, &weights)
        });
        if let Some(encoders) = &self.encoders {
            side_backward(&self.set, outcome.side, |cx| side_of(encoders.encode(cx, &texts(&batch.captions))));
        }
        Ok(scalar(outcome.loss)?)
    }

    /// The loss without gradients; `deltas` are the adapters at work.
    pub(crate) fn loss_of(
        &self,
        input: &Noised,
        condition: &Condition,
        deltas: &dyn Deltas,
    ) -> Result<f32, TrainError> {
        let (noisy, target, weights) = self.noised(input);
        let output = self.denoiser.forward(&Context::with(deltas), noisy, &input.timesteps(), condition);
        Ok(scalar(weighted_mse(output.cast(DType::F32), target, &weights))?)
    }

    pub(crate) fn condition(&self, text: TextStates, sizes: Vec<Sizes>) -> Condition {
        Condition { text, sizes, guidance: self.loss.guidance.unwrap_or(0.0) as f32 }
    }

    /// Text states of captions with these adapters at work on the text encoders, if they are trained.
    pub(crate) fn states(&self, captions: &[String], deltas: &dyn Deltas) -> Result<TextStates, TrainError> {
        match &self.encoders {
            Some(encoders) => Ok(encoders.encode(&Context::with(deltas), &texts(captions))),
            None => self.text.batch(captions),
        }
    }

    /// Unit noise, and one number more for each channel with noise offset.
    fn noise(&self, seed: u64, at: &[u64], shape: [usize; 3]) -> Vec<f32> {
        let area = shape[1] * shape[2];
        let mut noise = Stream::new(seed, Purpose::Noise, at).normals(shape[0] * area);
        if self.loss.noise_offset > 0.0 {
            let mut stream = Stream::new(seed, Purpose::NoiseOffset, at);
            for channel in noise.chunks_mut(area) {
                let offset = self.loss.noise_offset as f32 * stream.normal();
                channel.iter_mut().for_each(|value| *value += offset);
            }
        }
        noise
    }

    /// Input and target of the denoiser, and the weight of each sample's loss.
    fn noised(&self, input: &Noised) -> (Tensor<4>, Tensor<4>, Vec<f32>) {
        let Base { prediction, device, dtype, .. } = &self.base;
        let [c, h, w] = input.shape;
        let tensor = |values: &Vec<f32>| {
            let data = TensorData::new(values.clone(), [input.levels.len(), c, h, w]);
            Tensor::<4>::from_data(data, (device, DType::F32))
        };
        let (x0, noise) = (tensor(&input.x0), tensor(&input.noise));
        let noisy = add_noise(x0.clone(), noise.clone(), &input.levels);
        let target = target(*prediction, x0, noise, &input.levels);
        let weighting = weighting(&self.loss);
        let weights = input.levels.iter().map(|level| weighting.weight(level, *prediction) as f32).collect();
        (noisy.cast(*dtype), target, weights)
    }
}

fn weighting(loss: &LossSettings) -> Weighting {
    match (loss.weighting, loss.min_snr_gamma) {
        (lorikeet_recipe::Weighting::MinSnr, Some(gamma)) => Weighting::MinSnr { gamma },
        (lorikeet_recipe::Weighting::MinSnr | lorikeet_recipe::Weighting::None, _) => Weighting::None,
        (lorikeet_recipe::Weighting::Debiased, _) => Weighting::Debiased,
        (lorikeet_recipe::Weighting::SigmaSqrt, _) => Weighting::SigmaSqrt,
        (lorikeet_recipe::Weighting::CosMap, _) => Weighting::CosMap,
    }
}

fn timestep_sampling(loss: &LossSettings) -> TimestepSampling {
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

fn texts(captions: &[String]) -> Vec<&str> {
    captions.iter().map(String::as_str).collect()
}

/// Carries the gradients that the denoiser gave for its side inputs back into the adapters of what made them: `side`
/// makes them again, under autodiff.
pub fn side_backward(set: &LoraSet, gradients: Vec<Option<Tensor<3>>>, side: impl FnOnce(&Context) -> Side) {
    let tracked = set.tracked();
    // The gradient of this sum with respect to a side input is the one given.
    let sum = side(&Context::with(tracked.deltas()))
        .into_iter()
        .zip(gradients)
        .filter(|(input, _)| input.is_tracked())
        .filter_map(|(input, gradient)| Some((input * gradient?).sum()))
        .reduce(|a, b| a + b);
    if let Some(sum) = sum {
        tracked.collect(&mut sum.backward());
    }
}

/// Latents, noise and noise levels of a batch; `shape` is `[channels, height, width]` of each.
pub(crate) struct Noised {
    pub(crate) x0: Vec<f32>,
    pub(crate) noise: Vec<f32>,
    pub(crate) levels: Vec<NoiseLevel>,
    pub(crate) shape: [usize; 3],
}

impl Noised {
    /// As the denoiser is told them.
    fn timesteps(&self) -> Vec<f32> {
        self.levels.iter().map(|level| level.timestep as f32).collect()
    }
}
