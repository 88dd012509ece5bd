//! The Training page, and the plan beside it.

use crate::format::{bytes, count, parameters, plain, plural};
use crate::texts::common::{pictures, steps};

pub(crate) const RUN_IS_ON: &str =
    "A run is going on with the settings it was started with. Changes here are for the next one";
pub(crate) const COMPARE: &str = "Compare with…";
pub(crate) const ADVANCED: &str = "Advanced";
pub(crate) const FIND: &str = "Find a setting";
pub(crate) const NOTHING_FOUND: &str = "No setting is called that";
pub(crate) const ON: &str = "On";
pub(crate) const VALUE_ON: &str = "on";
pub(crate) const VALUE_OFF: &str = "off";
pub(crate) const LIST_HINT: &str = "One a line; empty: automatic";

/// What the length of training comes to.
pub(crate) fn length(images: u64, steps_an_epoch: u64, all_steps: u64, epochs: u64) -> String {
    let epochs = plural(epochs, "# epoch", "# epochs");
    format!("{}, {} an epoch: {} in {epochs}", pictures(images), steps(steps_an_epoch), steps(all_steps))
}

pub(crate) fn scale(scale: f64) -> String {
    format!("Scale alpha / rank: {}", plain(scale))
}

/// Behind Advanced.
pub(crate) fn settings_changed(settings: u64, changed: u64) -> String {
    if changed == 0 {
        format!("{} settings, all at their defaults", count(settings))
    } else {
        format!("{} settings, {} changed", count(settings), count(changed))
    }
}

pub(crate) fn help_and_default(help: &str, default: &str, reason: &str) -> String {
    format!("{help}\nDefault: {default}. {reason}")
}

/// `when`: in the words of the settings table.
pub(crate) fn in_effect(help: &str, when: &str) -> String {
    format!("{help}\nIn effect {when}")
}

pub(crate) fn choose(setting: &str) -> String {
    format!("Choose {setting}")
}

pub(crate) fn reset(setting: &str) -> String {
    format!("Reset {setting} to its default")
}

pub(crate) fn with_unit(number: &str, unit: &str) -> String {
    format!("{number} {unit}")
}

// What is missing before a run can start

pub(crate) const CHOOSE_PICTURES: &str = "Choose a folder of pictures first";
pub(crate) const STILL_LOOKING_AT_PICTURES: &str = "Still looking at the pictures";
pub(crate) const NO_PICTURE: &str = "No picture in the folder can be used";
pub(crate) const CHOOSE_BASE: &str = "Choose a base model first";
pub(crate) const STILL_LOOKING_AT_BASE: &str = "Still looking at the base model";

// The plan

pub(crate) const PLAN: &str = "Plan";
pub(crate) const PLANNING: &str = "Working out the plan";
pub(crate) const HELD_OUT: &str = "Held out";
pub(crate) const RUNS_ON: &str = "Runs on";
pub(crate) const LEARNS: &str = "Learns";
pub(crate) const MEMORY_ABOUT: &str = "Memory, about";
pub(crate) const DISK_ABOUT: &str = "Disk, about";
pub(crate) const WHY: &str = "Why these values";
pub(crate) const WHAT_TO_DO: &str = "What to do";
pub(crate) const MEMORY: &str = "Memory";

/// Under the number of steps, as those that follow under theirs.
pub(crate) fn steps_unit(steps: u64) -> String {
    plural(steps, "step", "steps")
}

pub(crate) fn epochs_unit(epochs: u64) -> String {
    plural(epochs, "epoch", "epochs")
}

pub(crate) fn pictures_unit(pictures: u64) -> String {
    plural(pictures, "picture", "pictures")
}

pub(crate) fn numbers_on_layers(numbers: u64, layers: u64) -> String {
    format!("{} numbers on {} layers", parameters(numbers), count(layers))
}

pub(crate) fn of_free(needed: u64, free: u64) -> String {
    format!("{} of {} free", bytes(needed), bytes(free))
}

// Undo

/// In the button that takes it back.
pub(crate) fn change_of(setting: &str) -> String {
    format!("change of {setting}")
}

pub(crate) fn change_of_settings(settings: u64) -> String {
    plural(settings, "change of # setting", "change of # settings")
}

pub(crate) const PRESET: &str = "preset";
