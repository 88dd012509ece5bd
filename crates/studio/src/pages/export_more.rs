//! Of the export dialog: the picture that the LoRA is shown with, and copies for other programs.

use std::path::{Path, PathBuf};

use egui::{ComboBox, RichText, Sense, Ui, WidgetInfo, vec2};
use lorikeet_checkpoint::LoraFolder;

use super::export::ExportForm;
use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::installs::Placed;
use crate::kit::{Icon, tokens};
use crate::kit::{Tokens, Tone, buttons::checkbox, card::hint, notice, quiet_button, row};
use crate::pictures::THUMBNAIL;
use crate::state::State;
use crate::texts;

/// Of the picture in the dialog.
const EDGE: f32 = 56.0;

/// What came of a copy, by folder.
pub(crate) type Copies = Vec<(PathBuf, Result<Placed, String>)>;

/// Previews of that step, or of the last one before it: prompt and file.
pub(super) fn previews(state: &State, step: u64) -> Vec<(String, PathBuf)> {
    let last = state.samples.iter().map(|sample| sample.step).filter(|at| *at > 0 && *at <= step).max();
    let mut found: Vec<_> = state.samples.iter().filter(|sample| Some(sample.step) == last).collect();
    found.sort_by_key(|sample| sample.prompt_index);
    found.into_iter().map(|sample| (sample.prompt.clone(), sample.path.clone())).collect()
}

pub(super) fn thumbnail(app: &mut StudioApp, ui: &mut Ui, form: &mut ExportForm) {
    let previews = previews(&app.state, form.wanted());
    if previews.is_empty() {
        return;
    }
    let help = texts::export::PICTURE_HELP;
    row(ui, texts::export::PICTURE, help, "", |ui| {
        let chosen = previews.iter().find(|(_, path)| Some(path) == form.thumbnail.as_ref());
        let name = chosen.map_or(texts::export::NO_PICTURE, |(prompt, _)| prompt.as_str());
        let combo = ComboBox::from_id_salt("export-picture")
            .selected_text(name)
            .width(ui.available_width() - EDGE - 24.0)
            .truncate()
            .show_ui(ui, |ui| {
                ui.selectable_value(&mut form.thumbnail, None, texts::export::NO_PICTURE);
                for (prompt, path) in &previews {
                    ui.selectable_value(&mut form.thumbnail, Some(path.clone()), prompt);
                }
            });
        if let Some(path) = &form.thumbnail {
            let (rect, response) = ui.allocate_exact_size(vec2(EDGE, EDGE), Sense::hover());
            response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, texts::export::PICTURE_SHOWN));
            picture::cover(ui, rect, &app.pictures.get(path, THUMBNAIL));
        }
        combo.response
    });
}

/// The folders of other programs, to tick.
pub(super) fn folders(ui: &mut Ui, form: &mut ExportForm) {
    if form.folders.is_empty() {
        return;
    }
    hint(ui, texts::export::FOLDERS_HELP);
    for (folder, on) in &mut form.folders {
        checkbox(ui, on, &folder.program).on_hover_text(folder.path.display().to_string());
    }
}

/// What came of the copies.
pub(super) fn copies(app: &mut StudioApp, ui: &mut Ui, form: &ExportForm) {
    let t = Tokens::get(ui);
    for (folder, result) in &form.copies {
        match result {
            Ok(Placed::Copied(path)) => {
                notice(ui, Tone::Ok, texts::export::copied_to(path.display()));
            }
            Ok(Placed::There(path)) => {
                notice(ui, Tone::Ok, texts::export::there_already(path.display()));
            }
            Ok(Placed::Taken(path)) => {
                notice(ui, Tone::Warn, texts::export::name_taken(path.display()));
                ui.horizontal(|ui| {
                    ui.add_space(f32::from(tokens::PAGE_PADDING) + 8.0);
                    let name = texts::export::replace_in(program(&form.folders, folder));
                    if quiet_button(ui, Icon::Copy, &name).clicked() {
                        app.actions.push(Action::CopyLora(vec![folder.clone()], true));
                    }
                });
            }
            Err(error) => {
                notice(ui, Tone::Error, super::sentence(error));
            }
        }
    }
    let waiting = form.chosen_folders().len().saturating_sub(form.copies.len());
    if waiting > 0 {
        ui.label(RichText::new(texts::export::COPYING).color(t.dim));
    }
}

fn program<'a>(folders: &'a [(LoraFolder, bool)], path: &Path) -> &'a str {
    folders
        .iter()
        .find(|(folder, _)| folder.path == path)
        .map_or(texts::export::THAT_FOLDER, |(folder, _)| folder.program.as_str())
}
