//! Dialogs over everything else.

use egui::{Context, Frame, Id, Modal, RichText, Ui};

use super::{Tokens, theme};

/// What the content gave, and whether Escape or a click beside it asks to close.
pub(crate) fn modal<R>(ctx: &Context, id: &str, content: impl FnOnce(&mut Ui) -> R) -> (R, bool) {
    let shade = Tokens::of(ctx.theme()).shade;
    let style = ctx.style_of(ctx.theme());
    let frame = Frame::window(&style).inner_margin(20);
    let shown = Modal::new(Id::unique(id)).backdrop_color(shade).frame(frame).show(ctx, content);
    let close = shown.should_close();
    (shown.inner, close)
}

/// The heading of a dialog.
pub(crate) fn title(ui: &mut Ui, text: &str) {
    let t = Tokens::get(ui);
    ui.label(RichText::new(text).text_style(theme::title()).color(t.text));
    ui.add_space(4.0);
}
