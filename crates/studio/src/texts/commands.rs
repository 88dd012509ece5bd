//! Names of what can be done: in the palette, on buttons and in menus.

pub(crate) const TRAIN: &str = "Train";
pub(crate) const ADD_TO_QUEUE: &str = "Add to queue";
pub(crate) const ADD_TO_QUEUE_BESIDE: &str = "train later";
pub(crate) const START_QUEUE: &str = "Start queue";
pub(crate) const HOLD_QUEUE: &str = "Hold queue";
pub(crate) const PAUSE: &str = "Pause";
pub(crate) const RESUME: &str = "Resume";
pub(crate) const STOP: &str = "Stop…";
pub(crate) const SAVE_NOW: &str = "Save now";
pub(crate) const DRAW_PREVIEWS: &str = "Draw previews now";
pub(crate) const DRAW: &str = "Draw with LoRAs…";
pub(crate) const DRAW_BESIDE: &str = "strength sweep";
pub(crate) const EXPORT: &str = "Export LoRA…";
pub(crate) const UNDO: &str = "Undo";
pub(crate) const REDO: &str = "Redo";
pub(crate) const ADD_FOLDER: &str = "Add folder of pictures…";
pub(crate) const LOOK_AGAIN: &str = "Look at the folder again";
pub(crate) const CHOOSE_MODEL_FILE: &str = "Choose model file…";
pub(crate) const CHOOSE_MODEL_FOLDER: &str = "Choose model folder…";
pub(crate) const DOWNLOAD_MODEL: &str = "Download model…";
pub(crate) const HUB: &str = "Hugging Face hub";
pub(crate) const USE_DEMO_BASE: &str = "Use a demo base";
pub(crate) const OPEN_RECIPE: &str = "Open or import recipe…";
pub(crate) const OPEN_RECIPE_BESIDE: &str = "kohya, OneTrainer";
pub(crate) const COMPARE_RECIPE: &str = "Compare with another recipe…";
pub(crate) const SAVE_RECIPE: &str = "Save recipe…";
pub(crate) const RESET_ALL: &str = "Reset all settings to their defaults";
pub(crate) const EXAMPLE_BESIDE: &str = "example";
pub(crate) const CHECK_PICTURES: &str = "Check pictures";
pub(crate) const CHECK_PICTURES_BESIDE: &str = "dataset doctor";
pub(crate) const SELECT_ALL: &str = "Select all pictures";

// What stands behind a colon

pub(crate) fn go_to(page: &str) -> String {
    format!("Go to {page}")
}

pub(crate) fn preset(preset: &str) -> String {
    format!("Preset: {preset}")
}

pub(crate) fn theme(theme: &str) -> String {
    format!("Theme: {theme}")
}

pub(crate) const DARK: &str = "dark";
pub(crate) const LIGHT: &str = "light";
pub(crate) const AS_SYSTEM: &str = "as the system";

pub(crate) fn device(device: &str) -> String {
    format!("Device: {device}")
}

pub(crate) fn setting(setting: &str) -> String {
    format!("Setting: {setting}")
}

// The palette

pub(crate) const PALETTE_FIELD: &str = "Type an action or a setting";
pub(crate) const NOTHING_FOUND: &str = "Nothing is called that";
