//! Pictures in a layout: square tiles and whole pictures.

use egui::{Image, Rect, Response, Sense, Ui, WidgetInfo, emath::GuiRounding as _, load::SizedTexture, pos2, vec2};

use crate::kit::{Icon, Tokens, buttons::focus_ring, tokens};
use crate::pictures::Picture;

/// Fills `rect`, cut to its shape.
pub(super) fn cover(ui: &Ui, rect: Rect, picture: &Picture) {
    let t = Tokens::get(ui);
    ui.painter().rect_filled(rect, tokens::RADIUS, t.field);
    match picture {
        Picture::Ready(texture) => {
            let size = texture.size_vec2();
            // The part of the picture that has the shape of the rectangle.
            let scale = (rect.width() / size.x).max(rect.height() / size.y);
            let part = vec2(rect.width() / (size.x * scale), rect.height() / (size.y * scale));
            let uv = Rect::from_center_size(pos2(0.5, 0.5), part);
            Image::from_texture(SizedTexture::from_handle(texture))
                .uv(uv)
                .corner_radius(tokens::RADIUS)
                .paint_at(ui, rect);
        }
        Picture::Broken => {
            Icon::CircleAlert.paint(ui, Rect::from_center_size(rect.center(), vec2(20.0, 20.0)), t.error);
        }
        Picture::Pending => {}
    }
    edge(ui, rect);
}

/// The whole picture in the middle of `rect`.
pub(super) fn contain(ui: &Ui, rect: Rect, picture: &Picture) {
    let Picture::Ready(texture) = picture else { return cover(ui, rect, picture) };
    let size = texture.size_vec2();
    let scale = (rect.width() / size.x).min(rect.height() / size.y);
    let at = Rect::from_center_size(rect.center(), size * scale).round_to_pixels(ui.pixels_per_point());
    ui.painter().rect_filled(rect, tokens::RADIUS, Tokens::get(ui).field);
    Image::from_texture(SizedTexture::from_handle(texture)).corner_radius(tokens::RADIUS).paint_at(ui, at);
    edge(ui, at);
}

/// White pictures have an edge on white cards too.
fn edge(ui: &Ui, rect: Rect) {
    let line = egui::Stroke::new(1.0, Tokens::get(ui).line);
    ui.painter().rect_stroke(rect, tokens::RADIUS, line, egui::StrokeKind::Inside);
}

/// A tile to click on, named for screen readers.
pub(super) fn tile(ui: &Ui, rect: Rect, id: egui::Id, name: &str, picture: &Picture) -> Response {
    let response = ui.interact(rect, id, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, name));
    cover(ui, rect, picture);
    if response.hovered() {
        let t = Tokens::get(ui);
        ui.painter().rect_stroke(rect, tokens::RADIUS, egui::Stroke::new(2.0, t.accent), egui::StrokeKind::Inside);
    }
    focus_ring(ui, &response, tokens::RADIUS);
    response
}
