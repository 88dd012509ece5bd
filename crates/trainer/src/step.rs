//! Forward and backward of one micro-batch.

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_adapters::LoraSet;
use lorikeet_dataset::Item;
use lorikeet_diffusion::{Prediction, min_snr_weight, weighted_mse};
use lorikeet_models::unet::UNet2DConditionModel;
use lorikeet_nn::segmented::{self, Segments, Wanted};
use lorikeet_nn::{Context, Deltas};
use lorikeet_recipe::LossSettings;
use lorikeet_seeded::{Purpose, Stream};

use crate::optim::scalar;
use crate::{Base, LatentCache, TextEncoder, TextStates, TrainError, text_backward, text_states};

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
    pub(crate) unet: UNet2DConditionModel,
    /// When it is trained too.
    pub(crate) encoder: Option<TextEncoder>,
    pub(crate) set: LoraSet,
    pub(crate) text: TextStates,
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
        let (mut x0, mut noise, mut timesteps) = (Vec::new(), Vec::new(), Vec::new());
        let mut shape = [0; 3];
        for (i, (item, flipped)) in batch.items.iter().zip(&batch.flipped).enumerate() {
            let at = [address[0], address[1], i as u64];
            shape = latents.shape(item.image);
            let mut posterior = Stream::new(seed, Purpose::Posterior, &[batch.epoch, item.key()]);
            x0.extend(latents.latent(item.image, *flipped, Some(&mut posterior))?);
            noise.extend(self.noise(seed, &at, shape));
            let steps = self.base.schedule.timesteps() as u64;
            timesteps.push(Stream::new(seed, Purpose::Timestep, &at).below(steps) as usize);
        }
        let input = Noised { x0, noise, timesteps, shape };
        let ids = self.encoder.as_ref().map(|encoder| (encoder, encoder.ids(&batch.captions)));
        let states = match &ids {
            Some((encoder, ids)) => text_states(&encoder.model, &self.set, ids.clone()),
            None => self.text.batch(&batch.captions)?,
        };
        let (noisy, target, weights) = self.noised(&input);
        let side = self.unet.side(&input.timesteps_f32(), states, None);
        let wanted = Wanted { input: false, side: vec![ids.is_some()] };
        let outcome = segmented::backward(&self.unet, self.segments, noisy, &side, &wanted, &self.set, |output| {
            weighted_mse(output.cast(DType::F32), target, &weights)
        });
        if let (Some((encoder, ids)), Some(Some(gradient))) = (ids, outcome.side.into_iter().next()) {
            text_backward(&encoder.model, &self.set, ids, gradient);
        }
        Ok(scalar(outcome.loss)?)
    }

    /// The loss without gradients; `deltas` are the adapters at work.
    pub(crate) fn loss_of(&self, input: &Noised, states: Tensor<3>, deltas: &dyn Deltas) -> Result<f32, TrainError> {
        let (noisy, target, weights) = self.noised(input);
        let output = self.unet.forward(&Context::with(deltas), noisy, &input.timesteps_f32(), states, None);
        Ok(scalar(weighted_mse(output.cast(DType::F32), target, &weights))?)
    }

    /// Text states of captions with these adapters at work on the text encoder, if it is trained.
    pub(crate) fn states(&self, captions: &[String], deltas: &dyn Deltas) -> Result<Tensor<3>, TrainError> {
        match &self.encoder {
            Some(encoder) => Ok(encoder.states(&Context::with(deltas), captions)),
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

    /// Input and target of the UNet, and the weight of each sample's loss.
    fn noised(&self, input: &Noised) -> (Tensor<4>, Tensor<4>, Vec<f32>) {
        let Base { schedule, prediction, device, dtype, .. } = &self.base;
        let [c, h, w] = input.shape;
        let tensor = |values: &Vec<f32>| {
            let data = TensorData::new(values.clone(), [input.timesteps.len(), c, h, w]);
            Tensor::<4>::from_data(data, (device, DType::F32))
        };
        let (x0, noise) = (tensor(&input.x0), tensor(&input.noise));
        let noisy = schedule.add_noise(x0.clone(), noise.clone(), &input.timesteps);
        let target = schedule.target(*prediction, x0, noise, &input.timesteps);
        let weights = input.timesteps.iter().map(|t| self.weight(*t, *prediction) as f32).collect();
        (noisy.cast(*dtype), target, weights)
    }

    fn weight(&self, timestep: usize, prediction: Prediction) -> f64 {
        let gamma = self.loss.min_snr_gamma;
        gamma.map_or(1.0, |gamma| min_snr_weight(self.base.schedule.snr(timestep), gamma, prediction))
    }
}

/// Latents, noise and timesteps of a batch; `shape` is `[channels, height, width]` of each.
pub(crate) struct Noised {
    pub(crate) x0: Vec<f32>,
    pub(crate) noise: Vec<f32>,
    pub(crate) timesteps: Vec<usize>,
    pub(crate) shape: [usize; 3],
}

impl Noised {
    fn timesteps_f32(&self) -> Vec<f32> {
        self.timesteps.iter().map(|t| *t as f32).collect()
    }
}
