//! How what the drawing panel asks for is done.

use lorikeet_protocol::{BaseParts, Command};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::drawing::DrawAction;
use crate::kit::Tone;
use crate::pages::Page;

impl StudioApp {
    pub(crate) fn draw_action(&mut self, action: DrawAction) {
        match action {
            DrawAction::Open(open) => {
                self.drawing.open = open;
                self.perform(Action::Go(Page::Samples));
            }
            DrawAction::Draw if self.state.active() || self.drawing.busy() => {}
            DrawAction::Draw => {
                let files = self.draft.part_files();
                let parts = BaseParts {
                    vae: files.vae,
                    text_encoder: files.text_encoder,
                    text_encoder_2: files.text_encoder_2,
                };
                let base = (self.draft.text("base.path"), parts);
                match self.drawing.request(base, self.prefs.device.clone(), &self.runs_folder()) {
                    Ok(request) => self.send(Command::Draw(request)),
                    Err(error) => self.toasts.add(Tone::Error, error),
                }
            }
            DrawAction::Stop => {
                if self.drawing.busy() {
                    self.drawing.stop();
                    self.send(Command::Stop);
                }
            }
            DrawAction::Show(index) => self.drawing.shown = Some(index),
            DrawAction::UseSettings(index) => self.drawing.use_settings(index),
            DrawAction::Workflow(picture) => self.perform(Action::Choose(Choose::Workflow(picture))),
        }
    }

    /// Reads what there is to draw with when that may have changed. A run that is on changes it all the time.
    pub(crate) fn follow_drawings(&mut self) {
        if !self.state.active() && self.drawing.wants(self.state.run_dir.as_ref(), self.state.saves.len()) {
            self.work.read_material(self.state.run_dir.clone(), self.runs_folder());
        }
    }
}
