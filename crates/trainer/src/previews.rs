//! Pictures drawn during a run, from the same noise every time.

use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_adapters::LoraSet;
use lorikeet_protocol::{Event, Sample, Stage, UsedLora};
use lorikeet_recipe::{PlanSettings, SampleSettings};

use crate::draw::png;
use crate::prompts::Prompts;
use crate::step::Stepper;
use crate::{DrawSettings, Host, Painter, TrainError};

pub(crate) struct Previews {
    folder: PathBuf,
    settings: SampleSettings,
    /// Of the LoRA, for the pictures' metadata.
    name: String,
    pub(crate) prompts: Prompts,
}

impl Previews {
    pub(crate) fn new(run_dir: &Path, settings: &PlanSettings, prompts: Prompts) -> Self {
        let (sample, name) = (settings.sample.clone(), settings.save.name.clone());
        Self { folder: run_dir.join("samples"), settings: sample, name, prompts }
    }

    /// Whether the recipe wants regular previews.
    pub(crate) fn regular(&self) -> bool {
        self.settings.every > 0
    }

    /// Draws the prompts at these places; at step 0 with the untouched base. The decoder is loaded for it and dropped
    /// again. A prompt that is drawn for the first time later is drawn with the base too, to compare with.
    pub(crate) fn draw(
        &self,
        stepper: &Stepper,
        places: &[usize],
        (step, epoch): (u64, u64),
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        let new: Vec<usize> =
            places.iter().copied().filter(|place| step > 0 && !self.path(0, *place).exists()).collect();
        self.draw_at(stepper, &new, (0, 0), host)?;
        self.draw_at(stepper, places, (step, epoch), host)
    }

    fn path(&self, step: u64, place: usize) -> PathBuf {
        self.folder.join(format!("step-{step:06}-prompt-{:02}.png", place + 1))
    }

    fn draw_at(
        &self,
        stepper: &Stepper,
        places: &[usize],
        (step, epoch): (u64, u64),
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        if places.is_empty() {
            return Ok(());
        }
        let prompts = self.prompts.get(places);
        fs::create_dir_all(&self.folder).map_err(|e| TrainError::io("make the folder", &self.folder, e))?;
        let vae = stepper.base.load_vae()?;
        let painter = Painter { base: &stepper.base, denoiser: &*stepper.denoiser, vae: &vae };
        let none = LoraSet::from_modules(std::collections::BTreeMap::new());
        let set = if step == 0 { &none } else { &stepper.set };
        let deltas = set.deltas(1.0);
        let negative = stepper.states(std::slice::from_ref(&self.settings.negative), &deltas)?;
        for (at, (place, prompt)) in places.iter().copied().zip(&prompts).enumerate() {
            // Every prompt has noise of its own, the same at every step.
            let mut settings = DrawSettings::from(&self.settings);
            settings.seed = self.settings.seed.wrapping_add(place as u64);
            let states = stepper.states(std::slice::from_ref(prompt), &deltas)?;
            let steps = settings.steps;
            let total = (prompts.len() * steps) as u64;
            let picture = painter.draw(Some(&deltas), &states, &negative, &settings, &mut |done| {
                host.event(Event::Stage { stage: Stage::Sample, done: (at * steps + done) as u64, total });
                Ok(())
            })?;
            let mut told = settings.told(&stepper.base, prompt, &self.settings.negative);
            told.step = Some(step);
            if step > 0 {
                // As an export of this step is called.
                told.loras.push(UsedLora { name: format!("{}-step{step}", self.name), strength: 1.0 });
            }
            let path = self.path(step, place);
            let bytes = png(&picture, &told)?;
            // A disk without room costs the picture, not the run.
            match lorikeet_checkpoint::write_atomically(&path, |out| std::io::Write::write_all(out, &bytes)) {
                Ok(()) => host.event(Event::Sample(Sample {
                    step,
                    epoch,
                    prompt_index: place,
                    prompt: prompt.clone(),
                    seed: settings.seed,
                    path,
                })),
                Err(error) => host.event(Event::Warning { message: format!("a preview was not kept: {error}") }),
            }
        }
        Ok(())
    }
}
