//! The words and signs beside numbers.

pub(crate) const ALMOST_DONE: &str = "almost done";
pub(crate) const JUST_NOW: &str = "just now";
pub(crate) const NOT_A_NUMBER: &str = "not a number";
/// Each 1,024 times the one before.
pub(crate) const BYTES: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];

/// `1,240 of 2,000`, `9.3 of 24 GB`.
pub(crate) fn of(part: &str, whole: &str) -> String {
    format!("{part} of {whole}")
}

pub(crate) fn seconds(seconds: u64) -> String {
    format!("{seconds} s")
}

pub(crate) fn minutes(minutes: u64) -> String {
    format!("{minutes} min")
}

pub(crate) fn hours(hours: u64) -> String {
    format!("{hours} h")
}

pub(crate) fn hours_minutes(hours: u64, minutes: u64) -> String {
    format!("{hours} h {minutes} min")
}

pub(crate) fn days(days: u64) -> String {
    format!("{days} d")
}

pub(crate) fn days_hours(days: u64, hours: u64) -> String {
    format!("{days} d {hours} h")
}

/// `10 min left`.
pub(crate) fn left(time: &str) -> String {
    format!("{time} left")
}

/// `2 h ago`.
pub(crate) fn ago(time: &str) -> String {
    format!("{time} ago")
}

pub(crate) fn celsius(degrees: u32) -> String {
    format!("{degrees} °C")
}

pub(crate) fn watts(number: &str) -> String {
    format!("{number} W")
}

pub(crate) fn steps_a_second(number: &str) -> String {
    format!("{number} it/s")
}

pub(crate) fn seconds_a_step(number: &str) -> String {
    format!("{number} s/it")
}

/// `37 MB/s`.
pub(crate) fn a_second(bytes: &str) -> String {
    format!("{bytes}/s")
}

/// `640 × 480 px`.
pub(crate) fn pixels(size: &str) -> String {
    format!("{size} px")
}
