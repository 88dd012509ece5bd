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

/// The right matrix, `[depth, columns]`.
pub(super) enum Right<'a> {
    /// Either its rows or its columns are dense.
    Floats(View<'a>),
    /// The part of a matrix `[outputs, inputs]` from `first` on, transposed if [`Way::Forward`].
    Kept { matrix: &'a Matrix<'a>, way: Way, first: [usize; 2] },
}

impl Right<'_> {
    /// Parts that each of its numbers is the sum of.
    fn parts(&self) -> usize {
        let Self::Kept { matrix, .. } = self else { return PARTS };
        match &matrix.kept {
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
}

/// Whether [`multiply`] takes these, and is faster than `gemm` as measured.
pub(super) fn pays([_, k, n]: [usize; 3], right: &Right) -> bool {
    let dense = |view: &View| view.row == 1 || view.column == 1;
    n >= 64 && k >= 64 && !matches!(right, Right::Floats(view) if !dense(view))
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
        _ => unsafe { by_parts::<PARTS>(&unit, out, first, sizes, left, right) },
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
    match right {
        Right::Floats(view) if view.column == 1 => {
            for (step, at) in depth.clone().step_by(STEP).enumerate() {
                let row = |d: usize| match at + d < depth.end {
                    true => &view.data[(at + d) * view.row..][..n],
                    false => &[],
                };
                lay_across::<P>(unit, row, tiles, panel, step);
            }
        }
        Right::Floats(view) => {
            for (at, tiles) in (0..n).step_by(BLOCK).zip(tiles.chunks_exact_mut(panel)) {
                for (start, tiles) in depth.clone().step_by(STEP).zip(tiles.chunks_exact_mut(2 * P)) {
                    let line = |j: usize| match at + j < n {
                        true => &view.data[(at + j) * view.column + start..][..STEP.min(depth.end - start)],
                        false => &[],
                    };
                    lay_along::<P>(unit, line, tiles);
                    tiles.iter_mut().for_each(|tile| unit.transpose(tile));
                }
            }
        }
        Right::Kept { matrix, way: Way::Backward, first: [output, input] } => {
            for (step, at) in depth.clone().step_by(STEP).enumerate() {
                let count = STEP.min(depth.end - at);
                for (d, line) in lines.chunks_exact_mut(n).take(count).enumerate() {
                    matrix.fetch(output + at + d + 2, *input, n);
                    matrix.read(output + at + d, *input, line);
                }
                let row = |d: usize| match d < count {
                    true => &lines[d * n..][..n],
                    false => &[],
                };
                lay_across::<P>(unit, row, tiles, panel, step);
            }
        }
        Right::Kept { matrix, way: Way::Forward, first: [output, input] } => {
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
mod tests {
    use half::{bf16, f16};
    use lorikeet_seeded::{Purpose, Stream};

    use super::super::cpu_product::{Frozen, multiply_by};
    use super::super::packed::Part;
    use super::*;
    use crate::quant::{Layout, int8, nf4};

    const OUTPUTS: usize = 300;
    const INPUTS: usize = 800;

    fn values(n: usize, seed: u64) -> Vec<f32> {
        Stream::new(seed, Purpose::RandomWeights, &[]).normals(n)
    }

    fn unit() -> bool {
        let there = Unit::new().is_some();
        if !there {
            println!("skipped: this processor has no AMX with bf16, or the system does not let it be used");
        }
        there
    }

    fn parts() -> [Part; 2] {
        [Part { outputs: 0..OUTPUTS, inputs: 0..INPUTS }, Part { outputs: 7..290, inputs: 64..715 }]
    }

    /// Both means' results, and that in f64 for each 7th row.
    fn products(weight: &Frozen, read: &Matrix, part: &Part, rows: usize, way: Way, x: &[f32]) -> [Vec<f64>; 3] {
        let (outputs, inputs) = (part.outputs.len(), part.inputs.len());
        let (depth, columns) = if way == Way::Forward { (inputs, outputs) } else { (outputs, inputs) };
        let x = &x[..rows * depth];
        let [tiles, vectors] = [true, false].map(|tiles| {
            let mut y = vec![f32::NAN; rows * columns];
            multiply_by(tiles, &mut y, x, weight, way, None);
            let rows = y.chunks_exact(columns).step_by(7);
            rows.flatten().map(|y| f64::from(*y)).collect::<Vec<_>>()
        });
        let mut matrix = vec![0.0; OUTPUTS * INPUTS];
        matrix.chunks_exact_mut(INPUTS).enumerate().for_each(|(row, out)| read.read(row, 0, out));
        let at = |o: usize, i: usize| f64::from(matrix[(part.outputs.start + o) * INPUTS + part.inputs.start + i]);
        let exact = x.chunks_exact(depth).step_by(7).flat_map(|x| {
            let mut sums = vec![0.0; columns];
            for (d, x) in x.iter().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum += f64::from(*x) * if way == Way::Forward { at(c, d) } else { at(d, c) };
                }
            }
            sums
        });
        [tiles, vectors, exact.collect()]
    }

    /// Root mean square of the difference, and of the numbers.
    fn difference(a: &[f64], exact: &[f64]) -> f64 {
        let square = |sum: f64| (sum / exact.len() as f64).sqrt();
        square(a.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum()) / square(exact.iter().map(|b| b * b).sum())
    }

    #[test]
    fn tiles_are_as_exact_as_vectors() {
        if !unit() {
            return;
        }
        let floats = values(OUTPUTS * INPUTS, 1);
        let x = values(600 * INPUTS, 2);
        let bytes = |format| -> Vec<u8> {
            floats
                .iter()
                .flat_map(|v| match format {
                    RawFormat::Bf16 => bf16::from_f32(*v).to_le_bytes().to_vec(),
                    RawFormat::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
                    _ => v.to_le_bytes().to_vec(),
                })
                .collect()
        };
        let matrix = |kept| Matrix { inputs: INPUTS, kept };
        let layout = |block| Layout { outputs: OUTPUTS, inputs: INPUTS, block };
        let raws = [RawFormat::Bf16, RawFormat::F16, RawFormat::F32].map(|format| (format, bytes(format)));
        let whole = matrix(Kept::Values(&floats));
        let (codes8, scales8) = int8(&whole, layout(100)).unwrap();
        let (codes4, scales4) = nf4(&whole, layout(32)).unwrap();
        let raw = |i: usize, scale| {
            let (format, bytes) = &raws[i];
            let cut = 5 * INPUTS * format.size();
            Kept::Raw { format: *format, pieces: vec![(&bytes[..cut], 2.0), (&bytes[cut..], scale)] }
        };
        let kinds = [
            ("bf16", raw(0, 0.5)),
            ("bf16 with scales", raw(0, 0.3)),
            ("f16", raw(1, 1.0)),
            ("f32", raw(2, 1.0)),
            ("8 bits", Kept::Int8 { codes: &codes8, scales: &scales8, block: 100 }),
            ("4 bits", Kept::Nf4 { codes: &codes4, scales: &scales4, block: 32 }),
        ];
        let turned: Vec<f32> = (0..OUTPUTS * INPUTS).map(|i| floats[i % OUTPUTS * INPUTS + i / OUTPUTS]).collect();
        let views = [View::dense(&floats, INPUTS), View { data: &turned, row: 1, column: OUTPUTS }];
        let kinds = kinds.map(|(name, kept)| (name, matrix(kept), None)).into_iter();
        let views = views.map(|view| ("f32 in memory", matrix(Kept::Values(&floats)), Some(view)));
        for (name, read, view) in kinds.chain(views) {
            for part in parts() {
                for way in [Way::Forward, Way::Backward] {
                    for rows in [1, 3, 77, 140, 600] {
                        let shape = [part.outputs.len(), part.inputs.len()];
                        let weight = match view {
                            Some(view) => {
                                Frozen::Floats { view: view.at([part.outputs.start, part.inputs.start]), shape }
                            }
                            None => Frozen::Kept {
                                matrix: Matrix { inputs: INPUTS, kept: clone(&read.kept) },
                                part: part.clone(),
                            },
                        };
                        let [tiles, vectors, exact] = products(&weight, &read, &part, rows, way, &x);
                        let [tiles, vectors] = [tiles, vectors].map(|y| difference(&y, &exact));
                        println!("{name} {way:?} {rows} x {shape:?}: {tiles:.1e}, vectors {vectors:.1e}");
                        assert!(tiles < 1.5 * vectors.max(1e-7), "{name} {way:?} {rows} {shape:?}: {tiles} {vectors}");
                    }
                }
            }
        }
    }

    fn clone<'a>(kept: &Kept<'a>) -> Kept<'a> {
        match kept {
            Kept::Values(values) => Kept::Values(values),
            Kept::Raw { format, pieces } => Kept::Raw { format: *format, pieces: pieces.clone() },
            &Kept::Int8 { codes, scales, block } => Kept::Int8 { codes, scales, block },
            &Kept::Nf4 { codes, scales, block } => Kept::Nf4 { codes, scales, block },
        }
    }

    /// `x` `[rows, 128]` times a matrix of these numbers `[128, 64]`, by tiles.
    fn by_tiles(x: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / 128 * 64];
        let weight = Frozen::Floats { view: View { data: weight, row: 1, column: 64 }, shape: [64, 128] };
        multiply_by(true, &mut y, x, &weight, Way::Forward, None);
        y
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        if !unit() {
            return;
        }
        for bits in [0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff, 0xffff_ffff, f32::MAX.to_bits()] {
            let wrong = f32::from_bits(bits);
            let [mut x, mut weight] = [values(40 * 128, 1), values(128 * 64, 2)];
            // In the row of x, zeros and other numbers meet it.
            weight[64 * 50..64 * 51][..32].fill(0.0);
            x[17 * 128 + 50] = wrong;
            let y = by_tiles(&x, &weight);
            for (row, y) in y.chunks_exact(64).enumerate() {
                assert!(y.iter().all(|y| y.is_finite() == (row != 17)), "{wrong} in row {row}: {y:?}");
            }
            let [x, mut weight] = [values(40 * 128, 1), values(128 * 64, 2)];
            weight[64 * 50 + 33] = wrong;
            for y in by_tiles(&x, &weight).chunks_exact(64) {
                assert!(y.iter().enumerate().all(|(column, y)| y.is_finite() == (column != 33)), "{wrong}: {y:?}");
            }
        }
    }

    #[test]
    fn huge_and_tiny_numbers() {
        if !unit() {
            return;
        }
        // Powers of two are exact, and what they are multiplied with need not be small.
        let (x, weight) = (values(40 * 128, 1), values(128 * 64, 2));
        let plain = by_tiles(&x, &weight);
        for exponent in [-60, -30, 30, 120] {
            let factor = 2f32.powi(exponent);
            let scaled: Vec<f32> = x.iter().map(|x| x * factor).collect();
            let y = by_tiles(&scaled, &weight);
            assert!(y.iter().zip(&plain).all(|(y, plain)| *y == plain * factor), "{exponent}");
        }
        // Of each number of a product, up to 2^-125 is lost, and of each product of parts.
        for exponent in [-105, -115, -125, -135, -145] {
            let scaled: Vec<f32> = x.iter().map(|x| x * 2f32.powi(-60) * 2f32.powi(exponent + 60)).collect();
            let y = by_tiles(&scaled, &weight);
            for (i, y) in y.iter().enumerate() {
                let (row, column) = (&scaled[i / 64 * 128..][..128], i % 64);
                let term = |d: usize| f64::from(row[d]) * f64::from(weight[d * 64 + column]);
                let exact: f64 = (0..128).map(term).sum();
                let size: f64 = (0..128).map(|d| term(d).abs()).sum();
                let lost: f64 =
                    (0..128).map(|d| 1.0 + f64::from(weight[d * 64 + column]).abs()).sum::<f64>() * 2f64.powi(-124);
                assert!((f64::from(*y) - exact).abs() < 1e-6 * size + lost, "{exponent}: {y} {exact}");
            }
        }
    }
}
