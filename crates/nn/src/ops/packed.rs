//! Products with a frozen matrix that is kept smaller than the dtype of computation, or in its file.
//!
//! On the CPU it is multiplied tile by tile (`cpu_product.rs`). On a card it is converted whole, multiplied and dropped.

use std::ops::Range;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, TensorMetadata as _};
use burn::tensor::{DType, IntDType, Shape, Slice, TensorData};
use rayon::prelude::*;

use super::extension::FrozenOps as _;
use crate::quant::{Layout, Matrix, NF4};
use crate::storage::{RawFormat, RawPiece, RawTensor};

/// A frozen matrix, `[out, in]` as files have it.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) enum Packed<B: Backend> {
    /// In a float type, which may be that of computation.
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

/// What a layer adds to each of its outputs.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) enum Bias<B: Backend> {
    None,
    Each { bias: FloatTensor<B> },
}

impl Bias<Dispatch> {
    pub(super) fn new(bias: Option<Tensor<1>>) -> Self {
        bias.map_or(Self::None, |bias| Self::Each { bias: bias.into_dispatch() })
    }
}

impl<B: Backend> Bias<B> {
    pub(super) fn tensor(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Each { bias } => Some(bias),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> Bias<Autodiff<B, C>> {
    pub(super) fn without_autodiff(self) -> Bias<B> {
        match self {
            Self::None => Bias::None,
            Self::Each { bias } => Bias::Each { bias: bias.into_primitive() },
        }
    }
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

/// Rows and columns of a frozen matrix `[out, in]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) outputs: Range<usize>,
    pub(crate) inputs: Range<usize>,
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

/// `x W^T + b` with a part of W, for `x` `[.., in]` → `[.., out]`. Autodiff keeps the packed matrix and no input.
pub(crate) fn packed_linear<const D: usize>(
    x: Tensor<D>,
    weight: &Packed<Dispatch>,
    part: Part,
    bias: Option<&Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let inputs = dims[D - 1];
    let rows = dims.iter().product::<usize>() / inputs.max(1);
    let x = x.reshape([rows, inputs]).into_dispatch();
    let bias = Bias::new(bias.cloned());
    let y = Tensor::<2>::from_dispatch(Dispatch::packed_product(x, weight.clone(), part, bias, Way::Forward));
    dims[D - 1] = y.dims()[1];
    y.reshape(dims)
}

/// Converts the whole matrix, multiplies, and drops it.
pub(super) fn whole_product<B: Backend>(
    x: FloatTensor<B>,
    weight: Packed<B>,
    part: Part,
    bias: Bias<B>,
    way: Way,
) -> FloatTensor<B> {
    let mut weight = unpack::<B>(weight, x.dtype(), &x.device());
    let shape = weight.shape();
    if part != (Part { outputs: 0..shape[0], inputs: 0..shape[1] }) {
        let slice = |range: Range<usize>| Slice::new(range.start as isize, Some(range.end as isize), 1);
        weight = B::float_slice(weight, &[slice(part.outputs), slice(part.inputs)]);
    }
    let y = match way {
        Way::Forward => B::float_matmul(x, B::float_swap_dims(weight, 0, 1)),
        Way::Backward => B::float_matmul(x, weight),
    };
    match bias {
        Bias::Each { bias } => {
            let width = bias.shape()[0];
            B::float_add(y, B::float_reshape(bias, Shape::new([1, width])))
        }
        Bias::None => y,
    }
}

/// `[out, in]` in `dtype`.
pub(super) fn unpack<B: Backend>(weight: Packed<B>, dtype: DType, device: &Device<B>) -> FloatTensor<B> {
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

pub(super) fn raw_matrix(raw: &RawTensor, inputs: usize) -> Matrix<'_> {
    Matrix { inputs, kept: raw.kept() }
}
