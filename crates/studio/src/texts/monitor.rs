//! The Monitor page: progress, figures, the plot, advice and the log.

use std::fmt::Display;

use crate::format::{bytes, change, count, count_of, duration, loss, memory_of, plural};
use crate::texts::common::steps;

pub(crate) const EMPTY: &str = "Nothing is training yet";
pub(crate) const EMPTY_HELP: &str = "Progress, loss and memory appear here when a run starts";
pub(crate) const START: &str = "Start training";
pub(crate) const WARNINGS: &str = "Warnings";
pub(crate) const FINISHED: &str = "Finished";
pub(crate) const STOPPED: &str = "Stopped";
pub(crate) const PROGRESS: &str = "Progress";
pub(crate) const STARTING: &str = "Starting";
pub(crate) const ADVICE: &str = "Advice";
pub(crate) const LOSS_SMOOTHED: &str = "Loss, smoothed";
pub(crate) const LEARNING_RATE: &str = "Learning rate";
pub(crate) const VALIDATION_LOSS: &str = "Validation loss";
pub(crate) const DEVICE_MEMORY: &str = "Device memory";
pub(crate) const MEMORY_USED: &str = "Memory used";
pub(crate) const PAUSED: &str = "Paused";
pub(crate) const STOPPING: &str = "Stopping";

/// `process`: its number, if it is known.
pub(crate) fn in_background(process: Option<u32>) -> String {
    match process {
        Some(process) => {
            format!("This run works in the background (process {process}). It goes on when this window is closed")
        }
        None => "This run works in the background. It goes on when this window is closed".to_owned(),
    }
}

pub(crate) fn step_of(step: u64, steps: u64) -> String {
    format!("Step {}", count_of(step, steps))
}

pub(crate) fn epoch_of(epoch: u64, epochs: u64) -> String {
    format!("Epoch {}", count_of(epoch, epochs))
}

/// Under the validation loss. `change`: beside the base's.
pub(crate) fn validation_to_base(change: &str) -> String {
    format!("Validation, {change} to base")
}

// The newest previews

pub(crate) const PREVIEWS_OF_BASE: &str = "Previews of the base";
pub(crate) const ALL: &str = "All";

pub(crate) fn previews_at(step: u64) -> String {
    format!("Previews at step {}", count(step))
}

pub(crate) fn preview_of(prompt: &str) -> String {
    format!("Preview of {prompt}")
}

// How it ended

pub(crate) const READY: &str = "The LoRA is ready";
pub(crate) const STOPPED_AND_SAVED: &str = "Stopped and saved";
pub(crate) const CONTINUE_FROM_SAVE: &str = "Continue from last save";

pub(crate) fn steps_in(n: u64, seconds: f64) -> String {
    format!("{} in {}", steps(n), duration(seconds))
}

pub(crate) fn last_save(path: impl Display) -> String {
    format!("The last good save is {path}")
}

// The plot

pub(crate) const LOSS: &str = "Loss";
pub(crate) const SAVE_PICTURE: &str = "Save the plot as a picture…";
pub(crate) const SAVE_TABLE: &str = "Save the numbers as a table…";
pub(crate) const LOG_SCALE: &str = "Log scale";
pub(crate) const EARLIER_RUNS: &str = "Earlier runs";
pub(crate) const NO_OTHER_RUNS: &str = "There are no other runs yet";
pub(crate) const RAW: &str = "Raw";
pub(crate) const SMOOTHED: &str = "Smoothed";
pub(crate) const VALIDATION: &str = "Validation";
pub(crate) const SAVE: &str = "Save";
pub(crate) const PREVIEW: &str = "Preview";

pub(crate) fn earlier_runs(shown: usize) -> String {
    format!("Earlier runs ({shown})")
}

/// Beside the pointer.
pub(crate) fn point(curve: &str, step: u64, value: f32) -> String {
    format!("{curve}\nStep {}\nLoss {}", count(step), loss(value))
}

// Load

pub(crate) const LOAD: &str = "Load";
pub(crate) const PROCESSOR_ALL: &str = "Processor, all programs";
pub(crate) const PROCESSOR_OWN: &str = "Processor, this run";
/// Where its name is not known.
pub(crate) const CARD: &str = "Card";
pub(crate) const CARD_MEMORY_ALL: &str = "Memory of the card, all programs";
pub(crate) const CARD_MEMORY_OTHERS: &str = "Of it other programs";
pub(crate) const TEMPERATURE: &str = "Temperature";
pub(crate) const POWER: &str = "Power";
pub(crate) const TUNED: &str = "Kernels tuned, once for this card";

// Memory

pub(crate) const OF_CARD: &str = "Of the card, now";
pub(crate) const OF_PROCESS: &str = "Of the process, now";
pub(crate) const MOST_SO_FAR: &str = "The most so far";
pub(crate) const PLANNED_IN_USE: &str = "Memory of the plan in use";
pub(crate) const NEEDED_IN_THE_END: &str = "Needed for itself, in the end";

pub(crate) fn of_planned(used: u64, planned: u64) -> String {
    format!("{} planned", memory_of(used, planned))
}

pub(crate) fn measured_of_planned(measured: u64, planned: u64) -> String {
    let change = change(measured as f32, planned as f32).unwrap_or_default();
    format!("{} of {} planned ({change})", bytes(measured), bytes(planned))
}

// Advice

pub(crate) const RATE_TOO_HIGH: &str =
    "The learning rate is too high for this LoRA. Stop, halve it, and start again or export an earlier save";
pub(crate) const STOP_HERE: &str = "Stop here, or train fewer steps next time";
pub(crate) const MEMORY_SPILLS: &str =
    "Steps become very slow when memory spills. Lower the batch size or the resolution, or set memory use to low";

pub(crate) fn loss_rises(best: f32, at: u64, now: f32) -> String {
    format!("The loss is rising: it was {} at step {} and is {} now", loss(best), count(at), loss(now))
}

pub(crate) fn export_save_at(step: u64) -> String {
    format!("Export the save at step {}, where validation was best", count(step))
}

pub(crate) fn over_fitting(since: u64) -> String {
    format!(
        "Over-fitting since step {}: on held-out pictures the loss grows, as the LoRA learns the pictures by heart",
        count(since)
    )
}

pub(crate) fn memory_of_others(others: u64) -> String {
    format!(
        "Steps become very slow when memory spills. Other programs have {} of it: close them. Or lower the batch size or \
         the resolution, or set memory use to low",
        bytes(others)
    )
}

pub(crate) fn device_full(used: u64, memory: u64) -> String {
    format!("The device is full: {}", memory_of(used, memory))
}

// The log

pub(crate) const ERRORS: &str = "Errors";
pub(crate) const LOG: &str = "Log";
pub(crate) const NOTHING_TOLD: &str = "Nothing of that kind was told";
pub(crate) const STARTED: &str = "Started";
pub(crate) const RESUMED: &str = "Resumed";

pub(crate) fn goes_on_from(step: u64) -> String {
    format!("Goes on from step {}", count(step))
}

pub(crate) fn validation_at(value: f32, step: u64, base: f32) -> String {
    format!("Validation loss {} at step {} (base {})", loss(value), count(step), loss(base))
}

pub(crate) fn saved_step(step: u64) -> String {
    format!("Saved step {}", count(step))
}

pub(crate) fn exported_layers(layers: u64, path: impl Display) -> String {
    plural(layers, "Exported # layer: {path}", "Exported # layers: {path}").replace("{path}", &path.to_string())
}

pub(crate) fn memory_at_most(measured: u64, planned: u64) -> String {
    format!("Memory: {} at most, {} planned", bytes(measured), bytes(planned))
}

pub(crate) fn finished_at(step: u64, seconds: f64) -> String {
    format!("Finished at step {} after {}", count(step), duration(seconds))
}

// Messages

pub(crate) fn going_on_from(step: u64) -> String {
    format!("Going on from step {}", count(step))
}

pub(crate) fn exported(file: &str, layers: u64) -> String {
    plural(layers, "Exported {file} with # trained layer", "Exported {file} with # trained layers")
        .replace("{file}", file)
}

pub(crate) fn new_prompts(prompts: u64) -> String {
    plural(prompts, "The next previews are of # prompt as you wrote", "The next previews are of # prompts as you wrote")
}

pub(crate) fn picture_unwritable(error: impl Display, path: impl Display) -> String {
    format!("The picture cannot be written ({error}): {path}")
}

pub(crate) fn no_file_manager(error: impl Display, folder: impl Display) -> String {
    format!("No file manager answered ({error}). The folder is {folder}")
}
