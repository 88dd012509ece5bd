//! What operations compute, for the 32 threads of a warp at once. Numbers are bits: floats of 16 bits are in the lower half of a word.

use std::cmp::Ordering;
use std::sync::LazyLock;

use half::{bf16, f16};

/// A register of 32 bits in each thread of a warp.
pub(crate) type Words = [u32; 32];
/// A register of 64 bits in each thread of a warp.
pub(crate) type Longs = [u64; 32];

/// Tensor cores read all bits of a float: what is left beside a card that does so is the order of sums.
pub(crate) static EXACT: LazyLock<bool> = LazyLock::new(|| crate::asked("SIMULATED_EXACT"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Move,
    Add,
    Subtract,
    Multiply,
    MultiplyHigh,
    MultiplyAdd,
    Divide,
    Remainder,
    Minimum,
    Maximum,
    And,
    Or,
    Xor,
    Not,
    Negate,
    LeadingZeros,
    ShiftLeft,
    ShiftRight,
    /// Of 16 bits.
    ShiftRightShort,
    AddShort,
    SubtractShort,
    MultiplyShort,
    MultiplyShortHigh,
    MultiplyShortWide,
    /// The lower bits of the first (the second number tells how many) over those of the second from a bit on (the first number).
    Insert(u32, u32),
    /// The lower 8 or 16 bits, zero-extended.
    Lower(u32),
    /// The lower 8 bits with their sign.
    SignOfByte,
    AddFloat,
    SubtractFloat,
    MultiplyFloat,
    DivideFloat,
    FusedFloat,
    /// Rounded towards minus infinity.
    FusedFloatDown,
    MinimumFloat,
    MaximumFloat,
    /// No number where one of them is none.
    MinimumOrNone,
    MaximumOrNone,
    AbsoluteFloat,
    NegateFloat,
    /// The sign of the first, the rest of the second.
    CopySign,
    Saturate,
    SquareRoot,
    Reciprocal,
    PowerOfTwo,
    /// As above; results under the smallest normal number are 0.
    PowerOfTwoFlushed,
    /// All bits where the first is less (not ordered: none).
    SetLessFloat,
    /// The nearest number of the tensor core's format, ties away from zero.
    ToTensorFloat,
    ToFloatFromSigned(Rounding),
    ToFloatFromUnsigned,
    ToBrain,
    ToBrainFromSigned,
    ToBrainFromUnsigned,
    FromBrain,
    AddBrain,
    SubtractBrain,
    MultiplyBrain,
    ToHalf,
    ToHalfFromSigned,
    ToHalfFromUnsigned,
    FromHalf,
    AddHalf,
    SubtractHalf,
    MultiplyHalf,
    FusedHalf,
    AbsoluteHalf,
    FusedBrain,
    /// 1.0 where equal.
    SetEqualHalf,
    FusedHalfPair,
    SetEqualHalfPair,
    /// No number where one of them is none.
    MaximumHalf,
    MaximumHalfPair,
    MaximumBrain,
    MaximumBrainPair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Long {
    Add,
    And,
    Or,
    ShiftLeft,
    ShiftRight,
    Minimum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    /// Of 16 bits, only for equality.
    Short,
    Float,
    Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// As above, or one of them is no number.
    EqualUnordered,
    NotEqualUnordered,
    LessUnordered,
    LessOrEqualUnordered,
    GreaterUnordered,
    GreaterOrEqualUnordered,
}

/// A comparison of numbers of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compare {
    pub(crate) relation: Relation,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logic {
    Move,
    And,
    Or,
    Xor,
    Not,
    /// All threads.
    One,
}

#[inline(always)]
fn one(a: &Words, f: impl Fn(u32) -> u32) -> Words {
    std::array::from_fn(|lane| f(a[lane]))
}

#[inline(always)]
fn two(a: &Words, b: &Words, f: impl Fn(u32, u32) -> u32) -> Words {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

#[inline(always)]
fn three(a: &Words, b: &Words, c: &Words, f: impl Fn(u32, u32, u32) -> u32) -> Words {
    std::array::from_fn(|lane| f(a[lane], b[lane], c[lane]))
}

#[inline(always)]
fn float(a: &Words, f: impl Fn(f32) -> f32) -> Words {
    one(a, |a| f(f32::from_bits(a)).to_bits())
}

#[inline(always)]
fn floats(a: &Words, b: &Words, f: impl Fn(f32, f32) -> f32) -> Words {
    two(a, b, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits())
}

fn half(bits: u32) -> f64 {
    f16::from_bits(bits as u16).to_f64()
}

fn to_brain(value: f64) -> u32 {
    u32::from(bf16::from_f64(value).to_bits())
}

fn to_half(value: f64) -> u32 {
    u32::from(f16::from_f64(value).to_bits())
}

fn brain(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits << 16))
}

/// The bits of the greater, or of what is no number.
fn greater(number: fn(u32) -> f64, a: u32, b: u32) -> u32 {
    if number(a).is_nan() || number(a) > number(b) { a } else { b }
}

/// Both halves of a word.
fn pair(f: impl Fn(u32) -> u32) -> u32 {
    f(0) & 0xFFFF | f(16) << 16
}

pub(crate) fn word(op: Word, a: &Words, b: &Words, c: &Words) -> Words {
    match op {
        Word::Move => *a,
        Word::Add => two(a, b, u32::wrapping_add),
        Word::Subtract => two(a, b, u32::wrapping_sub),
        Word::Multiply => two(a, b, u32::wrapping_mul),
        Word::MultiplyHigh => two(a, b, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Word::MultiplyAdd => three(a, b, c, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        Word::Divide => two(a, b, |a, b| a.checked_div(b).unwrap_or(u32::MAX)),
        Word::Remainder => two(a, b, |a, b| a.checked_rem(b).unwrap_or(a)),
        Word::Minimum => two(a, b, u32::min),
        Word::Maximum => two(a, b, u32::max),
        Word::And => two(a, b, |a, b| a & b),
        Word::Or => two(a, b, |a, b| a | b),
        Word::Xor => two(a, b, |a, b| a ^ b),
        Word::Not => one(a, |a| !a),
        Word::Negate => one(a, u32::wrapping_neg),
        Word::LeadingZeros => one(a, u32::leading_zeros),
        Word::ShiftLeft => two(a, b, |a, b| if b < 32 { a << b } else { 0 }),
        Word::ShiftRight => two(a, b, |a, b| if b < 32 { a >> b } else { 0 }),
        Word::ShiftRightShort => two(a, b, |a, b| if b < 16 { (a & 0xFFFF) >> b } else { 0 }),
        Word::AddShort => two(a, b, |a, b| a.wrapping_add(b) & 0xFFFF),
        Word::SubtractShort => two(a, b, |a, b| a.wrapping_sub(b) & 0xFFFF),
        Word::MultiplyShort => two(a, b, |a, b| a.wrapping_mul(b) & 0xFFFF),
        Word::MultiplyShortHigh => two(a, b, |a, b| ((a & 0xFFFF) * (b & 0xFFFF)) >> 16),
        Word::MultiplyShortWide => two(a, b, |a, b| (a & 0xFFFF) * (b & 0xFFFF)),
        Word::Insert(position, length) => {
            let mask = (((1_u64 << length) - 1) << position) as u32;
            two(a, b, |a, b| (a << position) & mask | b & !mask)
        }
        Word::Lower(bits) => one(a, |a| a & ((1 << bits) - 1)),
        Word::SignOfByte => one(a, |a| i32::from(a as u8 as i8) as u32),
        Word::AddFloat => floats(a, b, |a, b| a + b),
        Word::SubtractFloat => floats(a, b, |a, b| a - b),
        Word::MultiplyFloat => floats(a, b, |a, b| a * b),
        Word::DivideFloat => floats(a, b, |a, b| a / b),
        Word::FusedFloat => {
            three(a, b, c, |a, b, c| f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)).to_bits())
        }
        // The product is exact in 64 bits; the sum may not be, which moves a result only where it is within 2^-53 of one.
        Word::FusedFloatDown => three(a, b, c, |a, b, c| {
            let [a, b, c] = [a, b, c].map(|bits| f64::from(f32::from_bits(bits)));
            rounded(a.mul_add(b, c), Rounding::Down).to_bits()
        }),
        // Of a number and none, the number.
        Word::MinimumFloat => floats(a, b, f32::min),
        Word::MaximumFloat => floats(a, b, f32::max),
        Word::MinimumOrNone => floats(a, b, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }),
        Word::MaximumOrNone => floats(a, b, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }),
        Word::AbsoluteFloat => one(a, |a| a & 0x7FFF_FFFF),
        Word::NegateFloat => one(a, |a| a ^ 0x8000_0000),
        Word::CopySign => two(a, b, |a, b| a & 0x8000_0000 | b & 0x7FFF_FFFF),
        Word::Saturate => float(a, |a| if a.is_nan() { 0.0 } else { a.clamp(0.0, 1.0) }),
        Word::SquareRoot => float(a, f32::sqrt),
        Word::Reciprocal => float(a, |a| 1.0 / a),
        Word::PowerOfTwo => float(a, f32::exp2),
        Word::PowerOfTwoFlushed => float(a, |a| {
            let power = a.exp2();
            if power < f32::MIN_POSITIVE { 0.0 } else { power }
        }),
        Word::SetLessFloat => two(a, b, |a, b| if f32::from_bits(a) < f32::from_bits(b) { u32::MAX } else { 0 }),
        Word::ToTensorFloat if *EXACT => *a,
        Word::ToTensorFloat => one(a, |a| {
            let finite = a & 0x7F80_0000 != 0x7F80_0000;
            if finite { (a + 0x1000) & !0x1FFF } else { a }
        }),
        Word::ToFloatFromSigned(rounding) => one(a, |a| rounded(f64::from(a as i32), rounding).to_bits()),
        Word::ToFloatFromUnsigned => one(a, |a| (a as f32).to_bits()),
        Word::ToBrain => one(a, |a| u32::from(bf16::from_f32(f32::from_bits(a)).to_bits())),
        Word::ToHalf => one(a, |a| u32::from(f16::from_f32(f32::from_bits(a)).to_bits())),
        Word::ToHalfFromSigned => one(a, |a| to_half(f64::from(a as i32))),
        Word::ToHalfFromUnsigned => one(a, |a| to_half(f64::from(a))),
        Word::FromHalf => one(a, |a| f16::from_bits(a as u16).to_f32().to_bits()),
        Word::AddHalf => two(a, b, |a, b| to_half(half(a) + half(b))),
        Word::SubtractHalf => two(a, b, |a, b| to_half(half(a) - half(b))),
        Word::MultiplyHalf => two(a, b, |a, b| to_half(half(a) * half(b))),
        Word::FusedHalf => three(a, b, c, |a, b, c| to_half(half(a) * half(b) + half(c))),
        Word::AbsoluteHalf => one(a, |a| a & 0x7FFF),
        Word::ToBrainFromSigned => one(a, |a| to_brain(f64::from(a as i32))),
        Word::ToBrainFromUnsigned => one(a, |a| to_brain(f64::from(a))),
        Word::FromBrain => one(a, |a| a << 16),
        Word::AddBrain => two(a, b, |a, b| to_brain(brain(a) + brain(b))),
        Word::SubtractBrain => two(a, b, |a, b| to_brain(brain(a) - brain(b))),
        Word::MultiplyBrain => two(a, b, |a, b| to_brain(brain(a) * brain(b))),
        Word::FusedBrain => three(a, b, c, |a, b, c| to_brain(brain(a) * brain(b) + brain(c))),
        Word::SetEqualHalf => two(a, b, |a, b| if half(a) == half(b) { 0x3C00 } else { 0 }),
        Word::FusedHalfPair => {
            three(a, b, c, |a, b, c| pair(|at| to_half(half(a >> at) * half(b >> at) + half(c >> at))))
        }
        Word::SetEqualHalfPair => two(a, b, |a, b| pair(|at| if half(a >> at) == half(b >> at) { 0x3C00 } else { 0 })),
        Word::MaximumHalf => two(a, b, |a, b| greater(half, a, b)),
        Word::MaximumHalfPair => two(a, b, |a, b| pair(|at| greater(half, a >> at, b >> at))),
        Word::MaximumBrain => two(a, b, |a, b| greater(brain, a, b)),
        Word::MaximumBrainPair => two(a, b, |a, b| pair(|at| greater(brain, a >> at, b >> at))),
    }
}

/// As a float of 32 bits, rounded in a direction.
fn rounded(value: f64, rounding: Rounding) -> f32 {
    let near = value as f32;
    let over = f64::from(near) > value;
    let under = f64::from(near) < value;
    match rounding {
        Rounding::Down if over => near.next_down(),
        Rounding::Up if under => near.next_up(),
        Rounding::Zero if over && value > 0.0 => near.next_down(),
        Rounding::Zero if under && value < 0.0 => near.next_up(),
        _ => near,
    }
}

pub(crate) fn long(op: Long, a: &Longs, b: &Longs) -> Longs {
    std::array::from_fn(|lane| {
        let (a, b) = (a[lane], b[lane]);
        match op {
            Long::Add => a.wrapping_add(b),
            Long::And => a & b,
            Long::Or => a | b,
            Long::ShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
            Long::ShiftRight => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)).unwrap_or(0),
            Long::Minimum => a.min(b),
        }
    })
}

/// A bit for each thread.
pub(crate) fn compare(op: Compare, a: &Words, b: &Words) -> u32 {
    match op.kind {
        Kind::Unsigned => relation(op.relation, a, b, |bits| bits),
        Kind::Signed => relation(op.relation, a, b, |bits| bits as i32),
        Kind::Short => relation(op.relation, a, b, |bits| bits as u16),
        Kind::Float => relation(op.relation, a, b, f32::from_bits),
        Kind::Half => relation(op.relation, a, b, half),
    }
}

#[inline(always)]
fn relation<T: PartialOrd>(relation: Relation, a: &Words, b: &Words, number: impl Fn(u32) -> T) -> u32 {
    let mask = |holds: fn(&T, &T) -> bool| {
        let mut mask = 0;
        for lane in 0..32 {
            mask |= u32::from(holds(&number(a[lane]), &number(b[lane]))) << lane;
        }
        mask
    };
    match relation {
        Relation::Equal => mask(|a, b| a == b),
        Relation::NotEqual => mask(|a, b| a.partial_cmp(b).is_some_and(Ordering::is_ne)),
        Relation::Less => mask(|a, b| a < b),
        Relation::LessOrEqual => mask(|a, b| a <= b),
        Relation::Greater => mask(|a, b| a > b),
        Relation::GreaterOrEqual => mask(|a, b| a >= b),
        Relation::EqualUnordered => !mask(|a, b| a.partial_cmp(b).is_some_and(Ordering::is_ne)),
        Relation::NotEqualUnordered => !mask(|a, b| a == b),
        Relation::LessUnordered => !mask(|a, b| a >= b),
        Relation::LessOrEqualUnordered => !mask(|a, b| a > b),
        Relation::GreaterUnordered => !mask(|a, b| a <= b),
        Relation::GreaterOrEqualUnordered => !mask(|a, b| a < b),
    }
}
