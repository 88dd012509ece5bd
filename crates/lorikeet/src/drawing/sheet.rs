//! A sheet of pairs: the base's picture and the LoRA's, with what was asked for.

use std::path::{Path, PathBuf};

use image::imageops::{FilterType, overlay, resize};
use image::{ImageError, Rgb};

use super::canvas::{Align, Canvas};
use super::chroma::open;

const EDGE: u32 = 128;
const GAP: u32 = 4;
const MARGIN: u32 = 16;
const LABEL: u32 = 22;
const HEAD: u32 = 56;
const PAIRS_A_ROW: u32 = 5;

/// One asked-for thing.
pub(crate) struct Pair {
    pub label: String,
    pub base: PathBuf,
    pub lora: PathBuf,
}

/// In each pair the base is on the left.
pub(crate) fn draw(title: &str, pairs: &[Pair], to: &Path) -> Result<(), ImageError> {
    let columns = PAIRS_A_ROW.min(pairs.len() as u32).max(1);
    let rows = (pairs.len() as u32).div_ceil(columns);
    let (wide, high) = (2 * EDGE + GAP + MARGIN, EDGE + LABEL + MARGIN);
    let mut canvas = Canvas::new(MARGIN + columns * wide, HEAD + rows * high + MARGIN, Rgb([250, 250, 249]));
    canvas.words(title, MARGIN as f32, 26.0, 20.0, Align::Left, Rgb([28, 25, 23]));
    canvas.words("Left: the base. Right: with the LoRA.", MARGIN as f32, 45.0, 14.0, Align::Left, Rgb([120, 113, 108]));
    for (index, pair) in pairs.iter().enumerate() {
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        let (x, y) = (MARGIN + column * wide, HEAD + row * high);
        for (offset, path) in [(0, &pair.base), (EDGE + GAP, &pair.lora)] {
            let picture = resize(&open(path)?, EDGE, EDGE, FilterType::CatmullRom);
            overlay(&mut canvas.picture, &picture, i64::from(x + offset), i64::from(y));
        }
        canvas.words(
            &pair.label,
            (x + EDGE + GAP / 2) as f32,
            (y + EDGE + 16) as f32,
            14.0,
            Align::Centre,
            Rgb([68, 64, 60]),
        );
    }
    canvas.picture.save(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn every_pair_is_on_the_sheet() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |name: &str, colour| {
            let path = folder.path().join(name);
            RgbImage::from_pixel(64, 64, Rgb(colour)).save(&path).unwrap();
            path
        };
        let (red, blue) = (picture("red.png", [200, 0, 0]), picture("blue.png", [0, 0, 200]));
        let pairs: Vec<Pair> =
            (0..7).map(|n| Pair { label: format!("thing {n}"), base: red.clone(), lora: blue.clone() }).collect();
        let sheet = folder.path().join("sheet.png");
        draw("Ink", &pairs, &sheet).unwrap();
        let sheet = open(&sheet).unwrap();
        let count = |colour| sheet.pixels().filter(|pixel| pixel.0 == colour).count() as u32;
        assert_eq!((count([200, 0, 0]), count([0, 0, 200])), (7 * EDGE * EDGE, 7 * EDGE * EDGE));
    }
}
