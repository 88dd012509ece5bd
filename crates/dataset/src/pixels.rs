//! Decoding, and fitting a picture into its bucket.

use std::{fs, io::Cursor, path::Path};

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageReader, Limits};

use crate::{
    buckets::Placement,
    error::{DatasetError, MAX_PIXELS, MAX_SIDE, PictureProblem},
    header,
};

/// An 8-bit RGB picture, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// Resized to exactly this size: averaging when both sides shrink, else Lanczos, as sd-scripts does. The average
    /// counts each source pixel wholly to one place, where OpenCV's INTER_AREA splits those on a border.
    pub fn resized(self, width: u32, height: u32) -> Self {
        if (self.width, self.height) == (width, height) || width == 0 || height == 0 {
            return self;
        }
        let shrinks = width <= self.width && height <= self.height;
        let filter = if shrinks { FilterType::Box } else { FilterType::Lanczos3 };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
        let mut to = Image::new(width, height, PixelType::U8x3);
        let resized = ImageRef::new(self.width, self.height, &self.rgb, PixelType::U8x3)
            .is_ok_and(|from| Resizer::new().resize(&from, &mut to, &options).is_ok());
        // Both only fail when a buffer does not match its size.
        debug_assert!(resized, "{} x {} with {} bytes", self.width, self.height, self.rgb.len());
        Self { width, height, rgb: to.into_vec() }
    }

    /// The rectangle of `size` from `at`, which must lie within the picture.
    fn cropped(self, at: (u32, u32), size: (u32, u32)) -> Self {
        if (self.width, self.height) == size {
            return self;
        }
        let (stride, left, row) = (self.width as usize * 3, at.0 as usize * 3, size.0 as usize * 3);
        let rows = self.rgb.chunks_exact(stride).skip(at.1 as usize).take(size.1 as usize);
        let rgb = rows.flat_map(|line| &line[left..left + row]).copied().collect();
        Self { width: size.0, height: size.1, rgb }
    }

    /// Left becomes right.
    pub fn mirrored(mut self) -> Self {
        let width = self.width as usize;
        for line in self.rgb.chunks_exact_mut((width * 3).max(1)) {
            for x in 0..width / 2 {
                for channel in 0..3 {
                    line.swap(x * 3 + channel, (width - 1 - x) * 3 + channel);
                }
            }
        }
        self
    }
}

/// A training picture: decoded, upright, over white, resized and cropped into its bucket.
pub fn load_pixels(path: &Path, placement: &Placement, flip: bool) -> Result<Pixels, DatasetError> {
    let pixels = decode(path)?;
    let now = (pixels.width, pixels.height);
    if now != placement.source {
        return Err(DatasetError::Changed { path: path.to_owned(), was: placement.source, now });
    }
    let pixels = pixels.resized(placement.resized.0, placement.resized.1).cropped(placement.crop, placement.bucket);
    Ok(if flip { pixels.mirrored() } else { pixels })
}

/// The whole picture, upright, transparent parts over white.
pub fn decode(path: &Path) -> Result<Pixels, DatasetError> {
    // Looks at the header on disk first, so that a huge file that is no picture is never read.
    let decoded = header::read_file(path).and_then(|_| decode_bytes(&fs::read(path)?));
    decoded.map_err(|problem| DatasetError::picture(path, problem))
}

pub(crate) fn decode_bytes(bytes: &[u8]) -> Result<Pixels, PictureProblem> {
    let header = header::read(&mut Cursor::new(bytes))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    // 16-bit RGBA, and as much again for the decoder's own work.
    limits.max_alloc = Some(MAX_PIXELS * 16);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), header.format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(problem)?;
    let (width, height) = decoder.dimensions();
    header::check_size(width, height)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(problem)?;
    picture.apply_orientation(header.orientation);
    let (width, height) = (picture.width(), picture.height());
    Ok(Pixels { width, height, rgb: over_white(picture) })
}

fn problem(error: ImageError) -> PictureProblem {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureProblem::CutOff("its end is missing")
        }
        other => PictureProblem::Damaged(other.to_string()),
    }
}

fn over_white(picture: DynamicImage) -> Vec<u8> {
    if !picture.color().has_alpha() {
        return picture.into_rgb8().into_raw();
    }
    let rgba = picture.into_rgba8();
    let blend = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    rgba.pixels().flat_map(|p| [blend(p[0], p[3]), blend(p[1], p[3]), blend(p[2], p[3])]).collect()
}
