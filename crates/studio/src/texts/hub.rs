//! The hub: the card on the Model page, and its part of Settings.

use crate::format::{bytes, count, plural};

pub(crate) const DOWNLOAD: &str = "Download from the hub";
pub(crate) const SET_OFFLINE: &str = "Lorikeet is set to stay offline: nothing goes to the network";
pub(crate) const OPEN_SETTINGS: &str = "Open Settings";
pub(crate) const HELP: &str = "Fetched once into the cache of the Hugging Face hub, which other programs share";
pub(crate) const MODEL: &str = "Model";
pub(crate) const MODEL_HINT: &str = "owner/name, or the address of a model's page";
pub(crate) const LOOK_UP: &str = "Look up";
pub(crate) const ASKING: &str = "Asking the hub what is there";
pub(crate) const SEVERAL: &str = "There are several models in it. Which one?";
pub(crate) const NOT_NOW: &str = "Not now";
pub(crate) const CANCEL: &str = "Cancel download";
pub(crate) const OPEN_PAGE: &str = "Open the model's page";
pub(crate) const RESUME: &str = "Resume download";
pub(crate) const DISMISS: &str = "Dismiss";
pub(crate) const IS_HERE: &str = "It is here. The run that is going on keeps its base";
pub(crate) const USE_NEXT: &str = "Use it next";
pub(crate) const TO_FETCH: &str = "To fetch";
pub(crate) const HERE_ALREADY: &str = "Here already";
pub(crate) const LICENCE: &str = "Licence, as the model card says";
pub(crate) const NO_LICENCE: &str =
    "The model card names no licence: look at the model's page before you share a LoRA made with it";
pub(crate) const GATED: &str =
    "The owner wants the licence accepted on the model's page first, and a token of that account in Settings";
pub(crate) const USE: &str = "Use it";

/// `why`: what was set, in the words of the hub's crate.
pub(crate) fn outer_offline(why: &str) -> String {
    format!("{why}: nothing goes to the network")
}

pub(crate) fn file_of(number: u64, files: u64, file: &str) -> String {
    format!("File {} of {}: {file}", count(number), count(files))
}

pub(crate) fn bytes_of(done: u64, total: u64) -> String {
    format!("{} of {}", bytes(done), bytes(total))
}

pub(crate) fn in_files(size: u64, files: u64) -> String {
    plural(files, "{size} in # file", "{size} in # files").replace("{size}", &bytes(size))
}

pub(crate) fn smaller_files(files: u64) -> String {
    plural(files, "and # smaller file", "and # smaller files")
}

pub(crate) fn download(size: u64) -> String {
    format!("Download {}", bytes(size))
}

pub(crate) fn download_rest(size: u64) -> String {
    format!("Download the other {}", bytes(size))
}

pub(crate) fn here_and_chosen(model: &str) -> String {
    format!("{model} is here and chosen")
}

// In Settings

pub(crate) const STAY_OFFLINE: &str = "Stay offline: never use the network";
pub(crate) const TOKEN_OWN: &str = "Set here, readable by you alone";
pub(crate) const TOKEN_NONE: &str = "None: only models that are open to everyone can be fetched";
pub(crate) const TOKEN: &str = "Token";
pub(crate) const TOKEN_HELP: &str = "For models that ask for an account; made on the hub under Settings, Access tokens";
pub(crate) const TOKEN_KEPT: &str = "Kept; type another to replace it";
pub(crate) const TOKEN_HINT: &str = "hf_…";
pub(crate) const KEEP_TOKEN: &str = "Keep token";
pub(crate) const FORGET_TOKEN: &str = "Forget token";
pub(crate) const KEPT_IN: &str = "Models are kept in";
pub(crate) const TOKEN_UNSOUND: &str = "A token has letters, digits and signs only, without spaces. Copy it again";

pub(crate) fn offline_either_way(why: &str) -> String {
    format!("{why}, so that the network is not used either way")
}

/// `place`: a file, or a variable of the environment.
pub(crate) fn token_from(place: &str) -> String {
    format!("From {place}")
}
