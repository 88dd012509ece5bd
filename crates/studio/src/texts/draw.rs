//! The panel that draws with a LoRA, on the Samples page.

use std::fmt::Display;

use crate::format::{count, plain, plural};

// What to draw, and how

pub(crate) const WHAT: &str = "What to draw";
pub(crate) const LORAS: &str = "LoRAs";
pub(crate) const HOW: &str = "How";
pub(crate) const PROMPT: &str = "Prompt";
pub(crate) const PROMPT_HINT: &str = "What is to be seen";
pub(crate) const NEGATIVE: &str = "Negative prompt";
pub(crate) const NEGATIVE_HINT: &str = "What is not to be seen";
pub(crate) const SEED: &str = "Seed";
pub(crate) const SEED_HELP: &str = "The same seed is the same noise to start from";
pub(crate) const OTHER_SEED: &str = "Another seed";
pub(crate) const SIZE: &str = "Size";
pub(crate) const SIZE_HELP: &str = "Width and height in pixels, rounded down to what the base can draw";
pub(crate) const HEIGHT: &str = "Height";
pub(crate) const STEPS: &str = "Steps";
pub(crate) const STEPS_HELP: &str = "More take longer and get a little better";
pub(crate) const CFG: &str = "CFG";
pub(crate) const CFG_HELP: &str = "How strongly to follow the prompt; at 1 the negative prompt is not looked at";
pub(crate) const GUIDANCE: &str = "Guidance";
pub(crate) const GUIDANCE_HELP: &str = "What FLUX.1 dev is told about following the prompt";
pub(crate) const SAMPLER: &str = "Sampler";
pub(crate) const SAMPLER_HELP: &str = "The way from noise to picture. FLUX knows Euler only";
pub(crate) const DPM_PP_2M: &str = "DPM++ 2M";
pub(crate) const EULER: &str = "Euler";
pub(crate) const EULER_A: &str = "Euler a";
pub(crate) const DDIM: &str = "DDIM";
pub(crate) const STRENGTH: &str = "Strength";
pub(crate) const NO_LORA: &str = "None: the base alone";
pub(crate) const ADD_SAVE: &str = "Add save";
pub(crate) const ADD_FILE: &str = "Add LoRA file…";
pub(crate) const SWEEP: &str = "Sweep: a picture for each strength and save";
pub(crate) const SWEEP_HELP: &str = "Of the first LoRA; the others stay as they are";
pub(crate) const STRENGTHS: &str = "Strengths";
pub(crate) const STRENGTHS_HELP: &str = "Numbers with commas between; 0 is the base alone";
pub(crate) const SAVES: &str = "Saves to go through";
pub(crate) const DRAWING: &str = "Drawing";
pub(crate) const DRAW: &str = "Draw";
pub(crate) const RUN_IS_ON: &str = "A run is on and needs the memory. Its previews show how far it is";

/// `number`: counted from 1.
pub(crate) fn lora(number: usize) -> String {
    format!("LoRA {number}")
}

pub(crate) fn take_away(number: usize) -> String {
    format!("Take LoRA {number} away")
}

pub(crate) fn save_of(step: u64) -> String {
    format!("Save of step {}", count(step))
}

pub(crate) fn draw_pictures(pictures: u64) -> String {
    plural(pictures, DRAW, "Draw # pictures")
}

pub(crate) fn no_strength(word: &str) -> String {
    format!("\"{word}\" is no strength. Write numbers with commas between: 0, 0.5, 1")
}

pub(crate) fn too_many(pictures: u64, most: u64) -> String {
    format!("{} pictures are more than {}. Choose fewer saves or strengths", count(pictures), count(most))
}

pub(crate) fn save_gone(step: u64) -> String {
    format!("The save of step {} is gone. Choose another", count(step))
}

pub(crate) const NO_STRENGTH: &str = "Write at least one strength, such as 1";
pub(crate) const NOTHING_TO_DRAW: &str = "There is nothing to draw yet";

// What was drawn

pub(crate) const EMPTY: &str = "Nothing drawn yet";
pub(crate) const EMPTY_HELP: &str =
    "Choose LoRAs and a prompt, then press Draw. Every picture is kept with its settings";
pub(crate) const SWEEP_TITLE: &str = "Sweep";
pub(crate) const BASE_ALONE: &str = "the base alone";

pub(crate) fn drawn(prompt: &str) -> String {
    format!("Drawn: {prompt}")
}

pub(crate) fn not(negative: &str) -> String {
    format!("Not: {negative}")
}

pub(crate) fn with_strength(lora: &str, strength: f32) -> String {
    format!("{lora} × {}", plain(strength.into()))
}

pub(crate) fn seed(seed: u64) -> String {
    format!("seed {seed}")
}

pub(crate) fn cfg(cfg: f64) -> String {
    format!("CFG {}", plain(cfg))
}

pub(crate) fn guidance(guidance: f64) -> String {
    format!("guidance {}", plain(guidance))
}

pub(crate) fn workflow_unknown(path: impl Display) -> String {
    format!("The picture does not tell what it was drawn with: {path}. Draw it again with this version")
}
