//! Drawing after a run: what is asked for, what came of it, and what there is to draw with.

mod actions;
mod files;
mod form;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lorikeet_protocol::{BaseParts, DrawEnd, DrawRequest, Drawn, Event, Failure, LoraUse, PictureSettings, ToDraw};
use lorikeet_recipe::{BaseSettings, Plan, SampleSettings};

use crate::state::StageProgress;
use crate::texts;

use files::FOLDER;
pub(crate) use files::{material, write_favourite, write_workflow};
pub(crate) use form::{Form, Row, Source};

/// What pages ask of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DrawAction {
    /// The panel instead of the previews, or back.
    Open(bool),
    Draw,
    Stop,
    /// By index of what was drawn.
    Show(usize),
    UseSettings(usize),
    /// Asks where to save the picture's workflow for ComfyUI.
    Workflow(PathBuf),
}

/// A picture that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub settings: PictureSettings,
    pub path: PathBuf,
}

/// What a run folder has to draw with, read on a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Material {
    /// `None`: no run.
    pub run_dir: Option<PathBuf>,
    pub plan: Option<Box<Plan>>,
    /// Steps with their folders.
    pub saves: Vec<(u64, PathBuf)>,
    pub drawn: Vec<Kept>,
    /// The step that was marked.
    pub favourite: Option<u64>,
}

/// A request that has not ended.
struct Waiting {
    set: u64,
    total: usize,
    stopping: bool,
}

#[derive(Default)]
pub(crate) struct Drawing {
    pub open: bool,
    pub form: Option<Form>,
    pub material: Material,
    pub failure: Option<Failure>,
    pub stage: Option<StageProgress>,
    /// Into `material.drawn`.
    pub shown: Option<usize>,
    waiting: Option<Waiting>,
    /// The run and how many saves it had when its folder was last read.
    read: Option<(Option<PathBuf>, usize)>,
    notes: Vec<String>,
    /// The step that was marked, of which run.
    favourite: Option<(PathBuf, u64)>,
}

impl Drawing {
    pub(crate) fn busy(&self) -> bool {
        self.waiting.is_some()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.stopping)
    }

    /// Pictures done and asked for.
    pub(crate) fn progress(&self) -> Option<(usize, usize)> {
        let waiting = self.waiting.as_ref()?;
        let done = self.material.drawn.iter().filter(|kept| kept.settings.set == waiting.set).count();
        Some((done, waiting.total))
    }

    /// Whether the folder is to be read: of another run, or with other saves than last time.
    pub(crate) fn wants(&mut self, run_dir: Option<&PathBuf>, saves: usize) -> bool {
        let now = (run_dir.cloned(), saves);
        let changed = self.read.as_ref() != Some(&now) && !self.busy();
        if changed {
            self.read = Some(now);
        }
        changed
    }

    /// What a thread has read. A form of the same run keeps what was typed.
    pub(crate) fn take(&mut self, material: Material, fallback: Option<&SampleSettings>) {
        let same = self.form.is_some() && self.material.run_dir == material.run_dir;
        self.material = material;
        if let (Some(run_dir), Some(step)) = (&self.material.run_dir, self.material.favourite) {
            self.favourite = Some((run_dir.clone(), step));
        }
        let newest = self.material.saves.last().map(|(step, _)| *step);
        if !same {
            let sample = self.material.plan.as_ref().map(|plan| &plan.settings.sample).or(fallback);
            self.form = Some(Form::suggest(sample, newest));
            self.shown = None;
            self.failure = None;
        } else if let Some(form) = &mut self.form {
            let there = |step: &u64| self.material.saves.iter().any(|(other, _)| other == step);
            form.rows.retain(|row| !matches!(&row.source, Source::Save(step) if !there(step)));
            form.saves.retain(there);
            if let (true, Some(step)) = (form.rows.is_empty(), newest) {
                form.rows.push(Row { source: Source::Save(step), strength: 1.0 });
            }
        }
        self.shown = self.shown.or(self.material.drawn.len().checked_sub(1));
    }

    /// What goes out, marked as awaited. `base`: for what no run is known of.
    pub(crate) fn request(
        &mut self,
        base: (String, BaseParts),
        device: String,
        folder: &Path,
    ) -> Result<DrawRequest, String> {
        let Some(form) = &self.form else { return Err(texts::draw::NOTHING_TO_DRAW.to_owned()) };
        let variants = form.variants()?;
        let picture = |rows: Vec<Row>| {
            let loras = rows.into_iter().map(|row| self.lora(row)).collect::<Result<Vec<_>, String>>()?;
            Ok(ToDraw {
                prompt: form.prompt.trim().to_owned(),
                negative: form.negative.trim().to_owned(),
                loras,
                seed: form.seed,
                width: form.width,
                height: form.height,
                steps: Some(form.steps),
                cfg: Some(form.cfg),
                guidance: form.guidance,
                sampler: Some(form.sampler),
            })
        };
        let pictures = variants.into_iter().map(picture).collect::<Result<Vec<_>, String>>()?;
        let (base, parts) = match &self.material.plan {
            Some(plan) => of_run(&plan.settings.base),
            None => base,
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let set = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let folder = self.material.run_dir.as_deref().unwrap_or(folder);
        self.failure = None;
        self.waiting = Some(Waiting { set, total: pictures.len(), stopping: false });
        // What went wrong in 16 bits was trained in f32, and is drawn so.
        let precision = self.material.plan.as_ref().map(|plan| plan.settings.run.precision).unwrap_or_default();
        Ok(DrawRequest { base, parts, device, precision, pictures, out_dir: folder.join(FOLDER), set, noise_out: None })
    }

    fn lora(&self, row: Row) -> Result<LoraUse, String> {
        let strength = row.strength;
        match row.source {
            Source::File(path) => Ok(LoraUse { path, strength, name: String::new() }),
            Source::Save(step) => {
                let found = self.material.saves.iter().find(|(other, _)| *other == step);
                let (_, path) = found.ok_or_else(|| texts::draw::save_gone(step))?;
                Ok(LoraUse { path: path.clone(), strength, name: self.save_name(step) })
            }
        }
    }

    /// As an export of it is called.
    pub(crate) fn save_name(&self, step: u64) -> String {
        let name = self.material.plan.as_ref().map_or("lora", |plan| plan.settings.save.name.as_str());
        format!("{name}-step{step}")
    }

    /// To be called when the stop goes out.
    pub(crate) fn stop(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.stopping = true;
        }
    }

    /// Takes what belongs to a drawing and hands back the rest.
    pub(crate) fn event(&mut self, event: Event, run_on: bool) -> Option<Event> {
        match event {
            Event::Drawn(Drawn { settings, path, .. }) => {
                self.stage = None;
                self.material.drawn.push(Kept { settings, path });
                self.shown = Some(self.material.drawn.len() - 1);
            }
            Event::DrawEnded(DrawEnd { set, failure, .. }) => {
                if self.waiting.as_ref().is_some_and(|waiting| waiting.set == set) {
                    self.waiting = None;
                    self.stage = None;
                    self.failure = failure;
                }
            }
            Event::Stage { stage, done, total } if self.busy() && !run_on => {
                self.stage = Some(StageProgress { stage, done, total });
            }
            Event::Warning { message } if self.busy() && !run_on => self.notes.push(message),
            other => return Some(other),
        }
        None
    }

    /// Warnings since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The step of this run that was marked.
    pub(crate) fn favourite(&self, run_dir: Option<&PathBuf>) -> Option<u64> {
        self.favourite.as_ref().filter(|(run, _)| Some(run) == run_dir).map(|(_, step)| *step)
    }

    pub(crate) fn mark(&mut self, run_dir: PathBuf, step: Option<u64>) {
        self.favourite = step.map(|step| (run_dir, step));
    }

    /// A LoRA of the user's own.
    pub(crate) fn add_file(&mut self, path: PathBuf) {
        if let Some(form) = &mut self.form {
            form.rows.push(Row { source: Source::File(path), strength: 1.0 });
        }
    }

    /// The form as a picture was drawn. Files of LoRAs are not told by pictures, so only saves come back.
    pub(crate) fn use_settings(&mut self, index: usize) {
        let Some(kept) = self.material.drawn.get(index) else { return };
        let settings = &kept.settings;
        let source = |name: &str| {
            let save = self.material.saves.iter().find(|(step, _)| self.save_name(*step) == name);
            let rows = self.form.iter().flat_map(|form| &form.rows);
            save.map(|(step, _)| Source::Save(*step)).or_else(|| {
                rows.map(|row| &row.source)
                    .find(|source| matches!(source, Source::File(path) if stem(path) == name))
                    .cloned()
            })
        };
        let rows =
            settings.loras.iter().filter_map(|lora| Some(Row { source: source(&lora.name)?, strength: lora.strength }));
        let rows = rows.collect();
        if let Some(form) = &mut self.form {
            *form = Form {
                rows,
                prompt: settings.prompt.clone(),
                negative: settings.negative.clone(),
                seed: settings.seed,
                width: settings.width,
                height: settings.height,
                steps: settings.steps,
                cfg: settings.cfg,
                guidance: settings.guidance,
                sampler: settings.sampler.unwrap_or(form.sampler),
                sweep: false,
                ..form.clone()
            };
        }
    }
}

pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn of_run(base: &BaseSettings) -> (String, BaseParts) {
    let file = |text: &String| Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
    let parts = BaseParts {
        vae: file(&base.vae),
        text_encoder: file(&base.text_encoder),
        text_encoder_2: file(&base.text_encoder_2),
    };
    (base.path.clone(), parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
