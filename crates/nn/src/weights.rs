use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, FloatDType, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::NnError;
use crate::ops::{HostMatrix, Packed, file_data};
use crate::quant::{self, Kept, Layout, Matrix, NotFinite};
use crate::storage::{Bits, RawFormat, RawTensor, Storage};

/// Where weights come from: a checkpoint, or numbers made up for a test.
pub trait WeightSource {
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// All values in row-major order.
    ///
    /// # Errors
    /// The reason in words, when the tensor is there but cannot be read.
    fn f32(&self, name: &str) -> Result<Vec<f32>, String>;

    /// The tensor as it lies in its file, which stays open as long as what is returned: for weights that are streamed, and
    /// to quantise without an f32 copy. None when it does not lie there in one piece and in this order.
    fn raw(&self, name: &str) -> Option<RawTensor> {
        let _ = name;
        None
    }

    /// The tensor was copied, and is not read again soon.
    fn copied(&self, name: &str) {
        let _ = name;
    }
}

/// Reads tensors below a path, checks their shapes and puts them on the device.
#[derive(Clone)]
pub struct Loader<'a> {
    source: &'a dyn WeightSource,
    /// First part of layer names, `unet` or `text_encoder`; not part of tensor names.
    component: &'a str,
    path: String,
    device: &'a Device,
    dtype: DType,
    storage: Storage,
}

/// The weight of a linear layer.
#[derive(Debug)]
pub(crate) enum FrozenMatrix {
    /// `[in, out]`, so that the product needs no transposed copy.
    Plain(Tensor<2>),
    /// `[out, in]`.
    Packed(Packed<Dispatch>),
}

/// See [`Loader::where_it_lies`].
enum Lies {
    InItsFile,
    /// In this dtype, which is the file's.
    OnTheDevice(DType),
    /// In the dtype of computation.
    Converted,
}

impl<'a> Loader<'a> {
    pub fn new(source: &'a dyn WeightSource, component: &'a str, device: &'a Device, dtype: DType) -> Self {
        Self { source, component, path: String::new(), device, dtype, storage: Storage::Resident }
    }

    /// How the large matrices of linear layers are kept; without this call they are resident.
    pub fn with_storage(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// The loader of a part, as in `at("down_blocks").at(0)`.
    pub fn at(&self, part: impl std::fmt::Display) -> Self {
        Self { path: self.join(part), ..self.clone() }
    }

    pub fn device(&self) -> &Device {
        self.device
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Name under which adapters know the layer here, for example `unet.mid_block.attentions.0.proj_in`.
    pub fn layer_name(&self) -> String {
        format!("{}.{}", self.component, self.path)
    }

    /// # Errors
    /// When the tensor is missing, unreadable, or of another shape, or when a number of it is not finite.
    pub fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, NnError> {
        Ok(self.upload(self.values(name, &shape)?, shape))
    }

    /// The kernel of a convolution, `[outputs, inputs, size, size]`. On the CPU its numbers lie in the order `[size, size,
    /// inputs, outputs]`, in which its products want them.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub(crate) fn kernel(&self, name: &str, outputs: usize, inputs: usize, size: usize) -> Result<Tensor<4>, NnError> {
        let shape = [outputs, inputs, size, size];
        if *self.device != Device::flex() {
            return self.tensor(name, shape);
        }
        let stored = self.values(name, &shape)?;
        let mut values = vec![0.0; stored.len()];
        let taps = size * size;
        // Some inputs at a time, so that both sides are walked in pieces of a few cache lines.
        const INPUTS: usize = 16;
        let mut parts: Vec<Vec<&mut [f32]>> = (0..inputs.div_ceil(INPUTS)).map(|_| Vec::new()).collect();
        for tap in values.chunks_mut((inputs * outputs).max(1)) {
            for (part, slice) in parts.iter_mut().zip(tap.chunks_mut(INPUTS * outputs)) {
                part.push(slice);
            }
        }
        parts.into_par_iter().enumerate().for_each(|(part, mut to)| {
            for output in 0..outputs {
                let from = &stored[(output * inputs + part * INPUTS) * taps..];
                for (input, from) in from.chunks_exact(taps).take(to[0].len() / outputs).enumerate() {
                    for (to, from) in to.iter_mut().zip(from) {
                        to[input * outputs + output] = *from;
                    }
                }
            }
        });
        Ok(self.upload(values, [size, size, inputs, outputs]).permute([3, 2, 0, 1]))
    }

    /// A matrix stored `[outputs, inputs]`, as `[inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn transposed(&self, name: &str, outputs: usize, inputs: usize) -> Result<Tensor<2>, NnError> {
        let full = self.check(name, &[outputs, inputs])?;
        let raw = self.raw(&full, [outputs, inputs])?;
        let stored = if raw.is_some() { Vec::new() } else { self.plain(&full)? };
        let matrix = Matrix { inputs, kept: raw.as_ref().map_or(Kept::Values(&stored), RawTensor::kept) };
        let mut values = vec![0.0; outputs * inputs];
        // Some rows at a time, which fit the cache, each in the order of the file; then columns that fill a cache line.
        const ROWS: usize = 256;
        const COLUMNS: usize = 16;
        let mut part = vec![0.0; ROWS.min(outputs) * inputs];
        for first in (0..outputs).step_by(ROWS) {
            let part = &mut part[..ROWS.min(outputs - first) * inputs];
            part.par_chunks_mut(inputs.max(1))
                .enumerate()
                .try_for_each(|(row, out)| {
                    matrix.read(first + row, 0, out);
                    finite(first + row, out)
                })
                .map_err(|found| not_finite(&full, found))?;
            values.par_chunks_mut(COLUMNS * outputs).enumerate().for_each(|(band, to)| {
                for (row, from) in part.chunks_exact(inputs.max(1)).enumerate() {
                    for (to, value) in to.chunks_exact_mut(outputs).zip(&from[band * COLUMNS..]) {
                        to[first + row] = *value;
                    }
                }
            });
        }
        self.source.copied(&full);
        Ok(self.upload(values, [inputs, outputs]))
    }

    /// The weight of a linear layer, stored `[outputs, inputs]`, kept as the policy says.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub(crate) fn matrix(&self, name: &str, outputs: usize, inputs: usize) -> Result<FrozenMatrix, NnError> {
        let plain = || Ok(FrozenMatrix::Plain(self.transposed(name, outputs, inputs)?));
        if outputs * inputs < Storage::SMALLEST {
            return plain();
        }
        let shape = [outputs, inputs];
        let full = self.check(name, &shape)?;
        let raw = self.raw(&full, shape)?;
        let bits = match self.storage {
            Storage::Resident | Storage::Streamed => {
                let Some(raw) = raw else { return plain() };
                return match self.where_it_lies(&raw) {
                    Lies::InItsFile => {
                        look_through(&raw, shape).map_err(|found| not_finite(&full, found))?;
                        Ok(FrozenMatrix::Packed(Packed::File { raw, shape }))
                    }
                    Lies::OnTheDevice(dtype) => {
                        look_through(&raw, shape).map_err(|found| not_finite(&full, found))?;
                        let matrix = HostMatrix::Float { weight: file_data(&raw, shape, dtype) };
                        self.source.copied(&full);
                        Ok(FrozenMatrix::Packed(matrix.upload(self.device.as_dispatch())))
                    }
                    Lies::Converted => plain(),
                };
            }
            Storage::Int8 { block } => Bits::Int8 { block },
            Storage::Int4 { block } => Bits::Int4 { block },
            Storage::Host(bits) => bits,
        };
        let values = if raw.is_some() { Vec::new() } else { self.plain(&full)? };
        let kept = raw.as_ref().map_or(Kept::Values(&values), RawTensor::kept);
        let matrix = self.pack(&full, &Matrix { inputs, kept }, outputs, bits)?;
        self.source.copied(&full);
        Ok(FrozenMatrix::Packed(match self.storage {
            Storage::Host(_) => Packed::Host { matrix: matrix.staged(self.device) },
            _ => matrix.upload(self.device.as_dispatch()),
        }))
    }

    /// What resident or streamed numbers of a file become.
    fn where_it_lies(&self, raw: &RawTensor) -> Lies {
        if self.storage == Storage::Streamed || self.dtype == DType::F32 && *self.device == Device::flex() {
            return Lies::InItsFile;
        }
        let (half, known) = match raw.format {
            RawFormat::F16 => (DType::F16, self.device.supports_dtype(FloatDType::F16)),
            RawFormat::Bf16 => (DType::BF16, self.device.supports_dtype(FloatDType::BF16)),
            _ => return Lies::Converted,
        };
        let unscaled = raw.pieces.iter().all(|piece| piece.scale == 1.0);
        if self.dtype == DType::F32 && known && unscaled { Lies::OnTheDevice(half) } else { Lies::Converted }
    }

    fn pack(&self, name: &str, matrix: &Matrix, outputs: usize, bits: Bits) -> Result<HostMatrix, NnError> {
        let inputs = matrix.inputs;
        let not_finite = |found| not_finite(name, found);
        // The numbers are bf16 whatever holds them; a card without that type takes them in f32.
        let scale_dtype = if self.device.supports_dtype(FloatDType::BF16) { DType::BF16 } else { DType::F32 };
        let scales = |scales: Vec<bf16>, layout: Layout| {
            TensorData::new(scales, [outputs, layout.blocks()]).convert_dtype(scale_dtype)
        };
        match bits {
            Bits::Int8 { block } => {
                let layout = Layout { outputs, inputs, block: block.unwrap_or(inputs) };
                if layout.block == 0 {
                    return Err(NnError::Block { block: 0 });
                }
                let (codes, found) = quant::int8(matrix, layout).map_err(not_finite)?;
                let codes = TensorData::new(codes, [outputs, layout.blocks() * layout.block]);
                Ok(HostMatrix::Int8 { codes, scales: scales(found, layout), layout })
            }
            Bits::Int4 { block } => {
                if !block.is_power_of_two() || !(quant::SMALLEST_BLOCK..=quant::LARGEST_BLOCK).contains(&block) {
                    return Err(NnError::Block { block });
                }
                let layout = Layout { outputs, inputs, block };
                let (codes, found) = quant::nf4(matrix, layout).map_err(not_finite)?;
                let codes = TensorData::new(codes, [outputs, layout.blocks(), block / 2]);
                Ok(HostMatrix::Nf4 { codes, scales: scales(found, layout), layout })
            }
            Bits::Computed => {
                let shape = [outputs, inputs];
                let weight = match self.dtype {
                    DType::BF16 => rows(matrix, outputs, bf16::from_f32).map(|all| TensorData::new(all, shape)),
                    DType::F16 => rows(matrix, outputs, f16::from_f32).map(|all| TensorData::new(all, shape)),
                    _ => rows(matrix, outputs, |value| value).map(|all| TensorData::new(all, shape)),
                };
                Ok(HostMatrix::Float { weight: weight.map_err(not_finite)? })
            }
        }
    }

    fn upload<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::<D>::from_data(TensorData::new(values, shape), (self.device, DType::F32)).cast(self.dtype)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        let name = self.check(name, shape)?;
        let (height, width) = (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product::<usize>().max(1));
        let raw = if width > 1 { self.raw(&name, [height, width])? } else { None };
        let values = match raw {
            Some(raw) => rows(&Matrix { inputs: width, kept: raw.kept() }, height, |value| value),
            None => {
                let values = self.plain(&name)?;
                values.chunks(width).enumerate().try_for_each(|(row, values)| finite(row, values)).map(|()| values)
            }
        };
        let values = values.map_err(|found| not_finite(&name, found))?;
        self.source.copied(&name);
        Ok(values)
    }

    fn plain(&self, full: &str) -> Result<Vec<f32>, NnError> {
        self.source.f32(full).map_err(|reason| NnError::Unreadable { name: full.to_owned(), reason })
    }

    /// A tensor of that many numbers in its file, if it lies there as it is needed.
    fn raw(&self, full: &str, [height, width]: [usize; 2]) -> Result<Option<RawTensor>, NnError> {
        let Some(raw) = self.source.raw(full) else { return Ok(None) };
        let needed = height * width * raw.format.size();
        if raw.len() == needed {
            return Ok(Some(raw));
        }
        let reason = format!("{} bytes of it lie in the file where its shape needs {needed}", raw.len());
        Err(NnError::Unreadable { name: full.to_owned(), reason })
    }

    /// The whole name of a tensor that is there and has this shape.
    fn check(&self, name: &str, shape: &[usize]) -> Result<String, NnError> {
        let name = self.join(name);
        let found = self.source.shape(&name).ok_or_else(|| NnError::MissingTensor { name: name.clone() })?;
        // 1x1 convolutions are stored as matrices by some programs and the other way round; the numbers are the same.
        let core = |s: &[usize]| -> Vec<usize> {
            let end = s.iter().rposition(|n| *n != 1).map_or(0, |i| i + 1);
            s[..end].to_vec()
        };
        if core(&found) != core(shape) {
            return Err(NnError::WrongShape { name, expected: shape.to_vec(), found });
        }
        Ok(name)
    }

    fn join(&self, part: impl std::fmt::Display) -> String {
        if self.path.is_empty() { part.to_string() } else { format!("{}.{part}", self.path) }
    }
}

/// Reads a file's matrix once, as the first step would.
fn look_through(raw: &RawTensor, [outputs, inputs]: [usize; 2]) -> Result<(), NotFinite> {
    let matrix = Matrix { inputs, kept: raw.kept() };
    (0..outputs).into_par_iter().try_for_each_init(
        || vec![0.0; inputs],
        |values, row| {
            matrix.read(row, 0, values);
            finite(row, values)
        },
    )
}

/// Found here a number that is none has a name; in a loss it would have none.
fn finite(row: usize, values: &[f32]) -> Result<(), NotFinite> {
    let Some(column) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    Err(NotFinite { row, column, value: values[column] })
}

fn not_finite(name: &str, NotFinite { row, column, value }: NotFinite) -> NnError {
    NnError::NotFinite { name: name.to_owned(), row, column, value }
}

/// The whole matrix `[outputs, inputs]`, each number as `convert` has it.
fn rows<E: Copy + Send>(
    matrix: &Matrix,
    outputs: usize,
    convert: impl Fn(f32) -> E + Sync,
) -> Result<Vec<E>, NotFinite> {
    let inputs = matrix.inputs;
    let mut all = vec![convert(0.0); outputs * inputs];
    all.par_chunks_mut(inputs.max(1)).enumerate().try_for_each_init(
        || vec![0.0; inputs],
        |values, (row, out)| {
            matrix.read(row, 0, values);
            finite(row, values)?;
            for (out, value) in out.iter_mut().zip(&*values) {
                *out = convert(*value);
            }
            Ok(())
        },
    )?;
    Ok(all)
}
