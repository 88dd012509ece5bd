//! Pictures with their captions.

use std::path::PathBuf;

use egui::{Rect, RichText, Sense, TextEdit, Ui, WidgetInfo, pos2, vec2};
use lorikeet_dataset::{Dataset, Picture as Entry};

use super::{picture, welcome};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::row_button, card, card::empty, card::hint, icon_button, notice, progress, text_button,
    tokens,
};
use crate::pictures::THUMBNAIL;
use crate::work::Choose;

/// A tile with its caption.
const TILE: f32 = 128.0;
const CAPTION: f32 = 36.0;
const GAP: f32 = 8.0;
/// More left-out files than this are only counted.
const NAMED: usize = 5;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if app.prefs.welcome && !app.start.examples.is_empty() {
        welcome::show(app, ui);
    }
    card(ui, "Pictures", |ui| {
        folder_row(app, ui);
        match &app.draft.data {
            Load::Nothing => {}
            Load::Loading(_) => progress::labelled(ui, "Looking at the pictures", "", None),
            Load::Failed(error) => {
                notice(ui, Tone::Error, sentence(error));
            }
            Load::Ready(data) => facts(ui, data, &app.draft.text("dataset.trigger")),
        }
    });
    match &app.draft.data {
        Load::Ready(data) if !data.images.is_empty() => grid(ui, &data.images, &mut app.pictures),
        Load::Nothing => {
            let actions = &mut app.actions;
            empty(
                ui,
                Icon::FolderPlus,
                "Drop a folder of pictures here",
                "10 to 50 pictures are a good start. A .txt file beside a picture is its caption",
                |ui| {
                    if text_button(ui, Icon::FolderOpen, "Choose folder…", true).clicked() {
                        actions.push(Action::Choose(Choose::DatasetFolder));
                    }
                },
            );
        }
        _ => {}
    }
}

fn folder_row(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    ui.add_enabled_ui(!held, |ui| {
        ui.horizontal(|ui| {
            let label = ui.label(RichText::new("Folder").color(t.dim));
            let id = ui.make_persistent_id("folder");
            let chosen = app.draft.text("dataset.folder");
            let mut typed = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| chosen.clone());
            let width = (ui.available_width() - 190.0).max(120.0);
            let field = ui
                .add(
                    TextEdit::singleline(&mut typed)
                        .desired_width(width - 20.0)
                        .hint_text("Drop a folder anywhere, or type its path")
                        .margin(egui::Margin::symmetric(8, 5)),
                )
                .labelled_by(label.id);
            if field.has_focus() {
                ui.data_mut(|data| data.insert_temp(id, typed.clone()));
            } else {
                ui.data_mut(|data| data.remove::<String>(id));
            }
            if field.lost_focus() && typed != chosen && !typed.trim().is_empty() {
                app.actions.push(Action::UseFolder(PathBuf::from(typed.trim())));
            }
            if row_button(ui, Icon::FolderOpen, "Choose folder…").clicked() {
                app.actions.push(Action::Choose(Choose::DatasetFolder));
            }
            if icon_button(ui, Icon::Refresh, "Look at the folder again").clicked() {
                app.actions.push(Action::Rescan);
            }
        });
    });
}

fn facts(ui: &mut Ui, data: &Dataset, trigger: &str) {
    let t = Tokens::get(ui);
    let mut parts = vec![format::plural(data.images.len() as u64, "picture", "pictures")];
    let shown = data.shown_per_epoch();
    if shown != data.images.len() as u64 {
        parts.push(format!("{} looks an epoch with repeats", format::count(shown)));
    }
    parts.push(match data.captions_missing() {
        0 => "all with captions".to_owned(),
        missing if missing == data.images.len() => "none with a caption".to_owned(),
        missing => format!("{} without caption", format::count(missing as u64)),
    });
    if !trigger.is_empty() {
        parts.push(format!("trigger word “{trigger}”"));
    }
    ui.add(egui::Label::new(RichText::new(parts.join(" · ")).color(t.dim)).wrap());
    for skipped in data.skipped.iter().take(NAMED) {
        let name = skipped.path.strip_prefix(&data.folder).unwrap_or(&skipped.path);
        notice(ui, Tone::Warn, format!("Left out {}: {}", name.display(), skipped.reason));
    }
    if data.skipped.len() > NAMED {
        hint(ui, format!("{} more files were left out", format::count((data.skipped.len() - NAMED) as u64)));
    }
    for warning in data.warnings.iter().take(NAMED) {
        notice(ui, Tone::Warn, warning);
    }
}

/// All pictures; only what can be seen is decoded and drawn.
fn grid(ui: &mut Ui, images: &[Entry], pictures: &mut crate::pictures::Pictures) {
    let width = ui.available_width();
    let columns = (((width + GAP) / (TILE + GAP)).floor() as usize).max(1);
    let tile = ((width - GAP * (columns - 1) as f32) / columns as f32).floor();
    ui.spacing_mut().item_spacing.y = GAP;
    for row in images.chunks(columns) {
        let (rect, _) = ui.allocate_exact_size(vec2(width, tile + CAPTION), Sense::hover());
        if !ui.is_rect_visible(rect) {
            continue;
        }
        for (i, entry) in row.iter().enumerate() {
            let left = rect.left() + i as f32 * (tile + GAP);
            let cell = Rect::from_min_size(pos2(left, rect.top()), vec2(tile, tile + CAPTION));
            one(ui, cell, entry, pictures);
        }
    }
}

fn one(ui: &mut Ui, cell: Rect, entry: &Entry, pictures: &mut crate::pictures::Pictures) {
    let t = Tokens::get(ui);
    let image = Rect::from_min_size(cell.min, vec2(cell.width(), cell.width()));
    picture::cover(ui, image, &pictures.get(&entry.path, THUMBNAIL));
    if entry.repeats > 1 {
        let font = egui::TextStyle::Small.resolve(ui.style());
        let text = ui.painter().layout_no_wrap(format!("{} times", entry.repeats), font, tokens::Tokens::DARK.text);
        let at = image.right_top() + vec2(-text.size().x - 12.0, 6.0);
        ui.painter().rect_filled(Rect::from_min_size(at, text.size() + vec2(8.0, 4.0)), 4, t.shade);
        ui.painter().galley(at + vec2(4.0, 2.0), text, t.text);
    }
    let file = entry.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (caption, color) =
        if entry.caption.is_empty() { ("No caption", t.mute) } else { (entry.caption.as_str(), t.dim) };
    let mut job = egui::text::LayoutJob::simple(
        caption.to_owned(),
        egui::TextStyle::Small.resolve(ui.style()),
        color,
        cell.width(),
    );
    job.wrap.max_rows = 2;
    job.wrap.break_anywhere = false;
    let galley = ui.painter().layout_job(job);
    ui.painter().with_clip_rect(cell.intersect(ui.clip_rect())).galley(
        pos2(cell.left(), image.bottom() + 4.0),
        galley,
        color,
    );
    let response = ui.interact(cell, ui.scope_id().with(&entry.path), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, format!("{file}: {caption}")));
    response.on_hover_ui(|ui| {
        ui.label(RichText::new(&file).strong());
        ui.label(caption);
        ui.label(RichText::new(format!("{} × {} px", entry.width, entry.height)).color(t.mute).small());
    });
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
