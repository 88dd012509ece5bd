//! Pictures drawn during a run, from the same noise every time.

use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_adapters::LoraSet;
use lorikeet_protocol::{Event, Sample, Stage};
use lorikeet_recipe::{PlanSettings, SampleSettings};

use crate::step::Stepper;
use crate::{DrawSettings, DrawnFrom, Host, Painter, TrainError, png_bytes};

pub(crate) struct Previews {
    folder: PathBuf,
    settings: SampleSettings,
    /// Of the LoRA, for the pictures' metadata.
    name: String,
}

impl Previews {
    pub(crate) fn new(run_dir: &Path, settings: &PlanSettings) -> Self {
        Self { folder: run_dir.join("samples"), settings: settings.sample.clone(), name: settings.save.name.clone() }
    }

    /// Draws every prompt; at step 0 with the untouched base. The decoder is loaded for it and dropped again.
    pub(crate) fn draw(&self, stepper: &Stepper, step: u64, epoch: u64, host: &mut dyn Host) -> Result<(), TrainError> {
        let prompts = &self.settings.prompts;
        if self.settings.every == 0 || prompts.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|e| TrainError::io("make the folder", &self.folder, e))?;
        let vae = stepper.base.load_vae()?;
        let painter = Painter { base: &stepper.base, denoiser: &*stepper.denoiser, vae: &vae };
        let none = LoraSet::from_modules(std::collections::BTreeMap::new());
        let set = if step == 0 { &none } else { &stepper.set };
        let deltas = set.deltas(1.0);
        let negative = stepper.states(std::slice::from_ref(&self.settings.negative), &deltas)?;
        for (index, prompt) in prompts.iter().enumerate() {
            // Every prompt has noise of its own, the same at every step.
            let mut settings = DrawSettings::from(&self.settings);
            settings.seed = self.settings.seed.wrapping_add(index as u64);
            let states = stepper.states(std::slice::from_ref(prompt), &deltas)?;
            let steps = settings.steps;
            let total = (prompts.len() * steps) as u64;
            let picture = painter.draw(Some(&deltas), &states, &negative, &settings, &mut |done| {
                host.event(Event::Stage { stage: Stage::Sample, done: (index * steps + done) as u64, total });
                Ok(())
            })?;
            let from = DrawnFrom {
                prompt: prompt.clone(),
                negative: self.settings.negative.clone(),
                base: stepper.base.model.name.clone(),
                loras: if step == 0 { Vec::new() } else { vec![(self.name.clone(), 1.0)] },
                step: Some(step),
            };
            let path = self.folder.join(format!("step-{step:06}-prompt-{:02}.png", index + 1));
            let bytes = png_bytes(&picture, &settings, &from)?;
            // A disk without room costs the picture, not the run.
            match lorikeet_checkpoint::write_atomically(&path, |out| std::io::Write::write_all(out, &bytes)) {
                Ok(()) => host.event(Event::Sample(Sample {
                    step,
                    epoch,
                    prompt_index: index,
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
