//! The Samples page.

use crate::format::count;

pub(crate) const PREVIEWS: &str = "Previews";
pub(crate) const HELP: &str = "The same prompts and seeds at each step; choose one to see it beside the base";
pub(crate) const DRAW_HELP: &str = "With any save or LoRA file, at any strength. Nothing is trained";
pub(crate) const DRAW_NOW: &str = "Draw now";
pub(crate) const BASE_FIRST: &str = "The first previews show the untouched base, to compare with";
pub(crate) const EMPTY: &str = "No previews yet";
pub(crate) const EMPTY_HELP: &str = "Previews appear here while a run goes on, one column for each time they are drawn";
pub(crate) const FAVOURITE: &str = "The favourite: the export starts with it";

pub(crate) fn epoch(epoch: u64) -> String {
    format!("epoch {}", count(epoch))
}

pub(crate) fn as_favourite(step: u64) -> String {
    format!("Step {} as favourite", count(step))
}

/// A preview for screen readers.
pub(crate) fn at(prompt: &str, step: u64) -> String {
    if step == 0 { format!("{prompt} at the base") } else { format!("{prompt} at step {}", count(step)) }
}

pub(crate) fn step_and_seed(step: u64, seed: u64) -> String {
    if step == 0 { format!("the base · seed {seed}") } else { format!("step {} · seed {seed}", count(step)) }
}

// Prompts while a run goes on

pub(crate) const CHANGE_PROMPTS: &str = "Change the prompts of all previews…";
pub(crate) const DRAW_THIS_NOW: &str = "Draw this now";
pub(crate) const DRAW_THIS_HINT: &str = "A prompt, as far as it has learned by now";
pub(crate) const DRAW_THIS: &str = "Draw this";
pub(crate) const PROMPTS: &str = "Prompts of the previews, one a line";
pub(crate) const PROMPTS_HELP: &str =
    "They hold from the next preview on. What is new is drawn by the base too, to compare with";
pub(crate) const USE_PROMPTS: &str = "Use these prompts";
pub(crate) const KEEP_PROMPTS: &str = "Keep the old ones";
