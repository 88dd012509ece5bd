//! The system's dialogs for files and folders.

use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::texts;

/// What a native dialog is opened for.
#[derive(Clone, Debug, PartialEq)]
pub enum Choose {
    DatasetFolder,
    BaseFolder,
    BaseFile,
    RunsFolder,
    /// Where to write a LoRA; the suggestion.
    ExportFile(PathBuf),
    RecipeToOpen,
    RecipeToCompare,
    RecipeToSave(String),
    /// Where to save the loss plot, or the numbers of the run; the suggested name.
    PlotPicture(String),
    PlotTable(String),
    /// A folder for the setting of this id.
    SettingFolder(&'static str),
    /// A LoRA to draw with.
    LoraFile,
    /// Where to save the workflow of a picture for ComfyUI.
    Workflow(PathBuf),
    /// A model file for the setting of this id.
    SettingFile(&'static str),
}

/// The path that a person chose, or none.
pub type Choice = Pin<Box<dyn Future<Output = Option<PathBuf>> + Send>>;
/// Opens a dialog. Called on the window's thread, as macOS wants it; waited for on another.
pub type Chooser = Box<dyn Fn(&Choose) -> Choice>;

/// The dialogs of the system.
pub(crate) fn native_dialogs() -> Chooser {
    Box::new(|what| {
        let dialog = rfd::AsyncFileDialog::new();
        let future: Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>> = match what {
            Choose::DatasetFolder => Box::pin(dialog.set_title(texts::dialogs::DATASET_FOLDER).pick_folder()),
            Choose::RunsFolder => Box::pin(dialog.set_title(texts::dialogs::RUNS_FOLDER).pick_folder()),
            Choose::BaseFolder => Box::pin(dialog.set_title(texts::dialogs::MODEL_FOLDER).pick_folder()),
            Choose::SettingFolder(_) => Box::pin(dialog.set_title(texts::dialogs::FOLDER).pick_folder()),
            Choose::BaseFile | Choose::SettingFile(_) => Box::pin(
                dialog
                    .set_title(texts::dialogs::MODEL_FILE)
                    .add_filter(texts::dialogs::MODELS, &["safetensors"])
                    .add_filter(texts::dialogs::ALL_FILES, &["*"])
                    .pick_file(),
            ),
            Choose::RecipeToOpen | Choose::RecipeToCompare => Box::pin(
                dialog
                    .set_title(if *what == Choose::RecipeToOpen {
                        texts::dialogs::OPEN_RECIPE
                    } else {
                        texts::dialogs::COMPARE_WITH
                    })
                    .add_filter(texts::dialogs::RECIPES_AND_SETTINGS, &["toml", "json"])
                    .pick_file(),
            ),
            Choose::RecipeToSave(name) => Box::pin(
                dialog
                    .set_title(texts::dialogs::SAVE_RECIPE)
                    .add_filter(texts::dialogs::RECIPES, &["toml"])
                    .set_file_name(format!("{name}.toml"))
                    .save_file(),
            ),
            Choose::PlotPicture(name) => Box::pin(
                dialog
                    .set_title(texts::dialogs::SAVE_PLOT)
                    .add_filter(texts::dialogs::PICTURES, &["png"])
                    .set_file_name(name)
                    .save_file(),
            ),
            Choose::LoraFile => Box::pin(
                dialog.set_title(texts::dialogs::LORA).add_filter(texts::dialogs::LORAS, &["safetensors"]).pick_file(),
            ),
            Choose::Workflow(picture) => {
                let name = picture.with_extension("json");
                let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Box::pin(
                    dialog
                        .set_title(texts::dialogs::SAVE_WORKFLOW)
                        .add_filter(texts::dialogs::WORKFLOWS, &["json"])
                        .set_file_name(name)
                        .save_file(),
                )
            }
            Choose::PlotTable(name) => Box::pin(
                dialog
                    .set_title(texts::dialogs::SAVE_TABLE)
                    .add_filter(texts::dialogs::TABLES, &["csv"])
                    .set_file_name(name)
                    .save_file(),
            ),
            Choose::ExportFile(suggestion) => {
                let mut dialog =
                    dialog.set_title(texts::dialogs::EXPORT).add_filter(texts::dialogs::LORAS, &["safetensors"]);
                if let Some(folder) = suggestion.parent() {
                    dialog = dialog.set_directory(folder);
                }
                if let Some(name) = suggestion.file_name() {
                    dialog = dialog.set_file_name(name.to_string_lossy());
                }
                Box::pin(dialog.save_file())
            }
        };
        Box::pin(async move { future.await.map(|handle| handle.path().to_owned()) })
    })
}

/// Runs one future on this thread, which may sleep as long as a dialog stays open.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_future_returns_its_value() {
        assert_eq!(wait_for(std::future::ready(3)), 3);
    }
}
