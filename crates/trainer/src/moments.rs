//! The optimiser's averages, in f32 or in 8 bits a number.
//!
//! 8 bits are kept block by block: [`BLOCK`] numbers share the largest magnitude among them as an f32 scale (Dettmers and
//! others 2022, arXiv 2110.02861). Averages span many orders of magnitude within a block, so that even steps would lose
//! all but the largest. The paper looks codes up in a table of 256 numbers of growing exponent; Burn has no search in a
//! sorted table, so codes here are steps of a root: the second average `s (code / 255)^4`, the first
//! `s x |x|` with `x = code / 127 - 1`. That is elementwise on every device, and reaches from the scale down to 2.4e-10 and
//! 6.2e-5 of it. Root mean square error on averages of normal gradients: see the test.

use burn::Tensor;
use burn::tensor::{DType, Device, FloatDType, Int, IntDType, TensorData};
use lorikeet_nn::NnError;

/// Numbers that share a scale.
pub const BLOCK: usize = 256;

/// Which of AdamW's averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Of gradients.
    First,
    /// Of their squares, never negative.
    Second,
}

/// An average of a matrix's gradients, of the matrix's shape.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "all of a run are of one kind; boxes would only be in the way")]
pub enum Moment {
    F32(Tensor<2>),
    Int8(EightBit),
}

/// As codes and scales.
#[derive(Clone, Debug)]
pub struct EightBit {
    order: Order,
    /// Of the matrix.
    shape: [usize; 2],
    /// `[blocks, BLOCK]`, the last one filled up with zeros.
    pub(crate) codes: Tensor<2, Int>,
    /// `[blocks, 1]`, f32.
    pub(crate) scales: Tensor<2>,
}

impl Moment {
    pub fn encode(values: Tensor<2>, order: Order) -> Self {
        let shape = values.dims();
        let (length, blocks) = sizes(shape);
        let device = values.device();
        let flat = values.reshape([length]);
        let rest = Tensor::<1>::zeros([blocks * BLOCK - length], (&device, DType::F32));
        let values = Tensor::cat(vec![flat, rest], 0).reshape([blocks, BLOCK]);
        let scales = values.clone().abs().max_dim(1);
        // A block of zeros has the codes of zero, whatever it is divided by.
        let parts = values / scales.clone().clamp_min(f32::MIN_POSITIVE);
        let codes = match order {
            Order::First => (parts.clone().abs().sqrt() * parts.sign() + 1.0) * 127.0,
            Order::Second => parts.sqrt().sqrt() * 255.0,
        };
        Self::Int8(EightBit { order, shape, codes: codes.round().cast(IntDType::U8), scales })
    }

    /// In f32.
    pub fn decode(&self) -> Tensor<2> {
        match self {
            Self::F32(values) => values.clone(),
            Self::Int8(packed) => {
                let EightBit { order, shape, codes, scales } = packed;
                let codes = codes.clone().cast(FloatDType::F32);
                let parts = match order {
                    Order::First => {
                        let x = codes / 127.0 - 1.0;
                        x.clone() * x.abs()
                    }
                    Order::Second => {
                        let x = codes / 255.0;
                        let square = x.clone() * x;
                        square.clone() * square
                    }
                };
                let length = shape[0] * shape[1];
                (parts * scales.clone()).reshape([sizes(*shape).1 * BLOCK]).narrow(0, 0, length).reshape(*shape)
            }
        }
    }

    /// What was saved of 8-bit averages: codes and scales of all blocks. Nothing when their numbers do not fit the shape.
    pub fn restore(order: Order, shape: [usize; 2], codes: Vec<u8>, scales: Vec<f32>, device: &Device) -> Option<Self> {
        let (_, blocks) = sizes(shape);
        if codes.len() != blocks * BLOCK || scales.len() != blocks {
            return None;
        }
        let codes = Tensor::<2, Int>::from_data(TensorData::new(codes, [blocks, BLOCK]), (device, DType::U8));
        let scales = Tensor::<2>::from_data(TensorData::new(scales, [blocks, 1]), (device, DType::F32));
        Some(Self::Int8(EightBit { order, shape, codes, scales }))
    }
}

/// Numbers and blocks of a matrix.
fn sizes(shape: [usize; 2]) -> (usize, usize) {
    let length = shape[0] * shape[1];
    (length, length.div_ceil(BLOCK))
}

/// All codes of a tensor, read back.
///
/// # Errors
/// When the device failed.
pub(crate) fn codes(codes: &Tensor<2, Int>) -> Result<Vec<u8>, NnError> {
    let failed = |error: String| NnError::Execution { reason: error };
    let data = codes.clone().try_into_data().map_err(|error| failed(error.to_string()))?;
    Ok(data.iter::<u8>().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lorikeet_seeded::{Purpose, Stream};

    fn normals(shape: [usize; 2], seed: u64) -> Tensor<2> {
        let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape[0] * shape[1]);
        Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
    }

    fn values(t: Tensor<2>) -> Vec<f32> {
        t.into_data().iter::<f32>().collect()
    }

    /// Root mean square of the relative errors.
    fn error(order: Order, values: Tensor<2>) -> f64 {
        let decoded = self::values(Moment::encode(values.clone(), order).decode());
        let parts: Vec<f64> =
            decoded.iter().zip(self::values(values)).map(|(d, v)| f64::from(d / v - 1.0).powi(2)).collect();
        (parts.iter().sum::<f64>() / parts.len() as f64).sqrt()
    }

    #[test]
    fn eight_bits_keep_averages_within_per_cents() {
        // Averages of squares of gradients whose sizes differ by up to 100 from row to row; blocks hold parts of two rows.
        let sizes = Tensor::<1>::from_data([1.0f32, 1e-2, 3e-2, 1e-1, 1.0, 10.0], &Device::flex()).reshape([6, 1]);
        let squares = (normals([6, 200], 1).powi_scalar(2) * 0.1 + 0.9) * sizes.powi_scalar(2);
        let second = error(Order::Second, squares);
        assert!(second < 0.05, "{second}");
        // Signs survive, and so do magnitudes down to a thousandth of the largest.
        let signed = normals([4, 256], 2);
        let signed = signed.clone() + signed.sign() * 0.01;
        let first = error(Order::First, signed.clone());
        assert!(first < 0.08, "{first}");
        let decoded = values(Moment::encode(signed.clone(), Order::First).decode());
        assert!(decoded.iter().zip(values(signed)).all(|(d, v)| d * v > 0.0));
    }

    #[test]
    fn codes_come_back_as_they_were() {
        for order in [Order::First, Order::Second] {
            let moment = Moment::encode(normals([3, 100], 3).abs(), order);
            let Moment::Int8(packed) = &moment else { panic!("not packed") };
            let (codes, scales) = (codes(&packed.codes).unwrap(), values(packed.scales.clone()));
            let again = Moment::restore(order, packed.shape, codes, scales, &Device::flex()).unwrap();
            assert_eq!(values(moment.decode()), values(again.decode()));
        }
        assert!(Moment::restore(Order::First, [3, 100], vec![0; 511], vec![1.0; 2], &Device::flex()).is_none());
    }

    #[test]
    fn zeros_stay_zeros() {
        let zeros = Tensor::<2>::zeros([2, 300], (&Device::flex(), DType::F32));
        for order in [Order::First, Order::Second] {
            assert!(values(Moment::encode(zeros.clone(), order).decode()).iter().all(|v| *v == 0.0), "{order:?}");
        }
    }
}
