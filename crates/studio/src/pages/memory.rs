//! Memory in use beside what the plan expected.

use egui::Ui;

use crate::format;
use crate::kit::{card, card::fact, progress};
use crate::state::State;
use crate::texts;

/// What the plan expected, and what it is.
pub(super) fn show(state: &State, ui: &mut Ui) {
    let Some(plan) = state.plan.as_ref().filter(|_| state.memory_seen > 0) else { return };
    let on_card = state.step.as_ref().is_some_and(|step| step.device_memory_bytes.is_some());
    // A process is counted with the files it has mapped, a card without.
    let planned = if on_card { plan.memory.needed_bytes } else { plan.memory.peak_bytes };
    card(ui, texts::training::MEMORY, |ui| {
        let now = state.step.as_ref().map_or(0, |step| step.device_memory_bytes.unwrap_or(step.memory_bytes));
        let name = if on_card { texts::monitor::OF_CARD } else { texts::monitor::OF_PROCESS };
        fact(ui, name, format::bytes(now));
        fact(ui, texts::monitor::MOST_SO_FAR, texts::monitor::of_planned(state.memory_seen, planned));
        progress::bar(ui, Some(state.memory_seen as f32 / planned.max(1) as f32), texts::monitor::PLANNED_IN_USE);
        if let Some((measured, planned)) = state.memory {
            let text = texts::monitor::measured_of_planned(measured, planned);
            fact(ui, texts::monitor::NEEDED_IN_THE_END, text);
        }
    });
}
