//! The base model: built in, a folder or a file.

use std::path::Path;

use egui::{Align2, ComboBox, RichText, Sense, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_checkpoint::{Family, Found, Part};
use lorikeet_recipe::BUILT_IN;

use super::dataset::sentence;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::base::{BasePart, PartState};
use crate::choosing::Choose;
use crate::draft::Load;
use crate::format;
use crate::hub::HubAction;
use crate::kit::{
    Icon, Tokens, Tone,
    buttons::{focus_ring, row_button, segmented},
    card,
    card::card_with,
    card::fact,
    card::hint,
    card::page_title,
    columns, icon_button, notice, progress, row, tokens,
};
use crate::texts;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    columns::page(ui, |ui| {
        page_title(ui, texts::model::TITLE, texts::model::HELP);
        let base = |app: &mut StudioApp, ui: &mut Ui| {
            choice(app, ui);
            found(app, ui);
            parts(app, ui);
        };
        columns::beside(ui, app, 0.5, base, |app, ui| {
            super::hub::download(app, ui);
            discovered(app, ui);
        });
    });
}

fn choice(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    card(ui, texts::model::WHICH, |ui| {
        if held {
            ui.disable();
        }
        let built_in = app.draft.built_in();
        let demo = built_in.is_some();
        ui.horizontal(|ui| {
            let chosen = built_in.and_then(|chosen| BUILT_IN.iter().position(|base| base == chosen));
            let picked = segmented(
                ui,
                &[
                    (Some(Icon::Bird), texts::model::DEMO),
                    (Some(Icon::Bird), texts::model::DEMO_FLUX),
                    (Some(Icon::FolderOpen), texts::model::OWN),
                ],
                chosen.unwrap_or(BUILT_IN.len()),
            );
            match picked.map(|index| BUILT_IN.get(index)) {
                Some(Some(base)) => app.actions.push(Action::UseBase(base.name.to_owned())),
                Some(None) => app.actions.push(Action::Choose(Choose::BaseFile)),
                None => {}
            }
        });
        if demo {
            hint(ui, texts::model::DEMO_HELP);
        } else {
            hint(ui, texts::model::OWN_HELP);
        }
        ui.horizontal(|ui| {
            let label = ui.label(RichText::new(texts::model::PATH).color(t.dim));
            let id = ui.make_persistent_id("base-path");
            let chosen = if demo { String::new() } else { app.draft.text("base.path") };
            let mut typed = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| chosen.clone());
            let width = (ui.available_width() - 280.0).max(100.0);
            let field = ui
                .add(
                    TextEdit::singleline(&mut typed)
                        .desired_width(width)
                        .hint_text(if demo { texts::model::BUILT_IN } else { texts::model::PATH_HINT })
                        .margin(egui::Margin::symmetric(8, 5)),
                )
                .labelled_by(label.id);
            if field.has_focus() {
                ui.data_mut(|data| data.insert_temp(id, typed.clone()));
            } else {
                ui.data_mut(|data| data.remove::<String>(id));
            }
            if field.lost_focus() && typed.trim() != chosen && !typed.trim().is_empty() {
                app.actions.push(Action::UseBase(typed.trim().to_owned()));
            }
            if row_button(ui, Icon::File, texts::common::CHOOSE_FILE).clicked() {
                app.actions.push(Action::Choose(Choose::BaseFile));
            }
            if row_button(ui, Icon::FolderOpen, texts::common::CHOOSE_FOLDER).clicked() {
                app.actions.push(Action::Choose(Choose::BaseFolder));
            }
        });
    });
}

fn found(app: &StudioApp, ui: &mut Ui) {
    card(ui, texts::model::WHAT_IT_IS, |ui| match &app.draft.base {
        Load::Nothing => {
            hint(ui, texts::model::NOTHING_CHOSEN);
        }
        Load::Loading(_) => progress::labelled(ui, texts::model::LOOKING, "", None),
        Load::Failed(error) => {
            notice(ui, Tone::Error, sentence(error));
        }
        Load::Ready(base) => {
            match &base.problem {
                Some(problem) => notice(ui, Tone::Error, problem),
                None if app.draft.is_demo() => notice(ui, Tone::Ok, texts::model::demo_ready(&base.title)),
                None => notice(ui, Tone::Ok, texts::model::ready(&base.title)),
            };
            for (name, value) in &base.facts {
                fact(ui, name, value);
            }
            if let Some(licence) = &base.licence {
                fact(ui, texts::model::LICENCE, licence);
            } else if !app.draft.is_demo() {
                hint(ui, texts::model::NO_LICENCE);
            }
            for note in &base.notes {
                hint(ui, note);
            }
            if !app.draft.is_demo() {
                hint(ui, base.path.display().to_string());
            }
        }
    });
}

/// A row for each part that may lie in a file of its own.
fn parts(app: &mut StudioApp, ui: &mut Ui) {
    let Some(parts) = app.draft.base.ready().map(|base| base.parts.clone()).filter(|parts| !parts.is_empty()) else {
        return;
    };
    let held = app.state.active();
    card(ui, texts::model::PARTS, |ui| {
        if held {
            ui.disable();
        }
        hint(ui, texts::model::PARTS_HELP);
        for part in &parts {
            one_part(app, ui, part);
        }
    });
}

fn one_part(app: &mut StudioApp, ui: &mut Ui, part: &BasePart) {
    let given = app.draft.text(part.setting);
    let name = match part.part {
        Part::Vae => texts::model::AUTOENCODER,
        Part::TextEncoder => texts::model::TEXT_ENCODER,
        _ => texts::model::TEXT_ENCODER_2,
    };
    let words = match part.state {
        PartState::Inside => texts::model::INSIDE.to_owned(),
        PartState::Missing => texts::model::MISSING.to_owned(),
        PartState::Given => file_name(&given),
    };
    let mut use_it = None;
    row(ui, name, &part.advice, "", |ui| {
        let combo = ComboBox::from_id_salt(part.setting).selected_text(words).width(270.0).truncate();
        let shown = combo.show_ui(ui, |ui| {
            if ui.selectable_label(given.is_empty(), texts::model::THAT_OF_MODEL).clicked() {
                use_it = Some(String::new());
            }
            let found = app.models.ready().map(Vec::as_slice).unwrap_or_default();
            for model in found.iter().filter(|model| model.parts.contains(&part.part)) {
                let path = model.path.to_string_lossy().into_owned();
                let response = ui.selectable_label(path == given, file_name(&path)).on_hover_text(&path);
                if response.clicked() {
                    use_it = Some(path);
                }
            }
        });
        let choose = icon_button(ui, Icon::File, &texts::model::choose_file_for(&name.to_lowercase()));
        if choose.clicked() {
            app.actions.push(Action::Choose(Choose::SettingFile(part.setting)));
        }
        if !given.is_empty() && icon_button(ui, Icon::Reset, &texts::model::reset(&name.to_lowercase())).clicked() {
            use_it = Some(String::new());
        }
        shown.response
    });
    if part.state == PartState::Missing {
        notice(ui, Tone::Warn, texts::model::needed(&part.advice));
        if let Some((repository, file)) = part.hub.filter(|_| !app.hub.is_busy() && !app.hub.access.is_offline())
            && row_button(ui, Icon::Download, &texts::model::look_up(&name.to_lowercase())).clicked()
        {
            app.actions.push(Action::Hub(HubAction::LookPart(part.setting, repository, file)));
        }
    }
    if let Some(path) = use_it {
        app.actions.push(Action::UsePart(part.setting, path));
    }
}

fn file_name(path: &str) -> String {
    let path = Path::new(path);
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Whole models in the folders of other programs; a click takes one.
fn discovered(app: &mut StudioApp, ui: &mut Ui) {
    let mut again = false;
    let looking = !matches!(app.models, Load::Ready(_));
    let chosen = app.draft.text("base.path");
    let held = app.state.active();
    card_with(
        ui,
        texts::model::ON_THIS_COMPUTER,
        |ui| {
            if !looking {
                again = icon_button(ui, Icon::Refresh, texts::model::LOOK_AGAIN).clicked();
            }
        },
        |ui| {
            let Some(models) = app.models.ready() else {
                progress::labelled(ui, texts::model::LOOKING_FOR_MODELS, "", None);
                return;
            };
            let bases: Vec<&Found> = models.iter().filter(|model| model.family.is_some()).collect();
            if bases.is_empty() {
                hint(ui, texts::model::NONE_FOUND);
            }
            ui.spacing_mut().item_spacing.y = 2.0;
            for model in bases {
                if model_row(ui, model, model.path.to_string_lossy() == chosen, !held) {
                    app.actions.push(Action::UseBase(model.path.to_string_lossy().into_owned()));
                }
            }
        },
    );
    if again {
        app.actions.push(Action::FindModels);
    }
}

fn model_row(ui: &mut Ui, model: &Found, on: bool, enabled: bool) -> bool {
    const HEIGHT: f32 = 44.0;
    let t = Tokens::get(ui);
    let sense = if enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), sense);
    let name = file_name(&model.path.to_string_lossy());
    response.widget_info(|| WidgetInfo::selected(egui::Role::Button, enabled, on, texts::model::use_file(&name)));
    if !ui.is_rect_visible(rect) {
        return false;
    }
    if on || response.hovered() && enabled {
        ui.painter().rect_filled(rect, tokens::RADIUS, t.raised);
    }
    focus_ring(ui, &response, tokens::RADIUS);
    let label = model.family.map_or("", Family::label);
    let missing =
        model.family.map_or(0, |family| family.parts().iter().filter(|part| !model.parts.contains(part)).count());
    let mut about = vec![label.to_owned()];
    if model.bytes > 0 {
        about.push(format::bytes(model.bytes));
    }
    if missing > 0 {
        about.push(texts::model::without_parts(missing as u64));
    }
    about.push(model.path.parent().unwrap_or(&model.path).display().to_string());
    let painter = ui.painter().with_clip_rect(rect.shrink2(vec2(8.0, 0.0)).intersect(ui.clip_rect()));
    let (body, small) = (egui::TextStyle::Body.resolve(ui.style()), egui::TextStyle::Small.resolve(ui.style()));
    let left = rect.left() + 10.0;
    painter.text(egui::pos2(left, rect.top() + 14.0), Align2::LEFT_CENTER, name, body, t.text);
    painter.text(egui::pos2(left, rect.top() + 31.0), Align2::LEFT_CENTER, about.join(" · "), small, t.mute);
    if on {
        let at = egui::Rect::from_center_size(rect.right_center() - vec2(18.0, 0.0), vec2(16.0, 16.0));
        Icon::Check.paint(ui, at, t.accent);
    }
    response.on_hover_text(model.path.display().to_string()).clicked()
}
