//! What was taken over from another trainer's settings, before it is used.

use egui::{Align, Context, Layout, RichText, ScrollArea, Ui};
use lorikeet_recipe::{Import, Left, Taken, setting};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::{
    Icon, Tokens, Tone, card::hint, modal, modal::actions, modal::title, notice, primary_button, text_button, theme,
};
use crate::texts;

pub(super) fn show(app: &mut StudioApp, ctx: &Context) {
    let Some(import) = app.imported.take() else { return };
    let mut used = false;
    let (cancelled, close) = modal(ctx, "import", |ui| {
        ui.set_width(620.0);
        title(ui, &texts::import::title(import.program.label()));
        let height = (ui.ctx().content_rect().height() - 240.0).clamp(160.0, 520.0);
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| report(ui, &import));
        let mut cancelled = false;
        actions(ui, |ui| {
            used = primary_button(ui, Icon::Check, texts::import::USE, true).clicked();
            cancelled = text_button(ui, Icon::X, texts::common::CANCEL, true).clicked();
            if text_button(ui, Icon::Copy, texts::import::COPY, true).clicked() {
                ui.ctx().copy_text(as_text(&import));
            }
        });
        cancelled
    });
    if used {
        app.actions.push(Action::UseImport(Box::new(import)));
    } else if !cancelled && !close {
        app.imported = Some(import);
    }
}

fn report(ui: &mut Ui, import: &Import) {
    let t = Tokens::get(ui);
    let (taken, left) = (import.taken.len() as u64, import.left.len() as u64);
    notice(ui, Tone::Ok, texts::import::taken_over(taken));
    ui.spacing_mut().item_spacing.y = 2.0;
    for one in &import.taken {
        pair(ui, label(one), &value(one));
        let from = if one.given.is_empty() {
            texts::import::default_of(import.program.label(), &one.key)
        } else {
            format!("{} = {}", one.key, one.given)
        };
        hint(ui, from);
        ui.add_space(6.0);
    }
    if left == 0 {
        return;
    }
    ui.add_space(8.0);
    notice(ui, Tone::Warn, texts::import::left_out(left));
    for Left { key, given, why } in &import.left {
        ui.add(egui::Label::new(RichText::new(format!("{key} = {given}")).monospace().color(t.text)).truncate());
        hint(ui, super::sentence(why));
        ui.add_space(6.0);
    }
}

fn label(taken: &Taken) -> &'static str {
    setting(taken.setting).map_or(taken.setting, |setting| setting.label)
}

fn value(taken: &Taken) -> String {
    setting(taken.setting)
        .map_or_else(|| taken.value.to_string(), |setting| super::fields::shown(setting, &taken.value))
}

fn pair(ui: &mut Ui, name: &str, value: &str) {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().interact_size.y = 18.0;
        ui.label(RichText::new(name).text_style(theme::section()).color(t.text));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add(egui::Label::new(RichText::new(value).color(t.text)).truncate());
        });
    });
}

fn as_text(import: &Import) -> String {
    let taken = import.taken.iter().map(|one| format!("{} -> {} = {}\n", one.key, one.setting, one.value));
    let left = import.left.iter().map(|one| format!("{} = {}: {}\n", one.key, one.given, one.why));
    texts::import::report(&taken.collect::<String>(), &left.collect::<String>())
}
