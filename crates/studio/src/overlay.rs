//! Curves of earlier runs over that of the one that is shown.

use std::path::{Path, PathBuf};

use lorikeet_protocol::Event;

use crate::app::StudioApp;
use crate::kit::tokens;
use crate::run_files;
use crate::series::Series;
use crate::state::Validation;

/// The curve of an earlier run.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    pub run_dir: PathBuf,
    pub name: String,
    pub losses: Series,
    pub validation: Vec<Validation>,
    /// Index into the colours of curves.
    pub color: usize,
}

/// The curve in a run folder.
pub(crate) fn read(run_dir: &Path) -> Result<Overlay, String> {
    let mut overlay = Overlay {
        run_dir: run_dir.to_owned(),
        name: run_dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        losses: Series::default(),
        validation: Vec::new(),
        color: 0,
    };
    for event in run_files::told(run_dir)? {
        match event {
            Event::Step(step) => overlay.losses.push(&step),
            Event::Validation { step, loss, base_loss } if loss.is_finite() => {
                overlay.validation.push(Validation { step, loss, base_loss });
            }
            _ => {}
        }
    }
    Ok(overlay)
}

impl StudioApp {
    /// Shows the curve of a run, or hides it again.
    pub(crate) fn toggle_overlay(&mut self, run_dir: PathBuf) {
        let before = self.overlays.len();
        self.overlays.retain(|overlay| overlay.run_dir != run_dir);
        if self.overlays.len() == before {
            self.work.read_curve(run_dir);
        }
    }

    pub(crate) fn curve_read(&mut self, result: Result<Overlay, String>) {
        match result {
            Ok(mut overlay) => {
                // A colour that none has; the oldest gives way when all are taken.
                let count = tokens::CURVES;
                self.overlays.retain(|other| other.run_dir != overlay.run_dir);
                if self.overlays.len() == count {
                    self.overlays.remove(0);
                }
                let taken = |color| self.overlays.iter().any(|other| other.color == color);
                overlay.color = (0..count).find(|color| !taken(*color)).unwrap_or(0);
                self.overlays.push(overlay);
            }
            Err(error) => self.toasts.add(crate::kit::Tone::Warn, error),
        }
    }
}
