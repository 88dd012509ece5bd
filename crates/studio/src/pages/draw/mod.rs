//! Drawing with what was learned: the form, and beside it what came of it.

mod form;
mod results;

use egui::Ui;

use crate::app::StudioApp;
use crate::kit::{columns, tokens::COLUMN_GAP};

/// Of the form, px.
const FORM: f32 = 356.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let room = ui.available_width() - FORM - COLUMN_GAP;
    if room < FORM {
        form::show(app, ui);
        results::show(app, ui);
        return;
    }
    columns::columns(ui, &[FORM, room], |ui, at| match at {
        0 => form::show(app, ui),
        _ => results::show(app, ui),
    });
}
