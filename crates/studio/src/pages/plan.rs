//! The plan: what a run would be, and why.

use egui::{RichText, Ui};
use lorikeet_protocol::Failure;
use lorikeet_recipe::Plan;

use crate::app::StudioApp;
use crate::format;
use crate::kit::{Tokens, Tone, card, card::fact, card::hint, notice, progress, theme};
use crate::texts;

/// From here on reasons start unfolded, px.
const WIDE: f32 = 440.0;

pub(super) fn show(app: &StudioApp, ui: &mut Ui) {
    card(ui, texts::training::PLAN, |ui| {
        if let Some(failure) = &app.state.plan_failure {
            failure_text(ui, failure);
        } else if let Some(missing) = app.draft.missing() {
            hint(ui, super::dataset::sentence(&missing));
        } else if let Some(plan) = &app.state.plan {
            planned(ui, plan, &device_label(app, &plan.device));
        } else {
            progress::labelled(ui, texts::training::PLANNING, "", None);
        }
    });
}

/// As the program's start names it.
fn device_label(app: &StudioApp, id: &str) -> String {
    let known = app.start.devices.iter().find(|device| device.id == id);
    known.map_or_else(|| id.to_uppercase(), |device| device.label.clone())
}

fn planned(ui: &mut Ui, plan: &Plan, device: &str) {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 28.0;
        progress::figure(ui, &format::count(plan.steps), &texts::training::steps_unit(plan.steps));
        progress::figure(ui, &format::count(plan.epochs), &texts::training::epochs_unit(plan.epochs));
        progress::figure(ui, &format::count(plan.images), &texts::training::pictures_unit(plan.images));
    });
    ui.add_space(4.0);
    if plan.validation_images > 0 {
        fact(ui, texts::training::HELD_OUT, texts::common::pictures(plan.validation_images));
    }
    fact(ui, texts::training::RUNS_ON, device);
    fact(
        ui,
        texts::training::LEARNS,
        texts::training::numbers_on_layers(plan.trainable_parameters, plan.adapted_layers),
    );
    fact(ui, texts::training::MEMORY_ABOUT, format::memory_of(plan.memory.peak_bytes, plan.memory_bytes));
    if plan.memory_bytes > 0 {
        let part = plan.memory.peak_bytes as f32 / plan.memory_bytes as f32;
        progress::bar(ui, Some(part), texts::training::MEMORY);
    }
    fact(ui, texts::training::DISK_ABOUT, texts::training::of_free(plan.disk_bytes, plan.disk_free_bytes));
    for warning in &plan.warnings {
        notice(ui, Tone::Warn, super::dataset::sentence(warning.trim_end_matches('.')));
    }
    let title = RichText::new(texts::training::WHY).color(t.dim);
    // Where there is room for them, reasons are told without being asked for.
    let room = ui.available_width() >= WIDE;
    let reasons = egui::CollapsingHeader::new(title).id_salt(("decisions", room)).default_open(room);
    reasons.show_unindented(ui, |ui| {
        for decision in &plan.decisions {
            ui.spacing_mut().item_spacing.y = 2.0;
            fact(ui, &decision.what, &decision.value);
            hint(ui, decision.reason.trim_end_matches('.'));
            ui.add_space(6.0);
        }
    });
}

/// What, why, and what to do.
pub(super) fn failure_text(ui: &mut Ui, failure: &Failure) {
    let t = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        Tone::Error.icon().show(ui, 18.0, t.error);
        ui.add(egui::Label::new(RichText::new(trim(&failure.what)).text_style(theme::section()).color(t.text)).wrap());
    });
    if !failure.why.is_empty() {
        ui.add(egui::Label::new(RichText::new(trim(&failure.why)).color(t.dim)).wrap());
    }
    if !failure.todo.is_empty() {
        ui.add_space(2.0);
        ui.label(RichText::new(texts::training::WHAT_TO_DO).small().color(t.mute));
        ui.add(egui::Label::new(RichText::new(trim(&failure.todo)).color(t.text)).wrap());
    }
}

fn trim(text: &str) -> String {
    super::dataset::sentence(text.trim_end_matches('.'))
}
