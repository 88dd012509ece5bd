//! The base model: built in, a folder or a file.

use egui::{RichText, TextEdit, Ui};

use super::{column, dataset::sentence};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::kit::{
    Icon, Tokens, Tone,
    buttons::{row_button, segmented},
    card,
    card::fact,
    card::hint,
    card::page_title,
    notice, progress,
};
use crate::work::Choose;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    column(ui, |ui| {
        page_title(
            ui,
            "Base model",
            "The model that learns. It stays as it is; what is learned goes into a small file beside it",
        );
        choice(app, ui);
        found(app, ui);
    });
}

fn choice(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    card(ui, "Which model", |ui| {
        if held {
            ui.disable();
        }
        let demo = app.draft.is_demo();
        ui.horizontal(|ui| {
            let picked = segmented(
                ui,
                &[(Some(Icon::Bird), "Demo base"), (Some(Icon::FolderOpen), "My own")],
                usize::from(!demo),
            );
            match picked {
                Some(0) => app.actions.push(Action::UseBase("demo".to_owned())),
                Some(_) => app.actions.push(Action::Choose(Choose::BaseFile)),
                None => {}
            }
        });
        if demo {
            hint(
                ui,
                "Built in, small, and trains in minutes on any machine with no download. It draws everyday things at 128 × 128 px",
            );
        } else {
            hint(ui, "A Stable Diffusion 1.x .safetensors file, or a diffusers folder. Both can be dropped anywhere");
        }
        ui.horizontal(|ui| {
            let label = ui.label(RichText::new("Path").color(t.dim));
            let id = ui.make_persistent_id("base path");
            let chosen = if demo { String::new() } else { app.draft.text("base.path") };
            let mut typed = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| chosen.clone());
            let width = (ui.available_width() - 300.0).max(100.0);
            let field = ui
                .add(
                    TextEdit::singleline(&mut typed)
                        .desired_width(width - 20.0)
                        .hint_text(if demo { "Built in" } else { "Path of a file or folder" })
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
            if row_button(ui, Icon::File, "Choose file…").clicked() {
                app.actions.push(Action::Choose(Choose::BaseFile));
            }
            if row_button(ui, Icon::FolderOpen, "Choose folder…").clicked() {
                app.actions.push(Action::Choose(Choose::BaseFolder));
            }
        });
    });
}

fn found(app: &StudioApp, ui: &mut Ui) {
    card(ui, "What it is", |ui| match &app.draft.base {
        Load::Nothing => {
            hint(ui, "Nothing is chosen yet");
        }
        Load::Loading(_) => progress::labelled(ui, "Looking at the model", "", None),
        Load::Failed(error) => {
            notice(ui, Tone::Error, sentence(error));
        }
        Load::Ready(base) => {
            match &base.problem {
                Some(problem) => notice(ui, Tone::Error, problem),
                None if app.draft.is_demo() => {
                    notice(ui, Tone::Ok, format!("The demo base, of the {} layout, ready to train", base.title))
                }
                None => notice(ui, Tone::Ok, format!("{}, ready to train", base.title)),
            };
            for (name, value) in &base.facts {
                fact(ui, name, value);
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
