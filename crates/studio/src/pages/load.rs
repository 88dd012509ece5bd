//! How busy processor and card are, while a run goes on.

use egui::Ui;
use lorikeet_protocol::{CardLoad, Load};

use crate::format;
use crate::kit::{card, card::fact, progress};
use crate::state::State;
use crate::texts;

pub(super) fn show(state: &State, ui: &mut Ui) {
    let Some(load) = state.load.as_ref().filter(|_| state.active()) else { return };
    card(ui, texts::monitor::LOAD, |ui| {
        if let Some(card) = &load.card {
            on_card(card, ui);
        }
        if load.tuned > 0 {
            fact(ui, texts::monitor::TUNED, load.tuned.to_string());
        }
        for (name, share) in processor(load) {
            progress::labelled(ui, name, &format::percent(share.into()), Some(share));
        }
    });
}

fn processor(load: &Load) -> [(&'static str, f32); 2] {
    [(texts::monitor::PROCESSOR_ALL, load.processor), (texts::monitor::PROCESSOR_OWN, load.own_processor)]
}

fn on_card(card: &CardLoad, ui: &mut Ui) {
    if let Some(busy) = card.busy {
        let name = if card.name.is_empty() { texts::monitor::CARD } else { &card.name };
        progress::labelled(ui, name, &format::percent(busy.into()), Some(busy));
    }
    if let Some(memory) = card.memory {
        let used = memory.used as f32 / memory.total.max(1) as f32;
        let beside = format::memory_of(memory.used, memory.total);
        progress::labelled(ui, texts::monitor::CARD_MEMORY_ALL, &beside, Some(used));
        if let Some(others) = memory.of_others() {
            fact(ui, texts::monitor::CARD_MEMORY_OTHERS, format::bytes(others));
        }
    }
    if let Some(celsius) = card.celsius {
        fact(ui, texts::monitor::TEMPERATURE, texts::units::celsius(celsius));
    }
    if let Some(watts) = card.watts {
        fact(ui, texts::monitor::POWER, format::watts(watts, card.watts_limit));
    }
}
