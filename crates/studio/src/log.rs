//! What a run told, line by line, for the Monitor page.

use lorikeet_protocol::{Event, Stage};

use crate::texts;

/// Older lines go. A run of a day with previews every minute has fewer.
const MOST: usize = 4_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    Warning,
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    /// `Step 120`, if a step had been done.
    pub at: Option<u64>,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: std::collections::VecDeque<Line>,
    stage: Option<Stage>,
    step: u64,
}

impl Log {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Of this level and those above, the oldest first.
    pub fn lines(&self, least: Level) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.level >= least).collect()
    }

    pub fn note(&mut self, event: &Event) {
        // The beginning of a stage is enough.
        if let Event::Stage { stage, .. } = event {
            if self.stage.replace(*stage) != Some(*stage) {
                self.push(Level::Info, stage.label().to_owned());
            }
            return;
        }
        if let Event::Step(step) = event {
            (self.step, self.stage) = (step.step, None);
            return;
        }
        let Some((level, text)) = in_words(event) else { return };
        // A look back gives steps first, so that places in the run are known only from events that name them.
        if let Event::Saved { step, .. } | Event::Validation { step, .. } = event {
            self.step = self.step.max(*step);
        }
        self.push(level, text);
    }

    fn push(&mut self, level: Level, text: String) {
        if self.lines.len() == MOST {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { level, at: (self.step > 0).then_some(self.step), text });
    }
}

fn in_words(event: &Event) -> Option<(Level, String)> {
    let info = |text| Some((Level::Info, text));
    match event {
        Event::Started { resumed_at: 0, .. } => info(texts::monitor::STARTED.to_owned()),
        Event::Started { resumed_at, .. } => info(texts::monitor::goes_on_from(*resumed_at)),
        Event::Sample(sample) if sample.prompt_index == 0 => info(texts::monitor::previews_at(sample.step)),
        Event::Validation { step, loss, base_loss } => info(texts::monitor::validation_at(*loss, *step, *base_loss)),
        Event::Saved { step, .. } => info(texts::monitor::saved_step(*step)),
        Event::Paused { .. } => info(texts::monitor::PAUSED.to_owned()),
        Event::Resumed { .. } => info(texts::monitor::RESUMED.to_owned()),
        Event::Exported { path, modules } => info(texts::monitor::exported_layers(*modules as u64, path.display())),
        Event::Note { message } => info(message.clone()),
        Event::Memory { measured_bytes, planned_bytes } => {
            info(texts::monitor::memory_at_most(*measured_bytes, *planned_bytes))
        }
        Event::Finished { step, seconds, .. } => info(texts::monitor::finished_at(*step, *seconds)),
        Event::Warning { message } => Some((Level::Warning, message.clone())),
        Event::Failed(failure) => Some((Level::Error, failure.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_filtered_by_level_and_bounded() {
        let mut log = Log::default();
        for at in 0..MOST + 10 {
            log.note(&Event::Note { message: at.to_string() });
        }
        log.note(&Event::Warning { message: "a warning".to_owned() });
        log.note(&Event::Stage { stage: Stage::Sample, done: 0, total: 4 });
        log.note(&Event::Stage { stage: Stage::Sample, done: 1, total: 4 });
        assert_eq!(log.lines(Level::Info).len(), MOST);
        assert_eq!(log.lines(Level::Info).iter().filter(|line| line.text == "Drawing previews").count(), 1);
        let warnings = log.lines(Level::Warning);
        assert_eq!(warnings.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["a warning"]);
    }
}
