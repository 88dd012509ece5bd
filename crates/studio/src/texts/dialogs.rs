//! Questions over the pages, and the dialogs of the system that ask for a file.

pub(crate) const STOP_TITLE: &str = "Stop training?";
pub(crate) const STOP_HELP: &str = "What is learned so far is saved first. The run can be continued later from there";

// Titles of the dialogs that ask for a file

pub(crate) const DATASET_FOLDER: &str = "Choose a folder of pictures";
pub(crate) const RUNS_FOLDER: &str = "Choose a folder for runs";
pub(crate) const MODEL_FOLDER: &str = "Choose a model folder";
pub(crate) const FOLDER: &str = "Choose a folder";
pub(crate) const MODEL_FILE: &str = "Choose a model file";
pub(crate) const OPEN_RECIPE: &str = "Open or import recipe";
pub(crate) const COMPARE_WITH: &str = "Compare with";
pub(crate) const SAVE_RECIPE: &str = "Save recipe";
pub(crate) const SAVE_PLOT: &str = "Save plot";
pub(crate) const SAVE_TABLE: &str = "Save numbers";
pub(crate) const LORA: &str = "Choose a LoRA";
pub(crate) const SAVE_WORKFLOW: &str = "Save workflow for ComfyUI";
pub(crate) const EXPORT: &str = "Export LoRA";

// Kinds of files

pub(crate) const MODELS: &str = "Models";
pub(crate) const ALL_FILES: &str = "All files";
pub(crate) const RECIPES_AND_SETTINGS: &str = "Recipes, and settings of kohya and OneTrainer";
pub(crate) const RECIPES: &str = "Recipes";
pub(crate) const PICTURES: &str = "Pictures";
pub(crate) const LORAS: &str = "LoRAs";
pub(crate) const WORKFLOWS: &str = "Workflows";
pub(crate) const TABLES: &str = "Tables";
