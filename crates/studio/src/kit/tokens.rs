//! Colours and sizes. Nothing else in the studio names a colour.
#![expect(clippy::disallowed_methods, reason = "this is where colours are made")]

use egui::Color32;

/// Width of the left rail.
pub const NAV_WIDTH: f32 = 188.0;
pub const TOP_BAR_HEIGHT: f32 = 52.0;
/// Of the right rail at least, its part of a wide window, and at most.
pub const RAIL_WIDTH: f32 = 372.0;
pub const RAIL_PART: f32 = 0.28;
pub const RAIL_MOST: f32 = 640.0;
/// Narrower windows have no right rail.
pub const RAIL_FROM_WIDTH: f32 = 1140.0;
/// A column of a page at least: rows of forms are not cut. Pages with room for two have two.
pub const COLUMN_MIN: f32 = 480.0;
/// Forms do not stretch beyond this.
pub const COLUMN_WIDTH: f32 = 960.0;
/// Between columns; cards have the same below them.
pub const COLUMN_GAP: f32 = 12.0;
pub const PAGE_PADDING: i8 = 16;
pub const CARD_PADDING: i8 = 14;
pub const CONTROL_HEIGHT: f32 = 26.0;
pub const PRIMARY_HEIGHT: f32 = 30.0;
pub const NAV_ROW: f32 = 32.0;
/// Of a label in a form row.
pub const LABEL_WIDTH: f32 = 148.0;
pub const ICON: f32 = 16.0;
pub const RADIUS: u8 = 6;
pub const CARD_RADIUS: u8 = 8;
pub const WINDOW_RADIUS: u8 = 10;

/// How many earlier runs a plot tells apart by colour.
pub const CURVES: usize = 5;

/// The colours of one theme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    /// Behind everything, and of the left rail.
    pub bg: Color32,
    pub panel: Color32,
    pub card: Color32,
    pub field: Color32,
    /// Hovered fields, and the chosen row of the left rail.
    pub raised: Color32,
    pub line: Color32,
    pub text: Color32,
    pub dim: Color32,
    pub mute: Color32,
    /// Lines, links and marks.
    pub accent: Color32,
    /// The primary button and progress, with `on_accent` text on it.
    pub accent_fill: Color32,
    pub accent_hover: Color32,
    pub on_accent: Color32,
    pub ok: Color32,
    pub warn: Color32,
    pub error: Color32,
    /// Of curves beside that of the run, which is in `accent`.
    pub curves: [Color32; CURVES],
    /// Behind a dialog, and over what a bucket cuts off.
    pub shade: Color32,
    /// Of labels on pictures, and under them: pictures are as bright in both themes.
    pub on_picture: Color32,
    pub picture_shade: Color32,
}

const ON_PICTURE: Color32 = hex(0xF4F5F7);
const PICTURE_SHADE: Color32 = Color32::from_black_alpha(176);

const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

impl Tokens {
    pub const DARK: Tokens = Tokens {
        bg: hex(0x0E0F11),
        panel: hex(0x141619),
        card: hex(0x1A1D21),
        field: hex(0x22262B),
        raised: hex(0x2A2F36),
        line: hex(0x2A2F36),
        text: hex(0xE6E8EB),
        dim: hex(0xA7ADB5),
        mute: hex(0x8C939D),
        accent: hex(0x5C98FF),
        accent_fill: hex(0x2B6AE3),
        accent_hover: hex(0x245FD2),
        on_accent: hex(0xFFFFFF),
        ok: hex(0x46B17B),
        warn: hex(0xD9A441),
        error: hex(0xF07070),
        curves: [hex(0x46B17B), hex(0xE07BC0), hex(0xB79AF5), hex(0x4FC3C7), hex(0xE08A5A)],
        shade: Color32::from_black_alpha(190),
        on_picture: ON_PICTURE,
        picture_shade: PICTURE_SHADE,
    };

    pub const LIGHT: Tokens = Tokens {
        bg: hex(0xF0F1F4),
        panel: hex(0xFAFAFB),
        card: hex(0xFFFFFF),
        field: hex(0xF0F2F4),
        raised: hex(0xE0E4EA),
        line: hex(0xDADFE5),
        text: hex(0x1B1E23),
        dim: hex(0x4F5660),
        mute: hex(0x5F6772),
        accent: hex(0x1F60DB),
        accent_fill: hex(0x1F60DB),
        accent_hover: hex(0x1C58C8),
        on_accent: hex(0xFFFFFF),
        ok: hex(0x17764A),
        warn: hex(0x855B06),
        error: hex(0xBE2F33),
        curves: [hex(0x17764A), hex(0xB02A86), hex(0x6A3FC4), hex(0x0D7377), hex(0xA3501A)],
        shade: Color32::from_black_alpha(120),
        on_picture: ON_PICTURE,
        picture_shade: PICTURE_SHADE,
    };

    pub fn of(theme: egui::Theme) -> &'static Tokens {
        match theme {
            egui::Theme::Dark => &Tokens::DARK,
            egui::Theme::Light => &Tokens::LIGHT,
        }
    }

    /// Of the theme that `ui` is drawn in.
    pub fn get(ui: &egui::Ui) -> &'static Tokens {
        if ui.visuals().dark_mode { &Tokens::DARK } else { &Tokens::LIGHT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2 relative luminance.
    fn luminance(color: Color32) -> f64 {
        let channel = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(color.r()) + 0.7152 * channel(color.g()) + 0.0722 * channel(color.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn the_contrast_formula_gives_the_known_extremes() {
        assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 1e-9);
        assert!((contrast(Color32::WHITE, Color32::WHITE) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn every_text_colour_reads_on_every_surface_it_stands_on() {
        for (theme, t) in [("dark", Tokens::DARK), ("light", Tokens::LIGHT)] {
            let surfaces = [("bg", t.bg), ("panel", t.panel), ("card", t.card), ("field", t.field)];
            let texts = [
                ("text", t.text),
                ("dim", t.dim),
                ("mute", t.mute),
                ("accent", t.accent),
                ("ok", t.ok),
                ("warn", t.warn),
                ("error", t.error),
            ];
            for (text_name, text) in texts {
                for (surface_name, surface) in surfaces {
                    let ratio = contrast(text, surface);
                    assert!(ratio >= 4.5, "{theme}: {text_name} on {surface_name} is {ratio:.2}");
                }
            }
            // The brightest that a label can lie on.
            let ratio = contrast(t.on_picture, Color32::WHITE.blend(t.picture_shade));
            assert!(ratio >= 4.5, "{theme}: a label on a white picture is {ratio:.2}");
            for (number, curve) in t.curves.into_iter().enumerate() {
                let ratio = contrast(curve, t.card);
                assert!(ratio >= 4.5, "{theme}: curve {number} on card is {ratio:.2}");
            }
            for (name, fill) in [("accent_fill", t.accent_fill), ("accent_hover", t.accent_hover)] {
                let ratio = contrast(t.on_accent, fill);
                assert!(ratio >= 4.5, "{theme}: on_accent on {name} is {ratio:.2}");
            }
            for (name, text) in [("text", t.text), ("dim", t.dim)] {
                let ratio = contrast(text, t.raised);
                assert!(ratio >= 4.5, "{theme}: {name} on raised is {ratio:.2}");
            }
        }
    }
}
