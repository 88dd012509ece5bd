//! What a newcomer sees first: three examples to train with one click.

use egui::{Rect, RichText, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use lorikeet_recipe::Preset;

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::{Icon, Tokens, buttons::focus_ring, card::card_with, icon_button, theme, tokens};
use crate::pictures::THUMBNAIL;
use crate::texts;

const STRIP: usize = 4;
const GAP: f32 = 8.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let mut dismissed = false;
    card_with(
        ui,
        texts::welcome::TITLE,
        |ui| dismissed = icon_button(ui, Icon::X, texts::welcome::CLOSE).clicked(),
        |ui| {
            ui.add(egui::Label::new(RichText::new(texts::welcome::TEXT).color(t.dim)).wrap());
            ui.add_space(2.0);
            let count = app.start.examples.len().min(3);
            let width = ((ui.available_width() - GAP * (count.max(1) - 1) as f32) / count.max(1) as f32).floor();
            ui.horizontal_top(|ui| {
                ui.spacing_mut().item_spacing.x = GAP;
                for index in 0..count {
                    if tile(app, ui, index, width) {
                        app.actions.push(Action::UseExample(index));
                    }
                }
            });
        },
    );
    if dismissed {
        app.actions.push(Action::Welcome(false));
    }
}

fn tile(app: &mut StudioApp, ui: &mut Ui, index: usize, width: f32) -> bool {
    let t = Tokens::get(ui);
    let example = &app.start.examples[index];
    let pad = 12.0;
    let inner = width - 2.0 * pad;
    let blurb = ui.painter().layout(
        example.blurb.trim_end_matches('.').to_owned(),
        egui::TextStyle::Small.resolve(ui.style()),
        t.dim,
        inner,
    );
    let picture_gap = 4.0;
    let edge = ((inner - picture_gap * (STRIP - 1) as f32) / STRIP as f32).floor();
    // Two lines in every tile, so that all are of one height.
    let height = pad + edge + 10.0 + 18.0 + 4.0 + blurb.size().y.max(30.0) + pad;
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::click());
    let on = app.draft.example == Some(index);
    response.widget_info(|| WidgetInfo::selected(egui::Role::Button, true, on, &example.title));
    let painter = ui.painter();
    let fill = if response.hovered() { t.raised } else { t.field };
    painter.rect_filled(rect, tokens::CARD_RADIUS, fill);
    let stroke = if on { Stroke::new(1.5, t.accent) } else { Stroke::new(1.0, t.line) };
    painter.rect_stroke(rect, tokens::CARD_RADIUS, stroke, StrokeKind::Inside);
    focus_ring(ui, &response, tokens::CARD_RADIUS);

    let (left, mut y) = (rect.left() + pad, rect.top() + pad);
    let pictures = &app.examples[index];
    for i in 0..STRIP {
        let at = Rect::from_min_size(pos2(left + i as f32 * (edge + picture_gap), y), vec2(edge, edge));
        match pictures.get(i * pictures.len() / STRIP) {
            Some(path) => picture::cover(ui, at, &app.pictures.get(path, THUMBNAIL)),
            None => {
                ui.painter().rect_filled(at, tokens::RADIUS, t.card);
            }
        }
    }
    y += edge + 10.0;
    let icon = match example.preset {
        Preset::Style => Icon::Palette,
        Preset::Character => Icon::Smile,
        Preset::Concept => Icon::Shapes,
    };
    icon.paint(ui, Rect::from_min_size(pos2(left, y + 1.0), vec2(16.0, 16.0)), if on { t.accent } else { t.dim });
    let font = theme::section().resolve(ui.style());
    ui.painter().text(pos2(left + 24.0, y + 9.0), egui::Align2::LEFT_CENTER, &example.title, font, t.text);
    if on {
        let at = Rect::from_min_size(pos2(rect.right() - pad - 16.0, y + 1.0), vec2(16.0, 16.0));
        Icon::CircleCheck.paint(ui, at, t.accent);
    }
    ui.painter().galley(pos2(left, y + 22.0), blurb, t.dim);
    response.clicked() && !app.state.active()
}
