//! Drawing with what was learned: the form, and beside it what came of it.

mod form;
mod results;

use egui::{Layout, Ui, vec2};

use crate::app::StudioApp;

/// Of the form, px.
const FORM: f32 = 356.0;
const GAP: f32 = 12.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let wide = ui.available_width() > 2.0 * FORM;
    if !wide {
        form::show(app, ui);
        results::show(app, ui);
        return;
    }
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = GAP;
        ui.allocate_ui_with_layout(vec2(FORM, 0.0), Layout::top_down(egui::Align::Min), |ui| {
            ui.set_width(FORM);
            form::show(app, ui);
        });
        ui.vertical(|ui| results::show(app, ui));
    });
}
