//! The Model page, and what is told of a base.

use crate::format::{bytes, parameters, plural};

pub(crate) const TITLE: &str = "Base model";
pub(crate) const HELP: &str =
    "The model that learns. It stays as it is; what is learned goes into a small file beside it";
pub(crate) const WHICH: &str = "Which model";
pub(crate) const DEMO: &str = "Demo base";
pub(crate) const DEMO_FLUX: &str = "Demo base, FLUX layout";
pub(crate) const OWN: &str = "My own";
pub(crate) const DEMO_HELP: &str =
    "Built in, small, and trains in minutes on any machine with no download. It draws everyday things at 128 × 128 px";
pub(crate) const OWN_HELP: &str =
    "A .safetensors file of Stable Diffusion 1, 2, XL or FLUX.1, or a diffusers folder. Both can be dropped anywhere";
pub(crate) const PATH: &str = "Path";
pub(crate) const BUILT_IN: &str = "Built in";
pub(crate) const PATH_HINT: &str = "Path of a file or folder";
pub(crate) const WHAT_IT_IS: &str = "What it is";
pub(crate) const NOTHING_CHOSEN: &str = "Nothing is chosen yet";
pub(crate) const LOOKING: &str = "Looking at the model";
pub(crate) const LICENCE: &str = "Licence, as the file says";
pub(crate) const NO_LICENCE: &str =
    "The file names no licence: look where it came from before you share a LoRA made with it";

pub(crate) fn demo_ready(layout: &str) -> String {
    format!("The demo base, of the {layout} layout, ready to train")
}

pub(crate) fn ready(family: &str) -> String {
    format!("{family}, ready to train")
}

pub(crate) const DEMO_IS_MISSING: &str =
    "The demo base did not come with this program. Choose a model of your own, or install again";

// What a file is

pub(crate) const SIZE: &str = "Size";
pub(crate) const MADE_FOR: &str = "Made for";
pub(crate) const PREDICTS: &str = "Predicts";
pub(crate) const EPSILON: &str = "Noise (epsilon)";
pub(crate) const VELOCITY: &str = "Velocity (v)";
pub(crate) const FLOW: &str = "Straight to the picture (flow)";
pub(crate) const AND: &str = " and ";
pub(crate) const UNET: &str = "UNet";
pub(crate) const VAE: &str = "VAE";

/// `types`: of its numbers.
pub(crate) fn part(numbers: u64, types: &str, size: u64) -> String {
    format!("{} parameters, {types}, {}", parameters(numbers), bytes(size))
}

pub(crate) fn problem(what: &str, advice: &str) -> String {
    format!("This is {what}. {advice}")
}

// Its parts

pub(crate) const PARTS: &str = "Parts";
pub(crate) const PARTS_HELP: &str = "A model is made of several; those its own file lacks can come from others";
pub(crate) const AUTOENCODER: &str = "Autoencoder (VAE)";
pub(crate) const TEXT_ENCODER: &str = "Text encoder";
pub(crate) const TEXT_ENCODER_2: &str = "Second text encoder";
pub(crate) const INSIDE: &str = "In the model's own file";
pub(crate) const MISSING: &str = "Missing: choose a file";
pub(crate) const THAT_OF_MODEL: &str = "That of the model";

pub(crate) fn choose_file_for(part: &str) -> String {
    format!("Choose file for {part}")
}

pub(crate) fn reset(part: &str) -> String {
    format!("Reset {part}")
}

pub(crate) fn needed(advice: &str) -> String {
    format!("Needed: {advice}")
}

pub(crate) fn look_up(part: &str) -> String {
    format!("Look up {part} on the hub")
}

// Models found in the folders of other programs

pub(crate) const ON_THIS_COMPUTER: &str = "On this computer";
pub(crate) const LOOK_AGAIN: &str = "Look for models again";
pub(crate) const LOOKING_FOR_MODELS: &str = "Looking into the folders of ComfyUI, A1111, Forge and the hub";
pub(crate) const NONE_FOUND: &str = "\
    No model was found in the folders of ComfyUI, AUTOMATIC1111, Forge and the Hugging Face hub. Choose a file \
    above, or drop one anywhere";

pub(crate) fn use_file(file: &str) -> String {
    format!("Use {file}")
}

pub(crate) fn without_parts(parts: u64) -> String {
    plural(parts, "without # part", "without # parts")
}
