//! Dialogs over everything else.

use egui::{Align, Context, Frame, Id, Layout, Modal, RichText, Ui, vec2};

use super::{Tokens, theme, tokens};

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

/// The buttons at the end of a dialog, the leading one first, from the right.
pub(crate) fn actions<R>(ui: &mut Ui, content: impl FnOnce(&mut Ui) -> R) -> R {
    ui.add_space(8.0);
    let size = vec2(ui.available_width(), tokens::PRIMARY_HEIGHT);
    ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), content).inner
}
