//! One optimiser step.

use std::collections::BTreeSet;
use std::time::Instant;

use burn::tensor::DType;
use lorikeet_dataset::{Item, caption_for, epoch_batches};
use lorikeet_nn::device;
use lorikeet_protocol::{Event, Step};
use lorikeet_recipe::TrainSettings;

use super::Run;
use crate::meter::resident_bytes;
use crate::optim::{self, AdamWConfig, Gradients};
use crate::step::MicroBatch;
use crate::{Host, TrainError, lr};

impl Run<'_> {
    /// Its micro-batches, then AdamW.
    pub(super) fn one_step(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let begun = Instant::now();
        let epoch = self.step / self.plan.steps_per_epoch;
        let batches = self.micro_batches(epoch);
        self.gauge.take_recent();
        let (loss, mut gradients, norm) = loop {
            match self.gradients(&batches) {
                Err(error) if error.lacks_memory() => {
                    let over_budget = matches!(error, TrainError::OverBudget { .. });
                    if !self.lower(&error.to_string(), true, host)? && !over_budget {
                        return Err(error);
                    }
                }
                other => break other?,
            }
        };
        let (plan, settings) = (&self.plan, &self.plan.settings);
        if !loss.is_finite() || !norm.is_finite() {
            let what = if loss.is_finite() { "gradients" } else { "loss" };
            let pictures = batches.iter().flat_map(|batch| &batch.items);
            let names: BTreeSet<String> = pictures
                .filter_map(|item| self.pictures.train.images.get(item.image))
                .map(|picture| picture.path.display().to_string())
                .collect();
            return Err(TrainError::Diverged {
                what,
                step: self.step + 1,
                pictures: names.into_iter().collect::<Vec<_>>().join(", "),
                last_save: self.last_save.clone(),
                f16: self.stepper.base.dtype == DType::F16,
            });
        }
        if let Some(limit) = settings.train.clip_norm {
            optim::clip(&mut gradients, norm, limit);
        }
        let train = &settings.train;
        let factor = lr::factor(train.schedule, self.step, plan.steps, train.warmup);
        let config = AdamWConfig {
            beta1: train.beta1,
            beta2: train.beta2,
            epsilon: train.epsilon,
            weight_decay: train.weight_decay,
        };
        self.adamw.step(&config, &mut self.stepper.set, gradients, |name| rate(train, name) * factor);
        self.step += 1;
        let smoothed = self.loss.add(loss);
        let seconds = begun.elapsed().as_secs_f64();
        self.pace.push(seconds);
        let latest = &self.pace[self.pace.len().saturating_sub(20)..];
        let mean = latest.iter().sum::<f64>() / latest.len() as f64;
        let reserved = device::memory_reserved(&self.stepper.base.device);
        self.device_peak = self.device_peak.max(reserved);
        host.event(Event::Step(Step {
            step: self.step,
            steps: plan.steps,
            epoch: epoch + 1,
            epochs: plan.epochs,
            loss,
            smoothed,
            learning_rate: train.learning_rate * factor,
            grad_norm: norm,
            seconds,
            seconds_left: self.beside.left(&plan.settings, self.step, plan.steps, mean),
            memory_bytes: resident_bytes(),
            device_memory_bytes: device::memory_in_use(&self.stepper.base.device),
        }));
        self.lower_if_the_step_came_too_far(host)
    }

    /// Loss, gradients and their norm, as means over the micro-batches.
    fn gradients(&self, batches: &[MicroBatch]) -> Result<(f32, Gradients, f32), TrainError> {
        let count = batches.len();
        let seed = self.plan.settings.train.seed;
        loop {
            let losses = self.stepper.step(batches, &self.latents, seed, self.step, &self.gauge)?;
            // Before the LoRA learns from weights that are no longer the base's.
            self.stepper.base.unchanged()?;
            let loss: f32 = losses.iter().map(|loss| loss / count as f32).sum();
            let mut gradients = self.stepper.set.take_gradients();
            let times = count as f64 * f64::from(self.stepper.loss_scale.get());
            if times > 1.0 {
                for gradient in gradients.values_mut().flatten() {
                    *gradient = gradient.clone() / times;
                }
            }
            let norm = optim::global_norm(&gradients)?;
            // The same step again: its pictures and noise depend on its number alone.
            if (loss.is_finite() && norm.is_finite()) || !self.stepper.lower_loss_scale() {
                return Ok((loss, gradients, norm));
            }
        }
    }

    /// What a step had between two blocks shows only in the gauge, and what a card had only in its pools.
    fn lower_if_the_step_came_too_far(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let own = (self.gauge.take_recent(), self.stepper.budget);
        let pools = (device::memory_reserved(&self.stepper.base.device).unwrap_or(0), self.card_budget);
        match over([own, pools]) {
            Some((used, budget)) if self.step < self.plan.steps => {
                let why = TrainError::OverBudget { used, budget }.to_string();
                self.lower(&why, false, host).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// What the next step trains on.
    fn micro_batches(&self, epoch: u64) -> Vec<MicroBatch> {
        let train = &self.plan.settings.train;
        let images = &self.pictures.train.images;
        let buckets: Vec<(u32, u32)> = self.pictures.train_placements.iter().map(|place| place.bucket).collect();
        let repeats: Vec<u32> = images.iter().map(|picture| picture.repeats).collect();
        let batches = epoch_batches(&buckets, &repeats, train.batch as usize, train.seed, epoch);
        let each = train.accumulation as usize;
        // Pictures that could not be decoded make an epoch shorter than planned: it starts over.
        let first = (self.step % self.plan.steps_per_epoch) as usize * each;
        let place = |offset: usize| (first + offset) % batches.len().max(1);
        let last = (batches.len().saturating_sub(first)).clamp(1, each);
        let flip = self.plan.settings.dataset.flip;
        (0..last)
            .filter_map(|offset| batches.get(place(offset)))
            .map(|items| MicroBatch {
                captions: items.iter().map(|item| self.caption(item, epoch)).collect(),
                flipped: items.iter().map(|item| flip && item.flipped(train.seed, epoch)).collect(),
                items: items.clone(),
                epoch,
            })
            .collect()
    }

    fn caption(&self, item: &Item, epoch: u64) -> String {
        let picture = &self.pictures.train.images[item.image];
        caption_for(picture, &self.pictures.captions, self.plan.settings.train.seed, epoch, item.key())
    }
}

/// Of an adapted layer, before the schedule. Layers of SDXL's second text encoder are `text_encoder_2.`.
fn rate(train: &TrainSettings, layer: &str) -> f64 {
    if layer.starts_with("text_encoder") { train.text_encoder_lr } else { train.learning_rate }
}

/// The first of some uses that goes over its budget, and that budget.
fn over(uses: [(u64, Option<u64>); 2]) -> Option<(u64, u64)> {
    uses.into_iter().find_map(|(used, budget)| budget.filter(|budget| used > *budget).map(|budget| (used, budget)))
}

#[cfg(test)]
mod tests {
    use lorikeet_recipe::{Recipe, example, settings};

    use super::*;
    use crate::testing::{Recorder, picture, recipe};

    /// f32 is pushed over what it holds, as f16 is by less.
    #[test]
    fn a_loss_scale_changes_no_number_and_is_lowered_until_all_is_finite() {
        let folder = tempfile::tempdir().unwrap();
        for (name, tint) in [("a.png", 40), ("b.png", 200)] {
            picture(folder.path(), name, 64, tint, "a drawing");
        }
        let mut recipe = recipe(folder.path());
        recipe.set_text("train.batch", "1").unwrap();
        recipe.set_text("train.accumulation", "2").unwrap();
        let run_dir = tempfile::tempdir().unwrap();
        let mut host = Recorder::default();
        let run = Run::prepare(&recipe, run_dir.path(), None, &mut host).unwrap();
        let batches = run.micro_batches(0);
        assert_eq!((batches.len(), run.stepper.loss_scale.get()), (2, 1.0));
        let numbers = |gradients: Gradients| -> Vec<f32> {
            gradients.into_values().flatten().flat_map(|t| t.into_data().iter::<f32>().collect::<Vec<_>>()).collect()
        };
        let (loss, gradients, norm) = run.gradients(&batches).unwrap();
        let plain = numbers(gradients);
        assert!(plain.iter().any(|number| *number != 0.0));
        for exponent in [16, 127] {
            let scale = 2f32.powi(exponent);
            run.stepper.loss_scale.set(scale);
            let (scaled_loss, gradients, scaled_norm) = run.gradients(&batches).unwrap();
            assert_eq!((scaled_loss, scaled_norm), (loss, norm), "2^{exponent}");
            assert_eq!(numbers(gradients), plain, "2^{exponent}");
            assert_eq!(run.stepper.loss_scale.get() < scale, exponent == 127);
        }
    }

    #[test]
    fn a_card_is_over_by_its_pools_and_the_processor_by_what_it_has_for_itself() {
        assert_eq!(over([(9, Some(10)), (99, None)]), None);
        assert_eq!(over([(11, Some(10)), (0, None)]), Some((11, 10)));
        assert_eq!(over([(99, None), (24, Some(24))]), None);
        assert_eq!(over([(99, None), (25, Some(24))]), Some((25, 24)));
    }

    #[test]
    fn every_text_encoder_has_the_rate_of_text_encoders() {
        let mut train = settings(&Recipe::default(), &example::sdxl_base()).unwrap().train;
        (train.learning_rate, train.text_encoder_lr) = (1e-3, 1e-5);
        let of = |layer| rate(&train, layer);
        assert_eq!(of("unet.mid_block.attentions.0.proj_in"), 1e-3);
        assert_eq!(of("transformer.double_blocks.0.txt_mod.lin"), 1e-3);
        assert_eq!(of("text_encoder.text_model.encoder.layers.0.mlp.fc1"), 1e-5);
        assert_eq!(of("text_encoder_2.text_model.encoder.layers.0.mlp.fc1"), 1e-5);
    }
}
