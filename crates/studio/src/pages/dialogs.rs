//! What lies over the pages.

use egui::{Context, RichText};

use super::{compare, export, import, longer, runs};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::{Icon, Tokens, modal, modal::actions, modal::title, primary_button, text_button};
use crate::texts;

pub(crate) fn dialogs(app: &mut StudioApp, ctx: &Context) {
    export::show(app, ctx);
    import::show(app, ctx);
    longer::show(app, ctx);
    crate::closing::dialog(app, ctx);
    if app.confirm_stop {
        stop(app, ctx);
    }
    if let Some(path) = app.confirm_delete.clone() {
        runs::confirm(app, ctx, path);
    }
    if let Some((prompt, step)) = app.enlarged {
        compare::show(app, ctx, prompt, step);
    }
}

fn stop(app: &mut StudioApp, ctx: &Context) {
    let (decided, close) = modal(ctx, "stop", |ui| {
        ui.set_width(360.0);
        title(ui, texts::dialogs::STOP_TITLE);
        let t = Tokens::get(ui);
        ui.add(egui::Label::new(RichText::new(texts::dialogs::STOP_HELP).color(t.dim)).wrap());
        let mut decided = false;
        actions(ui, |ui| {
            if primary_button(ui, Icon::Square, texts::common::STOP_AND_SAVE, true).clicked() {
                app.actions.push(Action::Stop);
                decided = true;
            }
            decided |= text_button(ui, Icon::X, texts::common::CANCEL, true).clicked();
        });
        decided
    });
    if decided || close {
        app.confirm_stop = false;
    }
}
