//! The choice of earlier runs on the loss plot.

use std::path::Path;

use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{Button, PopupCloseBehavior, RichText, ScrollArea, Ui};

use crate::actions::Action;
use crate::kit::{Tokens, buttons::checkbox, card::hint};
use crate::overlay::Overlay;
use crate::run_files::RunEntry;
use crate::texts;

/// Which earlier runs to draw beside this one.
pub(super) fn menu(
    ui: &mut Ui,
    overlays: &[Overlay],
    runs: Option<&Vec<RunEntry>>,
    shown: Option<&Path>,
) -> Option<Action> {
    let mut asked = None;
    let t = Tokens::get(ui);
    let text = match overlays.len() {
        0 => texts::monitor::EARLIER_RUNS.to_owned(),
        count => texts::monitor::earlier_runs(count),
    };
    let button = Button::new(RichText::new(text).color(t.dim)).frame_when_inactive(false);
    let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
    MenuButton::from_button(button).config(config).ui(ui, |ui| {
        ui.set_min_width(220.0);
        let Some(runs) = runs else {
            hint(ui, texts::runs::LOOKING);
            asked = Some(Action::ListRuns);
            return;
        };
        let others: Vec<_> = runs.iter().filter(|run| Some(run.path.as_path()) != shown).collect();
        if others.is_empty() {
            hint(ui, texts::monitor::NO_OTHER_RUNS);
        }
        ScrollArea::vertical().max_height(240.0).show(ui, |ui| {
            for run in others {
                let mut on = overlays.iter().any(|overlay| overlay.run_dir == run.path);
                if checkbox(ui, &mut on, &run.name).changed() {
                    asked = Some(Action::Overlay(run.path.clone()));
                }
            }
        });
    });
    asked
}
