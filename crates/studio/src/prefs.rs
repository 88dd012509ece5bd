//! What the studio remembers of itself between starts. Recipes are files of their own.

use egui::ThemePreference;
use lorikeet_protocol::Workplace;
use serde::{Deserialize, Serialize};

/// Under which eframe keeps it.
pub(crate) const KEY: &str = "studio";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Prefs {
    pub theme: Theme,
    /// A device id, or `auto`.
    pub device: String,
    /// Where new runs are kept, if not where the program says.
    pub runs_folder: Option<std::path::PathBuf>,
    /// Whether the examples are offered at the top of the first page.
    pub welcome: bool,
    /// In which process runs work.
    pub workplace: Workplace,
}

impl Default for Prefs {
    fn default() -> Self {
        Self {
            theme: Theme::System,
            device: "auto".to_owned(),
            runs_folder: None,
            welcome: true,
            workplace: Workplace::Auto,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl From<Theme> for ThemePreference {
    fn from(theme: Theme) -> Self {
        match theme {
            Theme::System => Self::System,
            Theme::Light => Self::Light,
            Theme::Dark => Self::Dark,
        }
    }
}
