//! What a run leaves to read: `events.jsonl`, `metrics.jsonl`, `plan.json`, `log.txt`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lorikeet_protocol::{Event, Stage};
use serde_json::{Value, json};

/// Writes a run's events into its folder. One that cannot be written never stops the run.
pub(crate) struct Recorder {
    folder: PathBuf,
    events: File,
    metrics: File,
    log: File,
    stage: Option<Stage>,
    complained: bool,
}

impl Recorder {
    pub(crate) fn open(folder: &Path) -> io::Result<Recorder> {
        let append = |name| File::options().create(true).append(true).open(folder.join(name));
        Ok(Recorder {
            folder: folder.to_owned(),
            events: append("events.jsonl")?,
            metrics: append("metrics.jsonl")?,
            log: append("log.txt")?,
            stage: None,
            complained: false,
        })
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join("log.txt")
    }

    /// A message for the face, the first time something cannot be written.
    pub(crate) fn record(&mut self, event: &Event) -> Option<String> {
        let error = self.write(event).err()?;
        (!std::mem::replace(&mut self.complained, true)).then(|| {
            format!(
                "What the run tells cannot be written down ({error}): {}. Training goes on; make room on the disk",
                self.folder.display()
            )
        })
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Step(step) => return line(&mut self.metrics, &serde_json::to_value(step)?),
            // Only the newest is kept, in a file of its own.
            Event::Load(_) => return Ok(()),
            Event::Validation { step, loss, base_loss } => {
                line(&mut self.metrics, &json!({"step": step, "validation_loss": loss, "base_loss": base_loss}))?;
            }
            Event::Planned { plan } => {
                // Beside it first: a full disk must not leave half a plan.
                let new = self.folder.join("plan.json.part");
                fs::write(&new, serde_json::to_string_pretty(plan)? + "\n")?;
                fs::rename(new, self.folder.join("plan.json"))?;
                return self.log("Planned");
            }
            Event::Started { resumed_at, .. } => self.forget_steps_after(*resumed_at)?,
            // Its beginning is enough.
            Event::Stage { stage, .. } if self.stage == Some(*stage) => return Ok(()),
            _ => {}
        }
        self.stage = if let Event::Stage { stage, .. } = event { Some(*stage) } else { None };
        line(&mut self.events, &serde_json::to_value(event)?)?;
        self.log(&in_words(event))
    }

    pub(crate) fn log(&mut self, message: &str) -> io::Result<()> {
        let time = jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S");
        writeln!(self.log, "{time}  {message}")
    }

    /// Steps after the save that a killed run goes on from are done again, and would stand in the file twice.
    fn forget_steps_after(&mut self, step: u64) -> io::Result<()> {
        let path = self.folder.join("metrics.jsonl");
        let text = fs::read_to_string(&path)?;
        let kept = text.lines().filter(|line| {
            // A line cut short by the kill is no JSON.
            serde_json::from_str::<Value>(line).ok().and_then(|line| line["step"].as_u64()).is_some_and(|at| at <= step)
        });
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        if kept != text {
            let new = self.folder.join("metrics.jsonl.part");
            fs::write(&new, kept)?;
            fs::rename(new, &path)?;
            self.metrics = File::options().create(true).append(true).open(&path)?;
        }
        Ok(())
    }
}

/// Whole lines at once, so that a kill cuts at most the last one.
fn line(file: &mut File, value: &Value) -> io::Result<()> {
    file.write_all(format!("{value}\n").as_bytes())
}

fn in_words(event: &Event) -> String {
    match event {
        Event::Planned { .. } => "Planned".to_owned(),
        Event::Started { resumed_at: 0, .. } => "Started".to_owned(),
        Event::Started { resumed_at, .. } => format!("Goes on from step {resumed_at}"),
        Event::Stage { stage, .. } => stage.label().to_owned(),
        Event::Step(step) => format!("Step {}: loss {:.4}", step.step, step.loss),
        Event::Load(load) => format!("Processor {:.0} %", 100.0 * load.processor),
        Event::Sample(sample) => format!("Preview at step {}: {}", sample.step, sample.path.display()),
        Event::Validation { step, loss, base_loss } => {
            format!("Validation loss at step {step}: {loss:.4} (base {base_loss:.4})")
        }
        Event::Prompts { prompts } => format!("Previews are of: {}", prompts.join(" / ")),
        Event::Saved { step, path } => format!("Saved step {step}: {}", path.display()),
        Event::Paused { step } => format!("Paused after step {step}"),
        Event::Resumed { step } => format!("Resumed after step {step}"),
        Event::Exported { path, modules } => format!("Exported {modules} layers: {}", path.display()),
        Event::Drawn(drawn) => format!("Drawn: {}", drawn.path.display()),
        Event::DrawEnded(end) => format!("Drawing ended after {} pictures", end.drawn),
        Event::Warning { message } => format!("Warning: {message}"),
        Event::Note { message } => message.clone(),
        Event::Memory { measured_bytes, planned_bytes } => {
            let gigabytes = |bytes: &u64| *bytes as f64 / 1e9;
            format!("Memory: {:.2} GB at most, {:.2} GB planned", gigabytes(measured_bytes), gigabytes(planned_bytes))
        }
        Event::Finished { step, seconds, .. } => format!("Finished at step {step} after {seconds:.0} s"),
        Event::Failed(failure) => format!("Failed: {failure}"),
    }
}
