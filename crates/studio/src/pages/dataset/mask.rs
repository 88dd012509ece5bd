//! The picture large, with a brush for what is learned of it.

use egui::{
    Color32, ColorImage, Image, Key, Modifiers, Rect, Sense, Slider, Stroke, TextureOptions, Ui, WidgetInfo,
    emath::GuiRounding as _, load::SizedTexture, pos2, vec2,
};

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::kit::{
    Icon, Tokens, Tone,
    buttons::{row_button, segmented},
    card::card_with,
    card::hint,
    icon_button, notice, primary_button, progress, text_button,
};
use crate::masks::{Canvas, MaskAction, Masks, SIZES};
use crate::pictures::PREVIEW;
use crate::texts;

/// Room for what stands above and below the picture.
const AROUND: f32 = 310.0;

/// Whether a mask is being painted, which takes the place of the grid.
pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) -> bool {
    let Some(painting) = &app.masks.painting else { return false };
    let path = painting.picture.clone();
    // The brush follows to the picture that is chosen beside it.
    let chosen = app.browse.selected().next().filter(|_| app.browse.count() == 1).cloned();
    if let Some(chosen) = chosen.filter(|chosen| *chosen != path) {
        app.actions.push(Action::Mask(MaskAction::Paint(chosen)));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut asked, mut close) = (None, false);
    card_with(
        ui,
        &texts::dataset::mask_of(&name),
        |ui| close = icon_button(ui, Icon::X, texts::dataset::SAVE_MASK_CLOSE).clicked(),
        |ui| {
            match app.masks.painting.as_ref().map(|painting| &painting.canvas) {
                Some(Load::Ready(_)) => {
                    tools(app, ui);
                    canvas(app, ui, &path, &name);
                    below(app, ui, &mut asked);
                }
                Some(Load::Failed(error)) => {
                    notice(ui, Tone::Error, super::sentence(error));
                    hint(ui, texts::dataset::REPAIR_MASK);
                }
                _ => progress::labelled(ui, texts::dataset::LOOKING_AT_MASK, "", None),
            };
        },
    );
    let asked = asked.or(close.then_some(MaskAction::Close));
    app.actions.extend(asked.map(Action::Mask));
    true
}

fn tools(app: &mut StudioApp, ui: &mut Ui) {
    let Masks { brush, .. } = &mut app.masks;
    // Brackets belong to a caption that is being typed.
    let typing = ui.ctx().text_edit_focused();
    let by = ui.input_mut(|i| {
        let mut pressed = |key| if typing { 0 } else { i.count_and_consume_key(Modifiers::NONE, key) as i32 };
        pressed(Key::CloseBracket) - pressed(Key::OpenBracket)
    });
    brush.radius = (brush.radius * 1.2_f32.powi(by)).clamp(*SIZES.start(), *SIZES.end());
    let mut change = None;
    ui.horizontal_wrapped(|ui| {
        if let Some(picked) =
            segmented(ui, &[(None, texts::dataset::BRUSH), (None, texts::dataset::ERASER)], usize::from(brush.erase))
        {
            brush.erase = picked == 1;
        }
        ui.spacing_mut().slider_width = 110.0;
        slider(ui, texts::dataset::BRUSH_SIZE, Slider::new(&mut brush.radius, SIZES).logarithmic(true).integer());
        slider(ui, texts::dataset::OVERLAY, Slider::new(&mut brush.opacity, 0.1..=1.0).show_value(false));
    });
    ui.horizontal_wrapped(|ui| {
        for (icon, word, act) in [
            (Icon::Square, texts::dataset::FILL, (|canvas| canvas.fill(255)) as fn(&mut Canvas)),
            (Icon::X, texts::dataset::CLEAR, |canvas| canvas.fill(0)),
            (Icon::Refresh, texts::dataset::INVERT, Canvas::invert),
        ] {
            if row_button(ui, icon, word).clicked() {
                change = Some(act);
            }
        }
        if let Some(canvas) = app.masks.canvas() {
            for (redo, icon, word) in
                [(false, Icon::Undo, texts::dataset::UNDO_STROKE), (true, Icon::Redo, texts::dataset::REDO_STROKE)]
            {
                ui.add_enabled_ui(canvas.can_step(redo), |ui| {
                    if icon_button(ui, icon, word).clicked() {
                        canvas.step(redo);
                    }
                });
            }
        }
    });
    if let (Some(change), Some(canvas)) = (change, app.masks.canvas()) {
        change(canvas);
    }
}

fn slider(ui: &mut Ui, name: &str, slider: Slider<'_>) {
    let t = Tokens::get(ui);
    let label = ui.label(egui::RichText::new(name).color(t.dim));
    ui.add(slider).labelled_by(label.id);
}

fn canvas(app: &mut StudioApp, ui: &mut Ui, path: &std::path::Path, name: &str) {
    let t = Tokens::get(ui);
    let texture = app.pictures.get(path, PREVIEW);
    let Masks { brush, painting, overlay } = &mut app.masks;
    let Some(Load::Ready(canvas)) = painting.as_mut().map(|painting| &mut painting.canvas) else { return };
    let size = vec2(canvas.mask.width as f32, canvas.mask.height as f32);
    let room = vec2(ui.available_width(), (ui.ctx().content_rect().height() - AROUND).max(200.0));
    let scale = (room.x / size.x).min(room.y / size.y);
    let (area, response) = ui.allocate_exact_size(vec2(room.x, size.y * scale), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, texts::dataset::learned_of(name)));
    let at = Rect::from_center_size(area.center(), size * scale).round_to_pixels(ui.pixels_per_point());
    picture::contain(ui, at, &texture);

    let pointer = response.hover_pos().or_else(|| response.interact_pointer_pos());
    if response.is_pointer_button_down_on()
        && let Some(pointer) = pointer
    {
        let erase = brush.erase != ui.input(|i| i.pointer.secondary_down());
        let place = ((pointer - at.min) / scale).to_pos2();
        canvas.stroke(place, &crate::masks::Brush { erase, ..*brush });
        ui.ctx().request_repaint();
    } else {
        canvas.last = None;
    }

    let opacity = (brush.opacity * 255.0).round() as u8;
    let key = (path.to_owned(), canvas.version, opacity, ui.visuals().dark_mode);
    if overlay.as_ref().is_none_or(|(made_of, _)| *made_of != key) {
        let shades: Vec<Color32> =
            (0..=255).map(|value| t.error.gamma_multiply(brush.opacity * (255 - value) as f32 / 255.0)).collect();
        let (size, shown) = canvas.shown();
        let image = ColorImage::new(size, shown.map(|value| shades[usize::from(value)]).collect());
        match overlay {
            Some((made_of, texture)) => {
                texture.set(image, TextureOptions::LINEAR);
                *made_of = key;
            }
            None => *overlay = Some((key, ui.ctx().load_texture("mask", image, TextureOptions::LINEAR))),
        }
    }
    if let Some((_, texture)) = overlay {
        Image::from_texture(SizedTexture::from_handle(texture)).paint_at(ui, at);
    }
    if let Some(pointer) = pointer.filter(|pointer| at.contains(*pointer)) {
        let painter = ui.painter_at(at);
        for (more, color) in [(0.0, t.on_accent), (1.0, Tokens::DARK.bg)] {
            let radius = brush.radius * canvas.scale() * scale + more;
            painter.circle_stroke(pos2(pointer.x, pointer.y), radius, Stroke::new(1.0, color));
        }
    }
}

fn below(app: &mut StudioApp, ui: &mut Ui, asked: &mut Option<MaskAction>) {
    let outside = app.draft.float("dataset.mask_weight");
    let used = app.draft.recipe.get("dataset.masks") == lorikeet_recipe::Value::Bool(true);
    let Some(canvas) = app.masks.canvas() else { return };
    hint(ui, texts::dataset::learned(f64::from(canvas.learned()), outside));
    if !used {
        notice(ui, Tone::Warn, texts::dataset::MASKS_ARE_OFF);
    }
    ui.horizontal_wrapped(|ui| {
        if primary_button(ui, Icon::Save, texts::dataset::SAVE_MASK, true).clicked() {
            *asked = Some(MaskAction::Close);
        }
        if text_button(ui, Icon::X, texts::dataset::DISCARD_MASK, true).clicked() {
            *asked = Some(MaskAction::Discard);
        }
        if canvas.has_file() && text_button(ui, Icon::Trash, texts::dataset::REMOVE_MASK, true).clicked() {
            *asked = Some(MaskAction::Remove);
        }
    });
}
