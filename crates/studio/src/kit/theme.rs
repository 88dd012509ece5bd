//! Fonts and egui styles from the tokens.

use std::sync::Arc;

use egui::{
    Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke, Style, TextStyle,
    Theme, style::ScrollStyle, style::WidgetVisuals, vec2,
};

use super::tokens::{CARD_RADIUS, CONTROL_HEIGHT, RADIUS, Tokens, WINDOW_RADIUS};

const INTER: &[u8] = include_bytes!("../../../../assets/fonts/Inter-Regular.ttf");
const INTER_SEMIBOLD: &[u8] = include_bytes!("../../../../assets/fonts/Inter-SemiBold.ttf");
const MONO: &[u8] = include_bytes!("../../../../assets/fonts/JetBrainsMono-Regular.ttf");

/// Titles of cards.
pub(crate) fn section() -> TextStyle {
    TextStyle::Name("section".into())
}

/// Titles of pages.
pub(crate) fn title() -> TextStyle {
    TextStyle::Name("title".into())
}

/// One big figure on a card.
pub(crate) fn figure() -> TextStyle {
    TextStyle::Name("figure".into())
}

/// Gives the context the studio's fonts, image loaders and both themes. Once, before the first frame.
pub(crate) fn install(ctx: &Context) {
    egui_extras::install_image_loaders(ctx);
    ctx.set_fonts(fonts());
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, Tokens::of(theme)));
    }
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    for (name, data) in [("inter", INTER), ("inter-semibold", INTER_SEMIBOLD), ("jetbrains-mono", MONO)] {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(data)));
    }
    // egui's own fonts stay behind ours for the signs that ours lack.
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let family = |first: &[&str]| {
        first.iter().map(|name| (*name).to_owned()).chain(fallback.iter().cloned()).collect::<Vec<_>>()
    };
    fonts.families.insert(FontFamily::Proportional, family(&["inter"]));
    fonts.families.insert(semibold(), family(&["inter-semibold", "inter"]));
    fonts.families.insert(FontFamily::Monospace, family(&["jetbrains-mono", "inter"]));
    fonts
}

fn semibold() -> FontFamily {
    FontFamily::Name("semibold".into())
}

fn apply(style: &mut Style, t: &Tokens) {
    style.text_styles = [
        (TextStyle::Small, FontId::proportional(11.5)),
        (TextStyle::Body, FontId::proportional(13.0)),
        (TextStyle::Button, FontId::proportional(13.0)),
        (TextStyle::Monospace, FontId::monospace(12.0)),
        (TextStyle::Heading, FontId::new(18.0, semibold())),
        (title(), FontId::new(16.0, semibold())),
        (section(), FontId::new(13.5, semibold())),
        (figure(), FontId::new(22.0, semibold())),
    ]
    .into();
    style.animation_time = 0.1;
    style.explanation_tooltips = false;

    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(8.0, 8.0);
    spacing.button_padding = vec2(10.0, 5.0);
    spacing.interact_size = vec2(40.0, CONTROL_HEIGHT);
    spacing.indent = 14.0;
    spacing.icon_width = 16.0;
    spacing.icon_width_inner = 10.0;
    spacing.icon_spacing = 8.0;
    spacing.slider_width = 180.0;
    spacing.slider_rail_height = 4.0;
    spacing.combo_width = 160.0;
    spacing.text_edit_width = 200.0;
    spacing.tooltip_width = 320.0;
    spacing.window_margin = Margin::same(20);
    spacing.menu_margin = Margin::same(6);
    spacing.scroll = ScrollStyle { bar_width: 8.0, floating_width: 4.0, ..ScrollStyle::floating() };

    let visuals = &mut style.visuals;
    visuals.panel_fill = t.panel;
    visuals.window_fill = t.card;
    visuals.window_stroke = Stroke::new(1.0, t.line);
    visuals.window_corner_radius = WINDOW_RADIUS.into();
    visuals.menu_corner_radius = CARD_RADIUS.into();
    visuals.extreme_bg_color = t.field;
    visuals.text_edit_bg_color = Some(t.field);
    visuals.faint_bg_color = t.field;
    visuals.code_bg_color = t.field;
    visuals.hyperlink_color = t.accent;
    visuals.warn_fg_color = t.warn;
    visuals.error_fg_color = t.error;
    visuals.weak_text_color = Some(t.mute);
    visuals.slider_trailing_fill = true;
    visuals.indent_has_left_vline = false;
    visuals.striped = false;
    visuals.image_loading_spinners = false;
    visuals.interact_cursor = Some(egui::CursorIcon::PointingHand);
    #[expect(clippy::disallowed_methods, reason = "a shadow is black in every theme")]
    let shadow = Shadow { offset: [0, 8], blur: 24, spread: 0, color: egui::Color32::from_black_alpha(60) };
    visuals.window_shadow = shadow;
    visuals.popup_shadow = shadow;
    visuals.selection.bg_fill = t.accent_fill.gamma_multiply(0.45);
    visuals.selection.stroke = Stroke::new(1.0, t.accent);

    let widgets = &mut visuals.widgets;
    let set = |w: &mut WidgetVisuals, fill, line, text| {
        w.corner_radius = CornerRadius::same(RADIUS);
        w.expansion = 0.0;
        w.bg_fill = fill;
        w.weak_bg_fill = fill;
        w.bg_stroke = Stroke::new(1.0, line);
        w.fg_stroke = Stroke::new(1.0, text);
    };
    set(&mut widgets.noninteractive, t.card, t.line, t.dim);
    set(&mut widgets.inactive, t.field, t.line, t.text);
    set(&mut widgets.hovered, t.raised, t.mute.gamma_multiply(0.5), t.text);
    set(&mut widgets.active, t.raised, t.accent, t.text);
    set(&mut widgets.open, t.raised, t.line, t.text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_hold_every_sign_that_the_studio_writes() {
        let ctx = Context::default();
        install(&ctx);
        let mut output = ctx.run_ui(Default::default(), |ui| {
            for style in [TextStyle::Body, section(), TextStyle::Heading] {
                let font = style.resolve(ui.style());
                for sign in "Aa09 éüßñøŁ Жя Ωμ ,.…·×—−→≤≥“”‘’%/".chars() {
                    assert!(ui.ctx().fonts_mut(|fonts| fonts.has_glyph(&font, sign)), "{sign} in {font:?}");
                }
            }
        });
        // Nothing is drawn here; egui wants to be told so.
        output.textures_delta.clear();
    }
}
