//! Memory in use beside what the plan expected.

use egui::Ui;

use crate::format;
use crate::kit::{card, card::fact, progress};
use crate::state::State;

/// What the plan expected, and what it is.
pub(super) fn show(state: &State, ui: &mut Ui) {
    let Some(plan) = state.plan.as_ref().filter(|_| state.memory_seen > 0) else { return };
    let on_card = state.step.as_ref().is_some_and(|step| step.device_memory_bytes.is_some());
    // A process is counted with the files it has mapped, a card without.
    let planned = if on_card { plan.memory.needed_bytes } else { plan.memory.peak_bytes };
    card(ui, "Memory", |ui| {
        let now = state.step.as_ref().map_or(0, |step| step.device_memory_bytes.unwrap_or(step.memory_bytes));
        let name = if on_card { "Of the card, now" } else { "Of the process, now" };
        fact(ui, name, format::bytes(now));
        fact(ui, "The most so far", format::memory_of(state.memory_seen, planned) + " planned");
        progress::bar(ui, Some(state.memory_seen as f32 / planned.max(1) as f32), "Memory of the plan in use");
        if let Some((measured, planned)) = state.memory {
            let change = format::change(measured as f32, planned as f32).unwrap_or_default();
            let text = format!("{} of {} planned ({change})", format::bytes(measured), format::bytes(planned));
            fact(ui, "Needed for itself, in the end", text);
        }
    });
}
