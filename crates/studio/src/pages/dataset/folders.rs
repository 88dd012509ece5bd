//! The list of folders with their repeats.

use std::path::PathBuf;

use egui::{DragValue, RichText, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_dataset::{Dataset, Folder, repeats_in_name};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::Show;
use crate::choosing::Choose;
use crate::folders::{FolderChange, name, paths};
use crate::kit::{Icon, Tokens, buttons::row_button, icon_button, tokens};
use crate::texts;

const REPEATS_WIDTH: f32 = 84.0;

/// Pictures and looks of each folder. Made anew when the pictures change, not in every frame.
#[derive(Default)]
pub(crate) struct FolderCounts {
    made_of: Option<u64>,
    counts: Vec<(PathBuf, u64, u64)>,
}

impl FolderCounts {
    fn update(&mut self, data: &Dataset, generation: u64) {
        if self.made_of == Some(generation) {
            return;
        }
        self.made_of = Some(generation);
        self.counts = data.folders().map(|folder| (folder.to_owned(), 0, 0)).collect();
        for picture in &data.images {
            let folder = data.folder_of(&picture.path);
            if let Some((_, pictures, looks)) = self.counts.iter_mut().find(|(path, ..)| path == folder) {
                *pictures += 1;
                *looks += u64::from(picture.repeats);
            }
        }
    }

    fn of(&self, folder: &Folder) -> Option<(u64, u64)> {
        let found = self.counts.iter().find(|(path, ..)| *path == folder.path);
        found.map(|(_, pictures, looks)| (*pictures, *looks))
    }
}

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if let Some(data) = app.draft.data.ready() {
        app.folder_counts.update(data, app.draft.generation);
    }
    let folders = app.draft.folders();
    let held = app.state.active();
    ui.add_enabled_ui(!held, |ui| {
        for index in 0..folders.len() {
            row(app, ui, &folders, index);
        }
        if folders.is_empty() {
            let width = ui.available_width();
            if let Some(path) = path_field(ui, texts::dataset::FOLDER, "", width) {
                app.actions.push(Action::Folders(FolderChange::Add(path)));
            }
        }
    });
}

/// Beside the title of the card, laid out from the right. `count`: of folders.
pub(super) fn buttons(ui: &mut Ui, count: usize, held: bool) -> Vec<Action> {
    let mut asked = Vec::new();
    ui.add_enabled_ui(!held, |ui| {
        let word = if count > 1 { texts::dataset::LOOK_AT_FOLDERS_AGAIN } else { texts::commands::LOOK_AGAIN };
        if icon_button(ui, Icon::Refresh, word).clicked() {
            asked.push(Action::Rescan);
        }
        let word = if count == 0 { texts::common::CHOOSE_FOLDER } else { texts::dataset::ADD_FOLDER };
        let button = row_button(ui, Icon::FolderPlus, word);
        if button.on_hover_text(texts::dataset::ADD_FOLDER_HELP).clicked() {
            asked.push(Action::Choose(Choose::DatasetFolder));
        }
    });
    asked
}

fn row(app: &mut StudioApp, ui: &mut Ui, folders: &[Folder], index: usize) {
    let t = Tokens::get(ui);
    let folder = &folders[index];
    let name = name(&folder.path, &paths(folders));
    let several = folders.len() > 1;
    ui.horizontal(|ui| {
        let buttons = if several { 76.0 } else { 42.0 };
        let width = (ui.available_width() - REPEATS_WIDTH - buttons).max(120.0);
        let label = if several { texts::dataset::folder(index + 1) } else { texts::dataset::FOLDER.to_owned() };
        if let Some(path) = path_field(ui, &label, &folder.path.to_string_lossy(), width) {
            app.actions.push(Action::Folders(FolderChange::Path(index, path)));
        }
        let mut repeats = folder.repeats;
        let drag = DragValue::new(&mut repeats)
            .range(1..=1000)
            .speed(0.5)
            .custom_formatter(|number, _| texts::dataset::times(number as u64));
        let drag = drag.custom_parser(|text| {
            let number = text.replace(',', "");
            let number = number.trim().trim_end_matches(|c: char| !c.is_ascii_digit());
            if text.trim() == texts::dataset::ONCE { Some(1.0) } else { number.parse().ok() }
        });
        let response = ui.add_sized(vec2(REPEATS_WIDTH, tokens::CONTROL_HEIGHT), drag);
        response.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, texts::dataset::repeats_of(&name)));
        if response.on_hover_text(texts::dataset::REPEATS_HELP).changed() {
            app.actions.push(Action::Folders(FolderChange::Repeats(index, repeats)));
        }
        if several && icon_button(ui, Icon::Images, &texts::dataset::show_only(&name)).clicked() {
            app.browse.show = Show::Folder(folder.path.clone(), name.clone());
            app.browse.search.clear();
        }
        if icon_button(ui, Icon::X, &texts::dataset::remove_folder(&name)).clicked() {
            app.actions.push(Action::Folders(FolderChange::Remove(index)));
        }
    });
    let Some((pictures, looks)) = app.folder_counts.of(folder).filter(|_| app.draft.data.ready().is_some()) else {
        return;
    };
    let mut parts = Vec::new();
    if several {
        parts.push(texts::common::pictures(pictures));
    }
    if looks != pictures {
        parts.push(texts::dataset::looks_an_epoch(looks));
    }
    let own = folder.path.file_name().and_then(|name| repeats_in_name(&name.to_string_lossy()));
    if let Some(number) = own {
        parts.push(texts::dataset::shown_for_its_name(number.into()));
    } else if looks != pictures * u64::from(folder.repeats) {
        parts.push(texts::dataset::SUBFOLDERS_REPEAT.to_owned());
    }
    if !parts.is_empty() {
        ui.label(RichText::new(parts.join(" · ")).small().color(t.mute));
    }
}

/// A path that can be typed. Returns it when the field is left with another.
fn path_field(ui: &mut Ui, label: &str, chosen: &str, width: f32) -> Option<PathBuf> {
    let id = ui.make_persistent_id(("folder", label));
    let mut typed = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| chosen.to_owned());
    let field = ui.add(
        TextEdit::singleline(&mut typed)
            .id(id.with("field"))
            .desired_width(width)
            .hint_text(texts::dataset::FOLDER_HINT)
            .margin(egui::Margin::symmetric(8, 5)),
    );
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, label));
    if field.has_focus() {
        ui.data_mut(|data| data.insert_temp(id, typed.clone()));
    } else {
        ui.data_mut(|data| data.remove::<String>(id));
    }
    let left = field.lost_focus() && typed.trim() != chosen && !typed.trim().is_empty();
    left.then(|| PathBuf::from(typed.trim()))
}
