//! Buttons: one that leads, others that assist, and icons with a name.

use egui::{Button, Response, RichText, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use super::{Icon, Tokens, tokens};

/// The one button that the state of things asks for.
pub(crate) fn primary_button(ui: &mut Ui, icon: Icon, text: &str, enabled: bool) -> Response {
    let t = Tokens::get(ui);
    ui.scope(|ui| {
        let visuals = ui.visuals_mut();
        for (w, fill) in [
            (&mut visuals.widgets.inactive, t.accent_fill),
            (&mut visuals.widgets.hovered, t.accent_hover),
            (&mut visuals.widgets.active, t.accent_hover),
        ] {
            w.weak_bg_fill = fill;
            w.bg_fill = fill;
            w.bg_stroke = Stroke::NONE;
            w.fg_stroke.color = t.on_accent;
        }
        ui.spacing_mut().button_padding.x = 14.0;
        let button = Button::image_and_text(icon.sized(14.0, t.on_accent), RichText::new(text).color(t.on_accent))
            .min_size(vec2(96.0, tokens::PRIMARY_HEIGHT));
        ui.add_enabled(enabled, button)
    })
    .inner
}

/// Stands beside the primary button, of its height.
pub(crate) fn text_button(ui: &mut Ui, icon: Icon, text: &str, enabled: bool) -> Response {
    let t = Tokens::get(ui);
    let button = Button::image_and_text(icon.sized(14.0, t.dim), RichText::new(text).color(t.text))
        .min_size(vec2(0.0, tokens::PRIMARY_HEIGHT));
    ui.add_enabled(enabled, button)
}

/// Stands in a form row, of the height of fields.
pub(crate) fn row_button(ui: &mut Ui, icon: Icon, text: &str) -> Response {
    let t = Tokens::get(ui);
    ui.add(
        Button::image_and_text(icon.sized(14.0, t.dim), RichText::new(text).color(t.text))
            .min_size(vec2(0.0, tokens::CONTROL_HEIGHT)),
    )
}

/// With an outline that shows on cards in either theme.
pub(crate) fn checkbox(ui: &mut Ui, on: &mut bool, text: &str) -> Response {
    outlined(ui, |ui| ui.checkbox(on, text))
}

pub(crate) fn radio(ui: &mut Ui, on: bool, text: &str) -> Response {
    outlined(ui, |ui| ui.radio(on, text))
}

fn outlined(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> Response) -> Response {
    let t = Tokens::get(ui);
    ui.scope(|ui| {
        let widgets = &mut ui.visuals_mut().widgets;
        for w in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active, &mut widgets.noninteractive] {
            w.bg_stroke = Stroke::new(1.0, t.mute);
            w.corner_radius = 4.into();
        }
        add(ui)
    })
    .inner
}

/// Text only, without a frame until the pointer is over it.
pub(crate) fn quiet_button(ui: &mut Ui, icon: Icon, text: &str) -> Response {
    let t = Tokens::get(ui);
    ui.add(
        Button::image_and_text(icon.sized(14.0, t.dim), RichText::new(text).color(t.dim))
            .frame_when_inactive(false)
            .min_size(vec2(0.0, tokens::CONTROL_HEIGHT)),
    )
}

/// An icon alone; `name` is its tooltip and what a screen reader says.
pub(crate) fn icon_button(ui: &mut Ui, icon: Icon, name: &str) -> Response {
    let t = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(tokens::CONTROL_HEIGHT, tokens::CONTROL_HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), name));
    if ui.is_rect_visible(rect) {
        if response.hovered() || response.has_focus() {
            ui.painter().rect_filled(rect, tokens::RADIUS, t.raised);
        }
        focus_ring(ui, &response, tokens::RADIUS);
        let color = if response.hovered() { t.text } else { t.dim };
        icon.paint(ui, egui::Rect::from_center_size(rect.center(), egui::Vec2::splat(14.0)), color);
    }
    response.on_hover_text(name)
}

/// Shows where the keyboard is, for widgets that paint themselves.
pub(crate) fn focus_ring(ui: &Ui, response: &Response, radius: u8) {
    if response.has_focus() {
        let t = Tokens::get(ui);
        ui.painter().rect_stroke(response.rect, radius, Stroke::new(1.5, t.accent), StrokeKind::Inside);
    }
}

/// Of a choice inside its frame.
const SEGMENT: f32 = tokens::CONTROL_HEIGHT - 6.0;

/// Buttons that exclude each other, side by side in one frame. Returns the newly chosen index.
pub(crate) fn segmented(ui: &mut Ui, choices: &[(Option<Icon>, &str)], chosen: usize) -> Option<usize> {
    let t = Tokens::get(ui);
    let mut picked = None;
    egui::Frame::new()
        .fill(t.field)
        .stroke(Stroke::new(1.0, t.line))
        .corner_radius(tokens::RADIUS)
        .inner_margin(egui::Margin::same(2))
        .show(ui, |ui| {
            // As high as fields, so that it stands in line with the name of its row.
            ui.spacing_mut().interact_size.y = SEGMENT;
            ui.spacing_mut().button_padding.y = 1.0;
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 2.0;
                // A row that is laid out from the right would turn them around.
                let backwards = ui.layout().prefer_right_to_left();
                for n in 0..choices.len() {
                    let i = if backwards { choices.len() - 1 - n } else { n };
                    let (icon, text) = &choices[i];
                    let on = i == chosen;
                    let color = if on { t.text } else { t.dim };
                    let text = RichText::new(*text).color(color);
                    let button = match icon {
                        Some(icon) => Button::image_and_text(icon.sized(14.0, color), text),
                        None => Button::new(text),
                    };
                    let (fill, line) =
                        if on { (t.card, t.line) } else { (egui::Color32::TRANSPARENT, egui::Color32::TRANSPARENT) };
                    let response = ui.add(
                        button.fill(fill).stroke(Stroke::new(1.0, line)).corner_radius(4).min_size(vec2(0.0, SEGMENT)),
                    );
                    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, on, choices[i].1));
                    if response.clicked() && !on {
                        picked = Some(i);
                    }
                }
            });
        });
    picked
}
