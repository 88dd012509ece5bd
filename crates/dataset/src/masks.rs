//! Masks: which part of a picture is learned. OneTrainer's convention: `NAME-masklabel.png` beside the picture, of its shape,
//! white where it is learned and black where it is not.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{ExtendedColorType, ImageEncoder as _, codecs::png};

use crate::{buckets::Placement, edit::CaptionChange, error::DatasetError, pixels::decode_bytes};

const ENDING: &str = "-masklabel.png";

/// Where the mask of a picture lies, if it has one.
pub fn mask_path(picture: &Path) -> PathBuf {
    let mut name = picture.file_stem().unwrap_or_default().to_owned();
    name.push(ENDING);
    picture.with_file_name(name)
}

/// How much each pixel is learned, row by row from the top left: 0 not at all, 255 wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pub width: u32,
    pub height: u32,
    /// `width * height` bytes.
    pub grey: Vec<u8>,
}

impl Mask {
    /// The same everywhere.
    pub fn filled(width: u32, height: u32, value: u8) -> Self {
        Self { width, height, grey: vec![value; width as usize * height as usize] }
    }

    /// # Errors
    /// When it is no picture that can be read. The problem names the file.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let bytes = fs::read(path).map_err(|error| DatasetError::picture(path, error.into()))?;
        Self::from_bytes(path, &bytes)
    }

    /// # Errors
    /// As [`Mask::read`]; `path` is for the message.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, DatasetError> {
        let pixels = decode_bytes(bytes).map_err(|problem| DatasetError::picture(path, problem))?;
        let luma =
            |p: &[u8]| ((u32::from(p[0]) * 299 + u32::from(p[1]) * 587 + u32::from(p[2]) * 114 + 500) / 1000) as u8;
        Ok(Self { width: pixels.width, height: pixels.height, grey: pixels.rgb.chunks_exact(3).map(luma).collect() })
    }

    /// Averaging when it shrinks, else between pixels.
    #[must_use]
    pub fn resized(self, width: u32, height: u32) -> Self {
        if (self.width, self.height) == (width, height) || width == 0 || height == 0 {
            return self;
        }
        let shrinks = width <= self.width && height <= self.height;
        let filter = if shrinks { FilterType::Box } else { FilterType::Bilinear };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        let mut to = Image::new(width, height, PixelType::U8);
        let resized = ImageRef::new(self.width, self.height, &self.grey, PixelType::U8)
            .is_ok_and(|from| Resizer::new().resize(&from, &mut to, &options).is_ok());
        // Both only fail when a buffer does not match its size.
        debug_assert!(resized, "{} x {} with {} bytes", self.width, self.height, self.grey.len());
        Self { width, height, grey: to.into_vec() }
    }

    /// As the loss takes it: laid over the picture as it lies in its bucket, then averaged over the pixels of each latent.
    /// 0 to 1, `latents` (width, height) of them.
    pub fn of_latents(self, placement: &Placement, flip: bool, latents: (u32, u32)) -> Vec<f32> {
        let (width, height) = placement.resized;
        let whole = self.resized(width, height);
        let (left, top) = placement.crop;
        let (columns, rows) = (placement.bucket.0 / latents.0.max(1), placement.bucket.1 / latents.1.max(1));
        let mean = |x: u32, y: u32| {
            let x = if flip { latents.0 - 1 - x } else { x };
            let mut sum = 0;
            for row in 0..rows {
                let start = ((top + y * rows + row) * width + left + x * columns) as usize;
                let line = whole.grey.get(start..start + columns as usize).unwrap_or_default();
                sum += line.iter().map(|value| u64::from(*value)).sum::<u64>();
            }
            (sum as f64 / (255 * u64::from(columns) * u64::from(rows)).max(1) as f64) as f32
        };
        (0..latents.1).flat_map(|y| (0..latents.0).map(move |x| (x, y))).map(|(x, y)| mean(x, y)).collect()
    }

    /// The bytes of a PNG.
    fn png(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        png::PngEncoder::new(&mut bytes)
            .write_image(&self.grey, self.width, self.height, ExtendedColorType::L8)
            .map_err(io::Error::other)?;
        Ok(bytes)
    }
}

/// The change that gives a picture this mask, enlarged to the picture's `size`, or takes its mask away. `seen`: the file as it
/// was read, so that a mask another program changed meanwhile is left as it is.
///
/// # Errors
/// When the mask cannot be packed as a PNG.
pub fn mask_change(
    picture: &Path,
    size: (u32, u32),
    seen: Option<Vec<u8>>,
    mask: Option<Mask>,
) -> Result<CaptionChange, DatasetError> {
    let file = mask_path(picture);
    let packed = mask.map(|mask| mask.resized(size.0, size.1).png()).transpose();
    let after = packed.map_err(|source| DatasetError::MaskWrite { path: file.clone(), source })?;
    Ok(CaptionChange { picture: picture.to_owned(), file, before: seen, after })
}

pub(crate) fn is_mask(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.ends_with(ENDING)
}
