//! A run from the recipe to the exported LoRA.

mod ask;
mod lower;
mod start;
mod step;
mod time_left;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lorikeet_nn::DeviceKind;
use lorikeet_protocol::{Command, Event, ExportDtype, ExportRequest, Stage};
use lorikeet_recipe::{Optimiser, Plan, Quantise, Recipe, SaveDtype};

use crate::export::{rescue, to_modules};
use crate::facts::recipe_model;
use crate::family::CaptionLength;
use crate::load::LoadWatch;
use crate::meter::{Gauge, SmoothedLoss};
use crate::optim::AdamW;
use crate::previews::Previews;
use crate::prompts::Prompts;
use crate::save::{self, Saved};
use crate::setup::{adapters, segments, text_cache};
use crate::step::Stepper;
use crate::validate::Validation;
use crate::{
    Base, Host, LatentCache, Pictures, RunFacts, TrainError, base_facts, cache_folder, cache_latents, choose_device,
    export, pictures, plan_for, probe,
};
use time_left::{Beside, timed};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub run_dir: PathBuf,
    pub step: u64,
    /// The LoRA for other programs; none when it was stopped before the first step.
    pub lora: Option<PathBuf>,
    pub seconds: f64,
}

/// What part of the time of its steps a run waited for encoded pictures, in words. Nothing after a resume of no steps.
fn waiting(waited: f64, steps: f64) -> Option<String> {
    let share = waited / steps;
    let advice = if share > 0.05 { ": the disk that holds the caches is slow beside the steps" } else { "" };
    share.is_finite().then(|| format!("Steps waited for encoded pictures {:.1} % of their time{advice}", 100.0 * share))
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
    beside: Beside,
    gauge: Gauge,
    _load: LoadWatch,
    /// What the memory pools of a card may hold: one that spills into the computer's memory does not fail, it is slow.
    card_budget: Option<u64>,
    /// The most that the device's memory pools had after a step, where they tell.
    device_peak: Option<u64>,
}

impl<'a> Run<'a> {
    fn prepare(
        recipe: &Recipe,
        run_dir: &'a Path,
        saved: Option<Saved>,
        host: &mut dyn Host,
    ) -> Result<Self, TrainError> {
        let started = Instant::now();
        let gauge = Gauge::start();
        host.event(Event::Stage { stage: Stage::ScanDataset, done: 0, total: 0 });
        let mut plan = probe(recipe)?;
        let settings = &plan.settings;
        host.event(Event::Planned { plan: Box::new(plan.clone()) });
        let step = saved.as_ref().map_or(0, |saved| saved.step);
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: step });
        for message in &plan.warnings {
            host.event(Event::Warning { message: message.clone() });
        }
        start::check_room(&plan)?;

        let device = choose_device(&settings.run.device)?;
        if !settings.run.fusion && !lorikeet_nn::device::without_fusion() {
            let message =
                "kernel fusion stays on: this program has computed on a card before. Start it anew to turn it off";
            host.event(Event::Warning { message: message.to_owned() });
        }
        let load = LoadWatch::start(device, &*host);
        let mut base = Base::new(recipe_model(recipe)?, device)?;
        base.set_precision(settings.run.precision);
        base.set_storage(plan.placement, plan.quantise, settings.base.quantise_text);
        base.caption = CaptionLength {
            clip_rows: settings.dataset.caption_rows as usize,
            t5_tokens: Some(settings.dataset.t5_tokens as usize).filter(|tokens| *tokens > 0),
        };
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
        let flip = settings.dataset.flip;
        let [mut latents, mut held_out] = cache_latents(&base, &mut pictures, flip, &cache, host)?;
        if let Some(outside) = settings.dataset.masks {
            latents.set_masks(&pictures.train.images, flip, outside)?;
            held_out.set_masks(&pictures.validation.images, false, outside)?;
        }
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
        let prompts = Prompts::load(run_dir, &settings.sample.prompts);
        let drawn = prompts.get(prompts.now());
        let text = text_cache(&base, &plan, &pictures, &drawn, &cache, host)?;
        // What encoders leave behind is not kept beside the denoiser.
        lorikeet_nn::device::release_memory(&base.device);

        host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
        let denoiser = base.load_denoiser()?;
        let encoders = if settings.network.text_encoder { Some(base.load_text()?) } else { None };
        let set = adapters(&plan, &base, &*denoiser, encoders.as_deref());
        let on_card = base.kind != DeviceKind::Cpu;
        let mut stepper = Stepper {
            denoiser,
            encoders,
            set,
            text,
            segments: segments(&plan),
            together: plan.placement != lorikeet_recipe::Placement::Resident,
            hold: on_card,
            prefetch: start::prefetch(&plan),
            // A card tells by failing.
            budget: (!on_card).then_some(plan.budget_bytes),
            loss: settings.loss.clone(),
            loss_scale: Stepper::first_loss_scale(&base),
            waited: Cell::default(),
            base,
        };
        if plan.quantise != Quantise::None && step == 0 {
            start::tell_quantisation_error(&mut stepper, &plan, &pictures, &latents, host)?;
        }
        let eight_bit = settings.train.optimiser == Optimiser::AdamW8Bit;
        let mut adamw = AdamW { eight_bit, ..AdamW::default() };
        let (mut base_loss, mut loss) = (None, SmoothedLoss::default());
        let mut last_save = None;
        if let Some(saved) = saved {
            saved.put_into(&mut stepper.set, &mut adamw, &stepper.base.device)?;
            (base_loss, loss) = (saved.base_loss, saved.loss);
            last_save = Some(saved.path);
        }
        let validation = Validation::new(&pictures, held_out, base_loss);
        let previews = Previews::new(run_dir, settings, prompts);
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
            beside: Beside::default(),
            gauge,
            _load: load,
            device_peak: None,
            card_budget: on_card.then(|| plan.settings.train.memory_limit.unwrap_or(plan.memory_bytes)),
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
        if let Err(error) = self.save(host) {
            self.rescue(host);
            return Err(error);
        }
        host.event(Event::Stage { stage: Stage::Save, done: 0, total: 0 });
        let dtype = match self.plan.settings.save.dtype {
            SaveDtype::F16 => ExportDtype::F16,
            SaveDtype::Bf16 => ExportDtype::Bf16,
            SaveDtype::F32 => ExportDtype::F32,
        };
        let (run_dir, to) = (self.run_dir.to_owned(), self.run_dir.to_owned());
        let exported = export(&ExportRequest { run_dir, step: Some(self.step), to, dtype, ..Default::default() })?;
        host.event(Event::Exported { path: exported.path.clone(), modules: exported.modules });
        let measured_bytes = self.device_peak.unwrap_or_else(|| self.gauge.peak());
        host.event(Event::Memory { measured_bytes, planned_bytes: self.plan.memory.needed_bytes });
        if let Some(message) = waiting(self.stepper.waited.get().as_secs_f64(), self.pace.iter().sum()) {
            host.event(Event::Note { message });
        }
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(Done { run_dir: self.run_dir.to_owned(), step: self.step, lora: Some(exported.path), seconds })
    }

    fn validate(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        let Some(validation) = &mut self.validation else { return Ok(()) };
        let (measured, seconds) = timed(|| validation.measure(&self.stepper, host));
        let (loss, base_loss) = measured?;
        self.beside.validation = seconds;
        host.event(Event::Validation { step: self.step, loss, base_loss });
        Ok(())
    }

    fn draw(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        if !self.previews.regular() {
            return Ok(());
        }
        let at = (self.step, self.epoch());
        let (drawn, seconds) = timed(|| self.previews.draw(&self.stepper, self.previews.prompts.now(), at, host));
        self.beside.previews = seconds;
        drawn
    }

    fn epoch(&self) -> u64 {
        self.step.div_ceil(self.plan.steps_per_epoch)
    }

    fn save(&mut self, host: &mut dyn Host) -> Result<(), TrainError> {
        if self.last_save.as_deref() == Some(&*save::folder(self.run_dir, self.step)) {
            return Ok(());
        }
        let base_loss = self.validation.as_ref().and_then(Validation::base_loss);
        let facts = save::Facts { step: self.step, base_loss, loss: self.loss };
        let keep = self.plan.settings.save.keep as usize;
        let (written, seconds) = timed(|| save::write(self.run_dir, &facts, &self.stepper.set, &self.adamw, keep));
        let path = written?;
        self.beside.save = seconds;
        self.last_save = Some(path.clone());
        host.event(Event::Saved { step: self.step, path });
        Ok(())
    }

    /// The last save failed: what was learned since the one before must not be lost with it.
    fn rescue(&self, host: &mut dyn Host) {
        let modules = to_modules(&self.stepper.set);
        let message = match modules.ok().and_then(|modules| rescue(self.run_dir, &self.plan, &modules, self.step)) {
            Some(path) => format!("what was learned by step {} is kept as a LoRA: {}", self.step, path.display()),
            None => format!("what was learned by step {} could not be kept anywhere: no disk has room", self.step),
        };
        host.event(Event::Warning { message });
    }

    /// A save that fails in the middle of a run costs that save, not the run.
    fn save_or_warn(&mut self, host: &mut dyn Host) {
        if let Err(error) = self.save(host) {
            let earlier = if self.last_save.is_some() { "earlier ones are intact" } else { "there is no earlier one" };
            let message = format!("this save failed, {earlier}, training goes on: {error}");
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
                Command::SamplePrompts { prompts } => self.draw_these(&prompts, host)?,
                Command::SetPrompts { prompts } => self.set_prompts(&prompts, host),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::waiting;

    #[test]
    fn waiting_is_told_as_a_part_of_the_time_of_steps() {
        assert_eq!(waiting(0.05, 100.0).as_deref(), Some("Steps waited for encoded pictures 0.1 % of their time"));
        assert!(waiting(20.0, 100.0).is_some_and(|told| told.contains("20.0 %") && told.contains("disk")));
        assert_eq!(waiting(0.0, 0.0), None);
    }
}
