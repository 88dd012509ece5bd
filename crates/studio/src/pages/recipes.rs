//! Another recipe beside the draft, value by value.

use egui::{Align, Layout, RichText, Ui, vec2};

use super::sentence;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::comparing::{CompareAction, Row};
use crate::draft::Load;
use crate::kit::{
    Icon, Tokens, Tone, buttons::row_button, card::card_with, card::hint, icon_button, notice, progress, theme,
};
use crate::texts;

/// Runs offered; older ones are opened as files.
const OFFERED: usize = 8;
const BUTTON: f32 = 104.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if !app.comparing.open {
        return;
    }
    let title = match &app.comparing.other {
        Load::Ready(other) => texts::recipes::compared_with(&other.name),
        _ => texts::recipes::TITLE.to_owned(),
    };
    let (mut asked, mut close) = (None, false);
    card_with(
        ui,
        &title,
        |ui| close = icon_button(ui, Icon::X, texts::recipes::CLOSE).clicked(),
        |ui| match &app.comparing.other {
            Load::Loading(_) => progress::labelled(ui, texts::recipes::READING, "", None),
            Load::Ready(_) => asked = table(app, ui),
            Load::Failed(error) => {
                notice(ui, Tone::Error, sentence(error));
                asked = choice(app, ui);
            }
            Load::Nothing => asked = choice(app, ui),
        },
    );
    let closing = close.then_some(Action::Compare(CompareAction::Close));
    app.actions.extend(asked.or(closing));
}

fn choice(app: &StudioApp, ui: &mut Ui) -> Option<Action> {
    let mut asked = None;
    hint(ui, texts::recipes::CHOOSE);
    ui.horizontal_wrapped(|ui| {
        if let Load::Ready(runs) = &app.runs {
            for run in runs.iter().take(OFFERED) {
                if row_button(ui, Icon::History, &run.name).clicked() {
                    asked = Some(Action::Compare(CompareAction::With(run.path.clone())));
                }
            }
        }
        if row_button(ui, Icon::FolderOpen, texts::recipes::RECIPE_FILE).clicked() {
            asked = Some(Action::Choose(Choose::RecipeToCompare));
        }
    });
    asked
}

fn table(app: &mut StudioApp, ui: &mut Ui) -> Option<Action> {
    let class = app.draft.class();
    let rows = app.comparing.rows(&app.draft.recipe, class);
    if rows.is_empty() {
        notice(ui, Tone::Ok, texts::recipes::ALL_THE_SAME);
        return None;
    }
    hint(ui, texts::recipes::differences(rows.len() as u64));
    let mut asked = None;
    for one in rows {
        if row(ui, one) {
            asked = Some(Action::Compare(CompareAction::Take(one.id)));
        }
    }
    asked
}

/// Whether the other's value is to be taken over.
fn row(ui: &mut Ui, row: &Row) -> bool {
    let t = Tokens::get(ui);
    let mut take = false;
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new(row.label).text_style(theme::section()).color(t.text));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.set_min_width(BUTTON);
            let response = row_button(ui, Icon::Download, texts::recipes::TAKE_OVER);
            let name = texts::recipes::take_over(&row.label.to_lowercase(), &row.there.value);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
            take = response.clicked();
        });
    });
    let width = ((ui.available_width() - ui.spacing().item_spacing.x) / 2.0).floor();
    ui.horizontal_top(|ui| {
        side(ui, texts::recipes::here(&row.here.value), &row.here.why, width);
        side(ui, texts::recipes::there(&row.there.value), &row.there.why, width);
    });
    take
}

fn side(ui: &mut Ui, value: String, why: &str, width: f32) {
    let t = Tokens::get(ui);
    ui.allocate_ui(vec2(width, 0.0), |ui| {
        ui.set_width(width);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.add(egui::Label::new(RichText::new(value).color(t.text)).wrap());
            hint(ui, sentence(why));
        });
    });
}
