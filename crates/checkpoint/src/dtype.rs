use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Element type of a stored tensor, named as in the safetensors header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    /// 8-bit float with 4 exponent and 3 mantissa bits, no infinities (the "fn" form).
    F8E4M3,
    /// 8-bit float with 5 exponent and 2 mantissa bits.
    F8E5M2,
    /// 8-bit power of two, used as a block scale.
    F8E8M0,
    /// 4-bit float, two to a byte.
    F4,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// Two f32 numbers.
    C64,
}

const NAMES: [(Dtype, &str); 18] = [
    (Dtype::F64, "F64"),
    (Dtype::F32, "F32"),
    (Dtype::F16, "F16"),
    (Dtype::Bf16, "BF16"),
    (Dtype::F8E4M3, "F8_E4M3"),
    (Dtype::F8E5M2, "F8_E5M2"),
    (Dtype::F8E8M0, "F8_E8M0"),
    (Dtype::F4, "F4"),
    (Dtype::I64, "I64"),
    (Dtype::I32, "I32"),
    (Dtype::I16, "I16"),
    (Dtype::I8, "I8"),
    (Dtype::U64, "U64"),
    (Dtype::U32, "U32"),
    (Dtype::U16, "U16"),
    (Dtype::U8, "U8"),
    (Dtype::Bool, "BOOL"),
    (Dtype::C64, "C64"),
];

impl Dtype {
    /// Reads the name that a safetensors header uses.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(dtype, _)| *dtype)
    }

    /// The name that a safetensors header uses.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(dtype, _)| *dtype == self).map_or("", |(_, name)| *name)
    }

    /// Bits of one element.
    pub fn bits(self) -> u64 {
        match self {
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 16,
            Self::F8E4M3 | Self::F8E5M2 | Self::F8E8M0 | Self::I8 | Self::U8 | Self::Bool => 8,
            Self::F4 => 4,
        }
    }

    /// Bytes of a tensor of this type, or `None` when the product overflows or does not fill whole bytes.
    pub fn byte_size(self, shape: &[usize]) -> Option<u64> {
        let elements = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::try_from(size).ok()?))?;
        let bits = elements.checked_mul(self.bits())?;
        (bits % 8 == 0).then_some(bits / 8)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// Converts little-endian elements to f32. `None` for types without a plain number in each element (C64, F4, F8_E8M0).
pub fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => elements(bytes, f32::from_le_bytes),
        Dtype::F64 => elements(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => halves(bytes, |bits: &[f16], out| bits.convert_to_f32_slice(out), f16::from_bits),
        Dtype::Bf16 => halves(bytes, |bits: &[bf16], out| bits.convert_to_f32_slice(out), bf16::from_bits),
        Dtype::F8E4M3 => bytes.iter().map(|&b| f8e4m3_to_f32(b)).collect(),
        // The same exponent width as f16, with eight mantissa bits cut off.
        Dtype::F8E5M2 => bytes.iter().map(|&b| f16::from_bits(u16::from(b) << 8).to_f32()).collect(),
        Dtype::I64 => elements(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => elements(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::I16 => elements(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::I8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
        Dtype::U64 => elements(bytes, |b| u64::from_le_bytes(b) as f32),
        Dtype::U32 => elements(bytes, |b| u32::from_le_bytes(b) as f32),
        Dtype::U16 => elements(bytes, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::U8 | Dtype::Bool => bytes.iter().map(|&b| f32::from(b)).collect(),
        Dtype::C64 | Dtype::F4 | Dtype::F8E8M0 => return None,
    })
}

/// Converts f32 numbers to little-endian elements, rounding to nearest even. `None` for types we never save numbers in.
pub fn from_f32(dtype: Dtype, values: &[f32]) -> Option<Vec<u8>> {
    Some(match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => return None,
    })
}

fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// Converts 16-bit floats a block at a time: the mapped bytes may be unaligned, and the slice conversion of `half`
/// uses the processor's own instruction where there is one.
fn halves<T: Copy>(bytes: &[u8], convert: impl Fn(&[T], &mut [f32]), from_bits: impl Fn(u16) -> T) -> Vec<f32> {
    const BLOCK: usize = 4096;
    let mut out = vec![0.0; bytes.len() / 2];
    let mut block = Vec::with_capacity(BLOCK);
    for (source, target) in bytes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
        block.clear();
        block.extend(source.as_chunks::<2>().0.iter().map(|pair| from_bits(u16::from_le_bytes(*pair))));
        convert(&block, target);
    }
    out
}

fn f8e4m3_to_f32(byte: u8) -> f32 {
    let exponent = i32::from((byte >> 3) & 0x0f);
    let mantissa = f32::from(byte & 0x07);
    let magnitude = match (exponent, byte & 0x07) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for (dtype, name) in NAMES {
            assert_eq!(Dtype::from_name(name), Some(dtype));
            assert_eq!(dtype.name(), name);
        }
        assert_eq!(Dtype::from_name("FLOAT"), None);
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(Dtype::F16.byte_size(&[2, 3]), Some(12));
        assert_eq!(Dtype::F16.byte_size(&[]), Some(2));
        assert_eq!(Dtype::F4.byte_size(&[3]), None);
        assert_eq!(Dtype::F32.byte_size(&[usize::MAX, 2]), None);
        assert_eq!(Dtype::F64.byte_size(&[1 << 60]), None);
    }

    #[test]
    fn every_16_bit_float_converts_as_one_by_one() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let f16s = to_f32(Dtype::F16, &bytes).unwrap();
        let bf16s = to_f32(Dtype::Bf16, &bytes).unwrap();
        for bits in 0..=u16::MAX {
            let (a, b) = (f16s[usize::from(bits)], f16::from_bits(bits).to_f32());
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "f16 {bits:#x}");
            let (a, b) = (bf16s[usize::from(bits)], bf16::from_bits(bits).to_f32());
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "bf16 {bits:#x}");
        }
    }

    #[test]
    fn eight_bit_floats() {
        // Largest, one, smallest subnormal, smallest normal, negative two, from the OCP 8-bit float tables.
        let e4m3 = to_f32(Dtype::F8E4M3, &[0x7e, 0x38, 0x01, 0x08, 0xc0, 0x00]).unwrap();
        assert_eq!(e4m3, [448.0, 1.0, 0.001953125, 0.015625, -2.0, 0.0]);
        assert!(to_f32(Dtype::F8E4M3, &[0x7f]).unwrap()[0].is_nan());
        let e5m2 = to_f32(Dtype::F8E5M2, &[0x7b, 0x3c, 0x01, 0xc0, 0x7c]).unwrap();
        assert_eq!(e5m2, [57344.0, 1.0, 2f32.powi(-16), -2.0, f32::INFINITY]);
    }

    #[test]
    fn whole_numbers_and_doubles() {
        assert_eq!(to_f32(Dtype::I64, &(-3i64).to_le_bytes()).unwrap(), [-3.0]);
        assert_eq!(to_f32(Dtype::F64, &0.5f64.to_le_bytes()).unwrap(), [0.5]);
        assert_eq!(to_f32(Dtype::C64, &[0; 8]), None);
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        // 1 + 2^-11 lies half-way between two f16 neighbours; the even one is 1.
        let bytes = from_f32(Dtype::F16, &[1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11)]).unwrap();
        assert_eq!(to_f32(Dtype::F16, &bytes).unwrap(), [1.0, 1.0 + 2f32.powi(-9)]);
    }
}
