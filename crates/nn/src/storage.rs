//! How the large matrices of a model are kept: on the device, packed, or left in their file.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use crate::ops::wide;
use crate::quant::Kept;

/// How the matrices of linear layers are kept. Norms, biases, embeddings, convolutions and matrices below
/// [`Storage::SMALLEST`] elements stay on the device in the dtype of computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On the device, exact. Where computation is in f32, in the 16 bits that the file has, if the device knows them; on the CPU,
    /// whose memory the mapped file is in, the numbers stay where they lie there, as with [`Self::Streamed`]. Else in the dtype of
    /// computation.
    #[default]
    Resident,
    /// In the memory-mapped file, read and converted each time the layer runs, and dropped. Takes no memory but the
    /// system's page cache. Tensors that do not lie in a file as they are needed stay resident.
    Streamed,
    /// 8 bits a weight, with one scale an output channel, or one for each `block` inputs of it.
    Int8 { block: Option<usize> },
    /// 4 bits a weight and 16 for each `block` inputs of an output channel: 4.5 bits for 32, 4.25 for 64.
    Int4 { block: usize },
    /// In the computer's memory, ready to travel: converted once, and pinned where the driver can, so that a card fetches them
    /// itself. They are brought to the device each time a segment runs, and never written back.
    Host(Bits),
}

/// In how many bits matrices travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// In the dtype of computation.
    Computed,
    /// As [`Storage::Int8`].
    Int8 { block: Option<usize> },
    /// As [`Storage::Int4`].
    Int4 { block: usize },
}

impl Storage {
    /// Elements of the smallest matrix that is kept other than resident. Real models have hardly any below.
    pub const SMALLEST: usize = 1 << 12;
}

/// How numbers lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawFormat {
    F32,
    F16,
    Bf16,
    /// Without infinities (the "fn" form).
    F8E4M3,
    F8E5M2,
}

impl RawFormat {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }
}

/// A tensor as it lies in a file, row-major and little-endian. It keeps the file open.
#[derive(Clone, Debug)]
pub struct RawTensor {
    pub format: RawFormat,
    /// From the first rows to the last: several where other programs keep several tensors (q, k and v).
    pub pieces: Vec<RawPiece>,
}

/// Rows of a tensor that lie together.
#[derive(Clone)]
pub struct RawPiece {
    /// The mapped file, or other bytes that do not change.
    pub owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Of the rows within them.
    pub range: Range<usize>,
    /// The numbers are those stored times this: 1, but for 8-bit files with scales.
    pub scale: f32,
}

impl RawTensor {
    /// In one piece.
    pub fn new(format: RawFormat, owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Self {
        Self { format, pieces: vec![RawPiece { owner, range, scale: 1.0 }] }
    }

    pub(crate) fn kept(&self) -> Kept<'_> {
        let pieces = self.pieces.iter().map(|piece| (piece.bytes(), piece.scale)).collect();
        Kept::Raw { format: self.format, pieces }
    }

    /// Bytes of all pieces.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes().len()).sum()
    }
}

impl RawPiece {
    pub(crate) fn bytes(&self) -> &[u8] {
        let all: &[u8] = (*self.owner).as_ref();
        all.get(self.range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for RawPiece {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RawPiece({:?}, scale {})", self.range, self.scale)
    }
}

/// `bytes` as numbers, as many as `out` holds.
pub(crate) fn decode(format: RawFormat, bytes: &[u8], scale: f32, out: &mut [f32]) {
    match format {
        RawFormat::F32 => {
            for (out, b) in out.iter_mut().zip(bytes.as_chunks().0) {
                *out = f32::from_le_bytes(*b);
            }
        }
        RawFormat::Bf16 => wide(
            #[inline(always)]
            || {
                for (out, b) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
                }
            },
        ),
        RawFormat::F16 => {
            // Through slices, for which `half` has vector instructions; a file's bytes need not be aligned.
            let mut part = [f16::ZERO; 128];
            for (out, bytes) in out.chunks_mut(part.len()).zip(bytes.chunks(2 * part.len())) {
                for (number, b) in part.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f16::from_le_bytes(*b);
                }
                part[..out.len()].convert_to_f32_slice(out);
            }
        }
        RawFormat::F8E4M3 => {
            for (out, b) in out.iter_mut().zip(bytes) {
                *out = E4M3[usize::from(*b)];
            }
        }
        RawFormat::F8E5M2 => {
            for (out, b) in out.iter_mut().zip(bytes) {
                *out = E5M2[usize::from(*b)];
            }
        }
    }
    if scale != 1.0 {
        for number in out {
            *number *= scale;
        }
    }
}

/// 4 exponent bits with bias 7, 3 mantissa bits; all ones is no number (Micikevicius and others 2022, table 1).
static E4M3: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|code| {
        let (exponent, mantissa) = ((code >> 3) & 15, code & 7);
        let size = match (exponent, mantissa) {
            (15, 7) => f32::NAN,
            (0, _) => mantissa as f32 / 512.0,
            _ => (1.0 + mantissa as f32 / 8.0) * (exponent as f32 - 7.0).exp2(),
        };
        if code >= 128 { -size } else { size }
    })
});

/// The upper half of f16.
static E5M2: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|code| f16::from_bits((code as u16) << 8).to_f32()));
