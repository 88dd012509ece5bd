//! The window: choose pictures and a base, train, watch, export.
//!
//! [`run`] opens it; [`StudioApp`] is the same without a window, for tests. The studio sees a worker only as
//! [`Engine`](lorikeet_protocol::Engine): it sends commands and draws what events tell. `ui` functions only read and
//! collect `Action`s; whatever may wait for a disk or a person happens on other threads (`work`).

mod actions;
pub mod advice;
mod answers;
mod app;
mod base;
mod browse;
mod choosing;
mod closing;
mod commands;
mod comparing;
mod draft;
mod drawing;
mod driving;
mod edits;
mod folders;
pub mod format;
mod health;
mod history;
mod hub;
mod installs;
mod kit;
pub mod log;
mod masks;
mod overlay;
mod pages;
mod palette;
mod pictures;
mod prefs;
mod queue;
mod run_files;
mod run_work;
pub mod series;
mod shell;
pub mod state;
mod texts;
mod watching;
mod work;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::{Found, LoraFolder};
use lorikeet_protocol::{Engine, Workplace};
use lorikeet_recipe::Preset;

pub use app::StudioApp;
pub use choosing::{Choice, Choose, Chooser};
pub use kit::tokens;
pub use pages::Page;

/// Starts a program of its own that works the queue in this file after the run in this folder. The error is in words.
pub type GoOn = fn(queue: &Path, run_dir: &Path) -> Result<(), String>;

/// What the binary tells the studio at start.
#[derive(Clone, Debug, Default)]
pub struct StartUp {
    /// Folder of the built-in base, that `demo` in a recipe stands for.
    pub demo_base: PathBuf,
    /// The first one is chosen at the first start.
    pub examples: Vec<Example>,
    pub devices: Vec<DeviceChoice>,
    /// How models are fetched; by default not at all.
    pub hub: lorikeet_hub::Access,
    /// What other programs have here; by default nothing.
    pub elsewhere: Elsewhere,
    /// Where runs are kept unless the recipe says otherwise.
    pub runs_folder: PathBuf,
    /// In which process runs work, if it is not for Settings to say.
    pub workplace: Option<Workplace>,
    /// Has another program go on with a queue once a run is over; by default nobody does.
    pub go_on: Option<GoOn>,
}

/// Models and folders of other programs. Asked from a thread, each time they are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    pub models: fn() -> Vec<Found>,
    pub lora_folders: fn() -> Vec<LoraFolder>,
}

impl Default for Elsewhere {
    fn default() -> Self {
        Self { models: Vec::new, lora_folders: Vec::new }
    }
}

impl Elsewhere {
    /// In the folders that the environment names, and the usual ones.
    pub fn of_this_computer() -> Self {
        use lorikeet_checkpoint::{discover, lora_folders, usual_roots};
        Self { models: || discover(&usual_roots()), lora_folders: || lora_folders(&usual_roots()) }
    }
}

/// Pictures that come with the program.
#[derive(Clone, Debug)]
pub struct Example {
    /// `Teach a style`.
    pub title: String,
    pub preset: Preset,
    pub folder: PathBuf,
    pub trigger: String,
    /// One sentence.
    pub blurb: String,
}

/// A device that training can run on.
#[derive(Clone, Debug)]
pub struct DeviceChoice {
    /// As in a recipe: `cpu`, `cuda:0`.
    pub id: String,
    pub label: String,
    pub available: bool,
    /// What is missing, and what to do about it.
    pub why_not: Option<String>,
}

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum StudioError {
    #[error("{}", texts::shell::NO_DISPLAY)]
    NoDisplay,
    #[error("{}", texts::shell::no_window(.0))]
    Window(String),
}

/// Opens the window and returns when it is closed.
pub fn run(engine: Box<dyn Engine>, start: StartUp) -> Result<(), StudioError> {
    // Asking winit first would end in its own words, or on some systems in a panic.
    let wanted = cfg!(all(unix, not(target_os = "macos")));
    if wanted && !has_display(|name| std::env::var_os(name)) {
        return Err(StudioError::NoDisplay);
    }
    let viewport = egui::ViewportBuilder::default()
        .with_title(texts::shell::LORIKEET)
        .with_app_id("lorikeet")
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([880.0, 560.0])
        .with_drag_and_drop(true);
    let options = eframe::NativeOptions { viewport, renderer: eframe::Renderer::Glow, ..Default::default() };
    eframe::run_native(
        "lorikeet",
        options,
        Box::new(|cc| {
            let mut app = StudioApp::new(&cc.egui_ctx, engine, start);
            app.restore(cc.storage);
            if let Some(file) = lorikeet_queue::QueueFile::of_this_user() {
                app.keep_queue_in(file);
            }
            Ok(Box::new(app))
        }),
    )
    .map_err(|error| match error {
        eframe::Error::WinitEventLoop(_) => StudioError::NoDisplay,
        other => StudioError::Window(other.to_string()),
    })
}

/// Whether the environment names a display server.
fn has_display(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let names = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"];
    names.into_iter().any(|name| variable(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_is_one_that_the_environment_names() {
        assert!(!has_display(|_| None));
        assert!(!has_display(|_| Some(OsString::new())));
        assert!(has_display(|name| (name == "DISPLAY").then(|| OsString::from(":0"))));
        assert!(has_display(|name| (name == "WAYLAND_DISPLAY").then(|| OsString::from("wayland-0"))));
    }
}
