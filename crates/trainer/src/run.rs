//! A run from the recipe to the exported LoRA.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lorikeet_dataset::{Item, caption_for, epoch_batches};
use lorikeet_protocol::{Command, Event, ExportDtype, ExportRequest, Stage, Step};
use lorikeet_recipe::{Plan, Recipe, SaveDtype};

use crate::facts::recipe_model;
use crate::meter::{SmoothedLoss, resident_bytes};
use crate::optim::{self, AdamW, AdamWConfig};
use crate::previews::Previews;
use crate::save::{self, Saved};
use crate::setup::{adapters, segments, text_cache};
use crate::step::{MicroBatch, Stepper};
use crate::validate::Validation;
use crate::{
    Base, Host, LatentCache, Pictures, RunFacts, TrainError, base_facts, cache_folder, cache_latents, choose_device,
    export, lr, pictures, plan_for, probe,
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub run_dir: PathBuf,
    pub step: u64,
    /// The LoRA for other programs; none when it was stopped before the first step.
    pub lora: Option<PathBuf>,
    pub seconds: f64,
}

/// Trains in an empty run folder that exists and is nobody else's. Tells everything but the end, which is the result.
///
/// # Errors
/// When something it needs cannot be used, or when the loss is no longer a number.
pub fn train(recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, TrainError> {
    run(recipe, run_dir, None, host)
}

/// Goes on from the last save of a run; from its start if there is none yet. Losses are those of a run that was never
/// interrupted.
///
/// # Errors
/// As [`train`], and when the folder is no run of ours or its save is damaged.
pub fn resume(run_dir: &Path, host: &mut dyn Host) -> Result<Done, TrainError> {
    let recipe = Recipe::load(&run_dir.join("recipe.toml"))?;
    let saved = save::load_last(run_dir, host)?;
    run(&recipe, run_dir, saved, host)
}

fn run(recipe: &Recipe, run_dir: &Path, saved: Option<Saved>, host: &mut dyn Host) -> Result<Done, TrainError> {
    let started = Instant::now();
    let stopped_early =
        || Done { run_dir: run_dir.to_owned(), step: 0, lora: None, seconds: started.elapsed().as_secs_f64() };
    match Run::prepare(recipe, run_dir, saved, host).and_then(|mut run| run.finish(host)) {
        Err(TrainError::Stopped) => Ok(stopped_early()),
        other => other,
    }
}

/// Everything that lives through the steps.
struct Run<'a> {
    run_dir: &'a Path,
    plan: Plan,
    pictures: Pictures,
    stepper: Stepper,
    latents: LatentCache,
    validation: Option<Validation>,
    previews: Previews,
    adamw: AdamW,
    /// Steps done.
    step: u64,
    last_save: Option<PathBuf>,
    loss: SmoothedLoss,
    started: Instant,
    /// Seconds of the latest steps.
    pace: Vec<f64>,
}

impl<'a> Run<'a> {
    fn prepare(
        recipe: &Recipe,
        run_dir: &'a Path,
        saved: Option<Saved>,
        host: &mut dyn Host,
    ) -> Result<Self, TrainError> {
        let started = Instant::now();
        host.event(Event::Stage { stage: Stage::ScanDataset, done: 0, total: 0 });
        let mut plan = probe(recipe)?;
        let settings = &plan.settings;
        host.event(Event::Planned { plan: Box::new(plan.clone()) });
        let step = saved.as_ref().map_or(0, |saved| saved.step);
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: step });
        for message in &plan.warnings {
            host.event(Event::Warning { message: message.clone() });
        }

        let mut base = Base::new(recipe_model(recipe)?, choose_device(&settings.run.device)?)?;
        base.set_storage(plan.placement, plan.quantise);
        base.set_loss(&settings.loss)?;
        for message in &base.model.warnings {
            host.event(Event::Warning { message: message.clone() });
        }
        let mut pictures = pictures(settings)?;
        for left in &pictures.train.skipped {
            host.event(Event::Warning { message: format!("left out: {}: {}", left.reason, left.path.display()) });
        }
        for message in &pictures.train.warnings {
            host.event(Event::Warning { message: message.clone() });
        }
        let cache = cache_folder();
        let seen = pictures.train.images.len() + pictures.validation.images.len();
        let [latents, held_out] = cache_latents(&base, &mut pictures, settings.dataset.flip, &cache, host)?;
        if pictures.train.images.len() + pictures.validation.images.len() < seen {
            // Broken pictures show only when they are decoded: epochs are shorter than planned.
            plan = plan_for(recipe, &base_facts(&base.model)?, &pictures)?;
            host.event(Event::Planned { plan: Box::new(plan.clone()) });
        }
        let settings = &plan.settings;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        if saved.is_none() {
            RunFacts::gather(&base, &pictures, now).save(run_dir)?;
        }
        let text = text_cache(&base, &plan, &pictures, &cache, host)?;

        host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
        let denoiser = base.load_denoiser()?;
        let encoders = if settings.network.text_encoder { Some(base.load_text()?) } else { None };
        let set = adapters(&plan, &base, &*denoiser, encoders.as_deref());
        let mut stepper =
            Stepper { base, denoiser, encoders, set, text, segments: segments(&plan), loss: settings.loss.clone() };
        let mut adamw = AdamW::default();
        let (mut base_loss, mut loss) = (None, SmoothedLoss::default());
        let mut last_save = None;
        if let Some(saved) = saved {
            saved.put_into(&mut stepper.set, &mut adamw, &stepper.base.device)?;
            (base_loss, loss) = (saved.base_loss, saved.loss);
            last_save = Some(saved.path);
        }
        let validation = Validation::new(&pictures, held_out, base_loss);
        let previews = Previews::new(run_dir, settings);
        Ok(Self {
            run_dir,
            pictures,
            stepper,
            latents,
            validation,
            previews,
            adamw,
            step,
            last_save,
            loss,
            started,
            pace: Vec::new(),
            plan,
        })
    }

    fn finish(&mut self, host: &mut dyn Host) -> Result<Done, TrainError> {
        if self.step == 0 {
            self.validate(host)?;
            self.draw(host)?;
        }
        host.event(Event::Stage { stage: Stage::Train, done: self.step, total: self.plan.steps });
        let mut stop = false;
        while self.step < self.plan.steps && !stop {
            self.one_step(host)?;
            let settings = &self.plan.settings;
            let due = |every: u64| every > 0 && self.step.is_multiple_of(every);
            let end = self.step == self.plan.steps;
            let validate = due(settings.validation.every) || (end && settings.validation.every > 0);
            let draw = due(settings.sample.every_steps) || (end && settings.sample.every > 0);
            let save = due(settings.save.every) && !end;
            if validate {
                self.validate(host)?;
            }
            if draw {
                self.draw(host)?;
            }
            if save {
                self.save_or_warn(host);
            }
            stop = self.obey(host)?;
        }
        if self.step == 0 {
            return Err(TrainError::Stopped);
        }
        self.save(host)?;
        host.event(Event::Stage { stage: Stage::Save, done: 0, total: 0 });
        let dtype = match self.plan.settings.save.dtype {
            SaveDtype::F16 => ExportDtype::F16,
            SaveDtype::Bf16 => ExportDtype::Bf16,
            SaveDtype::F32 => ExportDtype::F32,
        };
        let (run_dir, to) = (self.run_dir.to_owned(), self.run_dir.to_owned());
        let exported = export(&ExportRequest { run_dir, step: Some(self.step), to, dtype, ..Default::default() })?;
        host.event(Event::Exported { path: exported.path.clone(), modules: exported.modules });
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(Done { run_dir: self.run_dir.to_owned(), step: self.step, lora: Some(exported.path), seconds })
    }

    /// One optimiser step: its micro-batches, then AdamW.
    fn one_step(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let begun = Instant::now();
        let plan = &self.plan;
        let settings = &plan.settings;
        let epoch = self.step / plan.steps_per_epoch;
        let batches = self.micro_batches(epoch);
        let count = batches.len();
        let mut loss = 0.0;
        for (index, batch) in batches.iter().enumerate() {
            let address = [self.step, index as u64];
            loss += self.stepper.micro_batch(batch, &self.latents, settings.train.seed, address)? / count as f32;
        }
        let mut gradients = self.stepper.set.take_gradients();
        if count > 1 {
            for gradient in gradients.values_mut().flatten() {
                *gradient = gradient.clone() / count as f64;
            }
        }
        let norm = optim::global_norm(&gradients)?;
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
        self.adamw.step(&config, &mut self.stepper.set, gradients, |name| {
            let rate = if name.starts_with("text_encoder.") { train.text_encoder_lr } else { train.learning_rate };
            rate * factor
        });
        self.step += 1;
        let smoothed = self.loss.add(loss);
        let seconds = begun.elapsed().as_secs_f64();
        self.pace.push(seconds);
        let latest = &self.pace[self.pace.len().saturating_sub(20)..];
        let mean = latest.iter().sum::<f64>() / latest.len() as f64;
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
            seconds_left: mean * (plan.steps - self.step) as f64,
            memory_bytes: resident_bytes(),
            device_memory_bytes: lorikeet_nn::device::memory_in_use(&self.stepper.base.device),
        }));
        Ok(())
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

    fn validate(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let Some(validation) = &mut self.validation else { return Ok(()) };
        let (loss, base_loss) = validation.measure(&self.stepper, host)?;
        host.event(Event::Validation { step: self.step, loss, base_loss });
        Ok(())
    }

    fn draw(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let epoch = self.step.div_ceil(self.plan.steps_per_epoch);
        self.previews.draw(&self.stepper, self.step, epoch, host)
    }

    fn save(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        if self.last_save.as_deref() == Some(&*save::folder(self.run_dir, self.step)) {
            return Ok(());
        }
        let base_loss = self.validation.as_ref().and_then(Validation::base_loss);
        let facts = save::Facts { step: self.step, base_loss, loss: self.loss };
        let keep = self.plan.settings.save.keep as usize;
        let path = save::write(self.run_dir, &facts, &self.stepper.set, &self.adamw, keep)?;
        self.last_save = Some(path.clone());
        host.event(Event::Saved { step: self.step, path });
        Ok(())
    }

    /// A save that fails in the middle of a run costs that save, not the run.
    fn save_or_warn(&mut self, host: &mut dyn Host) {
        if let Err(error) = self.save(host) {
            let message = format!("this save failed, earlier ones are intact, training goes on: {error}");
            host.event(Event::Warning { message });
        }
    }

    /// Carries out what was asked for during the step. Returns whether to stop.
    fn obey(&mut self, host: &mut dyn Host) -> Result<bool, TrainError> {
        let mut paused = false;
        loop {
            let command = if paused {
                match host.wait() {
                    Some(command) => command,
                    None => return Ok(true),
                }
            } else {
                match host.command() {
                    Some(command) => command,
                    None => return Ok(false),
                }
            };
            match command {
                Command::Stop => return Ok(true),
                Command::Pause if !paused => {
                    paused = true;
                    self.save_or_warn(host);
                    host.event(Event::Paused { step: self.step });
                }
                Command::Resume if paused => {
                    paused = false;
                    host.event(Event::Resumed { step: self.step });
                }
                Command::SaveNow => self.save_or_warn(host),
                Command::SampleNow => self.draw(host)?,
                _ => {}
            }
        }
    }
}
