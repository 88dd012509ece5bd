//! What can be done to many captions at once.

use egui::{RichText, ScrollArea, Sense, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_dataset::{CaptionEdit, Dataset, Picture as Entry};

use super::editor::tag_field;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::{Show, Summary};
use crate::kit::{
    Icon, Tokens,
    buttons::{checkbox, row_button},
    card,
    card::card_with,
    card::hint,
    icon_button, tokens,
};
use crate::texts;

/// Tags listed at most; more are found by typing.
const LISTED: usize = 200;
/// Room for the buttons behind a tag.
const BUTTONS: f32 = 92.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    app.browse.summarise(data, app.draft.generation, &app.trigger);
    let summary = std::mem::take(&mut app.browse.summary);
    let title = texts::dataset::selected(summary.indices.len() as u64);
    let mut close = false;
    let mut edit = None;
    card_with(
        ui,
        &title,
        |ui| close = icon_button(ui, Icon::X, texts::dataset::CLEAR_SELECTION).clicked(),
        |ui| {
            ui.horizontal_wrapped(|ui| {
                let tag =
                    tag_field(ui, "bulk-tag", texts::dataset::ADD_TAG_TO_ALL, &mut app.browse.bulk.tag, data, &[]);
                let clicked = row_button(ui, Icon::Plus, texts::dataset::ADD_TAG).clicked()
                    && !app.browse.bulk.tag.trim().is_empty();
                let tag = tag.or_else(|| clicked.then(|| std::mem::take(&mut app.browse.bulk.tag)));
                if let Some(tag) = tag {
                    edit = Some(CaptionEdit::AddTag { tag, front: !app.browse.bulk.at_end });
                }
            });
            checkbox(ui, &mut app.browse.bulk.at_end, texts::dataset::AT_END);
            let lacking = summary.lacking;
            if lacking > 0
                && row_button(ui, Icon::Plus, &texts::dataset::write_trigger(&app.trigger, lacking as u64)).clicked()
            {
                edit = Some(CaptionEdit::AddTrigger(app.trigger.clone()));
            }
        },
    );
    card(ui, texts::dataset::FIND_AND_REPLACE, |ui| {
        let bulk = &mut app.browse.bulk;
        line(ui, texts::dataset::FIND_FIELD, &mut bulk.find);
        line(ui, texts::dataset::REPLACE_FIELD, &mut bulk.with);
        let changed = summary.changed;
        ui.horizontal_wrapped(|ui| {
            ui.add_enabled_ui(changed > 0, |ui| {
                if row_button(ui, Icon::Refresh, texts::dataset::REPLACE).clicked() {
                    edit = Some(CaptionEdit::Replace { find: bulk.find.clone(), with: bulk.with.clone() });
                }
            });
            hint(
                ui,
                if bulk.find.is_empty() {
                    texts::dataset::AS_THEY_ARE.to_owned()
                } else {
                    texts::dataset::changes(changed as u64)
                },
            );
        });
    });
    edit = tag_list(app, ui, data, &summary).or(edit);
    card(ui, "", |ui| {
        if row_button(ui, Icon::Trash, texts::dataset::SET_ALL_ASIDE).clicked() {
            app.actions.push(Action::SetAside(app.browse.selected().cloned().collect()));
        }
        hint(ui, texts::dataset::SET_ALL_ASIDE_HELP);
    });
    if let Some(edit) = edit {
        app.actions.push(Action::EditCaptions(edit, app.browse.selected().cloned().collect()));
    }
    app.browse.summary = summary;
    if close {
        app.browse.select([]);
    }
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
    card(ui, texts::dataset::TAGS_OF_SELECTION, |ui| {
        if counts.is_empty() {
            hint(ui, texts::dataset::NO_CAPTIONS);
        }
        ScrollArea::vertical().id_salt("tags").max_height(220.0).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            for (tag, count) in counts.iter().take(LISTED) {
                ui.horizontal(|ui| {
                    let width = ui.available_width() - BUTTONS;
                    let (rect, response) = ui.allocate_exact_size(vec2(width, 24.0), Sense::click());
                    response
                        .widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, texts::dataset::show_tag(tag)));
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
                        app.browse.show = Show::These(texts::dataset::with_tag(tag), std::sync::Arc::new(having));
                    }
                    ui.spacing_mut().item_spacing.x = 2.0;
                    let ways = [
                        (true, Icon::ChevronLeft, texts::dataset::move_to_front(tag)),
                        (false, Icon::ChevronRight, texts::dataset::move_to_end(tag)),
                    ];
                    for (front, icon, name) in ways {
                        if icon_button(ui, icon, &name).clicked() {
                            edit = Some(CaptionEdit::MoveTag { tag: tag.clone(), front });
                        }
                    }
                    if icon_button(ui, Icon::X, &texts::dataset::remove_from_all(tag)).clicked() {
                        edit = Some(CaptionEdit::RemoveTag(tag.clone()));
                    }
                });
            }
        });
        if counts.len() > LISTED {
            ui.label(RichText::new(texts::dataset::more_tags((counts.len() - LISTED) as u64)).small().color(t.mute));
        }
    });
    edit
}
