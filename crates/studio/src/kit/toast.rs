//! Short messages at the lower right that go away by themselves.

use egui::{Align2, Area, Context, Id, Order, RichText, vec2};

use super::{Icon, Tokens, Tone, card, icon_button};
use crate::texts;

/// Seconds that a message stays; errors and warnings stay longer, as they are read twice.
const SHORT: f64 = 4.0;
const LONG: f64 = 10.0;
/// Older ones go when more come.
const MOST: usize = 4;

struct Toast {
    tone: Tone,
    text: String,
    /// In egui's seconds; set when first drawn.
    until: Option<f64>,
}

#[derive(Default)]
pub(crate) struct Toasts {
    shown: Vec<Toast>,
}

impl Toasts {
    pub(crate) fn add(&mut self, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        // A warning that comes again renews its time instead of filling the screen.
        // Good news, such as one save after another, is only the latest.
        self.shown.retain(|toast| toast.text != text && !(tone == Tone::Ok && toast.tone == Tone::Ok));
        self.shown.push(Toast { tone, text, until: None });
        if self.shown.len() > MOST {
            self.shown.remove(0);
        }
    }

    pub(crate) fn show(&mut self, ctx: &Context) {
        let now = ctx.input(|i| i.time);
        for toast in &mut self.shown {
            let stay = if matches!(toast.tone, Tone::Warn | Tone::Error) { LONG } else { SHORT };
            toast.until.get_or_insert(now + stay);
        }
        self.shown.retain(|toast| toast.until.is_none_or(|until| until > now));
        let Some(next) = self.shown.iter().filter_map(|toast| toast.until).reduce(f64::min) else { return };
        ctx.request_repaint_after(std::time::Duration::from_secs_f64((next - now).max(0.05)));

        let mut closed = None;
        Area::new(Id::unique("toasts")).anchor(Align2::RIGHT_BOTTOM, vec2(-16.0, -16.0)).order(Order::Foreground).show(
            ctx,
            |ui| {
                for (i, toast) in self.shown.iter().enumerate() {
                    let t = Tokens::get(ui);
                    card::frame(t).shadow(ui.visuals().popup_shadow).inner_margin(egui::Margin::symmetric(12, 6)).show(
                        ui,
                        |ui| {
                            ui.set_width(320.0);
                            ui.horizontal_top(|ui| {
                                ui.vertical(|ui| {
                                    ui.add_space(5.0);
                                    toast.tone.icon().show(ui, 16.0, toast.tone.color(t));
                                });
                                ui.vertical(|ui| {
                                    ui.set_width(256.0);
                                    ui.add_space(5.0);
                                    ui.add(egui::Label::new(RichText::new(&toast.text).color(t.text)).wrap());
                                });
                                if icon_button(ui, Icon::X, texts::shell::DISMISS).clicked() {
                                    closed = Some(i);
                                }
                            });
                        },
                    );
                }
            },
        );
        if let Some(i) = closed {
            self.shown.remove(i);
        }
    }
}
