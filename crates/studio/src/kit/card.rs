//! Cards, form rows, and the messages that stand on cards.

use egui::{Align, Frame, Layout, Margin, Response, RichText, Stroke, Ui, vec2};

use super::{Icon, Tokens, theme, tokens};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Info,
    Ok,
    Warn,
    Error,
}

impl Tone {
    pub(crate) fn icon(self) -> Icon {
        match self {
            Tone::Info => Icon::Info,
            Tone::Ok => Icon::CircleCheck,
            Tone::Warn => Icon::Triangle,
            Tone::Error => Icon::CircleAlert,
        }
    }

    pub(crate) fn color(self, t: &Tokens) -> egui::Color32 {
        match self {
            Tone::Info => t.dim,
            Tone::Ok => t.ok,
            Tone::Warn => t.warn,
            Tone::Error => t.error,
        }
    }
}

pub(crate) fn frame(t: &Tokens) -> Frame {
    Frame::new()
        .fill(t.card)
        .stroke(Stroke::new(1.0, t.line))
        .corner_radius(tokens::CARD_RADIUS)
        .inner_margin(Margin::same(tokens::CARD_PADDING))
        // With the spacing of items, the gap between columns.
        .outer_margin(Margin { bottom: 4, ..Margin::ZERO })
}

/// A titled group as wide as its column.
pub(crate) fn card<R>(ui: &mut Ui, title: &str, body: impl FnOnce(&mut Ui) -> R) -> R {
    card_with(ui, title, |_| {}, body)
}

/// A card with something at the right end of its title.
pub(crate) fn card_with<R>(
    ui: &mut Ui,
    title: &str,
    beside: impl FnOnce(&mut Ui),
    body: impl FnOnce(&mut Ui) -> R,
) -> R {
    let t = Tokens::get(ui);
    frame(t)
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            if !title.is_empty() {
                ui.horizontal(|ui| {
                    ui.set_min_height(20.0);
                    ui.label(RichText::new(title).text_style(theme::section()).color(t.text));
                    ui.with_layout(Layout::right_to_left(Align::Center), beside);
                });
            }
            body(ui)
        })
        .inner
}

/// A form row: label, control, unit. The label names the control for screen readers, and both show `help` on hover.
pub(crate) fn row(
    ui: &mut Ui,
    label: &str,
    help: &str,
    unit: &str,
    control: impl FnOnce(&mut Ui) -> Response,
) -> Response {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        let name = ui
            .allocate_ui_with_layout(
                vec2(tokens::LABEL_WIDTH, tokens::CONTROL_HEIGHT),
                Layout::left_to_right(Align::Center),
                |ui| {
                    ui.set_min_width(tokens::LABEL_WIDTH);
                    ui.set_max_width(tokens::LABEL_WIDTH);
                    ui.add(egui::Label::new(RichText::new(label).color(t.dim)).truncate())
                },
            )
            .inner;
        let name_id = name.id;
        if !help.is_empty() {
            name.on_hover_text(help);
        }
        let mut response = control(ui).labelled_by(name_id);
        if !help.is_empty() {
            response = response.on_hover_text(help);
        }
        if !unit.is_empty() {
            ui.label(RichText::new(unit).color(t.mute));
        }
        response
    })
    .inner
}

/// Small explaining text.
pub(crate) fn hint(ui: &mut Ui, text: impl Into<String>) -> Response {
    let t = Tokens::get(ui);
    ui.add(egui::Label::new(RichText::new(text).small().color(t.mute)).wrap())
}

/// `name` at the left, `value` at the right end.
pub(crate) fn fact(ui: &mut Ui, name: &str, value: impl Into<String>) -> Response {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.set_height(18.0);
        ui.spacing_mut().interact_size.y = 18.0;
        ui.label(RichText::new(name).color(t.dim));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add(egui::Label::new(RichText::new(value).color(t.text)).truncate());
        });
    })
    .response
}

/// An icon and wrapped text.
pub(crate) fn notice(ui: &mut Ui, tone: Tone, text: impl Into<String>) -> Response {
    let t = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        ui.add_space(0.0);
        tone.icon().show(ui, 16.0, tone.color(t));
        ui.add(egui::Label::new(RichText::new(text).color(if tone == Tone::Info { t.dim } else { t.text })).wrap());
    })
    .response
}

/// The middle of a page or card that has nothing to show yet: what is missing, and below it what to do.
pub(crate) fn empty(ui: &mut Ui, icon: Icon, title: &str, text: &str, action: impl FnOnce(&mut Ui)) {
    let t = Tokens::get(ui);
    ui.vertical_centered(|ui| {
        ui.add_space(32.0);
        icon.show(ui, 32.0, t.mute);
        ui.add_space(4.0);
        ui.label(RichText::new(title).text_style(theme::section()).color(t.text));
        ui.add(egui::Label::new(RichText::new(text).color(t.dim)).wrap());
        ui.add_space(4.0);
        action(ui);
        ui.add_space(32.0);
    });
}

/// A title, and a sentence under it, at the top of a page.
pub(crate) fn page_title(ui: &mut Ui, title: &str, text: &str) {
    let t = Tokens::get(ui);
    ui.label(RichText::new(title).text_style(theme::title()).color(t.text));
    if !text.is_empty() {
        ui.add(egui::Label::new(RichText::new(text).color(t.dim)).wrap());
    }
    ui.add_space(4.0);
}
