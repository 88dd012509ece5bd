//! The frame around the pages: the left rail, the top bar, and what lies over all of it.

use crate::format::{count, plural};

pub(crate) const LORIKEET: &str = "Lorikeet";

// The pages

pub(crate) const DATASET: &str = "Dataset";
pub(crate) const MODEL: &str = "Model";
pub(crate) const TRAINING: &str = "Training";
pub(crate) const MONITOR: &str = "Monitor";
pub(crate) const SAMPLES: &str = "Samples";
pub(crate) const RUNS: &str = "Runs";
pub(crate) const SETTINGS: &str = "Settings";

/// What a page's mark means. `first`: the gravest finding.
pub(crate) fn more_to_look_at(first: &str, more: u64) -> String {
    format!("{first}, and {} more to look at", count(more))
}

pub(crate) fn base_ready(family: &str) -> String {
    format!("{family}, ready")
}

pub(crate) const PLAN_READY: &str = "The plan is ready";

pub(crate) fn plan_warnings(warnings: u64) -> String {
    plural(warnings, "# warning in the plan", "# warnings in the plan")
}

pub(crate) const RUN_DONE: &str = "The run is done";

// The top bar

pub(crate) const STARTING: &str = "Starting…";
pub(crate) const STOPPING: &str = "Stopping…";
pub(crate) const TRAIN_HELP: &str = "Starts training (Ctrl+Enter)";
pub(crate) const STOP: &str = "Stop";
pub(crate) const EXPORT: &str = "Export…";
pub(crate) const NOTHING_SAVED: &str = "Nothing is saved yet";
pub(crate) const UNWATCH: &str = "Stop watching";
pub(crate) const FIND: &str = "Find an action or a setting (Ctrl+K)";

pub(crate) fn undo(what: &str) -> String {
    format!("Undo {what} (Ctrl+Z)")
}

pub(crate) fn redo(what: &str) -> String {
    format!("Redo {what} (Ctrl+Shift+Z)")
}

/// The recipe in few words.
pub(crate) fn summary(base: &str, preset: &str, rank: i64) -> String {
    format!("{base} · {preset} · rank {rank}")
}

// Over all of it

pub(crate) const DROP: &str = "Drop to use";
pub(crate) const DROP_HELP: &str = "A folder of pictures, a base model, or a recipe";
pub(crate) const DISMISS: &str = "Dismiss message";

// Why there is no window

pub(crate) const NO_DISPLAY: &str =
    "there is no display to open a window on. Set DISPLAY or WAYLAND_DISPLAY, or use the command line";

pub(crate) fn no_window(error: &str) -> String {
    format!("the window cannot be opened: {error}. Update the graphics driver, or use the command line")
}
