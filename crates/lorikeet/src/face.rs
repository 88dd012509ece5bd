//! What a terminal shows of a run.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lorikeet_protocol::{Event, Sample, Stage, Step};

/// Something that shows events.
pub(crate) trait Face {
    fn event(&mut self, event: &Event);
    /// A remark of the program's own.
    fn note(&mut self, message: &str);
}

/// One event a line, for other programs.
pub(crate) struct JsonLines;

impl Face for JsonLines {
    fn event(&mut self, event: &Event) {
        match serde_json::to_string(event) {
            // A reader that has gone away is no reason to stop training.
            Ok(line) => writeln!(std::io::stdout(), "{line}").unwrap_or(()),
            Err(error) => eprintln!("an event cannot be written as JSON: {error}"),
        }
    }

    fn note(&mut self, message: &str) {
        eprintln!("{message}");
    }
}

/// Lines for what happens, and a bar for how far it is. Without a terminal, a line every tenth of the way.
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    stage: Option<Stage>,
    /// Tenths of the run told.
    tenths: u64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Progress { bar, terminal, stage: None, tenths: 0 }
    }

    fn say(&self, line: &str) {
        // As above: the reader may have gone.
        self.bar.suspend(|| writeln!(std::io::stdout(), "{line}").unwrap_or(()));
    }

    fn stage(&mut self, stage: Stage, done: u64, total: u64) {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            if !self.terminal && stage != Stage::Train {
                self.say(stage.label());
            }
            self.bar.reset();
            self.bar.set_style(style(total > 0));
            self.bar.set_message(stage.label());
            self.bar.enable_steady_tick(Duration::from_millis(120));
        }
        if total > 0 {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }

    fn step(&mut self, step: &Step) {
        self.stage(Stage::Train, step.step, step.steps);
        let told =
            format!("loss {:.4}, smoothed {:.4}, {} left", step.loss, step.smoothed, duration(step.seconds_left));
        let tenth = step.step * 10 / step.steps.max(1);
        if !self.terminal && (tenth > self.tenths || step.step == 1) {
            self.say(&format!("Step {} of {}: {told}", step.step, step.steps));
        }
        self.tenths = tenth;
        self.bar.set_message(format!("Training  {told}"));
    }

    fn sample(&mut self, sample: &Sample) {
        // Of each round one, so that a long list of prompts does not fill the screen.
        if sample.prompt_index == 0 {
            let folder = sample.path.parent().unwrap_or(&sample.path);
            self.say(&format!("Previews at step {}: {}", sample.step, folder.display()));
        }
    }
}

impl Face for Progress {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { plan } => self.say(&plan.to_string()),
            Event::Started { run_dir, resumed_at: 0 } => self.say(&format!("Run folder: {}", run_dir.display())),
            Event::Started { run_dir, resumed_at } => {
                self.say(&format!("Goes on from step {resumed_at}: {}", run_dir.display()));
            }
            Event::Stage { stage, done, total } => self.stage(*stage, *done, *total),
            Event::Step(step) => self.step(step),
            // Until the first step is over: then there is more to tell.
            Event::Load(load) if load.tuned > 0 && self.tenths == 0 => {
                self.bar.set_message(format!("Tuning kernels for this card, once: {} so far", load.tuned));
            }
            Event::Load(_) => {}
            Event::Sample(sample) => self.sample(sample),
            Event::Validation { step: 0, loss, .. } => {
                self.say(&format!("Validation loss of the base: {loss:.4}"));
            }
            Event::Validation { step, loss, base_loss } => self.say(&format!(
                "Validation loss at step {step}: {loss:.4} ({:+.1} % against the base)",
                change(*loss, *base_loss)
            )),
            Event::Saved { step, path } => self.say(&format!("Saved step {step}: {}", path.display())),
            Event::Paused { step } => self.say(&format!("Paused after step {step}")),
            Event::Resumed { step } => self.say(&format!("Resumed after step {step}")),
            Event::Exported { path, modules } => {
                self.say(&format!("Exported {modules} layers: {}", path.display()));
            }
            Event::Warning { message } => self.say(&format!("Warning: {message}")),
            // Whoever drew lists the pictures.
            Event::Drawn(_) | Event::DrawEnded(_) | Event::Prompts { .. } => {}
            Event::Note { message } => self.say(message),
            Event::Memory { measured_bytes, planned_bytes } => {
                let gigabytes = |bytes: u64| bytes as f64 / 1e9;
                let off = 100.0 * (*planned_bytes as f64 / (*measured_bytes).max(1) as f64 - 1.0);
                self.say(&format!(
                    "Memory: {:.2} GB at most, {:.2} GB planned ({off:+.0} %)",
                    gigabytes(*measured_bytes),
                    gigabytes(*planned_bytes)
                ));
            }
            Event::Finished { step, lora, seconds, .. } => {
                self.bar.finish_and_clear();
                self.say(&format!("Finished at step {step} after {}", duration(*seconds)));
                if let Some(lora) = lora {
                    self.say(&format!("LoRA: {}", lora.display()));
                }
            }
            Event::Failed(_) => self.bar.finish_and_clear(),
        }
    }

    fn note(&mut self, message: &str) {
        self.say(message);
    }
}

/// Change in per cent.
pub(crate) fn change(loss: f32, base: f32) -> f32 {
    (loss / base - 1.0) * 100.0
}

/// `42 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { return "unknown time".to_owned() };
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn style(countable: bool) -> ProgressStyle {
    let template = if countable { "{bar:30} {pos}/{len}  {msg}" } else { "{spinner} {msg}" };
    // The templates are constants; a wrong one shows the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units_at_most() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7_800.0), "2 h 10 min");
        assert_eq!(duration(f64::NAN), "unknown time");
    }

    #[test]
    fn the_bar_templates_are_sound() {
        for template in ["{bar:30} {pos}/{len}  {msg}", "{spinner} {msg}"] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
