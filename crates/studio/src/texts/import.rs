//! What was taken over from the settings of another trainer.

use crate::format::plural;

pub(crate) const USE: &str = "Use these settings";
pub(crate) const COPY: &str = "Copy report";

pub(crate) fn title(program: &str) -> String {
    format!("Settings of {program}")
}

pub(crate) fn taken_over(settings: u64) -> String {
    plural(settings, "# setting was taken over", "# settings were taken over")
}

pub(crate) fn left_out(settings: u64) -> String {
    plural(settings, "# setting was not", "# settings were not")
}

/// `key`: what the program calls it.
pub(crate) fn default_of(program: &str, key: &str) -> String {
    format!("not in the file: what {program} does then ({key})")
}

/// The report to be copied; a setting a line.
pub(crate) fn report(taken: &str, left: &str) -> String {
    format!("Taken over:\n{taken}\nNot taken over:\n{left}")
}
