//! Lines, rectangles and words on a picture.

use ab_glyph::{Font as _, FontRef, Glyph, PxScale, ScaleFont as _, point};
use image::{Rgb, RgbImage};

const FONT: &[u8] = include_bytes!("../../../../assets/fonts/Inter-Regular.ttf");

pub(crate) type Colour = Rgb<u8>;

/// Where words stand to their point.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

/// A picture to draw on. Everything outside it is cut off.
pub(crate) struct Canvas {
    pub picture: RgbImage,
    /// `None` if the font is damaged: then there are no words.
    font: Option<FontRef<'static>>,
}

impl Canvas {
    pub(crate) fn new(width: u32, height: u32, ground: Colour) -> Canvas {
        Canvas { picture: RgbImage::from_pixel(width, height, ground), font: FontRef::try_from_slice(FONT).ok() }
    }

    /// Mixes `colour` in: `cover` 0 leaves the pixel, 1 replaces it.
    fn mix(&mut self, x: i64, y: i64, colour: Colour, cover: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if let Some(pixel) = self.picture.get_pixel_mut_checked(x, y) {
            for (old, new) in pixel.0.iter_mut().zip(colour.0) {
                *old = (f32::from(*old) * (1.0 - cover) + f32::from(new) * cover).round() as u8;
            }
        }
    }

    pub(crate) fn rectangle(&mut self, x: i64, y: i64, width: i64, height: i64, colour: Colour) {
        for row in y..y + height {
            for column in x..x + width {
                self.mix(column, row, colour, 1.0);
            }
        }
    }

    /// A smooth line `thick` pixels wide, by each pixel's distance from it.
    pub(crate) fn line(&mut self, from: (f32, f32), to: (f32, f32), thick: f32, colour: Colour, strength: f32) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length2 = dx * dx + dy * dy;
        let reach = thick / 2.0 + 1.0;
        let range = |a: f32, b: f32| ((a.min(b) - reach).floor() as i64, (a.max(b) + reach).ceil() as i64);
        let ((left, right), (top, bottom)) = (range(from.0, to.0), range(from.1, to.1));
        for y in top..=bottom {
            for x in left..=right {
                let (px, py) = (x as f32 - from.0, y as f32 - from.1);
                let along = if length2 > 0.0 { ((px * dx + py * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                let cover = (thick / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.mix(x, y, colour, cover * strength);
                }
            }
        }
    }

    /// `y` is the baseline.
    pub(crate) fn words(&mut self, text: &str, x: f32, y: f32, size: f32, align: Align, colour: Colour) {
        let Some(font) = self.font.clone() else { return };
        let scaled = font.as_scaled(PxScale::from(size));
        let mut glyphs: Vec<Glyph> = Vec::new();
        let mut pen = 0.0;
        for letter in text.chars() {
            let id = scaled.glyph_id(letter);
            if let Some(before) = glyphs.last() {
                pen += scaled.kern(before.id, id);
            }
            glyphs.push(id.with_scale_and_position(PxScale::from(size), point(pen, 0.0)));
            pen += scaled.h_advance(id);
        }
        let start = match align {
            Align::Left => x,
            Align::Centre => x - pen / 2.0,
            Align::Right => x - pen,
        };
        for mut glyph in glyphs {
            glyph.position.x += start;
            glyph.position.y = y;
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let (left, top) = (corner.x.floor() as i64, corner.y.floor() as i64);
            outline.draw(|dx, dy, cover| self.mix(left + i64::from(dx), top + i64::from(dy), colour, cover.min(1.0)));
        }
    }
}
