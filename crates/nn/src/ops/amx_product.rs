//! Products by the matrix unit ([`super::amx`]) in blocks that stay in the cache of one processor.
//!
//! The right matrix is laid out as tiles for some depth, up to a MiB; then, for 32 rows of the left one at a time, 128 of their numbers
//! are split into parts and multiplied with all columns, so that they stay in the first cache.

use std::ops::Range;

use super::amx::Unit;
use super::packed::Way;
use super::product::{Shared, View};
use super::scratch::with_scratch;
use crate::quant::{Kept, Matrix};
use crate::storage::RawFormat;

/// Numbers of 32 bits along an edge of a tile.
pub(super) const EDGE: usize = 16;
/// Parts in bf16 that a number in f32 has.
pub(super) const PARTS: usize = 3;
/// Depth of a tile of bf16.
const STEP: usize = 2 * EDGE;
/// Rows and columns of the block that the unit makes at once: 2 x 2 tiles.
const BLOCK: usize = 2 * EDGE;
/// Columns that a task has at most, and the depth of the tile that it converts where the unit is not there after all.
pub(super) const TASK: [usize; 2] = [512, 512];
/// Tiles of the right matrix that are kept at once: half of the second cache of these processors, 2 MiB.
const TILES: usize = 1024;
/// Numbers of a kept matrix's rows that are read at once, a multiple of each block of 4-bit codes.
const PIECE: usize = 256;
/// Steps of the left matrix that are split at once: 24 KiB of 48 of the first cache.
const STEPS: usize = 4;

/// 16 x 16 numbers of 32 bits, each an f32 or two of bf16. Rows that cross a line of the cache would load at a quarter of the speed.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [[u32; EDGE]; EDGE]);

impl Tile {
    /// Those that fit into `memory`.
    fn of(memory: &mut [f32]) -> &mut [Self] {
        // SAFETY: both are plain numbers, for which all bits mean something.
        #[allow(unsafe_code, reason = "the same memory by tiles")]
        let (_, tiles, _) = unsafe { memory.align_to_mut() };
        tiles
    }
}

/// The right matrix, `[depth, columns]`: the part of a matrix `[outputs, inputs]` from `first` on, transposed if [`Way::Forward`].
pub(super) struct Right<'a> {
    pub(super) matrix: &'a Matrix<'a>,
    pub(super) way: Way,
    pub(super) first: [usize; 2],
}

impl Right<'_> {
    /// Parts that each of its numbers is the sum of.
    fn parts(&self) -> usize {
        match &self.matrix.kept {
            // A power of two changes no digits.
            Kept::Raw { format, pieces } if pieces.iter().all(|(_, scale)| scale.to_bits() & 0x7f_ffff == 0) => {
                match format {
                    RawFormat::Bf16 | RawFormat::F8E4M3 | RawFormat::F8E5M2 => 1,
                    // 11 bits.
                    RawFormat::F16 => 2,
                    RawFormat::F32 => PARTS,
                }
            }
            // 7 bits times the 8 of a scale.
            Kept::Int8 { .. } => 2,
            Kept::Values(_) | Kept::Raw { .. } | Kept::Nf4 { .. } => PARTS,
        }
    }

    /// Whether [`multiply`] takes a product with it and is faster than `gemm`, as measured: with three parts it is not, nor with 16 rows.
    pub(super) fn pays(&self, [rows, depth, columns]: [usize; 3]) -> bool {
        rows >= 32 && depth >= 64 && columns >= 64 && self.parts() < PARTS
    }
}

/// The part `[m, n]` of `out` from row and column `first` on becomes `left right`. `left` `[m, k]` with dense rows. `false` where there
/// is no such unit.
///
/// # Safety
/// No other thread may reach any number of that part at the same time.
#[allow(unsafe_code, reason = "parts of different threads lie between each other")]
pub(super) unsafe fn multiply(out: &Shared, first: [usize; 2], sizes: [usize; 3], left: View, right: &Right) -> bool {
    let Some(unit) = Unit::new() else { return false };
    match right.parts() {
        // SAFETY: the unit comes with AVX-512, and the caller promises the rest.
        1 => unsafe { by_parts::<1>(&unit, out, first, sizes, left, right) },
        2 => unsafe { by_parts::<2>(&unit, out, first, sizes, left, right) },
        _ => return false,
    }
    true
}

/// # Safety
/// As [`multiply`].
#[allow(unsafe_code, reason = "parts of different threads lie between each other")]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
unsafe fn by_parts<const P: usize>(
    unit: &Unit,
    out: &Shared,
    [first_row, first_column]: [usize; 2],
    [m, k, n]: [usize; 3],
    left: View,
    right: &Right,
) {
    let panels = n.div_ceil(BLOCK);
    // As deep as there is room for, in equal pieces.
    let deepest = (TILES / (panels * 2 * P) * STEP / PIECE * PIECE).max(PIECE);
    let deep = k.div_ceil(k.div_ceil(deepest)).next_multiple_of(PIECE);
    let panel = deep.min(k).div_ceil(STEP) * 2 * P;
    let lines = BLOCK * PIECE.max(n);
    let tiles = panels * panel + STEPS * 2 * PARTS + panels * 4;
    // One tile more, as scratch need not begin where a tile may.
    with_scratch(lines + (tiles + 1) * size_of::<Tile>() / size_of::<f32>(), |scratch| {
        let (lines, scratch) = scratch.split_at_mut(lines);
        let (rights, scratch) = Tile::of(scratch).split_at_mut(panels * panel);
        let (lefts, scratch) = scratch.split_at_mut(STEPS * 2 * PARTS);
        let sums = &mut scratch.as_chunks_mut().0[..panels];
        for start in (0..k).step_by(deep) {
            let depth = start..(start + deep).min(k);
            lay_right::<P>(unit, right, depth.clone(), n, rights, panel, lines);
            for row in (0..m).step_by(BLOCK) {
                let rows = BLOCK.min(m - row);
                for here in depth.clone().step_by(STEPS * STEP) {
                    let count = (STEPS * STEP).min(depth.end - here);
                    let steps = count.div_ceil(STEP);
                    let lefts = &mut lefts[..steps * 2 * PARTS];
                    lay_left(unit, left.at([row, here]), rows, count, lefts);
                    let from = (here - start) / STEP * 2 * P;
                    for (at, (sums, rights)) in sums.iter_mut().zip(rights.chunks_exact(panel)).enumerate() {
                        // What will be split next: rows are too far apart for the processor to see by itself.
                        for i in (at..BLOCK).step_by(panels) {
                            let next = if here + STEPS * STEP < depth.end {
                                [row + i, here + STEPS * STEP]
                            } else {
                                [row + BLOCK + i, start]
                            };
                            unit.fetch(left.data.get(next[0] * left.row + next[1]..).unwrap_or_default(), STEPS * STEP);
                        }
                        unit.multiply(sums, lefts, &rights[from..from + steps * 2 * P], P, here > start);
                    }
                }
                for i in 0..rows {
                    // SAFETY: the caller promises that this part is this thread's.
                    let line = unsafe { out.line([first_row + row + i, first_column], n) };
                    let halves = sums.iter().flat_map(|sums| &sums[i / EDGE * 2..][..2]);
                    for (out, half) in line.chunks_mut(EDGE).zip(halves) {
                        put_line(out, &half.0[i % EDGE], start > 0);
                    }
                }
            }
        }
    });
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
fn put_line(out: &mut [f32], sums: &[u32; EDGE], add: bool) {
    let sums = out.iter_mut().zip(sums);
    if add {
        sums.for_each(|(out, sum)| *out += f32::from_bits(*sum));
    } else {
        sums.for_each(|(out, sum)| *out = f32::from_bits(*sum));
    }
}

/// `left` `[rows, depth]` as `[steps, PARTS, 2]` tiles of rows. What is beyond is zero.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
fn lay_left(unit: &Unit, left: View, rows: usize, depth: usize, tiles: &mut [Tile]) {
    for (step, tiles) in tiles.chunks_exact_mut(2 * PARTS).enumerate() {
        let at = step * STEP;
        let line = |i: usize| match i < rows {
            true => &left.data[i * left.row + at..][..STEP.min(depth - at)],
            false => &[],
        };
        lay_along::<PARTS>(unit, line, tiles);
    }
}

/// `depth` of `right` as `[panels, steps, P, 2]` tiles of columns. What is beyond is zero.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
fn lay_right<const P: usize>(
    unit: &Unit,
    right: &Right,
    depth: Range<usize>,
    n: usize,
    tiles: &mut [Tile],
    panel: usize,
    lines: &mut [f32],
) {
    let Right { matrix, way, first: [output, input] } = *right;
    match way {
        Way::Backward => {
            for (step, at) in depth.clone().step_by(STEP).enumerate() {
                let count = STEP.min(depth.end - at);
                for (d, line) in lines.chunks_exact_mut(n).take(count).enumerate() {
                    matrix.fetch(output + at + d + 2, input, n);
                    matrix.read(output + at + d, input, line);
                }
                let row = |d: usize| match d < count {
                    true => &lines[d * n..][..n],
                    false => &[],
                };
                lay_across::<P>(unit, row, tiles, panel, step);
            }
        }
        Way::Forward => {
            for (at, tiles) in (0..n).step_by(BLOCK).zip(tiles.chunks_exact_mut(panel)) {
                let columns = BLOCK.min(n - at);
                let pieces = depth.clone().step_by(PIECE).zip(tiles.chunks_mut(PIECE / STEP * 2 * P));
                for (start, tiles) in pieces {
                    let count = PIECE.min(depth.end - start);
                    for (j, line) in lines.chunks_exact_mut(PIECE).take(columns).enumerate() {
                        matrix.fetch(output + at + j + 4, input + start, count);
                        matrix.read(output + at + j, input + start, &mut line[..count]);
                    }
                    for (step, tiles) in tiles[..count.div_ceil(STEP) * 2 * P].chunks_exact_mut(2 * P).enumerate() {
                        let line = |j: usize| match j < columns {
                            true => &lines[j * PIECE + step * STEP..][..STEP.min(count - step * STEP)],
                            false => &[],
                        };
                        lay_along::<P>(unit, line, tiles);
                        tiles.iter_mut().for_each(|tile| unit.transpose(tile));
                    }
                }
            }
        }
    }
}

/// `[P, 2]` tiles whose rows are these 32 lines of up to 32 numbers. A word of a tile has numbers `d` and `d + 16`: their order within
/// a step is free, if both matrices have the same.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
fn lay_along<'a, const P: usize>(unit: &Unit, line: impl Fn(usize) -> &'a [f32], tiles: &mut [Tile]) {
    for half in 0..2 {
        for i in 0..EDGE {
            let (low, high) = halves(line(half * EDGE + i));
            unit.split::<P>(low, high, &mut tiles[half..], i);
        }
    }
}

/// The tiles of all panels for one step, from 32 rows of the right matrix.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw"))]
fn lay_across<'a, const P: usize>(
    unit: &Unit,
    row: impl Fn(usize) -> &'a [f32],
    tiles: &mut [Tile],
    panel: usize,
    step: usize,
) {
    for d in 0..EDGE {
        let (low, high) = (row(d), row(d + EDGE));
        for (at, tiles) in tiles.chunks_exact_mut(panel).enumerate() {
            let tiles = &mut tiles[step * 2 * P..][..2 * P];
            let [low, high] = [low, high].map(|row| halves(row.get(at * BLOCK..).unwrap_or_default()));
            unit.split::<P>(low.0, high.0, tiles, d);
            unit.split::<P>(low.1, high.1, &mut tiles[1..], d);
        }
    }
}

/// 16 numbers, and those after them.
#[inline]
fn halves(numbers: &[f32]) -> (&[f32], &[f32]) {
    numbers.split_at(numbers.len().min(EDGE))
}

#[cfg(test)]
#[path = "amx_tests.rs"]
mod tests;
