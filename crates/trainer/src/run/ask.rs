//! Previews of other prompts than the recipe's, asked for while the run goes on.

use lorikeet_nn::Storage;
use lorikeet_protocol::Event;

use super::Run;
use crate::prompts::Prompts;
use crate::{Host, TrainError};

impl Run<'_> {
    /// Once, beside the regular previews.
    pub(super) fn draw_these(&mut self, prompts: &[String], host: &mut dyn Host) -> Result<(), TrainError> {
        match self.learn(prompts, host) {
            Some((known, places)) => {
                self.previews.prompts = known;
                let at = (self.step, self.epoch());
                self.previews.draw(&self.stepper, &places, at, host)
            }
            None => Ok(()),
        }
    }

    /// From the next preview on.
    pub(super) fn set_prompts(&mut self, prompts: &[String], host: &mut dyn Host) {
        let Some((mut known, places)) = self.learn(prompts, host) else { return };
        known.set(places);
        if let Err(error) = known.save(self.run_dir) {
            let message = format!("the prompts hold until the run is resumed, for they cannot be kept: {error}");
            host.event(Event::Warning { message });
        }
        host.event(Event::Prompts { prompts: known.get(known.now()) });
        self.previews.prompts = known;
    }

    /// Encodes what is new. What cannot be drawn costs the wish, not the run.
    fn learn(&mut self, prompts: &[String], host: &mut dyn Host) -> Option<(Prompts, Vec<usize>)> {
        let mut known = self.previews.prompts.clone();
        let places = known.places(prompts);
        if places.is_empty() {
            let message = "there is no prompt to draw: write at least one".to_owned();
            host.event(Event::Warning { message });
            return None;
        }
        // Trained text encoders are loaded already, and encode at the time of drawing.
        if self.stepper.encoders.is_none() {
            let base = &mut self.stepper.base;
            let before = base.text_storage;
            if before == Storage::Resident {
                // Beside all that a run holds: read from their file they take no memory, and give the same numbers.
                base.text_storage = Storage::Streamed;
            }
            let learned = self.stepper.text.learn(base, &known.get(&places));
            base.text_storage = before;
            if let Err(error) = learned {
                host.event(Event::Warning { message: format!("the prompts cannot be drawn: {error}") });
                return None;
            }
        }
        // So that a prompt that was drawn once has the same place after a resume.
        if known != self.previews.prompts
            && let Err(error) = known.save(self.run_dir)
        {
            host.event(Event::Warning { message: format!("a prompt was not kept: {error}") });
        }
        Some((known, places))
    }
}
