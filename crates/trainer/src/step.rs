//! Forward and backward of a step's micro-batches.

use std::cell::Cell;
use std::time::{Duration, Instant};

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_adapters::LoraSet;
use lorikeet_dataset::Item;
use lorikeet_diffusion::{NoiseLevel, add_noise, target};
use lorikeet_nn::segmented::{self, Batch, Ended, LeafSource as _, Loss, Segments, Side, Wanted, Way};
use lorikeet_nn::{Context, Deltas, Prefetch, RawTensor};
use lorikeet_recipe::LossSettings;
use lorikeet_seeded::{Purpose, Stream};

use crate::loss::{Measure, noise_of, timestep_sampling, weighting};
use crate::meter::Gauge;
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
    /// Whether all micro-batches of a step go through a segment before the next one's turn.
    pub(crate) together: bool,
    /// See [`Way::hold`].
    pub(crate) hold: bool,
    pub(crate) prefetch: Option<Prefetch>,
    /// Bytes of this process above which a step is given up; `None`: none.
    pub(crate) budget: Option<u64>,
    pub(crate) loss: LossSettings,
    /// Losses are multiplied by it before their backward and gradients divided by it after: f16 knows nothing between 0 and 6e-8
    /// (Micikevicius and others 2018). A power of two, so that nothing is rounded; 1 unless the base computes in f16.
    pub(crate) loss_scale: Cell<f32>,
    /// What steps have waited for encoded pictures that were not in memory.
    pub(crate) waited: Cell<Duration>,
}

/// A micro-batch as the denoiser takes it.
struct Ready {
    input: Noised,
    sizes: Vec<Sizes>,
    side: Side,
}

impl Stepper {
    /// The loss scale to begin with, PyTorch's.
    pub(crate) fn first_loss_scale(base: &Base) -> Cell<f32> {
        Cell::new(if base.dtype == DType::F16 { 65536.0 } else { 1.0 })
    }

    /// After numbers that went over what there is. Returns whether there is a smaller scale to try.
    pub(crate) fn lower_loss_scale(&self) -> bool {
        let scale = self.loss_scale.get();
        self.loss_scale.set((scale / 16.0).max(1.0));
        scale > 1.0
    }

    /// Adds the gradients of a step's micro-batches, times the loss scale, to the adapters' and returns their losses.
    ///
    /// Where weights are streamed all go through a segment before the next is read; otherwise one after the other, which
    /// keeps less. The numbers are the same.
    ///
    /// # Errors
    /// When the device fails, or memory goes over the budget.
    pub(crate) fn step(
        &self,
        batches: &[MicroBatch],
        latents: &LatentCache,
        seed: u64,
        step: u64,
        gauge: &Gauge,
    ) -> Result<Vec<f32>, TrainError> {
        let at_once = if self.together { batches.len() } else { 1 };
        let mut losses = Vec::new();
        for (index, batches) in batches.chunks(at_once.max(1)).enumerate() {
            losses.extend(self.together(batches, latents, seed, [step, (index * at_once) as u64], gauge)?);
        }
        Ok(losses)
    }

    /// `address`: step, and the first micro-batch within it.
    fn together(
        &self,
        batches: &[MicroBatch],
        latents: &LatentCache,
        seed: u64,
        address: [u64; 2],
        gauge: &Gauge,
    ) -> Result<Vec<f32>, TrainError> {
        let [step, first] = address;
        self.set.set_position(step, first);
        let mut ready = Vec::new();
        for (at, batch) in (first..).zip(batches) {
            ready.push(self.prepare(batch, latents, seed, [step, at])?);
        }
        let passes = ready.iter().map(|ready| {
            let (noisy, target, weights) = self.noised(&ready.input);
            let measure = self.measure(&ready.input, weights);
            let wanted = match &self.encoders {
                Some(_) => Wanted { input: false, side: self.denoiser.side_of_text() },
                None => Wanted::default(),
            };
            let scale = self.loss_scale.get();
            let loss: Loss = Box::new(move |output: Tensor<4>| measure.loss(output, target) * scale);
            Batch { input: noisy, side: ready.side.clone(), wanted, loss }
        });
        let ahead = self.prefetch.as_ref().map(|prefetch| |weights| prefetch.read(weights));
        let way = Way {
            segments: self.segments,
            hold: self.hold,
            ahead: ahead.as_ref().map(|ahead| ahead as &dyn Fn(Vec<RawTensor>)),
            go_on: &|| self.budget.is_none_or(|budget| gauge.look() <= budget),
        };
        let outcomes = segmented::backward_all(&*self.denoiser, &way, passes.collect(), first as usize, &self.set)
            .map_err(|Ended| TrainError::OverBudget { used: gauge.look(), budget: self.budget.unwrap_or(0) })?;
        let mut losses = Vec::new();
        for ((at, batch), (ready, outcome)) in (first..).zip(batches).zip(ready.iter().zip(outcomes)) {
            if let Some(encoders) = &self.encoders {
                self.set.set_position(step, at);
                side_backward(&self.set, outcome.side, |cx| {
                    self.side(ready, encoders.encode(cx, &texts(&batch.captions)))
                });
            }
            losses.push(scalar(outcome.loss)? / self.loss_scale.get());
        }
        Ok(losses)
    }

    /// Everything of a micro-batch before the denoiser.
    fn prepare(
        &self,
        batch: &MicroBatch,
        latents: &LatentCache,
        seed: u64,
        address: [u64; 2],
    ) -> Result<Ready, TrainError> {
        let (mut x0, mut noise, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut shape, mut sizes, mut masks) = ([0; 3], Vec::new(), Vec::new());
        for (i, (item, flipped)) in batch.items.iter().zip(&batch.flipped).enumerate() {
            let at = [address[0], address[1], i as u64];
            shape = latents.shape(item.image);
            sizes.push(latents.sizes(item.image, *flipped));
            let mut posterior = Stream::new(seed, Purpose::Posterior, &[batch.epoch, item.key()]);
            let asked = Instant::now();
            x0.extend(latents.latent(item.image, *flipped, Some(&mut posterior))?);
            self.waited.set(self.waited.get() + asked.elapsed());
            noise.extend(noise_of(&self.loss, seed, &at, shape));
            masks.push(latents.mask(item.image, *flipped));
            let mut stream = Stream::new(seed, Purpose::Timestep, &at);
            let (uniform, normal) = (stream.unit(), f64::from(stream.normal()));
            let sampling = timestep_sampling(&self.loss);
            levels.push(self.base.schedule.draw(&sampling, uniform, normal, [shape[1], shape[2]]));
        }
        let input = Noised { x0, noise, levels, shape, mask: joined(&masks, shape[1] * shape[2]) };
        self.set.set_position(address[0], address[1]);
        let text = match &self.encoders {
            Some(encoders) => encoders.encode(&Context::with(&*self.set.plain()), &texts(&batch.captions)),
            None => self.text.batch(&batch.captions)?,
        };
        let mut ready = Ready { input, sizes, side: Side::new() };
        ready.side = self.side(&ready, text);
        Ok(ready)
    }

    fn side(&self, ready: &Ready, text: TextStates) -> Side {
        self.denoiser.side(&ready.input.timesteps(), &self.condition(text, ready.sizes.clone()))
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
        Ok(scalar(self.measure(input, weights).loss(output, target))?)
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

    fn measure(&self, input: &Noised, weights: Vec<f32>) -> Measure {
        let [_, h, w] = input.shape;
        let mask = (!input.mask.is_empty()).then(|| {
            let data = TensorData::new(input.mask.clone(), [input.levels.len(), 1, h, w]);
            Tensor::<4>::from_data(data, (&self.base.device, DType::F32))
        });
        Measure::new(&self.loss, &input.levels, weights, mask)
    }

    /// Input and target of the denoiser, and the weight of each sample's loss.
    pub(crate) fn noised(&self, input: &Noised) -> (Tensor<4>, Tensor<4>, Vec<f32>) {
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

/// The masks of a batch one after the other; pictures without one are learned wholly. Empty where none has one.
pub(crate) fn joined(masks: &[Option<&[f32]>], area: usize) -> Vec<f32> {
    if masks.iter().all(Option::is_none) {
        return Vec::new();
    }
    masks.iter().flat_map(|mask| mask.map_or_else(|| vec![1.0; area], <[f32]>::to_vec)).collect()
}

/// Latents, noise and noise levels of a batch; `shape` is `[channels, height, width]` of each.
pub(crate) struct Noised {
    pub(crate) x0: Vec<f32>,
    pub(crate) noise: Vec<f32>,
    pub(crate) levels: Vec<NoiseLevel>,
    pub(crate) shape: [usize; 3],
    /// `[height, width]` of each, or empty; see [`joined`].
    pub(crate) mask: Vec<f32>,
}

impl Noised {
    /// As the denoiser is told them.
    pub(crate) fn timesteps(&self) -> Vec<f32> {
        self.levels.iter().map(|level| level.timestep as f32).collect()
    }
}
