//! One picture large, with what training sees of it, and its caption beside it.

use egui::{
    Align, CompletionPopup, Key, Layout, Modifiers, Rect, RichText, Sense, Suggestion, TextEdit, Ui, WidgetInfo,
    emath::GuiRounding as _, vec2,
};
use lorikeet_dataset::{Bucketing, CaptionEdit, Dataset, Picture as Entry, captions::tags, has_trigger, tag_counts};

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::Typing;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone,
    buttons::{row_button, segmented},
    card::card_with,
    card::hint,
    icon_button, notice, tokens,
};
use crate::masks::MaskAction;
use crate::pictures::{PREVIEW, Picture};
use crate::texts;

const TALLEST: f32 = 300.0;
/// Suggestions at most.
const SUGGESTED: usize = 8;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    let Some(path) = app.browse.selected().next().cloned() else { return };
    let Some(entry) = data.images.iter().find(|entry| entry.path == path) else { return };
    // Of another picture than before: what was typed there is saved.
    if app.browse.typing.picture != path {
        app.commit_caption();
        app.browse.typing = Typing { picture: path.clone(), seen: entry.caption.clone(), text: entry.caption.clone() };
        app.browse.new_tag.clear();
    } else if app.browse.typing.seen != entry.caption && app.browse.typing.text == app.browse.typing.seen {
        // Changed by a tag, an undo or another program while nothing was typed.
        app.browse.typing.text = entry.caption.clone();
        app.browse.typing.seen = entry.caption.clone();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut close = false;
    card_with(
        ui,
        &name,
        |ui| close = icon_button(ui, Icon::X, texts::dataset::CLOSE_PICTURE).clicked(),
        |ui| {
            large(app, ui, entry);
            steps(app, ui, data);
        },
    );
    let chosen = app.browse.chips;
    let mut picked = None;
    card_with(
        ui,
        texts::dataset::CAPTION,
        |ui| {
            let kinds = [(None, texts::dataset::AS_TEXT), (Some(Icon::Tag), texts::dataset::AS_TAGS)];
            picked = segmented(ui, &kinds, usize::from(chosen));
        },
        |ui| {
            if app.browse.chips {
                chips(app, ui, data, entry);
            } else {
                text(app, ui, data);
            }
            trigger(app, ui, entry);
            ui.horizontal_wrapped(|ui| {
                if row_button(ui, Icon::Trash, texts::dataset::SET_ASIDE)
                    .on_hover_text(texts::dataset::SET_ASIDE_HELP)
                    .clicked()
                {
                    app.actions.push(Action::SetAside(vec![path.clone()]));
                }
                let word = if entry.mask.is_some() { texts::dataset::CHANGE_MASK } else { texts::dataset::PAINT_MASK };
                if row_button(ui, Icon::Palette, word).on_hover_text(texts::dataset::PAINT_MASK_HELP).clicked() {
                    app.actions.push(Action::Mask(MaskAction::Paint(path.clone())));
                }
                if row_button(ui, Icon::FolderOpen, texts::dataset::SHOW_IN_FOLDER).clicked() {
                    app.actions.push(Action::Open(path.clone()));
                }
            });
        },
    );
    if let Some(picked) = picked {
        app.commit_caption();
        app.browse.chips = picked == 1;
    }
    if close {
        app.commit_caption();
        app.browse.select([]);
    }
}

/// The picture, darkened where the bucket cuts it off.
fn large(app: &mut StudioApp, ui: &mut Ui, entry: &Entry) {
    let t = Tokens::get(ui);
    let width = ui.available_width();
    let aspect = entry.width.max(1) as f32 / entry.height.max(1) as f32;
    let height = (width / aspect).clamp(80.0, TALLEST);
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, texts::dataset::PICTURE_AND_CROP));
    let texture = app.pictures.get(&entry.path, PREVIEW);
    picture::contain(ui, rect, &texture);
    let at = Bucketing::new(&app.rules()).assign(entry.width, entry.height);
    if let Picture::Ready(texture) = &texture {
        let size = texture.size_vec2();
        let scale = (rect.width() / size.x).min(rect.height() / size.y);
        let image = Rect::from_center_size(rect.center(), size * scale).round_to_pixels(ui.pixels_per_point());
        let part = |(x, y): (u32, u32)| {
            vec2(x as f32 / at.resized.0.max(1) as f32, y as f32 / at.resized.1.max(1) as f32) * image.size()
        };
        let seen = Rect::from_min_size(image.min + part(at.crop), part(at.bucket));
        for cut in [
            Rect::from_min_max(image.min, egui::pos2(seen.left(), image.bottom())),
            Rect::from_min_max(egui::pos2(seen.right(), image.top()), image.max),
            Rect::from_min_max(image.min, egui::pos2(image.right(), seen.top())),
            Rect::from_min_max(egui::pos2(image.left(), seen.bottom()), image.max),
        ] {
            if cut.width() > 0.5 && cut.height() > 0.5 {
                ui.painter().rect_filled(cut, 0, t.shade);
            }
        }
        ui.painter().rect_stroke(seen, 0, egui::Stroke::new(1.0, t.accent), egui::StrokeKind::Inside);
    }
    let area = |(width, height): (u32, u32)| f64::from(width) * f64::from(height);
    let cut = 1.0 - area(at.bucket) / area(at.resized).max(1.0);
    hint(ui, texts::dataset::trained_at((entry.width, entry.height), at.bucket, cut));
}

/// Which of the shown pictures it is, and the ways to its neighbours.
fn steps(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    let (place, count) = (app.browse.place(data), app.browse.shown().len());
    let mut by = 0;
    ui.horizontal(|ui| {
        if let Some(place) = place {
            hint(ui, texts::dataset::picture_of(place as u64 + 1, count as u64));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_enabled_ui(place.is_some_and(|place| place + 1 < count), |ui| {
                by += isize::from(icon_button(ui, Icon::ChevronRight, texts::dataset::NEXT_PICTURE).clicked());
            });
            ui.add_enabled_ui(place.is_some_and(|place| place > 0), |ui| {
                by -= isize::from(icon_button(ui, Icon::ChevronLeft, texts::dataset::PREVIOUS_PICTURE).clicked());
            });
        });
    });
    if by != 0 {
        go(app, data, by);
    }
}

/// To a neighbour, saving what was typed.
fn go(app: &mut StudioApp, data: &Dataset, by: isize) {
    app.commit_caption();
    if let Some(path) = app.browse.neighbour(data, by) {
        app.browse.select_only(&path);
        app.browse.scroll = true;
    }
}

fn text(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    let id = ui.make_persistent_id("caption");
    if std::mem::take(&mut app.browse.focus_caption) {
        ui.memory_mut(|memory| memory.request_focus(id));
    }
    // A caption is one line: Enter is for the next picture.
    let (next, previous) = if ui.memory(|memory| memory.has_focus(id)) {
        ui.input_mut(|i| {
            let previous = i.consume_key(Modifiers::SHIFT, Key::Enter);
            (i.consume_key(Modifiers::NONE, Key::Enter), previous)
        })
    } else {
        (false, false)
    };
    let edit = TextEdit::multiline(&mut app.browse.typing.text)
        .id(id)
        .desired_rows(4)
        .desired_width(f32::INFINITY)
        .hint_text(texts::dataset::CAPTION_HINT)
        .margin(egui::Margin::symmetric(8, 6));
    let field = ui.add(edit);
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, texts::dataset::CAPTION));
    let caption = &app.browse.typing.text;
    let (words, tag_count) = (caption.split_whitespace().count() as u64, tags(caption).count() as u64);
    hint(ui, texts::dataset::caption_length(words, tag_count));
    if next || previous {
        go(app, data, if next { 1 } else { -1 });
        app.browse.focus_caption = true;
    } else if field.lost_focus() {
        app.commit_caption();
    }
}

/// Tags with a way to take each off, and a field for a new one.
fn chips(app: &mut StudioApp, ui: &mut Ui, data: &Dataset, entry: &Entry) {
    let t = Tokens::get(ui);
    let own: Vec<String> = tags(&entry.caption).map(str::to_owned).collect();
    let mut new = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 6.0);
        for (index, tag) in own.iter().enumerate() {
            let frame = egui::Frame::new()
                .fill(t.field)
                .stroke(egui::Stroke::new(1.0, t.line))
                .corner_radius(tokens::RADIUS)
                .inner_margin(egui::Margin { left: 8, right: 0, top: 0, bottom: 0 });
            frame.show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing.x = 0.0;
                    ui.add(egui::Label::new(RichText::new(tag).color(t.text)).truncate());
                    if index > 0 && icon_button(ui, Icon::ChevronLeft, &texts::dataset::move_forward(tag)).clicked() {
                        let mut order = own.clone();
                        order.swap(index - 1, index);
                        new = Some(CaptionEdit::Set(order.join(", ")));
                    }
                    if icon_button(ui, Icon::X, &texts::dataset::remove_tag(tag)).clicked() {
                        new = Some(CaptionEdit::RemoveTag(tag.clone()));
                    }
                });
            });
        }
    });
    let added = tag_field(ui, "new-tag", texts::dataset::ADD_TAG_FIELD, &mut app.browse.new_tag, data, &own);
    if let Some(tag) = added {
        new = Some(CaptionEdit::AddTag { tag, front: false });
    }
    hint(ui, texts::dataset::tags(own.len() as u64));
    if let Some(edit) = new {
        app.actions.push(Action::EditCaptions(edit, vec![entry.path.clone()]));
    }
}

/// A field that offers the tags of all pictures. Returns a tag when Enter was pressed.
pub(super) fn tag_field(
    ui: &mut Ui,
    id: &str,
    name: &str,
    text: &mut String,
    data: &Dataset,
    without: &[String],
) -> Option<String> {
    let edit = TextEdit::singleline(text).hint_text(name).desired_width(220.0).margin(egui::Margin::symmetric(8, 5));
    let output = CompletionPopup::new(ui.make_persistent_id(id)).word_boundary(|_| false).show(ui, edit, |query| {
        if query.word.is_empty() {
            return Vec::new();
        }
        // Counted while something is typed only.
        let start = query.word.to_lowercase();
        tag_counts(&data.images)
            .into_iter()
            .filter(|(tag, _)| tag.starts_with(&start) && *tag != start && !without.contains(tag))
            .take(SUGGESTED)
            .map(|(tag, count)| Suggestion::new(tag).description(format::count(count as u64)))
            .collect()
    });
    let field = &output.text_edit.response;
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, name));
    let entered = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter)) && output.accepted.is_none();
    if entered && !text.trim().is_empty() {
        field.request_focus();
        return Some(std::mem::take(text));
    }
    None
}

fn trigger(app: &mut StudioApp, ui: &mut Ui, entry: &Entry) {
    if app.trigger.trim().is_empty() || has_trigger(&app.browse.typing.text, &app.trigger) {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        notice(ui, Tone::Info, texts::dataset::trigger_missing(&app.trigger));
        if row_button(ui, Icon::Plus, texts::dataset::WRITE_TRIGGER).clicked() {
            app.commit_caption();
            let edit = CaptionEdit::AddTrigger(app.trigger.clone());
            app.actions.push(Action::EditCaptions(edit, vec![entry.path.clone()]));
        }
    });
}
