//! The plan on a terminal.

use std::fmt;

use super::{Decision, Plan};
use crate::memory::{MemoryPart, MemoryStage};

/// Columns of a line.
const WIDTH: usize = 100;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let cores =
            if self.device == "cpu" { format!(" ({})", plural(self.cores.into(), "core")) } else { String::new() };
        let (preset, name) = (settings.preset, &settings.save.name);
        writeln!(f, "{preset} LoRA \"{name}\" for {} on {}{cores}", self.base, self.device)?;

        let shapes: Vec<String> =
            self.buckets.iter().map(|b| format!("{} x {}: {}", b.width, b.height, b.count)).collect();
        let memory = format!("{} of {}", bytes(self.memory.peak_bytes), bytes(self.memory_bytes));
        let disk = format!("{} of {} free", bytes(self.disk_bytes), bytes(self.disk_free_bytes));
        let length = format!("{} in {}", plural(self.steps, "step"), plural(self.epochs, "epoch"));
        let pictures = match self.validation_images {
            0 => plural(self.images, "picture"),
            held => format!("{}, {held} held out", plural(self.images, "picture")),
        };
        let size = format!("{} numbers on {}", count(self.trainable_parameters), plural(self.adapted_layers, "layer"));
        writeln!(f)?;
        for (name, text) in [
            ("Pictures", pictures),
            ("Shapes", shapes.join(", ")),
            ("Length", length),
            ("LoRA", size),
            ("Time", self.estimated_seconds.map_or_else(|| "measured by the first steps".to_owned(), duration)),
            ("Memory", format!("about {memory}")),
            ("Disk", format!("about {disk}")),
        ] {
            entry(f, &format!("  {name:<10}"), &text)?;
        }

        heading(f, "Decisions")?;
        let what = self.decisions.iter().map(|d| d.what.chars().count()).max().unwrap_or(0);
        for Decision { what: name, value, reason } in &self.decisions {
            entry(f, &format!("  {name:<what$}  "), value)?;
            entry(f, &format!("  {:<what$}    ", ""), reason)?;
        }

        if !settings.sample.prompts.is_empty() {
            heading(f, "Preview prompts")?;
            for prompt in &settings.sample.prompts {
                entry(f, "  - ", prompt)?;
            }
        }

        heading(f, "Memory, estimated")?;
        let stages = [
            (MemoryStage::Encoding, "while encoding"),
            (MemoryStage::Captions, "for captions"),
            (MemoryStage::Always, "always"),
            (MemoryStage::Training, "in a step"),
            (MemoryStage::Previews, "for a preview"),
            (MemoryStage::Mapped, "if there is room"),
            (MemoryStage::Host, "not on the card"),
        ];
        for (stage, when) in stages {
            for MemoryPart { name, bytes: size, .. } in self.memory.parts.iter().filter(|part| part.stage == stage) {
                writeln!(f, "  {name:<36}{:>10}  {when}", bytes(*size))?;
            }
        }
        writeln!(f, "  {:<36}{:>10}", "most at one time", bytes(self.memory.peak_bytes))?;

        if !self.warnings.is_empty() {
            heading(f, "Warnings")?;
            for warning in &self.warnings {
                entry(f, "  ! ", warning)?;
            }
        }
        Ok(())
    }
}

fn heading(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "\n{text}")
}

/// Text after a first column, broken between words, further lines under the first.
fn entry(f: &mut fmt::Formatter<'_>, first: &str, text: &str) -> fmt::Result {
    let indent = first.chars().count();
    let room = WIDTH.saturating_sub(indent);
    let mut line = String::new();
    let mut start = first.to_owned();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            writeln!(f, "{start}{line}")?;
            line.clear();
            start = " ".repeat(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "{}", format!("{start}{line}").trim_end())
}

/// `1.5 GB`, in powers of 1000 as disks and model files are labelled.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit > 0 && size < 9.95 { format!("{size:.1} {}", UNITS[unit]) } else { format!("{size:.0} {}", UNITS[unit]) }
}

/// `about 40 s, estimated`, `about 25 min, estimated`, `about 3.5 h, estimated`.
pub(crate) fn duration(seconds: u64) -> String {
    let time = match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    };
    format!("about {time}, estimated")
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 picture`, `24 pictures`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}
