//! What a worker's process owes an answer for: told as failed if it ends before.

use std::path::PathBuf;

use lorikeet_protocol::{Command, Event};

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub run: Option<Run>,
    pub exports: usize,
    pub probes: usize,
    /// The sets of drawings.
    pub drawings: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Run {
    pub folder: Option<PathBuf>,
    pub last_save: Option<PathBuf>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_none() && self.exports == 0 && self.probes == 0 && self.drawings.is_empty()
    }

    pub(super) fn ask(&mut self, command: &Command) {
        match command {
            Command::Probe { .. } => self.probes += 1,
            Command::Export(_) => self.exports += 1,
            Command::Draw(request) => self.drawings.push(request.set),
            // A second one is refused, and the first stays on.
            Command::Start { .. } => {
                self.run.get_or_insert_default();
            }
            Command::ResumeRun { run_dir } => {
                self.run.get_or_insert_with(|| Run { folder: Some(run_dir.clone()), last_save: None });
            }
            _ => {}
        }
    }

    /// Whether a run failed by this.
    pub(super) fn answer(&mut self, event: &Event) -> bool {
        match event {
            Event::Started { run_dir, .. } => {
                // Commands are answered in order: no plan asked for before is outstanding.
                self.probes = 0;
                self.run.get_or_insert_default().folder = Some(run_dir.clone());
            }
            Event::Saved { path, .. } => {
                if let Some(run) = &mut self.run {
                    run.last_save = Some(path.clone());
                }
            }
            Event::Planned { .. } => self.probes = self.probes.saturating_sub(1),
            // A run exports its LoRA too, which nobody asked for.
            Event::Exported { .. } => self.exports = self.exports.saturating_sub(1),
            Event::DrawEnded(end) => self.drawings.retain(|set| *set != end.set),
            Event::Finished { .. } => self.run = None,
            Event::Failed(_) if self.exports > 0 => self.exports -= 1,
            Event::Failed(_) if self.run.is_some() => {
                self.run = None;
                return true;
            }
            Event::Failed(_) => self.probes = self.probes.saturating_sub(1),
            _ => {}
        }
        false
    }
}
