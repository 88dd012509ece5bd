//! Thumbnails of any number of pictures: only those in view are asked for, laid out and drawn.

use std::path::Path;

use egui::{
    Align2, ComboBox, EventFilter, Key, Modifiers, Rect, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, WidgetInfo,
    pos2, vec2,
};
use lorikeet_dataset::{Dataset, Picture as Entry};

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::{Browse, Order, Show};
use crate::folders::name;
use crate::format;
use crate::kit::{Icon, Tokens, buttons::row_button, card::hint, icon_button, tokens};
use crate::pictures::{Pictures, THUMBNAIL};
use crate::texts;

/// A tile with its caption.
const TILE: f32 = 128.0;
const CAPTION: f32 = 36.0;
const GAP: f32 = 8.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    tools(app, ui, data);
    let shown = app.browse.visible(data, app.draft.generation, &app.trigger).len();
    if shown == 0 {
        hint(ui, texts::dataset::NOTHING_FITS);
        return;
    }
    let width = ui.available_width();
    let columns = (((width + GAP) / (TILE + GAP)).floor() as usize).max(1);
    let tile = ((width - GAP * (columns - 1) as f32) / columns as f32).floor();
    let pitch = tile + CAPTION + GAP;
    let rows = shown.div_ceil(columns);
    let id = ui.make_persistent_id("pictures");
    let (all, _) = ui.allocate_exact_size(vec2(width, rows as f32 * pitch), Sense::hover());
    let grid = ui.interact(all, id, Sense::focusable_noninteractive());
    grid.widget_info(|| WidgetInfo::labeled(egui::Role::List, true, texts::dataset::PICTURES));
    keyboard(app, ui, data, id, columns);

    if std::mem::take(&mut app.browse.scroll)
        && let Some(place) = app.browse.place(data)
    {
        let top = all.top() + (place / columns) as f32 * pitch;
        ui.scroll_to_rect(Rect::from_min_size(pos2(all.left(), top), vec2(width, pitch)), None);
    }
    let view = ui.clip_rect();
    let first = (((view.top() - all.top()) / pitch).floor().max(0.0) as usize).min(rows);
    let last = (((view.bottom() - all.top()) / pitch).ceil().max(0.0) as usize).min(rows);
    let range = first * columns..(last * columns).min(shown);
    app.drawn_tiles = range.len();
    let mut clicked = None;
    for place in range {
        let index = app.browse.shown()[place];
        let entry = &data.images[index];
        let corner = vec2((place % columns) as f32 * (tile + GAP), (place / columns) as f32 * pitch);
        let cell = Rect::from_min_size(all.min + corner, vec2(tile, tile + CAPTION));
        if one(ui, cell, entry, &mut app.pictures, &app.browse, grid.has_focus()) {
            clicked = Some(entry.path.clone());
        }
    }
    if let Some(path) = clicked {
        let modifiers = ui.input(|i| i.modifiers);
        app.commit_caption();
        if modifiers.shift {
            app.browse.extend(&path, data);
        } else if modifiers.command {
            app.browse.toggle(&path);
        } else {
            app.browse.select_only(&path);
        }
        ui.memory_mut(|memory| memory.request_focus(id));
    }
}

/// Search, filter and order above the grid.
fn tools(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    let t = Tokens::get(ui);
    ui.horizontal_wrapped(|ui| {
        Icon::Search.show(ui, 16.0, t.mute);
        let search = TextEdit::singleline(&mut app.browse.search)
            .hint_text(texts::dataset::FIND)
            .desired_width(190.0)
            .margin(egui::Margin::symmetric(8, 5));
        let field = ui.add(search);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, texts::dataset::FIND));

        let label = match &app.browse.show {
            Show::All => texts::dataset::ALL_PICTURES.to_owned(),
            Show::NoCaption => texts::dataset::NO_CAPTION_FILTER.to_owned(),
            Show::NoTrigger => texts::dataset::NO_TRIGGER_FILTER.to_owned(),
            Show::Folder(_, name) => name.clone(),
            Show::These(words, _) => words.clone(),
        };
        let combo = ComboBox::from_id_salt("show-pictures").selected_text(label).width(170.0).truncate();
        let combo = combo.show_ui(ui, |ui| {
            let choices = [
                (Show::All, texts::dataset::ALL_PICTURES),
                (Show::NoCaption, texts::dataset::NO_CAPTION_FILTER),
                (Show::NoTrigger, texts::dataset::NO_TRIGGER_FILTER),
            ];
            for (show, label) in choices {
                if ui.selectable_label(app.browse.show == show, label).clicked() {
                    app.browse.show = show;
                }
            }
            let folders: Vec<&Path> = data.folders().collect();
            for folder in folders.iter().filter(|_| folders.len() > 1) {
                let show = Show::Folder((*folder).to_owned(), name(folder, &folders));
                let on = app.browse.show == show;
                if let Show::Folder(_, name) = &show
                    && ui.selectable_label(on, texts::dataset::in_folder(name)).clicked()
                {
                    app.browse.show = show;
                }
            }
        });
        combo.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, texts::dataset::WHICH_PICTURES));

        let combo = ComboBox::from_id_salt("order").selected_text(app.browse.order.label()).width(160.0);
        let combo = combo.show_ui(ui, |ui| {
            for order in Order::ALL {
                if ui.selectable_label(app.browse.order == order, order.label()).clicked() {
                    app.browse.order = order;
                }
            }
        });
        combo.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, texts::dataset::ORDER));

        if app.browse.show != Show::All || !app.browse.search.is_empty() {
            let shown = app.browse.visible(data, app.draft.generation, &app.trigger).len() as u64;
            if icon_button(ui, Icon::X, texts::dataset::SHOW_ALL).clicked() {
                app.browse.search.clear();
                app.browse.show = Show::All;
            }
            hint(ui, texts::dataset::shown(shown, data.images.len() as u64));
        }
        if app.browse.count() != data.images.len() && row_button(ui, Icon::Images, texts::dataset::SELECT_ALL).clicked()
        {
            app.actions.push(Action::SelectAll);
        }
        if app.browse.count() > 1 && row_button(ui, Icon::X, texts::dataset::CLEAR_SELECTION).clicked() {
            app.browse.select([]);
        }
    });
}

/// Arrows move, with Shift they extend; Enter goes to the caption, Delete sets aside.
fn keyboard(app: &mut StudioApp, ui: &mut Ui, data: &Dataset, id: egui::Id, columns: usize) {
    let has_focus = ui.memory(|memory| memory.has_focus(id));
    if !has_focus || app.covered() {
        return;
    }
    let arrows = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(id, arrows));
    let columns = columns as isize;
    let moves = [(Key::ArrowRight, 1), (Key::ArrowLeft, -1), (Key::ArrowDown, columns), (Key::ArrowUp, -columns)];
    for (key, by) in moves {
        for (modifiers, extend) in [(Modifiers::SHIFT, true), (Modifiers::NONE, false)] {
            let presses = ui.input_mut(|i| i.count_and_consume_key(modifiers, key));
            for _ in 0..presses {
                let Some(path) = app.browse.neighbour(data, by) else { break };
                if extend {
                    app.browse.extend(&path, data)
                } else {
                    app.browse.select_only(&path)
                }
                app.browse.scroll = true;
            }
        }
    }
    let (enter, delete, all) = ui.input_mut(|i| {
        (
            i.consume_key(Modifiers::NONE, Key::Enter),
            i.consume_key(Modifiers::NONE, Key::Delete),
            i.consume_key(Modifiers::COMMAND, Key::A),
        )
    });
    if enter && app.browse.count() == 1 {
        app.browse.focus_caption = true;
    }
    if delete && app.browse.count() > 0 {
        app.actions.push(Action::SetAside(app.browse.selected().cloned().collect()));
    }
    if all {
        app.actions.push(Action::SelectAll);
    }
}

/// Whether it was clicked.
fn one(ui: &Ui, cell: Rect, entry: &Entry, pictures: &mut Pictures, browse: &Browse, keyboard: bool) -> bool {
    let t = Tokens::get(ui);
    let image = Rect::from_min_size(cell.min, vec2(cell.width(), cell.width()));
    picture::cover(ui, image, &pictures.get(&entry.path, THUMBNAIL));
    let repeats = (entry.repeats > 1).then(|| texts::dataset::times(entry.repeats.into()));
    let marks =
        repeats.into_iter().chain(entry.mask.as_ref().map(|_| texts::dataset::HAS_MASK.to_owned())).collect::<Vec<_>>();
    if !marks.is_empty() {
        badge(ui, image, &marks.join(" · "));
    }
    let selected = browse.is_selected(&entry.path);
    let file = entry.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bare = entry.caption.is_empty();
    let (caption, color) = if bare { (texts::dataset::NO_CAPTION, t.warn) } else { (entry.caption.as_str(), t.dim) };
    let font = egui::TextStyle::Small.resolve(ui.style());
    let mut job = egui::text::LayoutJob::simple(caption.to_owned(), font, color, cell.width());
    job.wrap.max_rows = 2;
    job.wrap.break_anywhere = false;
    let galley = ui.painter().layout_job(job);
    let clip = cell.intersect(ui.clip_rect());
    ui.painter().with_clip_rect(clip).galley(pos2(cell.left(), image.bottom() + 4.0), galley, color);
    // Not a stop of the Tab key: the grid is one.
    let response = ui.interact(cell, ui.scope_id().with(&entry.path), Sense::CLICK);
    response.widget_info(|| {
        WidgetInfo::selected(egui::Role::ListItem, true, selected, texts::dataset::picture_with(&file, caption))
    });
    if selected {
        ui.painter().rect_stroke(image, tokens::RADIUS, Stroke::new(2.0, t.accent), StrokeKind::Inside);
        let at = Rect::from_min_size(image.left_top() + vec2(6.0, 6.0), vec2(18.0, 18.0));
        ui.painter().rect_filled(at, 9, t.accent_fill);
        Icon::Check.paint(ui, at.shrink(3.0), t.on_accent);
    } else if response.hovered() {
        ui.painter().rect_stroke(image, tokens::RADIUS, Stroke::new(2.0, t.mute), StrokeKind::Inside);
    }
    if keyboard && browse.current() == Some(entry.path.as_path()) {
        ui.painter().rect_stroke(
            image.expand(2.0),
            tokens::CARD_RADIUS,
            Stroke::new(1.0, t.accent),
            StrokeKind::Outside,
        );
    }
    let clicked = response.clicked();
    response.on_hover_ui(|ui| {
        ui.label(RichText::new(&file).strong());
        ui.label(caption);
        ui.label(RichText::new(format::pixels(entry.width, entry.height)).color(t.mute).small());
    });
    clicked
}

fn badge(ui: &Ui, image: Rect, text: &str) {
    let t = Tokens::get(ui);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font, t.on_picture);
    let size = galley.size() + vec2(8.0, 4.0);
    let at = Align2::RIGHT_TOP.anchor_size(image.right_top() + vec2(-4.0, 6.0), size);
    ui.painter().rect_filled(at, 4, t.picture_shade);
    ui.painter().galley(at.min + vec2(4.0, 2.0), galley, t.on_picture);
}
