//! What can be done to many captions at once.

use egui::{RichText, ScrollArea, Sense, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_dataset::{CaptionEdit, Dataset, Picture as Entry};

use super::editor::tag_field;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::{Show, Summary};
use crate::format;
use crate::kit::{
    Icon, Tokens,
    buttons::{checkbox, row_button},
    card,
    card::card_with,
    card::hint,
    icon_button, tokens,
};

/// Tags listed at most; more are found by typing.
const LISTED: usize = 200;
/// Room for the buttons behind a tag.
const BUTTONS: f32 = 92.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    app.browse.summarise(data, app.draft.generation, &app.trigger);
    let summary = std::mem::take(&mut app.browse.summary);
    let title = format!("{} selected", format::plural(summary.indices.len() as u64, "picture", "pictures"));
    let mut close = false;
    let mut edit = None;
    card_with(
        ui,
        &title,
        |ui| close = icon_button(ui, Icon::X, "Clear selection").clicked(),
        |ui| {
            ui.horizontal_wrapped(|ui| {
                let tag = tag_field(ui, "bulk tag", "Add a tag to all", &mut app.browse.bulk.tag, data, &[]);
                let clicked = row_button(ui, Icon::Plus, "Add tag").clicked() && !app.browse.bulk.tag.trim().is_empty();
                let tag = tag.or_else(|| clicked.then(|| std::mem::take(&mut app.browse.bulk.tag)));
                if let Some(tag) = tag {
                    edit = Some(CaptionEdit::AddTag { tag, front: !app.browse.bulk.at_end });
                }
            });
            checkbox(ui, &mut app.browse.bulk.at_end, "At the end of the caption");
            let lacking = summary.lacking;
            if lacking > 0
                && row_button(ui, Icon::Plus, &format!("Write “{}” into {}", app.trigger, captions(lacking))).clicked()
            {
                edit = Some(CaptionEdit::AddTrigger(app.trigger.clone()));
            }
        },
    );
    card(ui, "Find and replace", |ui| {
        let bulk = &mut app.browse.bulk;
        line(ui, "Find", &mut bulk.find);
        line(ui, "Replace with", &mut bulk.with);
        let changed = summary.changed;
        ui.horizontal_wrapped(|ui| {
            ui.add_enabled_ui(changed > 0, |ui| {
                if row_button(ui, Icon::Refresh, "Replace").clicked() {
                    edit = Some(CaptionEdit::Replace { find: bulk.find.clone(), with: bulk.with.clone() });
                }
            });
            hint(
                ui,
                if bulk.find.is_empty() {
                    "Letters as they are".to_owned()
                } else {
                    format!("Changes {}", captions(changed))
                },
            );
        });
    });
    edit = tag_list(app, ui, data, &summary).or(edit);
    card(ui, "", |ui| {
        if row_button(ui, Icon::Trash, "Set all aside").clicked() {
            app.actions.push(Action::SetAside(app.browse.selected().cloned().collect()));
        }
        hint(ui, "Moves them with their captions to .set-aside in the folder; undo brings them back");
    });
    if let Some(edit) = edit {
        app.actions.push(Action::EditCaptions(edit, app.browse.selected().cloned().collect()));
    }
    app.browse.summary = summary;
    if close {
        app.browse.select([]);
    }
}

/// `1 caption`, `12 captions`.
fn captions(count: usize) -> String {
    format::plural(count as u64, "caption", "captions")
}

fn line(ui: &mut Ui, name: &str, text: &mut String) {
    let edit = TextEdit::singleline(text).hint_text(name).desired_width(f32::INFINITY);
    let field = ui.add(edit.margin(egui::Margin::symmetric(8, 5)));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, name));
}

/// Tags of the selection with their numbers: a click shows the pictures, buttons move the tag within the captions or take it
/// off all of them.
fn tag_list(app: &mut StudioApp, ui: &mut Ui, data: &Dataset, summary: &Summary) -> Option<CaptionEdit> {
    let t = Tokens::get(ui);
    let counts = &summary.tags;
    let mut edit = None;
    card(ui, "Tags of the selection", |ui| {
        if counts.is_empty() {
            hint(ui, "No captions yet");
        }
        ScrollArea::vertical().id_salt("tags").max_height(220.0).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            for (tag, count) in counts.iter().take(LISTED) {
                ui.horizontal(|ui| {
                    let width = ui.available_width() - BUTTONS;
                    let (rect, response) = ui.allocate_exact_size(vec2(width, 24.0), Sense::click());
                    response.widget_info(|| {
                        WidgetInfo::labeled(egui::Role::Button, true, format!("Show pictures with {tag}"))
                    });
                    let part = *count as f32 / summary.indices.len().max(1) as f32;
                    let bar = egui::Rect::from_min_size(rect.min, vec2(rect.width() * part, rect.height()));
                    ui.painter().rect_filled(bar, tokens::RADIUS, t.field);
                    let font = egui::TextStyle::Body.resolve(ui.style());
                    let clip = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
                    clip.text(
                        rect.left_center() + vec2(8.0, 0.0),
                        egui::Align2::LEFT_CENTER,
                        tag,
                        font.clone(),
                        t.text,
                    );
                    clip.text(rect.right_center() - vec2(8.0, 0.0), egui::Align2::RIGHT_CENTER, count, font, t.mute);
                    if response.clicked() {
                        let has = |entry: &&Entry| {
                            lorikeet_dataset::captions::tags(&entry.caption).any(|own| own.to_lowercase() == *tag)
                        };
                        let chosen = summary.indices.iter().map(|index| &data.images[*index]);
                        let having = chosen.filter(has).map(|entry| entry.path.clone()).collect();
                        app.browse.show = Show::These(format!("With “{tag}”"), std::sync::Arc::new(having));
                    }
                    ui.spacing_mut().item_spacing.x = 2.0;
                    for (front, icon, word) in [(true, Icon::ChevronLeft, "front"), (false, Icon::ChevronRight, "end")]
                    {
                        if icon_button(ui, icon, &format!("Move {tag} to the {word} in all selected")).clicked() {
                            edit = Some(CaptionEdit::MoveTag { tag: tag.clone(), front });
                        }
                    }
                    if icon_button(ui, Icon::X, &format!("Remove {tag} from all selected")).clicked() {
                        edit = Some(CaptionEdit::RemoveTag(tag.clone()));
                    }
                });
            }
        });
        if counts.len() > LISTED {
            ui.label(
                RichText::new(format!("and {} more", format::count((counts.len() - LISTED) as u64)))
                    .small()
                    .color(t.mute),
            );
        }
    });
    edit
}
