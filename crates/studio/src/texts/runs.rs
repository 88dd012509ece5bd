//! The Runs page, what run folders tell, and training a run longer.

use std::fmt::Display;

use crate::format::{count, count_of, learning_rate, loss};

pub(crate) const HELP: &str = "Each run has a folder of its own, with its recipe, previews, saves and LoRA";
pub(crate) const FIND: &str = "Find a run";
pub(crate) const LOOK_FOR_RUNS_AGAIN: &str = "Look for runs again";
pub(crate) const LOOK_AGAIN: &str = "Look again";
pub(crate) const EMPTY: &str = "No runs yet";
pub(crate) const EMPTY_HELP: &str = "What you train appears here";
pub(crate) const NOTHING_FOUND: &str = "No run is called that";
pub(crate) const LOOKING: &str = "Looking for runs";
pub(crate) const WATCH: &str = "Watch";
pub(crate) const OPEN: &str = "Open";
pub(crate) const RUNNING: &str = "Running";
pub(crate) const NOTHING_SAVED: &str = "Nothing saved";
pub(crate) const LORA_READY: &str = "LoRA ready";
pub(crate) const DELETE_TITLE: &str = "Delete this run?";
pub(crate) const DELETE: &str = "Delete run";

pub(crate) fn delete(run: &str) -> String {
    format!("Delete {run}…")
}

pub(crate) fn delete_help(run: &str) -> String {
    format!("{run} goes to the trash with its saves, previews and LoRA. It can be got back from there")
}

pub(crate) fn in_trash(run: &str) -> String {
    format!("{run} is in the trash")
}

pub(crate) fn open_folder_of(run: &str) -> String {
    format!("Open folder of {run}")
}

pub(crate) fn train_longer(run: &str) -> String {
    format!("Train {run} longer…")
}

pub(crate) fn use_recipe_of(run: &str) -> String {
    format!("Use the recipe of {run} again")
}

pub(crate) fn previews_of(run: &str) -> String {
    format!("Previews of {run}")
}

/// `steps`: of the run, where they are told too.
pub(crate) fn saved_at(step: u64, steps: Option<u64>) -> String {
    let at = steps.map_or_else(|| count(step), |steps| count_of(step, steps));
    format!("Saved at step {at}")
}

pub(crate) fn validation_at(value: f32, step: u64) -> String {
    format!("Validation {} at step {}", loss(value), count(step))
}

// Run folders

pub(crate) const INTERRUPTED: &str = "This run was interrupted";
pub(crate) const INTERRUPTED_WHY: &str = "The program ended before the run did";
pub(crate) const INTERRUPTED_TODO: &str = "Continue it from its last save, or export that";

pub(crate) fn folder_unreadable(error: impl Display, path: impl Display) -> String {
    format!("The folder of runs cannot be read ({error}): {path}. Check its permissions")
}

pub(crate) fn cannot_ask_to_stop(error: impl Display, path: impl Display) -> String {
    format!("The run cannot be asked to stop ({error}): {path}")
}

pub(crate) fn cannot_ask_to_pause(error: impl Display, path: impl Display) -> String {
    format!("The run cannot be asked to pause ({error}): {path}")
}

pub(crate) fn cannot_ask_to_go_on(error: impl Display, path: impl Display) -> String {
    format!("The run cannot be asked to go on ({error}): {path}")
}

pub(crate) fn nothing_written(path: impl Display) -> String {
    format!("Nothing is written down of this run: {path}")
}

pub(crate) fn table_unwritable(error: impl Display, path: impl Display) -> String {
    format!("The table cannot be written ({error}): {path}")
}

pub(crate) fn cannot_delete(error: impl Display, path: impl Display) -> String {
    format!("The run cannot be moved to the trash ({error}); delete its folder yourself: {path}")
}

// Longer

pub(crate) const NEW_RUN: &str = "New run of that length…";
pub(crate) const READING_PLAN: &str = "Reading the plan of the run";
pub(crate) const STEPS_IN_ALL: &str = "Steps in all";
pub(crate) const STEPS_IN_ALL_HELP: &str = "The run has some already; it does the others";
pub(crate) const STEPS_UNIT: &str = "steps";
pub(crate) const SAME_RESULT: &str = "The result is that of a run of this length from the start";
pub(crate) const OTHER_RESULT: &str = "More steps change what this run is";
pub(crate) const RESTART_RATE: &str = "Let the learning rate start again";

pub(crate) fn longer_title(run: &str) -> String {
    format!("Train {run} longer")
}

pub(crate) fn no_plan(path: impl Display) -> String {
    format!("the run has no plan that can be read: {path}")
}

pub(crate) fn more_steps(more: u64, steps: u64, epochs: u64, epochs_before: u64) -> String {
    format!(
        "{} more than the {} it has: {} epochs instead of {}",
        count(more),
        count(steps),
        count(epochs),
        count(epochs_before)
    )
}

pub(crate) fn rate_restarts(schedule: &str, rate: f64, steps: u64) -> String {
    format!(
        "The learning rate of this run fell to zero by its last step (schedule: {schedule}). It would jump back to {} and \
         fall again over the other steps. The LoRA goes on learning, but it will not be that of a run of {} steps from the \
         start",
        learning_rate(rate),
        count(steps)
    )
}
