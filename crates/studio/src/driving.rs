//! Working the studio without a pointer: for tests, and for pictures of the window.

use std::path::PathBuf;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::prefs;

impl StudioApp {
    pub fn set_theme(&mut self, theme: egui::ThemePreference) {
        self.prefs.theme = match theme {
            egui::ThemePreference::System => prefs::Theme::System,
            egui::ThemePreference::Light => prefs::Theme::Light,
            egui::ThemePreference::Dark => prefs::Theme::Dark,
        };
    }

    /// As the Train button.
    pub fn train(&mut self) {
        self.perform(Action::Train);
    }

    /// As dropping a folder.
    pub fn choose_folder(&mut self, folder: PathBuf) {
        self.use_folder(folder);
    }

    /// Shows a preview large, by index of prompt and step.
    pub fn enlarge(&mut self, which: Option<(usize, u64)>) {
        self.perform(Action::Enlarge(which));
    }

    pub fn show_advanced(&mut self, open: bool) {
        self.advanced.open = open;
    }

    pub fn ask_stop(&mut self, ask: bool) {
        self.confirm_stop = ask;
    }

    pub fn ask_export(&mut self) {
        self.perform(Action::OpenExport);
    }

    pub fn cancel_export(&mut self) {
        self.export = None;
    }
}
