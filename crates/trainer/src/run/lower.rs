//! A run whose memory runs out does not end: it takes a smaller way and does the step again. The numbers stay those of the
//! recipe: only segments and the place of weights change, never their bits.

use lorikeet_nn::DeviceKind;
use lorikeet_protocol::Event;
use lorikeet_recipe::{Placement, Quantise, Segments};

use super::{Run, start};
use crate::setup::segments;
use crate::{Host, TrainError};

impl Run<'_> {
    /// Takes the next smaller way, and tells it; `again`: for a step that was given up. Returns whether there was one.
    ///
    /// # Errors
    /// When weights cannot be read again.
    pub(super) fn lower(&mut self, why: &str, again: bool, host: &mut dyn Host) -> Result<bool, TrainError> {
        // Parts of gradients of a step that will be done again.
        self.stepper.set.take_gradients();
        let what = if self.plan.segments == Segments::One {
            self.plan.segments = Segments::PerBlock;
            "From here on the backward pass goes block by block, which takes about half as long again"
        } else if self.plan.placement == Placement::Resident
            && self.plan.quantise == Quantise::None
            && self.stepper.base.kind != DeviceKind::Cpu
        {
            // On the CPU exact weights are in their file already.
            self.plan.placement = Placement::Stream;
            let text = self.plan.settings.base.quantise_text;
            self.stepper.base.set_storage(Placement::Stream, Quantise::None, text);
            self.stepper.denoiser = self.stepper.base.load_denoiser()?;
            self.stepper.together = true;
            self.stepper.prefetch = start::prefetch(&self.plan);
            "From here on weights are read from their file block by block, which is slower"
        } else {
            (self.stepper.budget, self.card_budget) = (None, None);
            // Fewer bits would be a copy, where exact weights in their file take nothing.
            let bits = match self.stepper.base.kind {
                DeviceKind::Cpu => "",
                _ => ", or with base.quantise = int8 or int4 where the base has it",
            };
            let message = format!(
                "{why}, and there is no smaller way. Training goes on; if the system ends it, resume it with a lower \
                 dataset.resolution or train.batch{bits}"
            );
            host.event(Event::Warning { message });
            return Ok(false);
        };
        self.stepper.segments = segments(&self.plan);
        lorikeet_nn::device::release_memory(&self.stepper.base.device);
        let step = if again { format!("; step {} is done again", self.step + 1) } else { String::new() };
        host.event(Event::Warning { message: format!("{why}. {what}{step}") });
        host.event(Event::Planned { plan: Box::new(self.plan.clone()) });
        Ok(true)
    }
}
