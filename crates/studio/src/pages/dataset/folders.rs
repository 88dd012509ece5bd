//! The list of folders with their repeats.

use std::path::PathBuf;

use egui::{DragValue, RichText, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_dataset::{Dataset, Folder, repeats_in_name};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::Show;
use crate::choosing::Choose;
use crate::folders::{FolderChange, name, paths};
use crate::format;
use crate::kit::{Icon, Tokens, buttons::row_button, icon_button, tokens};

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
            if let Some(path) = path_field(ui, "Folder", "", width) {
                app.actions.push(Action::Folders(FolderChange::Add(path)));
            }
        }
    });
}

/// Beside the title of the card, laid out from the right. `count`: of folders.
pub(super) fn buttons(ui: &mut Ui, count: usize, held: bool) -> Vec<Action> {
    let mut asked = Vec::new();
    ui.add_enabled_ui(!held, |ui| {
        let word = if count > 1 { "Look at the folders again" } else { "Look at the folder again" };
        if icon_button(ui, Icon::Refresh, word).clicked() {
            asked.push(Action::Rescan);
        }
        let word = if count == 0 { "Choose folder…" } else { "Add folder…" };
        let button = row_button(ui, Icon::FolderPlus, word);
        if button.on_hover_text("Folders that are dropped are added too").clicked() {
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
        let label = if several { format!("Folder {}", index + 1) } else { "Folder".to_owned() };
        if let Some(path) = path_field(ui, &label, &folder.path.to_string_lossy(), width) {
            app.actions.push(Action::Folders(FolderChange::Path(index, path)));
        }
        let mut repeats = folder.repeats;
        let drag = DragValue::new(&mut repeats)
            .range(1..=1000)
            .speed(0.5)
            .custom_formatter(|number, _| if number == 1.0 { "once".to_owned() } else { format!("{number} times") });
        let drag = drag.custom_parser(|text| {
            let text = text.trim().trim_end_matches("times").trim();
            if text == "once" { Some(1.0) } else { text.parse().ok() }
        });
        let response = ui.add_sized(vec2(REPEATS_WIDTH, tokens::CONTROL_HEIGHT), drag);
        response.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, format!("Repeats of {name}")));
        if response.on_hover_text("How often an epoch shows each picture of this folder").changed() {
            app.actions.push(Action::Folders(FolderChange::Repeats(index, repeats)));
        }
        if several && icon_button(ui, Icon::Images, &format!("Show only {name}")).clicked() {
            app.browse.show = Show::Folder(folder.path.clone(), name.clone());
            app.browse.search.clear();
        }
        if icon_button(ui, Icon::X, &format!("Remove {name} from the list")).clicked() {
            app.actions.push(Action::Folders(FolderChange::Remove(index)));
        }
    });
    let Some((pictures, looks)) = app.folder_counts.of(folder).filter(|_| app.draft.data.ready().is_some()) else {
        return;
    };
    let mut parts = Vec::new();
    if several {
        parts.push(format::plural(pictures, "picture", "pictures"));
    }
    if looks != pictures {
        parts.push(format!("{} an epoch", format::plural(looks, "look", "looks")));
    }
    let own = folder.path.file_name().and_then(|name| repeats_in_name(&name.to_string_lossy()));
    if let Some(number) = own {
        parts.push(format!("shown {} for its name", times(number)));
    } else if looks != pictures * u64::from(folder.repeats) {
        parts.push("numbers in the names of subfolders count as repeats".to_owned());
    }
    if !parts.is_empty() {
        ui.label(RichText::new(parts.join(" · ")).small().color(t.mute));
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{} times", format::count(number.into())) }
}

/// A path that can be typed. Returns it when the field is left with another.
fn path_field(ui: &mut Ui, label: &str, chosen: &str, width: f32) -> Option<PathBuf> {
    let id = ui.make_persistent_id(("folder", label));
    let mut typed = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| chosen.to_owned());
    let field = ui.add(
        TextEdit::singleline(&mut typed)
            .id(id.with("field"))
            .desired_width(width)
            .hint_text("Drop a folder anywhere, or type its path")
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
