//! How busy processor and card are, while a run goes on.

use egui::Ui;
use lorikeet_protocol::{CardLoad, Load};

use crate::format;
use crate::kit::{card, card::fact, progress};
use crate::state::State;

pub(super) fn show(state: &State, ui: &mut Ui) {
    let Some(load) = state.load.as_ref().filter(|_| state.active()) else { return };
    card(ui, "Load", |ui| {
        if let Some(card) = &load.card {
            on_card(card, ui);
        }
        for (name, share) in processor(load) {
            progress::labelled(ui, name, &format::share(share), Some(share));
        }
    });
}

fn processor(load: &Load) -> [(&'static str, f32); 2] {
    [("Processor, all programs", load.processor), ("Processor, this run", load.own_processor)]
}

fn on_card(card: &CardLoad, ui: &mut Ui) {
    if let Some(busy) = card.busy {
        let name = if card.name.is_empty() { "Card" } else { &card.name };
        progress::labelled(ui, name, &format::share(busy), Some(busy));
    }
    if let Some(memory) = card.memory {
        let used = memory.used as f32 / memory.total.max(1) as f32;
        let beside = format::memory_of(memory.used, memory.total);
        progress::labelled(ui, "Memory of the card, all programs", &beside, Some(used));
        if let Some(others) = memory.of_others() {
            fact(ui, "Of it other programs", format::bytes(others));
        }
    }
    if let Some(celsius) = card.celsius {
        fact(ui, "Temperature", format!("{celsius} °C"));
    }
    if let Some(watts) = card.watts {
        let limit = card.watts_limit.map_or_else(String::new, |limit| format!(" of {limit:.0}"));
        fact(ui, "Power", format!("{watts:.0}{limit} W"));
    }
}
