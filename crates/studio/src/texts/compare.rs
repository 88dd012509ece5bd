//! One preview large beside another.

use crate::format::count;

pub(crate) const LATER: &str = "Later step";
pub(crate) const EARLIER: &str = "Earlier step";
pub(crate) const CLOSE: &str = "Close preview";
pub(crate) const SIDE_BY_SIDE: &str = "Side by side";
pub(crate) const WIPE: &str = "Wipe";
pub(crate) const WIPE_BETWEEN: &str = "Wipe between the two";
pub(crate) const AGAINST: &str = "against";

pub(crate) fn with_lora(step: u64) -> String {
    format!("With LoRA, step {}", count(step))
}

pub(crate) fn seed(seed: u64) -> String {
    format!("Seed {seed} · arrow keys: other steps and prompts")
}
