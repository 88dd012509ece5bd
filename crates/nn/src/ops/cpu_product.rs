//! Products with a frozen matrix on the CPU, however it is kept.
//!
//! Each thread has columns of the output for itself: it converts a tile of the matrix into scratch that stays in its cache,
//! multiplies it, and goes on to the next, without waiting for other threads. At the shapes of these models that is as fast as one
//! product of all threads with a matrix in f32, or faster.

use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata as _};
use burn::tensor::DType;
use half::bf16;
use rayon::prelude::*;

use super::amx::Unit;
use super::amx_product::{self, Right};
use super::cpu::{forward_strides, view};
use super::packed::{Bias, Packed, Part, Way, raw_matrix, unpack};
use super::pool;
use super::product::{Parallelism, Shared, View, threads};
use super::scratch::with_scratch;
use crate::quant::{Kept, Layout, Matrix};
use crate::storage::RawFormat;

/// Columns of the output and depth of a tile with many rows and with few, as measured: 768 and 512 KiB of f32. Blocks of 4-bit
/// codes must divide the depth.
const TILES: [[usize; 2]; 2] = [[384, 512], [128, 1024]];
const MANY_ROWS: usize = 512;
/// Below these a task spends more on laying its operands out than on multiplying.
const FEWEST_COLUMNS: usize = 64;
const FEWEST_ROWS: usize = 128;

/// A part of a frozen matrix, `[outputs, inputs]`.
pub(super) enum Frozen<'a> {
    Floats { view: View<'a>, shape: [usize; 2] },
    Kept { matrix: Matrix<'a>, part: Part },
}

impl Frozen<'_> {
    fn shape(&self) -> [usize; 2] {
        match self {
            Self::Floats { shape, .. } => *shape,
            Self::Kept { part, .. } => [part.outputs.len(), part.inputs.len()],
        }
    }

    /// Inputs that are read together.
    fn block(&self) -> usize {
        match self {
            Self::Kept { matrix: Matrix { kept: Kept::Nf4 { block, .. }, .. }, .. } => *block,
            _ => 1,
        }
    }
}

/// What is added to a product: `left` `[rows, depth]` times `right` `[depth, columns]`.
#[derive(Clone, Copy)]
pub(super) struct Added<'a> {
    pub(super) left: View<'a>,
    pub(super) right: View<'a>,
    pub(super) depth: usize,
}

/// See [`super::packed::packed_linear`]: `x` `[rows, in or out]` → `[rows, out or in]`.
pub(super) fn frozen_product(
    x: FloatTensor<Flex>,
    weight: &Packed<Flex>,
    part: &Part,
    bias: Bias<Flex>,
    way: Way,
) -> FloatTensor<Flex> {
    let (rows, dtype) = (x.shape()[0], x.dtype());
    let floats = |t: FloatTensor<Flex>| Flex::float_cast(t, DType::F32.into()).to_contiguous();
    let (x, bias) = (floats(x), bias.tensor().map(floats));
    let ones = vec![1.0; rows];
    let bias = bias.as_ref().and_then(|bias| bias.as_slice::<f32>());
    let bias = bias.map(|bias| Added { left: View::dense(&ones, 1), right: View::dense(bias, bias.len()), depth: 1 });
    let y = with_frozen(weight, part, |frozen| {
        let [outputs, inputs] = frozen.shape();
        let width = if way == Way::Forward { outputs } else { inputs };
        let mut y = pool::take(rows * width);
        multiply(&mut y, x.as_slice::<f32>().unwrap_or_default(), frozen, way, bias);
        pool::tensor(y, [rows, width].into())
    });
    Flex::float_cast(y, dtype.into())
}

/// `y = x W^T` or `y = x W`, of dense rows, and what is `added`.
pub(super) fn multiply(y: &mut [f32], x: &[f32], weight: &Frozen, way: Way, added: Option<Added>) {
    multiply_by(true, y, x, weight, way, added);
}

/// As [`multiply`], by the processor's matrix unit if it has one and `tiles` are wanted.
pub(super) fn multiply_by(tiles: bool, y: &mut [f32], x: &[f32], weight: &Frozen, way: Way, added: Option<Added>) {
    let [outputs, inputs] = weight.shape();
    let (depth, columns) = if way == Way::Forward { (inputs, outputs) } else { (outputs, inputs) };
    let rows = y.len().checked_div(columns).unwrap_or(0);
    let several = matches!(threads([rows, depth, columns]), Parallelism::Rayon(_));
    let tiles =
        tiles && right(weight, way, 0).is_some_and(|right| right.pays([rows, depth, columns])) && Unit::new().is_some();
    let [width, deep] = if tiles { amx_product::TASK } else { TILES[usize::from(rows < MANY_ROWS)] };
    let threads = if several { rayon::current_num_threads() } else { 1 };
    let Cut { height, width } = cut(rows, columns, weight.block(), threads, width);
    let (x, y) = (View::dense(x, depth), Shared::new(y, columns));
    let task = |[row, column]: [usize; 2]| {
        let (m, n) = (height.min(rows - row), width.min(columns - column));
        let part = |out: [usize; 2], [k, n]: [usize; 2], add, a: View, b: View| {
            // SAFETY: each task has rows or columns that no other has.
            #[allow(unsafe_code, reason = "several threads write one matrix")]
            unsafe {
                y.multiply(out, [m, k, n], add, 1.0, a, b, Parallelism::None);
            }
        };
        let by_vectors = || {
            for first in (0..depth).step_by(deep) {
                let k = deep.min(depth - first);
                let x = x.at([row, first]);
                match weight {
                    Frozen::Floats { view, .. } => {
                        let view = if way == Way::Forward { view.transposed() } else { *view };
                        part([row, column], [k, n], first > 0, x, view.at([first, column]));
                    }
                    Frozen::Kept { matrix, part: whole } => with_scratch(k * n, |tile| {
                        let (outputs, inputs) = (whole.outputs.start, whole.inputs.start);
                        let ([output, input], line) = match way {
                            Way::Forward => ([outputs + column, inputs + first], k),
                            Way::Backward => ([outputs + first, inputs + column], n),
                        };
                        for (row, out) in tile.chunks_exact_mut(line).enumerate() {
                            matrix.fetch(output + row + 2, input, line);
                            matrix.read(output + row, input, out);
                        }
                        let tile = View::dense(tile, line);
                        let tile = if way == Way::Forward { tile.transposed() } else { tile };
                        part([row, column], [k, n], first > 0, x, tile);
                    }),
                }
            }
        };
        let right = right(weight, way, column).filter(|_| tiles);
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "several threads write one matrix")]
        let done = right.is_some_and(|right| unsafe {
            amx_product::multiply(&y, [row, column], [m, depth, n], x.from(row), &right)
        });
        if !done {
            by_vectors();
        }
        if let Some(Added { left, right, depth: k }) = added {
            part([row, column], [k, n], depth > 0, left.at([row, 0]), right.at([0, column]));
        }
    };
    let starts = (0..rows).step_by(height).flat_map(|row| (0..columns).step_by(width).map(move |column| [row, column]));
    let starts: Vec<[usize; 2]> = starts.collect();
    if several {
        starts.into_par_iter().with_max_len(1).for_each(task);
    } else {
        starts.into_iter().for_each(task);
    }
}

/// The matrix that x is multiplied with, from `column` on, for the matrix unit.
fn right<'a>(weight: &'a Frozen<'a>, way: Way, column: usize) -> Option<Right<'a>> {
    let Frozen::Kept { matrix, part } = weight else { return None };
    let (output, input) = if way == Way::Forward { (column, 0) } else { (0, column) };
    Some(Right { matrix, way, first: [part.outputs.start + output, part.inputs.start + input] })
}

/// Sizes of a task.
struct Cut {
    height: usize,
    width: usize,
}

/// As many tasks as threads, or a multiple of it, so that none waits for the last one of another. Rows are cut only where there
/// are too few columns for that: each task converts the tiles of its columns for itself.
fn cut(rows: usize, columns: usize, block: usize, threads: usize, width: usize) -> Cut {
    let wanted = columns.div_ceil(width).next_multiple_of(threads);
    let most = wanted.min(columns / FEWEST_COLUMNS).max(1);
    let [mut across, mut down] = [most, 1];
    if most < threads {
        let ways = (1..=most).map(|across| [across, threads.div_ceil(across).min(rows / FEWEST_ROWS).max(1)]);
        let busy = |[across, down]: [usize; 2]| {
            let tasks = across * down;
            tasks as f64 / tasks.next_multiple_of(threads) as f64
        };
        [across, down] = ways.max_by(|a, b| busy(*a).total_cmp(&busy(*b))).unwrap_or([1, 1]);
    }
    let width = columns.div_ceil(across).next_multiple_of(block.max(16));
    Cut { height: rows.div_ceil(down).max(1), width }
}

/// Hands over a part of the matrix as it lies in memory.
pub(super) fn with_frozen<R>(weight: &Packed<Flex>, part: &Part, f: impl FnOnce(&Frozen) -> R) -> R {
    // Nothing travels on the CPU: it is the same memory.
    if let Packed::Host { matrix } = weight {
        return with_frozen(&matrix.clone().upload(&Default::default()), part, f);
    }
    if let Some(matrix) = kept(weight, part) {
        return f(&Frozen::Kept { matrix, part: part.clone() });
    }
    let floats = match weight {
        Packed::Float { weight } if weight.dtype() == DType::F32 => forward_strides(weight),
        other => unpack::<Flex>(other.clone(), DType::F32, &Default::default()),
    };
    let whole = view(&floats);
    let first = part.outputs.start * whole.row + part.inputs.start * whole.column;
    let view = View { data: &whole.data[first..], ..whole };
    f(&Frozen::Floats { view, shape: [part.outputs.len(), part.inputs.len()] })
}

/// Nothing for numbers in f32, and for codes that cannot be read from that part on.
fn kept<'a>(weight: &'a Packed<Flex>, part: &Part) -> Option<Matrix<'a>> {
    let of = |layout: &Layout, kept| Some(Matrix { inputs: layout.inputs, kept });
    match weight {
        Packed::Float { weight } => {
            let format = match weight.dtype() {
                DType::BF16 => RawFormat::Bf16,
                DType::F16 => RawFormat::F16,
                _ => return None,
            };
            let whole = weight.is_contiguous() && weight.layout().start_offset() == 0;
            let kept = Kept::Raw { format, pieces: vec![(weight.bytes(), 1.0)] };
            whole.then_some(Matrix { inputs: weight.shape()[1], kept })
        }
        Packed::Int8 { codes, scales, layout } => {
            let (codes, scales) = (codes.as_slice::<i8>()?, scales.as_slice::<bf16>()?);
            of(layout, Kept::Int8 { codes, scales, block: layout.block })
        }
        Packed::Nf4 { codes, scales, layout } if part.inputs.start.is_multiple_of(layout.block) => {
            let (codes, scales) = (codes.as_slice::<u8>()?, scales.as_slice::<bf16>()?);
            of(layout, Kept::Nf4 { codes, scales, block: layout.block })
        }
        Packed::File { raw, shape } => Some(raw_matrix(raw, shape[1])),
        Packed::Nf4 { .. } | Packed::Host { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::backend::ops::IntTensorOps as _;
    use burn::tensor::TensorData;
    use lorikeet_seeded::{Purpose, Stream};

    use super::super::packed::whole_product;
    use super::*;
    use crate::storage::{RawPiece, RawTensor};

    const OUTPUTS: usize = 530;
    const INPUTS: usize = 2100;

    fn values(n: usize, seed: u64) -> Vec<f32> {
        Stream::new(seed, Purpose::RandomWeights, &[]).normals(n)
    }

    fn float(data: TensorData) -> FloatTensor<Flex> {
        Flex::float_from_data(data, &Default::default())
    }

    fn kinds() -> Vec<Packed<Flex>> {
        let weight = values(OUTPUTS * INPUTS, 1);
        let matrix = Matrix { inputs: INPUTS, kept: Kept::Values(&weight) };
        let device = Default::default();
        let layout = |block| Layout { outputs: OUTPUTS, inputs: INPUTS, block };
        let int8 = |block| {
            let (codes, scales) = crate::quant::int8(&matrix, layout(block)).unwrap();
            let blocks = layout(block).blocks();
            Packed::Int8 {
                codes: Flex::int_from_data(TensorData::new(codes, [OUTPUTS, blocks * block]), &device),
                scales: float(TensorData::new(scales, [OUTPUTS, blocks])),
                layout: layout(block),
            }
        };
        let nf4 = |block| {
            let (codes, scales) = crate::quant::nf4(&matrix, layout(block)).unwrap();
            let blocks = layout(block).blocks();
            Packed::Nf4 {
                codes: Flex::int_from_data(TensorData::new(codes, [OUTPUTS, blocks, block / 2]), &device),
                scales: float(TensorData::new(scales, [OUTPUTS, blocks])),
                layout: layout(block),
            }
        };
        let halves: Vec<bf16> = weight.iter().map(|v| bf16::from_f32(*v)).collect();
        let owner = Arc::new(halves.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        let piece = |range, scale| RawPiece { owner: owner.clone(), range, scale };
        let pieces = vec![piece(0..4 * INPUTS, 0.5), piece(4 * INPUTS..owner.len(), 2.0)];
        let raw = RawTensor { format: RawFormat::Bf16, pieces };
        let f32s = float(TensorData::new(weight.clone(), [INPUTS, OUTPUTS]));
        vec![
            int8(INPUTS),
            int8(64),
            int8(100),
            nf4(32),
            nf4(256),
            Packed::Float { weight: float(TensorData::new(halves, [OUTPUTS, INPUTS])) },
            // As a layer keeps it that was converted while loading.
            Packed::Float { weight: Flex::float_swap_dims(f32s, 0, 1) },
            Packed::File { raw, shape: [OUTPUTS, INPUTS] },
        ]
    }

    fn same(found: &FloatTensor<Flex>, expected: &FloatTensor<Flex>, what: &str) {
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let [found, expected] = [found, expected].map(|t| t.to_contiguous());
        let (found, expected) = (found.as_slice::<f32>().unwrap(), expected.as_slice::<f32>().unwrap());
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-6 * largest, "{what}: {found}, not {expected}");
        }
    }

    /// What cards do is written with the operations of any backend, so the CPU can run it too.
    #[test]
    fn by_tiles_and_at_once() {
        let whole = Part { outputs: 0..OUTPUTS, inputs: 0..INPUTS };
        // The last starts within a block of 4-bit codes.
        let parts = [whole.clone(), Part { outputs: 17..400, ..whole.clone() }, Part { inputs: 300..2001, ..whole }];
        for packed in kinds() {
            for part in &parts {
                for rows in [3, 140, 600] {
                    for (way, [width, out]) in [
                        (Way::Forward, [part.inputs.len(), part.outputs.len()]),
                        (Way::Backward, [part.outputs.len(), part.inputs.len()]),
                    ] {
                        let x = float(TensorData::new(values(rows * width, 2), [rows, width]));
                        let bias = Bias::Each { bias: float(TensorData::new(values(out, 3), [out])) };
                        let tiled = frozen_product(x.clone(), &packed, part, bias.clone(), way);
                        let at_once = whole_product::<Flex>(x, packed.clone(), part.clone(), bias, way);
                        same(&tiled, &at_once, &format!("{way:?} {part:?} {rows}"));
                    }
                }
            }
        }
    }

    #[test]
    fn tasks_cover_the_output_and_are_as_many_as_threads() {
        for (rows, columns, block, threads) in [
            (1536, 9216, 1, 2),
            (4096, 320, 1, 16),
            (256, 1280, 64, 24),
            (77, 640, 256, 64),
            (1, 1, 1, 8),
            (600, 40, 1, 3),
        ] {
            let Cut { height, width } = cut(rows, columns, block, threads, 384);
            assert!(height * width > 0 && width.is_multiple_of(block));
            let [down, across] = [rows.div_ceil(height), columns.div_ceil(width)];
            assert!(down * height >= rows && across * width >= columns);
            println!("{rows} x {columns} by {threads}: {down} x {across} tasks of {height} x {width}");
        }
        let tasks = |rows, columns, threads| {
            let Cut { height, width } = cut(rows, columns, 1, threads, 384);
            usize::div_ceil(rows, height) * usize::div_ceil(columns, width)
        };
        assert_eq!((tasks(1536, 3072, 2), tasks(4096, 320, 16), tasks(1024, 1280, 8)), (8, 16, 8));
    }
}
