//! Another recipe beside the draft, value by value.

use egui::{Align, Layout, RichText, Ui, vec2};

use super::sentence;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::comparing::{CompareAction, Row, Side};
use crate::draft::Load;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::row_button, card::card_with, card::hint, icon_button, notice, progress, theme,
};

/// Runs offered; older ones are opened as files.
const OFFERED: usize = 8;
const BUTTON: f32 = 104.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if !app.comparing.open {
        return;
    }
    let title = match &app.comparing.other {
        Load::Ready(other) => format!("Compared with {}", other.name),
        _ => "Compare recipes".to_owned(),
    };
    let (mut asked, mut close) = (None, false);
    card_with(
        ui,
        &title,
        |ui| close = icon_button(ui, Icon::X, "Close comparison").clicked(),
        |ui| match &app.comparing.other {
            Load::Loading(_) => progress::labelled(ui, "Reading the recipe", "", None),
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
    hint(ui, "Choose what to compare the settings on this page with");
    ui.horizontal_wrapped(|ui| {
        if let Load::Ready(runs) = &app.runs {
            for run in runs.iter().take(OFFERED) {
                if row_button(ui, Icon::History, &run.name).clicked() {
                    asked = Some(Action::Compare(CompareAction::With(run.path.clone())));
                }
            }
        }
        if row_button(ui, Icon::FolderOpen, "Recipe file…").clicked() {
            asked = Some(Action::Choose(Choose::RecipeToCompare));
        }
    });
    asked
}

fn table(app: &mut StudioApp, ui: &mut Ui) -> Option<Action> {
    let class = app.draft.class();
    let rows = app.comparing.rows(&app.draft.recipe, class);
    if rows.is_empty() {
        notice(ui, Tone::Ok, "All settings are the same");
        return None;
    }
    hint(
        ui,
        format!(
            "{}. Undo takes back what is taken over",
            format::plural(rows.len() as u64, "difference", "differences")
        ),
    );
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
            let response = row_button(ui, Icon::Download, "Take over");
            let name = format!("Take over {}: {}", row.label.to_lowercase(), row.there.value);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
            take = response.clicked();
        });
    });
    let width = ((ui.available_width() - ui.spacing().item_spacing.x) / 2.0).floor();
    ui.horizontal_top(|ui| {
        side(ui, "Here", &row.here, width);
        side(ui, "There", &row.there, width);
    });
    take
}

fn side(ui: &mut Ui, word: &str, side: &Side, width: f32) {
    let t = Tokens::get(ui);
    ui.allocate_ui(vec2(width, 0.0), |ui| {
        ui.set_width(width);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            let value = if side.value.is_empty() { "empty" } else { side.value.as_str() };
            ui.add(egui::Label::new(RichText::new(format!("{word}: {value}")).color(t.text)).wrap());
            hint(ui, sentence(&side.why));
        });
    });
}
