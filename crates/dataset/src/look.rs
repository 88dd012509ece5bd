//! What only the pixels of a picture tell: how sharp it is, and which others it is like.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    error::DatasetError,
    pixels::{Pixels, decode},
};

/// A difference hash (each bit: is a place darker than its right neighbour), mean colour and sharpness. A crate would
/// bring a Fourier transform for a hash that tells drawings on white apart no better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    hash: [u64; 4],
    colour: [u8; 3],
    /// Width over height.
    aspect: f32,
    /// How much of an edge happens from one pixel to the next, 0 to 1, at the sharpest edges. `None`: no edges.
    sharpness: Option<f32>,
}

const COLUMNS: u32 = 16;
/// Steps between neighbours that compression alone makes.
const NOISE: f32 = 3.0;
/// Of the bits that are set in either of two hashes, at most this part may differ in pictures that are alike.
const ALIKE: f32 = 0.14;
/// Of 255, by channel.
const COLOUR: u8 = 20;
/// A crop changes the shape a little; a picture of quite another shape shows something else.
const STRETCHED: f32 = 1.3;
/// A picture blurred by 2 px spreads its edges so that a fifth of one falls between two pixels.
const SHARP: f32 = 0.2;

impl Look {
    /// Whether even the sharpest edges are spread over several pixels at the size that is trained at.
    pub fn is_blurred(&self) -> bool {
        self.sharpness.is_some_and(|sharpness| sharpness < SHARP)
    }
}

/// Whether two pictures show the same: copies, resized, saved again, or slightly cropped.
pub(crate) fn alike(a: &Look, b: &Look) -> bool {
    let count = |bits: fn(u64, u64) -> u64| {
        a.hash.iter().zip(&b.hash).map(|(a, b)| bits(*a, *b).count_ones()).sum::<u32>() as f32
    };
    let colours = a.colour.iter().zip(&b.colour).all(|(a, b)| a.abs_diff(*b) <= COLOUR);
    let shapes = (a.aspect / b.aspect).max(b.aspect / a.aspect) <= STRETCHED;
    colours && shapes && count(|a, b| a ^ b) <= (ALIKE * count(|a, b| a | b)).max(2.0)
}

/// Decodes the picture and looks at it as it is trained at: shrunk to about the area of a square with that edge.
///
/// # Errors
/// When the picture cannot be decoded.
pub fn look(path: &Path, edge: u32) -> Result<Look, DatasetError> {
    let pixels = decode(path)?;
    let area = f64::from(pixels.width) * f64::from(pixels.height);
    let scale = (f64::from(edge.max(16)) / area.sqrt()).min(1.0);
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let (width, height) = (side(pixels.width), side(pixels.height));
    let pixels = pixels.resized(width, height);
    let sharpness = sharpness(&grey(&pixels), width as usize, height as usize);
    let colour = mean(&pixels);
    let small = grey(&pixels.resized(COLUMNS + 1, COLUMNS));
    let mut hash = [0; 4];
    for (index, row) in small.chunks_exact(COLUMNS as usize + 1).enumerate() {
        for column in 0..COLUMNS as usize {
            let bit = index * COLUMNS as usize + column;
            if row[column] + NOISE < row[column + 1] {
                hash[bit / 64] |= 1u64 << (bit % 64);
            }
        }
    }
    Ok(Look { hash, colour, aspect: width as f32 / height as f32, sharpness })
}

/// [`look`] at many; those that cannot be decoded are left out.
pub fn look_at_all(paths: Vec<PathBuf>, edge: u32) -> Vec<(PathBuf, Look)> {
    paths.into_par_iter().filter_map(|path| look(&path, edge).ok().map(|look| (path, look))).collect()
}

fn grey(pixels: &Pixels) -> Vec<f32> {
    let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
    pixels.rgb.chunks_exact(3).map(luma).collect()
}

fn mean(pixels: &Pixels) -> [u8; 3] {
    let count = (pixels.rgb.len() / 3).max(1) as u64;
    [0, 1, 2].map(|channel| {
        (pixels.rgb.iter().skip(channel).step_by(3).map(|value| u64::from(*value)).sum::<u64>() / count) as u8
    })
}

/// Half the length over which an edge is looked at, px.
const REACH: usize = 8;
/// An edge is a change of this much over that length.
const EDGE: f32 = 40.0;
/// Lines looked at, in either direction.
const LINES: usize = 96;

/// Blur makes an edge wide whatever its strength, so how fast the sharpest ones change tells it: the ninth tenth, as
/// backgrounds may be soft on purpose.
fn sharpness(grey: &[f32], width: usize, height: usize) -> Option<f32> {
    let mut found = Vec::new();
    let mut line = |values: &dyn Fn(usize) -> f32, length: usize| {
        for at in REACH..length.saturating_sub(REACH) {
            let span = (values(at + REACH) - values(at - REACH)).abs();
            if span >= EDGE {
                let step = |i: usize| (values(i + 1) - values(i)).abs();
                let most = (at - REACH..at + REACH).map(step).fold(0.0, f32::max);
                // Only from its middle is the whole of an edge in reach.
                if step(at - 1).max(step(at)) >= most {
                    found.push((most / span).min(1.0));
                }
            }
        }
    };
    for y in (0..height).step_by(height.div_ceil(LINES).max(1)) {
        line(&|x| grey[y * width + x], width);
    }
    for x in (0..width).step_by(width.div_ceil(LINES).max(1)) {
        line(&|y| grey[y * width + x], height);
    }
    let at = found.len() * 9 / 10;
    (!found.is_empty()).then(|| *found.select_nth_unstable_by(at, f32::total_cmp).1)
}
