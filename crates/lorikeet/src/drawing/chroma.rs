//! How colourful pictures are.

use std::path::{Path, PathBuf};

use image::{ImageError, RgbImage};

/// Mean over the pixels of max(R, G, B) - min(R, G, B), from 0 (grey) to 1.
pub(crate) fn chroma(picture: &RgbImage) -> f64 {
    let sum: u64 = picture
        .pixels()
        .map(|pixel| {
            let [r, g, b] = pixel.0;
            u64::from(r.max(g).max(b) - r.min(g).min(b))
        })
        .sum();
    sum as f64 / 255.0 / (u64::from(picture.width()) * u64::from(picture.height())).max(1) as f64
}

/// The mean of [`chroma`] over pictures.
pub(crate) fn mean_chroma(paths: &[PathBuf]) -> Result<f64, ImageError> {
    let each = paths.iter().map(|path| Ok(chroma(&open(path)?))).collect::<Result<Vec<f64>, ImageError>>()?;
    Ok(each.iter().sum::<f64>() / each.len().max(1) as f64)
}

pub(crate) fn open(path: &Path) -> Result<RgbImage, ImageError> {
    Ok(image::open(path)?.to_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn grey_is_0_and_pure_colour_is_1() {
        assert_eq!(chroma(&RgbImage::from_pixel(3, 2, Rgb([90, 90, 90]))), 0.0);
        assert_eq!(chroma(&RgbImage::from_pixel(3, 2, Rgb([255, 0, 7]))), 1.0);
        let mut half = RgbImage::from_pixel(2, 1, Rgb([0, 51, 102]));
        half.put_pixel(0, 0, Rgb([9, 9, 9]));
        assert!((chroma(&half) - 0.2).abs() < 1e-9);
    }
}
