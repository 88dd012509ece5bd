//! Pictures with their captions.

mod bulk;
mod doctor;
mod editor;
mod folders;
mod grid;
mod mask;
mod shapes;

pub(crate) use folders::FolderCounts;
pub(crate) use shapes::Shapes;

use egui::{RichText, Ui};
use lorikeet_dataset::Dataset;

use super::{monitor, picture, welcome};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::draft::Load;
use crate::kit::{Icon, Tokens, Tone, card::card_with, card::empty, notice, progress, text_button, tokens};
use crate::texts;

/// More left-out files than this are only counted.
const NAMED: usize = 5;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    // Painting takes the whole page.
    if app.draft.data.ready().is_some() && mask::show(app, ui) {
        return;
    }
    // Who brings pictures of their own is past the examples, and wants to see them.
    let own = app.draft.folder().is_some() && app.draft.example.is_none();
    if app.prefs.welcome && !own && !app.start.examples.is_empty() {
        welcome::show(app, ui);
    }
    let (count, held, mut asked) = (app.draft.recipe.folders().len(), app.state.active(), Vec::new());
    card_with(
        ui,
        texts::dataset::PICTURES,
        |ui| asked = folders::buttons(ui, count, held),
        |ui| {
            folders::show(app, ui);
            match &app.draft.data {
                Load::Nothing => {}
                Load::Loading(_) => progress::labelled(ui, texts::dataset::LOOKING, "", None),
                Load::Failed(error) => {
                    notice(ui, Tone::Error, sentence(error));
                }
                Load::Ready(data) => facts(ui, data, &app.draft.text("dataset.trigger")),
            }
        },
    );
    app.actions.extend(asked);
    match &app.draft.data {
        Load::Ready(data) if !data.images.is_empty() => {
            let data = std::sync::Arc::clone(data);
            doctor::show(app, ui, &data);
            if ui.ctx().content_rect().width() < tokens::RAIL_FROM_WIDTH {
                selection(app, ui, &data);
            }
            grid::show(app, ui, &data);
        }
        Load::Nothing => {
            let actions = &mut app.actions;
            empty(ui, Icon::FolderPlus, texts::dataset::EMPTY, texts::dataset::EMPTY_HELP, |ui| {
                if text_button(ui, Icon::FolderOpen, texts::common::CHOOSE_FOLDER, true).clicked() {
                    actions.push(Action::Choose(Choose::DatasetFolder));
                }
            });
        }
        _ => {}
    }
}

/// Beside the grid: the selected pictures, else the plan.
pub(super) fn rail(app: &mut StudioApp, ui: &mut Ui) {
    let data = app.draft.data.ready().cloned();
    match data {
        Some(data) if app.browse.count() > 0 => selection(app, ui, &data),
        data => {
            monitor::rail(app, ui);
            if let Some(data) = data {
                shapes::show(app, ui, &data);
            }
        }
    }
}

/// The caption of one picture, or what can be done to many.
fn selection(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    match app.browse.count() {
        0 => {}
        1 => editor::show(app, ui, data),
        _ => bulk::show(app, ui, data),
    }
}

fn facts(ui: &mut Ui, data: &Dataset, trigger: &str) {
    let t = Tokens::get(ui);
    let mut parts = vec![texts::common::pictures(data.images.len() as u64)];
    let shown = data.shown_per_epoch();
    if shown != data.images.len() as u64 {
        parts.push(texts::dataset::looks_with_repeats(shown));
    }
    parts.push(match data.captions_missing() {
        0 => texts::dataset::ALL_WITH_CAPTIONS.to_owned(),
        missing if missing == data.images.len() => texts::dataset::NONE_WITH_CAPTION.to_owned(),
        missing => texts::dataset::without_caption(missing as u64),
    });
    if !trigger.is_empty() {
        parts.push(texts::dataset::trigger_word(trigger));
    }
    ui.add(egui::Label::new(RichText::new(parts.join(" · ")).color(t.dim)).wrap());
    for warning in data.warnings.iter().take(NAMED) {
        notice(ui, Tone::Warn, warning);
    }
}

/// Error texts of the libraries begin small; on a card they begin a sentence.
pub(crate) fn sentence(text: &str) -> String {
    // Ids of settings and names of files stay as they are.
    if text.split_whitespace().next().is_some_and(|word| word.contains(['.', '/', '_'])) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
