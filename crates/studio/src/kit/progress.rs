//! Progress: how far, in words and as a bar.

use egui::{Align, Layout, Rect, Response, RichText, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use super::{Tokens, theme};
use crate::format;

/// A thin bar; `None` for work that cannot be counted, shown as a quiet full-width stripe.
pub(crate) fn bar(ui: &mut Ui, fraction: Option<f32>, name: &str) -> Response {
    let t = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 6.0), Sense::hover());
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, name);
        info.value = fraction.map(|f| f64::from(f) * 100.0);
        info
    });
    if ui.is_rect_visible(rect) {
        ui.painter().rect_filled(rect, 3, t.field);
        match fraction {
            Some(fraction) => {
                let width = rect.width() * fraction.clamp(0.0, 1.0);
                if width > 0.0 {
                    let done =
                        Rect::from_min_max(rect.min, pos2(rect.min.x + width.max(6.0).min(rect.width()), rect.max.y));
                    ui.painter().rect_filled(done, 3, t.accent_fill);
                }
            }
            None => {
                ui.painter().rect_filled(rect, 3, t.accent_fill.gamma_multiply(0.35));
            }
        }
    }
    response
}

/// `what` and `beside` over a bar.
pub(crate) fn labelled(ui: &mut Ui, what: &str, beside: &str, fraction: Option<f32>) {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new(what).color(t.text));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add(egui::Label::new(RichText::new(beside).color(t.mute)).truncate());
        });
    });
    bar(ui, fraction, what);
}

/// `Encoding pictures` with `12 of 24`; nothing to count is said as words alone.
pub(crate) fn counted(ui: &mut Ui, what: &str, done: u64, total: u64) {
    if total == 0 {
        labelled(ui, what, "", None);
    } else {
        labelled(ui, what, &format::count_of(done, total), Some(done as f32 / total as f32));
    }
}

/// A figure with its name under it.
pub(crate) fn figure(ui: &mut Ui, value: &str, name: &str) {
    let t = Tokens::get(ui);
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.label(RichText::new(value).text_style(theme::figure()).color(t.text));
        ui.label(RichText::new(name).small().color(t.mute));
    });
}
