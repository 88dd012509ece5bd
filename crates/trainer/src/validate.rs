//! Loss on pictures that are not trained on, comparable from step to step and from run to run.

use lorikeet_adapters::LoraSet;
use lorikeet_dataset::{CaptionRules, caption_for};
use lorikeet_protocol::{Event, Stage};
use lorikeet_seeded::{Purpose, Stream};

use crate::step::{Noised, Stepper, joined};
use crate::{Host, LatentCache, Pictures, TrainError};

/// Noise levels at which every picture is measured, in the middle of equal parts of the schedule.
const LEVELS: usize = 4;
/// Not the run's seed: two runs are measured alike.
const SEED: u64 = 0;

pub(crate) struct Validation {
    latents: LatentCache,
    captions: Vec<String>,
    base_loss: Option<f32>,
}

impl Validation {
    /// `base_loss`: of the untouched base, if it was measured before.
    pub(crate) fn new(pictures: &Pictures, latents: LatentCache, base_loss: Option<f32>) -> Option<Self> {
        let rules = CaptionRules { shuffle: false, dropout: 0.0, ..pictures.captions.clone() };
        let captions = pictures.validation.images.iter().map(|picture| caption_for(picture, &rules, 0, 0, 0)).collect();
        (!latents.is_empty()).then_some(Self { latents, captions, base_loss })
    }

    pub(crate) fn base_loss(&self) -> Option<f32> {
        self.base_loss
    }

    /// The loss now, and that of the base: weighted like training, over all pictures and noise levels.
    pub(crate) fn measure(&mut self, stepper: &Stepper, host: &mut dyn Host) -> Result<(f32, f32), TrainError> {
        let base_loss = match self.base_loss {
            Some(loss) => loss,
            None => {
                let none = LoraSet::from_modules(std::collections::BTreeMap::new());
                let loss = self.mean(stepper, &none, host)?;
                self.base_loss = Some(loss);
                loss
            }
        };
        Ok((self.mean(stepper, &stepper.set, host)?, base_loss))
    }

    fn mean(&self, stepper: &Stepper, set: &LoraSet, host: &mut dyn Host) -> Result<f32, TrainError> {
        let total = self.latents.len() as u64;
        let deltas = set.deltas(1.0);
        let mut sum = 0.0;
        for (index, caption) in self.captions.iter().enumerate() {
            host.event(Event::Stage { stage: Stage::Validate, done: index as u64, total });
            let shape = self.latents.shape(index);
            let latent = self.latents.latent(index, false, None)?;
            let mask = joined(&[self.latents.mask(index, false); LEVELS], shape[1] * shape[2]);
            let mut input = Noised { x0: Vec::new(), noise: Vec::new(), levels: Vec::new(), shape, mask };
            for level in 0..LEVELS {
                input.x0.extend(&latent);
                let at = [index as u64, level as u64];
                input.noise.extend(Stream::new(SEED, Purpose::ValidationNoise, &at).normals(latent.len()));
                let part = (2 * level + 1) as f64 / (2 * LEVELS) as f64;
                input.levels.push(stepper.base.schedule.level(part));
            }
            let text = stepper.states(&vec![caption.clone(); LEVELS], &deltas)?;
            let condition = stepper.condition(text, vec![self.latents.sizes(index, false); LEVELS]);
            sum += f64::from(stepper.loss_of(&input, &condition, &deltas)?);
        }
        Ok((sum / total.max(1) as f64) as f32)
    }
}
