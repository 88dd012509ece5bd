//! The export.

use std::fmt::Display;

use crate::format::{bytes, count, plural};

pub(crate) const EXPORTING: &str = "Exporting…";
pub(crate) const EXPORT: &str = "Export";
pub(crate) const FILE: &str = "File";
pub(crate) const FILE_HELP: &str = "Where the file is written";
pub(crate) const SAVE: &str = "Save";
pub(crate) const SAVE_HELP: &str = "Which save to export; an earlier one may look better";
pub(crate) const NAMES: &str = "For";
pub(crate) const NAMES_HELP: &str = "What layers are called in the file; kohya's names are read by every program";
pub(crate) const KOHYA: &str = "CivitAI, ComfyUI, A1111 (kohya)";
pub(crate) const DIFFUSERS: &str = "diffusers (PEFT)";
pub(crate) const NUMBERS: &str = "Numbers";
pub(crate) const NUMBERS_HELP: &str = "f16 is read by every program and half the size of f32";
pub(crate) const F16: &str = "16 bit (f16)";
pub(crate) const BF16: &str = "16 bit (bf16)";
pub(crate) const F32: &str = "32 bit (f32)";
pub(crate) const ABOUT_HELP: &str =
    "Written into the file, for people and for sites such as CivitAI. All of it may stay empty";
pub(crate) const NAME: &str = "Name";
pub(crate) const USAGE: &str = "How to use it";
pub(crate) const USAGE_HELP: &str = "Trigger word and good strength";
pub(crate) const DESCRIPTION: &str = "Description";
pub(crate) const DESCRIPTION_HELP: &str = "What it draws";
pub(crate) const AUTHOR: &str = "Author";
pub(crate) const AUTHOR_HELP: &str = "Whom to ask";
pub(crate) const LICENCE: &str = "Licence";
pub(crate) const LICENCE_HELP: &str = "Such as CC BY 4.0; the base model's licence holds too";
pub(crate) const TAGS: &str = "Tags";
pub(crate) const TAGS_HELP: &str = "Separated by commas";
pub(crate) const READING_BACK: &str = "Reading the file back";
pub(crate) const SIZE: &str = "Size";
pub(crate) const DONE: &str = "Done";

/// Suggested to be told with the file.
pub(crate) fn use_trigger(word: &str) -> String {
    format!("Use \"{word}\" in the prompt")
}

pub(crate) fn newest(step: u64) -> String {
    format!("Newest (step {})", count(step))
}

pub(crate) fn about_bytes(size: u64) -> String {
    format!("About {}", bytes(size))
}

pub(crate) fn read_back(layers: u64) -> String {
    plural(layers, "Read back: # layer, every number finite", "Read back: # layers, every number finite")
}

pub(crate) fn good_for(program: &str) -> String {
    format!("Good for {program}")
}

pub(crate) fn not_for(program: &str, problem: &str) -> String {
    format!("Not for {program}: {problem}")
}

// Its picture, and copies for other programs

pub(crate) const PICTURE: &str = "Picture";
pub(crate) const PICTURE_HELP: &str =
    "Shown with the LoRA by CivitAI, A1111 and others: put into the file, and beside it as .preview.png";
pub(crate) const NO_PICTURE: &str = "None";
pub(crate) const PICTURE_SHOWN: &str = "The picture it is shown with";
pub(crate) const FOLDERS_HELP: &str =
    "Copy it into the folders of other programs too. Other files of that name are not replaced";
pub(crate) const COPYING: &str = "Copying…";
pub(crate) const THAT_FOLDER: &str = "that folder";

pub(crate) fn copied_to(path: impl Display) -> String {
    format!("Copied to {path}")
}

pub(crate) fn there_already(path: impl Display) -> String {
    format!("It is there already: {path}")
}

pub(crate) fn name_taken(path: impl Display) -> String {
    format!("Another file has the name and was left: {path}")
}

pub(crate) fn replace_in(program: &str) -> String {
    format!("Replace it in {program}")
}

pub(crate) fn cannot_copy(file: impl Display, error: impl Display, to: impl Display) -> String {
    format!("{file} cannot be copied ({error}): {to}")
}
