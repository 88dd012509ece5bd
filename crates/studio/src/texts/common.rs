//! Texts of several pages.

use std::fmt::Display;

use crate::format::{count, plural};

/// The model that learns, before it does.
pub(crate) const BASE: &str = "Base";
pub(crate) const CANCEL: &str = "Cancel";
pub(crate) const CHOOSE_FILE: &str = "Choose file…";
pub(crate) const CHOOSE_FOLDER: &str = "Choose folder…";
pub(crate) const CONTINUE: &str = "Continue";
pub(crate) const OPEN_FOLDER: &str = "Open folder";
pub(crate) const OPEN_IN_COMFYUI: &str = "Open in ComfyUI…";
pub(crate) const OPEN_IN_COMFYUI_HELP: &str =
    "Saves a workflow with the same settings. The picture itself can be dropped on ComfyUI too";
pub(crate) const SHOW_FILE: &str = "Show file";
pub(crate) const STOP_AND_SAVE: &str = "Stop and save";
pub(crate) const UNTITLED: &str = "Untitled";

/// `1 picture`, `24 pictures`.
pub(crate) fn pictures(n: u64) -> String {
    plural(n, "# picture", "# pictures")
}

pub(crate) fn step(step: u64) -> String {
    format!("Step {}", count(step))
}

/// `1 step`, `400 steps`.
pub(crate) fn steps(n: u64) -> String {
    plural(n, "# step", "# steps")
}

/// A file that was written.
pub(crate) fn saved(path: impl Display) -> String {
    format!("Saved {path}")
}

/// A message with others behind it that are only counted.
pub(crate) fn and_more(message: &str, more: u64) -> String {
    format!("{message} ({} more)", count(more))
}
