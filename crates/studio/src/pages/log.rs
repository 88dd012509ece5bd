//! The log of the run, with a filter.

use egui::{Label, RichText, ScrollArea, Ui};

use crate::app::StudioApp;
use crate::format;
use crate::kit::{Tokens, buttons::segmented, card::card_with, card::hint};
use crate::log::Level;
use crate::texts;

const LEVELS: [(Level, &str); 3] = [
    (Level::Info, texts::monitor::ALL),
    (Level::Warning, texts::monitor::WARNINGS),
    (Level::Error, texts::monitor::ERRORS),
];
const HEIGHT: f32 = 180.0;
const ROW: f32 = 18.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if app.state.log.is_empty() {
        return;
    }
    let chosen = LEVELS.iter().position(|(level, _)| *level == app.log_level).unwrap_or(0);
    let mut picked = None;
    let log = &app.state.log;
    card_with(
        ui,
        texts::monitor::LOG,
        |ui| picked = segmented(ui, &LEVELS.map(|(_, name)| (None, name)), chosen),
        |ui| {
            let t = Tokens::get(ui);
            let lines = log.lines(LEVELS[chosen].0);
            if lines.is_empty() {
                hint(ui, texts::monitor::NOTHING_TOLD);
                return;
            }
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.spacing_mut().interact_size.y = ROW;
            ScrollArea::vertical()
                .min_scrolled_height(HEIGHT)
                .id_salt("log")
                .max_height(HEIGHT)
                .auto_shrink([false, true])
                .stick_to_bottom(true)
                .show_rows(ui, ROW, lines.len(), |ui, rows| {
                    for line in &lines[rows] {
                        ui.horizontal(|ui| {
                            ui.set_height(ROW);
                            let at = line.at.map_or_else(String::new, format::count);
                            let (rect, _) = ui.allocate_exact_size(egui::vec2(44.0, ROW), egui::Sense::hover());
                            let small = egui::TextStyle::Small.resolve(ui.style());
                            ui.painter().text(rect.right_center(), egui::Align2::RIGHT_CENTER, at, small, t.mute);
                            let color = match line.level {
                                Level::Info => t.dim,
                                Level::Warning => t.warn,
                                Level::Error => t.error,
                            };
                            let text = RichText::new(&line.text).small().color(color);
                            ui.add(Label::new(text).truncate()).on_hover_text(&line.text);
                        });
                    }
                });
        },
    );
    if let Some(picked) = picked {
        app.log_level = LEVELS[picked].0;
    }
}
