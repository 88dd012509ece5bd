//! Products with a frozen matrix that is kept smaller than the dtype of computation, or in its file.
//!
//! On the CPU the matrix is converted tile by tile into [`TILE`] numbers of scratch, and each tile multiplied before the
//! next is converted. On a card it is converted whole, multiplied and dropped.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata as _};
use burn::tensor::{DType, IntDType, Shape, Slice, TensorData};
use half::bf16;
use rayon::prelude::*;

use super::extension::FrozenOps as _;
use super::pool;
use super::product::{Parallelism, View, product_into};
use crate::quant::{Kept, Layout, Matrix, NF4};
use crate::storage::{RawFormat, RawPiece, RawTensor};

/// Outputs and inputs of a tile: 4 MB of f32. Blocks of 4-bit codes must divide the inputs.
pub(crate) const TILE: [usize; 2] = [512, 2048];

/// A frozen matrix, `[out, in]` as files have it.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) enum Packed<B: Backend> {
    /// In another float type than that of computation.
    Float {
        weight: FloatTensor<B>,
    },
    /// See [`crate::quant::int8`]. Scales `[out, blocks]`.
    Int8 {
        codes: IntTensor<B>,
        scales: FloatTensor<B>,
        layout: Layout,
    },
    /// See [`crate::quant::nf4`]. Scales `[out, blocks]`.
    Nf4 {
        codes: IntTensor<B>,
        scales: FloatTensor<B>,
        layout: Layout,
    },
    File {
        raw: RawTensor,
        shape: [usize; 2],
    },
    Host {
        matrix: HostMatrix,
    },
}

/// A packed matrix in the computer's memory. Copies share it.
#[derive(Clone, Debug)]
pub(crate) enum HostMatrix {
    Float { weight: TensorData },
    Int8 { codes: TensorData, scales: TensorData, layout: Layout },
    Nf4 { codes: TensorData, scales: TensorData, layout: Layout },
}

impl HostMatrix {
    pub(crate) fn upload<B: Backend>(self, device: &Device<B>) -> Packed<B> {
        let float = |data| B::float_from_data(data, device);
        let int = |data| B::int_from_data(data, device);
        match self {
            Self::Float { weight } => Packed::Float { weight: float(weight) },
            Self::Int8 { codes, scales, layout } => Packed::Int8 { codes: int(codes), scales: float(scales), layout },
            Self::Nf4 { codes, scales, layout } => Packed::Nf4 { codes: int(codes), scales: float(scales), layout },
        }
    }

    /// In memory that the device can fetch from without a copy between, where its driver has such. It is not left to the
    /// upload: CubeCL pins what it copies up to 100 MB itself, one copy later, and leaves larger matrices to the driver
    /// (cubecl-server 0.11 `command/staging.rs`).
    pub(crate) fn staged(self, device: &burn::tensor::Device) -> Self {
        let staged = |mut data: TensorData| {
            device.staging([&mut data].into_iter());
            let (bytes, shape, dtype) = data.into_parts();
            TensorData::from_bytes(bytes.shared(), shape, dtype)
        };
        match self {
            Self::Float { weight } => Self::Float { weight: staged(weight) },
            Self::Int8 { codes, scales, layout } => Self::Int8 { codes: staged(codes), scales: staged(scales), layout },
            Self::Nf4 { codes, scales, layout } => Self::Nf4 { codes: staged(codes), scales: staged(scales), layout },
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> Packed<Autodiff<B, C>> {
    pub(crate) fn without_autodiff(self) -> Packed<B> {
        match self {
            Self::Float { weight } => Packed::Float { weight: weight.into_primitive() },
            Self::Int8 { codes, scales, layout } => Packed::Int8 { codes, scales: scales.into_primitive(), layout },
            Self::Nf4 { codes, scales, layout } => Packed::Nf4 { codes, scales: scales.into_primitive(), layout },
            Self::File { raw, shape } => Packed::File { raw, shape },
            Self::Host { matrix } => Packed::Host { matrix },
        }
    }
}

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `x` `[n, in]` → `x W^T` `[n, out]`.
    Forward,
    /// `x` `[n, out]` → `x W` `[n, in]`: the backward of the other.
    Backward,
}

impl Way {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// `x W^T + b`, for `x` `[.., in]` → `[.., out]`. Autodiff keeps the packed matrix and no input.
pub(crate) fn packed_linear<const D: usize>(
    x: Tensor<D>,
    weight: &Packed<Dispatch>,
    bias: Option<&Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let inputs = dims[D - 1];
    let rows = dims.iter().product::<usize>() / inputs.max(1);
    let x = x.reshape([rows, inputs]).into_dispatch();
    let y = Tensor::<2>::from_dispatch(Dispatch::packed_product(x, weight.clone(), Way::Forward));
    let y = match bias {
        Some(bias) => y + bias.clone().unsqueeze::<2>(),
        None => y,
    };
    dims[D - 1] = y.dims()[1];
    y.reshape(dims)
}

/// Converts the whole matrix, multiplies, and drops it.
pub(super) fn whole_product<B: Backend>(x: FloatTensor<B>, weight: Packed<B>, way: Way) -> FloatTensor<B> {
    let weight = unpack::<B>(weight, x.dtype(), &x.device());
    match way {
        Way::Forward => B::float_matmul(x, B::float_swap_dims(weight, 0, 1)),
        Way::Backward => B::float_matmul(x, weight),
    }
}

/// `[out, in]` in `dtype`.
fn unpack<B: Backend>(weight: Packed<B>, dtype: DType, device: &Device<B>) -> FloatTensor<B> {
    let scaled = |numbers: FloatTensor<B>, scales: FloatTensor<B>, layout: Layout| {
        let Layout { outputs, inputs, block } = layout;
        let blocks = layout.blocks();
        let numbers = B::float_reshape(numbers, Shape::new([outputs, blocks, block]));
        let scales = B::float_reshape(B::float_cast(scales, dtype.into()), Shape::new([outputs, blocks, 1]));
        let padded = B::float_reshape(B::float_mul(numbers, scales), Shape::new([outputs, blocks * block]));
        if blocks * block == inputs {
            return padded;
        }
        B::float_slice(padded, &[Slice::new(0, None, 1), Slice::new(0, Some(inputs as isize), 1)])
    };
    match weight {
        Packed::Float { weight } => B::float_cast(weight, dtype.into()),
        Packed::Int8 { codes, scales, layout } => scaled(B::int_into_float(codes, dtype.into()), scales, layout),
        Packed::Nf4 { codes, scales, layout } => {
            let codes = B::int_cast(codes, IntDType::I32);
            let lower = B::bitwise_and_scalar(codes.clone(), 15.into());
            let upper = B::bitwise_right_shift_scalar(codes, 4.into());
            let codes = B::int_cat(vec![lower, upper], 2);
            let length = codes.shape().num_elements();
            let table = B::float_from_data(TensorData::new(NF4.to_vec(), [16]), device);
            let table = B::float_cast(table, dtype.into());
            scaled(B::float_select(table, 0, B::int_reshape(codes, Shape::new([length]))), scales, layout)
        }
        Packed::File { raw, shape } => B::float_from_data(file_data(&raw, shape, dtype), device),
        Packed::Host { matrix } => unpack::<B>(matrix.upload::<B>(device), dtype, device),
    }
}

/// A matrix from its file in `dtype`. Waits for the disk, unless [`crate::Prefetch`] has read it before.
///
/// From here it goes to a card through the driver's own queue; [`HostMatrix::staged`] tells how.
pub(crate) fn file_data(raw: &RawTensor, shape: [usize; 2], dtype: DType) -> TensorData {
    let same = matches!(
        (raw.format, dtype),
        (RawFormat::Bf16, DType::BF16) | (RawFormat::F16, DType::F16) | (RawFormat::F32, DType::F32)
    );
    if same && raw.pieces.iter().all(|piece| piece.scale == 1.0) {
        let bytes: Vec<&[u8]> = raw.pieces.iter().map(RawPiece::bytes).collect();
        return TensorData::from_bytes_vec(bytes.concat(), shape, dtype);
    }
    let [outputs, inputs] = shape;
    let matrix = raw_matrix(raw, inputs);
    let mut values = vec![0.0; outputs * inputs];
    values.par_chunks_mut(inputs.max(1)).enumerate().for_each(|(row, out)| matrix.read(row, 0, out));
    // Converted before it travels: to a card half the bytes, and dtypes it may not know stay here.
    TensorData::new(values, shape).convert_dtype(dtype)
}

fn raw_matrix(raw: &RawTensor, inputs: usize) -> Matrix<'_> {
    Matrix { inputs, kept: raw.kept() }
}

/// [`whole_product`] on the CPU, tile by tile.
pub(super) fn tiled_product(x: FloatTensor<Flex>, weight: Packed<Flex>, way: Way) -> FloatTensor<Flex> {
    let (rows, dtype, device) = (x.shape()[0], x.dtype(), x.device());
    // Nothing travels on the CPU: it is the same memory.
    let weight = match weight {
        Packed::Host { matrix } => matrix.upload(&device),
        other => other,
    };
    let x = Flex::float_cast(x, DType::F32.into()).to_contiguous();
    let tiled = x.as_slice::<f32>().and_then(|x| {
        with_matrix(&weight, |[outputs, inputs], matrix| {
            let y = product(matrix, [outputs, inputs], x, way);
            pool::tensor(y, [rows, if way == Way::Forward { outputs } else { inputs }].into())
        })
    });
    let y = match tiled {
        Some(y) => y,
        None => whole_product::<Flex>(x, weight, way),
    };
    Flex::float_cast(y, dtype.into())
}

/// Hands over the matrix as it lies in memory; nothing when that is no row of numbers.
fn with_matrix<R>(weight: &Packed<Flex>, f: impl FnOnce([usize; 2], &Matrix) -> R) -> Option<R> {
    let dims = |layout: &Layout| [layout.outputs, layout.inputs];
    let (shape, kept) = match weight {
        Packed::Float { weight } => {
            let shape = weight.shape();
            let format = match weight.dtype() {
                DType::BF16 => RawFormat::Bf16,
                DType::F16 => RawFormat::F16,
                DType::F32 => RawFormat::F32,
                _ => return None,
            };
            let whole = weight.is_contiguous() && weight.layout().start_offset() == 0;
            ([shape[0], shape[1]], whole.then_some(Kept::Raw { format, pieces: vec![(weight.bytes(), 1.0)] })?)
        }
        Packed::Int8 { codes, scales, layout } => {
            let (codes, scales) = (codes.as_slice::<i8>()?, scales.as_slice::<bf16>()?);
            (dims(layout), Kept::Int8 { codes, scales, block: layout.block })
        }
        Packed::Nf4 { codes, scales, layout } => {
            let (codes, scales) = (codes.as_slice::<u8>()?, scales.as_slice::<bf16>()?);
            (dims(layout), Kept::Nf4 { codes, scales, block: layout.block })
        }
        Packed::File { raw, shape } => (*shape, raw_matrix(raw, shape[1]).kept),
        Packed::Host { .. } => return None,
    };
    Some(f(shape, &Matrix { inputs: shape[1], kept }))
}

fn product(matrix: &Matrix, [outputs, inputs]: [usize; 2], x: &[f32], way: Way) -> Vec<f32> {
    let (wide, narrow) = if way == Way::Forward { (inputs, outputs) } else { (outputs, inputs) };
    let rows = x.len() / wide.max(1);
    let mut y = pool::take(rows * narrow);
    let mut scratch = vec![0.0; outputs.min(TILE[0]) * inputs.min(TILE[1])];
    for output in (0..outputs).step_by(TILE[0]) {
        let height = TILE[0].min(outputs - output);
        for input in (0..inputs).step_by(TILE[1]) {
            let width = TILE[1].min(inputs - input);
            let tile = &mut scratch[..height * width];
            tile.par_chunks_mut(width).enumerate().for_each(|(row, out)| matrix.read(output + row, input, out));
            let tile = View::dense(tile, width);
            let (y, x, [k, n], tile, add) = match way {
                Way::Forward => (&mut y[output..], &x[input..], [width, height], tile.transposed(), input > 0),
                Way::Backward => (&mut y[input..], &x[output..], [height, width], tile, output > 0),
            };
            // Burn's own threshold for products on the CPU.
            let threads = if rows * k * n >= 192 * 192 * 192 { Parallelism::Rayon(0) } else { Parallelism::None };
            product_into(y, narrow, [rows, k, n], add, 1.0, View::dense(x, wide), tile, threads);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::ops::IntTensorOps as _;
    use lorikeet_seeded::{Purpose, Stream};

    /// What cards do is written with the operations of any backend, so the CPU can run it too.
    #[test]
    fn by_tiles_and_at_once() {
        let (outputs, inputs) = (530, 2100);
        let values = |n: usize, seed| Stream::new(seed, Purpose::RandomWeights, &[]).normals(n);
        let weight = values(outputs * inputs, 1);
        let matrix = Matrix { inputs, kept: Kept::Values(&weight) };
        let device = Default::default();
        let float = |data| Flex::float_from_data(data, &device);
        let layout = |block| Layout { outputs, inputs, block };
        let int8 = |block| {
            let (codes, scales) = crate::quant::int8(&matrix, layout(block)).unwrap();
            let blocks = layout(block).blocks();
            Packed::Int8 {
                codes: Flex::int_from_data(TensorData::new(codes, [outputs, blocks * block]), &device),
                scales: float(TensorData::new(scales, [outputs, blocks])),
                layout: layout(block),
            }
        };
        let nf4 = |block| {
            let (codes, scales) = crate::quant::nf4(&matrix, layout(block)).unwrap();
            let blocks = layout(block).blocks();
            Packed::Nf4 {
                codes: Flex::int_from_data(TensorData::new(codes, [outputs, blocks, block / 2]), &device),
                scales: float(TensorData::new(scales, [outputs, blocks])),
                layout: layout(block),
            }
        };
        let halves: Vec<bf16> = weight.iter().map(|v| bf16::from_f32(*v)).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (owner, length) = (std::sync::Arc::new(bytes), 2 * outputs * inputs);
        let piece = |range, scale| RawPiece { owner: owner.clone(), range, scale };
        let pieces = vec![piece(0..4 * inputs, 0.5), piece(4 * inputs..length, 2.0)];
        let raw = RawTensor { format: RawFormat::Bf16, pieces };
        for packed in [
            int8(inputs),
            int8(64),
            int8(100),
            nf4(32),
            nf4(256),
            Packed::Float { weight: float(TensorData::new(halves, [outputs, inputs])) },
            Packed::File { raw, shape: [outputs, inputs] },
        ] {
            for (way, width) in [(Way::Forward, inputs), (Way::Backward, outputs)] {
                let x = float(TensorData::new(values(3 * width, 2), [3, width]));
                let tiled = tiled_product(x.clone(), packed.clone(), way).into_data();
                let whole = whole_product::<Flex>(x, packed.clone(), way).into_data();
                assert_eq!(tiled.shape(), whole.shape());
                let largest = whole.iter::<f32>().fold(0.0f32, |m, v| m.max(v.abs()));
                for (tiled, whole) in tiled.iter::<f32>().zip(whole.iter::<f32>()) {
                    assert!((tiled - whole).abs() <= 2e-6 * largest, "{way:?}: {tiled}, not {whole}");
                }
            }
        }
    }
}
