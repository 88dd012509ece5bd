//! What the studio knows of the engine: a plain structure that events change and pages read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use lorikeet_protocol::{Event, Failure, Load, Sample, Stage, Step};
use lorikeet_recipe::Plan;

use crate::log::Log;
use crate::series::Series;
use crate::texts;

/// Where the run is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// No run yet.
    #[default]
    Idle,
    /// Asked for; no answer yet.
    Starting,
    Running,
    Paused,
    /// Asked to save and finish.
    Stopping,
    Finished(Finish),
    Failed(Failure),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    pub step: u64,
    /// The exported file.
    pub lora: Option<PathBuf>,
    pub seconds: f64,
}

/// Progress of a stage beside the steps. `total` 0: not countable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageProgress {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    pub step: u64,
    pub loss: f32,
    pub base_loss: f32,
}

/// A message for the user that an event brings with it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Good(String),
    Warning(String),
    Bad(String),
}

/// What was asked of the engine besides a run, and has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Plan,
    Export,
}

/// Everything events tell.
#[derive(Default)]
pub struct State {
    pub phase: Phase,
    pub run_dir: Option<PathBuf>,
    pub stage: Option<StageProgress>,
    pub step: Option<Step>,
    pub losses: Series,
    pub validation: Vec<Validation>,
    /// Saved steps with their folders.
    pub saves: BTreeMap<u64, PathBuf>,
    pub samples: Vec<Sample>,
    /// Of the regular previews, once they were changed.
    pub prompts: Option<Vec<String>>,
    pub plan: Option<Box<Plan>>,
    /// Why there is no plan.
    pub plan_failure: Option<Failure>,
    /// Why the last export did not work.
    pub export_failure: Option<Failure>,
    pub exported: Option<PathBuf>,
    pub warnings: Vec<String>,
    pub log: Log,
    /// The newest reading of how busy the machine is.
    pub load: Option<Load>,
    /// The most that steps told, of the device where there is one.
    pub memory_seen: u64,
    /// At the end of a run: the most it had, and what its plan expected.
    pub memory: Option<(u64, u64)>,
    asked: VecDeque<Asked>,
    messages: Vec<Message>,
}

impl State {
    /// Whether a run holds the engine.
    pub fn active(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running | Phase::Paused | Phase::Stopping)
    }

    /// Whether there is, or was, a run to look at.
    pub fn has_run(&self) -> bool {
        self.phase != Phase::Idle
    }

    pub fn planning(&self) -> bool {
        self.asked.contains(&Asked::Plan)
    }

    pub fn exporting(&self) -> bool {
        self.asked.contains(&Asked::Export)
    }

    /// Whether adapters exist that can be exported.
    pub fn can_export(&self) -> bool {
        self.run_dir.is_some() && (!self.saves.is_empty() || matches!(&self.phase, Phase::Finished(f) if f.step > 0))
    }

    /// Done steps of all steps, from 0 to 1.
    pub fn fraction(&self) -> Option<f32> {
        let step = self.step.as_ref()?;
        (step.steps > 0).then(|| step.step as f32 / step.steps as f32)
    }

    /// To be called when the command goes out.
    pub fn asking(&mut self, asked: Asked) {
        if asked == Asked::Export {
            self.export_failure = None;
            self.exported = None;
        }
        self.asked.push_back(asked);
    }

    /// Forgets the run before; a new one has been asked for.
    pub fn starting(&mut self) {
        let plan = self.plan.take();
        // Answers that are still under way belong to the run before.
        *self = Self { phase: Phase::Starting, plan, messages: std::mem::take(&mut self.messages), ..Self::default() };
    }

    /// What there is to say since the last call.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    pub fn apply(&mut self, event: Event) {
        if self.has_run() || matches!(event, Event::Started { .. }) {
            self.log.note(&event);
        }
        match event {
            Event::Planned { plan } => {
                self.answered(Asked::Plan);
                self.plan_failure = None;
                self.plan = Some(plan);
            }
            Event::Started { run_dir, resumed_at } => {
                self.phase = Phase::Running;
                self.run_dir = Some(run_dir);
                self.losses.cut_after(resumed_at);
                self.validation.retain(|point| point.step <= resumed_at);
                self.samples.retain(|sample| sample.step <= resumed_at);
                if resumed_at > 0 {
                    self.messages.push(Message::Good(texts::monitor::going_on_from(resumed_at)));
                }
            }
            Event::Stage { stage, done, total } => self.stage = Some(StageProgress { stage, done, total }),
            Event::Step(step) => {
                self.losses.push(&step);
                self.memory_seen = self.memory_seen.max(step.device_memory_bytes.unwrap_or(step.memory_bytes));
                self.step = Some(step);
                // Stages come between steps; a step says that they are over.
                self.stage = None;
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                }
            }
            Event::Load(load) => self.load = Some(load),
            Event::Sample(sample) => {
                self.samples.retain(|old| (old.step, old.prompt_index) != (sample.step, sample.prompt_index));
                self.samples.push(sample);
            }
            Event::Validation { step, loss, base_loss } => {
                self.validation.retain(|point| point.step != step);
                self.validation.push(Validation { step, loss, base_loss });
            }
            Event::Saved { step, path } => {
                self.saves.insert(step, path);
                self.messages.push(Message::Good(texts::runs::saved_at(step, None)));
            }
            Event::Paused { .. } => self.phase = Phase::Paused,
            Event::Resumed { .. } => self.phase = Phase::Running,
            Event::Exported { path, modules } => {
                if !self.answered(Asked::Export)
                    && self.active()
                    && let Some(failure) = self.export_failure.take()
                {
                    // The failure before was the run's, not the export's: both were under way.
                    self.phase = Phase::Failed(failure);
                }
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                self.messages.push(Message::Good(texts::monitor::exported(&name, modules as u64)));
                self.exported = Some(path);
            }
            Event::Memory { measured_bytes, planned_bytes } => self.memory = Some((measured_bytes, planned_bytes)),
            // For the panel that draws.
            Event::Prompts { prompts } => {
                self.messages.push(Message::Good(texts::monitor::new_prompts(prompts.len() as u64)));
                self.prompts = Some(prompts);
            }
            Event::Drawn(_) | Event::DrawEnded(_) => {}
            // For the log of the run.
            Event::Note { .. } => {}
            Event::Warning { message } => {
                self.messages.push(Message::Warning(message.clone()));
                self.warnings.push(message);
            }
            Event::Finished { run_dir, step, lora, seconds } => {
                self.run_dir = Some(run_dir);
                self.stage = None;
                self.phase = Phase::Finished(Finish { step, lora, seconds });
            }
            Event::Failed(failure) => self.failed(failure),
        }
    }

    /// A failure belongs to what is under way: an export that was asked for, then the run, then a plan.
    fn failed(&mut self, failure: Failure) {
        if self.exporting() {
            self.answered(Asked::Export);
            self.messages.push(Message::Bad(failure.what.clone()));
            self.export_failure = Some(failure);
        } else if self.active() {
            self.stage = None;
            self.messages.push(Message::Bad(failure.what.clone()));
            self.phase = Phase::Failed(failure);
        } else {
            self.answered(Asked::Plan);
            self.plan = None;
            self.plan_failure = Some(failure);
        }
    }

    /// Whether it had been asked.
    fn answered(&mut self, asked: Asked) -> bool {
        let at = self.asked.iter().position(|a| *a == asked);
        at.is_some_and(|at| self.asked.remove(at).is_some())
    }

    /// Of the regular previews.
    pub fn prompts_now(&self) -> &[String] {
        let planned = self.plan.as_ref().map(|plan| plan.settings.sample.prompts.as_slice());
        self.prompts.as_deref().or(planned).unwrap_or_default()
    }

    /// Prompts in their order, and the steps that previews exist of, from 0.
    pub fn sample_grid(&self) -> (Vec<(usize, &str)>, Vec<u64>) {
        let mut prompts = BTreeMap::new();
        let mut steps = BTreeSet::new();
        for sample in &self.samples {
            prompts.entry(sample.prompt_index).or_insert(sample.prompt.as_str());
            steps.insert(sample.step);
        }
        (prompts.into_iter().collect(), steps.into_iter().collect())
    }

    pub fn sample(&self, prompt_index: usize, step: u64) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.prompt_index == prompt_index && sample.step == step)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#[path = "state_tests.rs"]
mod tests;
