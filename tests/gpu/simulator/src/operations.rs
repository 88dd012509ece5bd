//! What each mnemonic of PTX stands for.

use crate::arithmetic::{Compare, Kind, Logic, Long, Relation, Rounding, Word};
use crate::kernel::{Address, Op, PARAMETERS, SHARED, Shuffle, Space};
use crate::matrix::{Fragment, Multiply};
use crate::ptx::Names;

/// [`None`]: a mnemonic or an operand that is not known.
pub(crate) fn read(names: &mut impl Names, mnemonic: &str, operands: &[&str]) -> Option<Op> {
    let parts: Vec<&str> = mnemonic.split('.').collect();
    let kind = *parts.last()?;
    match parts[0] {
        "ld" => return load(names, &parts, operands),
        "st" => return store(names, &parts, operands),
        "wmma" => return matrix(names, &parts, operands),
        "atom" => {
            (parts[1..3] == ["relaxed", "add"]).then_some(())?;
            let half = match kind {
                "f32" => false,
                "f16" => true,
                _ => return None,
            };
            let at = names.address(operands[1], Space::Global)?;
            return Some(Op::AtomicAdd { to: names.word(operands[0])?, from: names.word(operands[2])?, half, at });
        }
        "shfl" if mnemonic.starts_with("shfl.sync.") && kind == "b32" => {
            let by = match parts[2] {
                "up" => Shuffle::Up,
                "down" => Shuffle::Down,
                "bfly" => Shuffle::Xor,
                "idx" => Shuffle::Index,
                _ => return None,
            };
            let (to, predicate) = match operands[0].split_once('|') {
                Some((to, predicate)) => (to, Some(names.predicate(predicate)?)),
                None => (operands[0], None),
            };
            let from = [names.word(operands[1])?, names.word(operands[2])?, names.word(operands[3])?];
            return Some(Op::Shuffle { by, to: names.word(to)?, predicate, from, members: names.word(operands[4])? });
        }
        "mma" => return multiply(names, &parts, operands),
        "ldmatrix" => {
            let known = parts[1..4] == ["sync", "aligned", "m8n8"] && kind == "b16";
            known.then_some(())?;
            let to = names.words(operands[0])?;
            let at = names.address(operands[1], Space::Shared)?;
            return Some(Op::LoadEights { to, at, by_columns: parts.contains(&"trans") });
        }
        "cp" => return copy(names, &parts, operands),
        "activemask" => return Some(Op::Active { to: names.word(operands[0])? }),
        "bra" => return Some(names.branch(operands.first()?)),
        "ret" => return Some(Op::Exit),
        "bar" if parts.get(1) == Some(&"warp") => return Some(Op::WarpBarrier),
        "bar" => return (mnemonic == "bar.sync" && operands == ["0"]).then_some(Op::Barrier),
        "setp" if parts.len() == 3 => {
            let op = Compare { relation: relation(parts[1])?, kind: compared(kind)? };
            return Some(Op::Compare {
                op,
                to: names.predicate(operands[0])?,
                from: [names.word(operands[1])?, names.word(operands[2])?],
            });
        }
        "selp" if ["b16", "u16", "b32", "u32", "f32"].contains(&kind) => {
            let from = [names.word(operands[1])?, names.word(operands[2])?];
            return Some(Op::Select { to: names.word(operands[0])?, from, predicate: names.predicate(operands[3])? });
        }
        "cvta" => {
            let (to, from) = (names.long(operands[0])?, names.long(operands[1])?);
            return match mnemonic {
                "cvta.to.global.u64" => Some(Op::Long { op: Long::Or, to, from: [from, names.long("0")?] }),
                "cvta.shared.u64" => Some(Op::Long { op: Long::Add, to, from: [from, SHARED] }),
                _ => None,
            };
        }
        "mov" if mnemonic == "mov.b32" && operands[0].starts_with('{') => {
            let to: [_; 2] = names.words(operands[0])?.try_into().ok()?;
            return Some(Op::Unpack { to, from: names.word(operands[1])? });
        }
        "mov" if mnemonic == "mov.b32" && operands[1].starts_with('{') => {
            let from: [_; 2] = names.words(operands[1])?.try_into().ok()?;
            return Some(Op::Pack { to: names.word(operands[0])?, from });
        }
        "mov" if mnemonic == "mov.b64" && operands[1].starts_with('{') => {
            let from: [_; 2] = names.words(operands[1])?.try_into().ok()?;
            return Some(Op::PackLong { to: names.long(operands[0])?, from });
        }
        "mov" if mnemonic == "mov.b64" && operands[0].starts_with('{') => {
            let to: [_; 2] = names.words(operands[0])?.try_into().ok()?;
            return Some(Op::UnpackLong { to, from: names.long(operands[1])? });
        }
        "bfi" if kind == "b32" => {
            let op = Word::Insert(operands[3].parse().ok()?, operands[4].parse().ok()?);
            let from = [names.word(operands[1])?, names.word(operands[2])?, 0];
            return Some(Op::Word { op, to: names.word(operands[0])?, from });
        }
        _ => {}
    }
    match mnemonic {
        "mul.wide.u32" => {
            let from = [names.word(operands[1])?, names.word(operands[2])?];
            return Some(Op::MultiplyWide { to: names.long(operands[0])?, from });
        }
        "cvt.u64.u32" => return Some(Op::Widen { to: names.long(operands[0])?, from: names.word(operands[1])? }),
        "cvt.u32.u64" => return Some(Op::Narrow { to: names.word(operands[0])?, from: names.long(operands[1])? }),
        _ => {}
    }
    if kind == "pred" {
        return logic(names, parts[0], operands);
    }
    if let Some(op) = word(mnemonic) {
        let mut from = [0; 3];
        for (slot, name) in from.iter_mut().zip(operands.get(1..)?) {
            *slot = names.word(name)?;
        }
        return Some(Op::Word { op, to: names.word(operands[0])?, from });
    }
    let op = match mnemonic {
        "mov.b64" | "mov.u64" => {
            let to = names.long(operands[0])?;
            let (base, offset) = match names.parameter(operands[1]) {
                Some(start) => (PARAMETERS, names.long(&start.to_string())?),
                None => (names.long(operands[1])?, names.long("0")?),
            };
            return Some(Op::Long { op: Long::Add, to, from: [base, offset] });
        }
        "add.s64" | "add.u64" => Long::Add,
        "and.b64" => Long::And,
        "or.b64" => Long::Or,
        "min.u64" => Long::Minimum,
        "shl.b64" | "shr.u64" => {
            let to = names.long(operands[0])?;
            // The amount has 32 bits; here it is a constant wherever it occurs.
            let amount = operands[2].parse::<u32>().ok()?;
            let from = [names.long(operands[1])?, names.long(&amount.to_string())?];
            let op = if mnemonic == "shl.b64" { Long::ShiftLeft } else { Long::ShiftRight };
            return Some(Op::Long { op, to, from });
        }
        _ => return None,
    };
    let from = [names.long(operands[1])?, names.long(operands[2])?];
    Some(Op::Long { op, to: names.long(operands[0])?, from })
}

fn word(mnemonic: &str) -> Option<Word> {
    Some(match mnemonic {
        "mov.u32" | "mov.b32" | "mov.f32" | "mov.b16" | "mov.u16" => Word::Move,
        "add.s32" | "add.u32" => Word::Add,
        "sub.s32" | "sub.u32" => Word::Subtract,
        "mul.lo.s32" | "mul.lo.u32" => Word::Multiply,
        "mul.hi.u32" => Word::MultiplyHigh,
        "mad.lo.s32" | "mad.lo.u32" => Word::MultiplyAdd,
        "div.u32" => Word::Divide,
        "rem.u32" => Word::Remainder,
        "min.u32" => Word::Minimum,
        "max.u32" => Word::Maximum,
        "and.b32" | "and.b16" => Word::And,
        "or.b32" | "or.b16" => Word::Or,
        "xor.b32" | "xor.b16" => Word::Xor,
        "not.b32" => Word::Not,
        "neg.s32" => Word::Negate,
        "clz.b32" => Word::LeadingZeros,
        "shl.b32" => Word::ShiftLeft,
        "shr.u32" => Word::ShiftRight,
        "shr.u16" => Word::ShiftRightShort,
        "add.s16" | "add.u16" => Word::AddShort,
        "sub.s16" | "sub.u16" => Word::SubtractShort,
        "mul.lo.s16" | "mul.lo.u16" => Word::MultiplyShort,
        "mul.hi.u16" => Word::MultiplyShortHigh,
        "mul.wide.u16" => Word::MultiplyShortWide,
        "cvt.u16.u8" => Word::Lower(8),
        "cvt.u32.u16" | "cvt.u16.u32" => Word::Lower(16),
        "cvt.s32.s8" => Word::SignOfByte,
        "add.f32" => Word::AddFloat,
        "sub.f32" => Word::SubtractFloat,
        "mul.f32" => Word::MultiplyFloat,
        "div.rn.f32" | "div.approx.f32" => Word::DivideFloat,
        "fma.rn.f32" => Word::FusedFloat,
        "fma.rm.f32" => Word::FusedFloatDown,
        "min.f32" => Word::MinimumFloat,
        "max.f32" => Word::MaximumFloat,
        "min.NaN.f32" => Word::MinimumOrNone,
        "max.NaN.f32" => Word::MaximumOrNone,
        "abs.f32" => Word::AbsoluteFloat,
        "neg.f32" => Word::NegateFloat,
        "copysign.f32" => Word::CopySign,
        "cvt.sat.f32.f32" => Word::Saturate,
        "sqrt.rn.f32" => Word::SquareRoot,
        "rcp.rn.f32" | "rcp.approx.ftz.f32" => Word::Reciprocal,
        "ex2.approx.f32" => Word::PowerOfTwo,
        "ex2.approx.ftz.f32" => Word::PowerOfTwoFlushed,
        "set.lt.f32.f32" => Word::SetLessFloat,
        "cvt.rna.tf32.f32" => Word::ToTensorFloat,
        "cvt.rn.f32.s32" => Word::ToFloatFromSigned(Rounding::Nearest),
        "cvt.rz.f32.s32" => Word::ToFloatFromSigned(Rounding::Zero),
        "cvt.rm.f32.s32" => Word::ToFloatFromSigned(Rounding::Down),
        "cvt.rp.f32.s32" => Word::ToFloatFromSigned(Rounding::Up),
        "cvt.rn.f32.u32" => Word::ToFloatFromUnsigned,
        "cvt.rn.bf16.f32" => Word::ToBrain,
        "cvt.rn.f16.f32" => Word::ToHalf,
        "cvt.rn.f16.s32" => Word::ToHalfFromSigned,
        "cvt.rn.f16.u32" => Word::ToHalfFromUnsigned,
        "cvt.f32.f16" => Word::FromHalf,
        "cvt.rn.bf16.s32" => Word::ToBrainFromSigned,
        "cvt.rn.bf16.u32" => Word::ToBrainFromUnsigned,
        "cvt.f32.bf16" => Word::FromBrain,
        "add.bf16" | "add.rn.bf16" => Word::AddBrain,
        "sub.bf16" | "sub.rn.bf16" => Word::SubtractBrain,
        "mul.bf16" | "mul.rn.bf16" => Word::MultiplyBrain,
        "add.f16" => Word::AddHalf,
        "sub.f16" => Word::SubtractHalf,
        "mul.f16" => Word::MultiplyHalf,
        "fma.rn.f16" => Word::FusedHalf,
        "abs.f16" => Word::AbsoluteHalf,
        "fma.rn.bf16" => Word::FusedBrain,
        "max.NaN.f16" => Word::MaximumHalf,
        "max.NaN.f16x2" => Word::MaximumHalfPair,
        "max.NaN.bf16" => Word::MaximumBrain,
        "max.NaN.bf16x2" => Word::MaximumBrainPair,
        "set.eq.f16.f16" => Word::SetEqualHalf,
        "fma.rn.f16x2" => Word::FusedHalfPair,
        "set.eq.f16x2.f16x2" => Word::SetEqualHalfPair,
        _ => return None,
    })
}

fn relation(name: &str) -> Option<Relation> {
    Some(match name {
        "eq" => Relation::Equal,
        "ne" => Relation::NotEqual,
        "lt" => Relation::Less,
        "le" => Relation::LessOrEqual,
        "gt" => Relation::Greater,
        "ge" => Relation::GreaterOrEqual,
        "equ" => Relation::EqualUnordered,
        "neu" => Relation::NotEqualUnordered,
        "ltu" => Relation::LessUnordered,
        "leu" => Relation::LessOrEqualUnordered,
        "gtu" => Relation::GreaterUnordered,
        "geu" => Relation::GreaterOrEqualUnordered,
        _ => return None,
    })
}

fn compared(kind: &str) -> Option<Kind> {
    Some(match kind {
        "u32" | "b32" => Kind::Unsigned,
        "s32" => Kind::Signed,
        "s16" | "u16" | "b16" => Kind::Short,
        "f32" => Kind::Float,
        "f16" => Kind::Half,
        _ => return None,
    })
}

fn logic(names: &mut impl Names, op: &str, operands: &[&str]) -> Option<Op> {
    let to = names.predicate(operands[0])?;
    let op = match op {
        // A constant is what a register is, or is not, with itself.
        "mov" => match operands[1] {
            "0" => return Some(Op::Predicate { op: Logic::Xor, to, from: [to, to] }),
            "1" | "-1" => Logic::One,
            _ => Logic::Move,
        },
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        "not" => Logic::Not,
        _ => return None,
    };
    let mut from = [to; 2];
    if op != Logic::One {
        for (slot, name) in from.iter_mut().zip(&operands[1..]) {
            *slot = names.predicate(name)?;
        }
    }
    Some(Op::Predicate { op, to, from })
}

/// The space, how many numbers, and the bytes of each: `ld.global.nc.v2.f32`.
fn accessed(parts: &[&str]) -> Option<(Space, usize, usize)> {
    let (mut space, mut count) = (Space::Global, 1);
    for part in &parts[1..parts.len() - 1] {
        match *part {
            // Generic addresses are those of global memory here.
            "global" | "nc" => {}
            "shared" => space = Space::Shared,
            "param" => space = Space::Parameter,
            "v2" => count = 2,
            "v4" => count = 4,
            "v8" => count = 8,
            _ => return None,
        }
    }
    let bytes = match *parts.last()? {
        "u8" | "b8" => 1,
        "u16" | "b16" => 2,
        "u32" | "b32" | "f32" | "s32" => 4,
        "u64" | "b64" => 8,
        _ => return None,
    };
    Some((space, count, bytes))
}

/// `cp.async.cg.shared::cta.global [to], [from], 16, 16;` and the waits for it.
fn copy(names: &mut impl Names, parts: &[&str], operands: &[&str]) -> Option<Op> {
    match parts[2] {
        "commit_group" | "wait_group" | "wait_all" => Some(Op::Nothing),
        "ca" | "cg" => {
            let to = names.address(operands[0], Space::Shared)?;
            let from = names.address(operands[1], Space::Global)?;
            let copied = names.word(operands.get(3).unwrap_or(&operands[2]))?;
            Some(Op::Copy { to, from, bytes: operands[2].parse().ok()?, copied })
        }
        _ => None,
    }
}

fn load(names: &mut impl Names, parts: &[&str], operands: &[&str]) -> Option<Op> {
    let (space, count, bytes) = accessed(parts)?;
    let long = bytes == 8;
    let to = if long { names.longs(operands[0])? } else { names.words(operands[0])? };
    (to.len() == count).then_some(())?;
    Some(Op::Load { to, bytes, long, at: names.address(operands[1], space)? })
}

fn store(names: &mut impl Names, parts: &[&str], operands: &[&str]) -> Option<Op> {
    let (space, count, bytes) = accessed(parts)?;
    let long = bytes == 8;
    let from = if long { names.longs(operands[1])? } else { names.words(operands[1])? };
    (from.len() == count).then_some(())?;
    Some(Op::Store { from, bytes, long, at: names.address(operands[0], space)? })
}

fn multiply(names: &mut impl Names, parts: &[&str], operands: &[&str]) -> Option<Op> {
    let shape = Multiply::read(parts)?;
    let mut lists = operands.iter().map(|list| names.words(list));
    let (to, a, b, c) = (lists.next()??, lists.next()??, lists.next()??, lists.next()??);
    Some(Op::Multiply { to, from: [a, b, c], shape })
}

/// `wmma.load.a.sync.aligned.row.m16n16k16.shared.f16`, `wmma.store.d..`, `wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32`.
fn matrix(names: &mut impl Names, parts: &[&str], operands: &[&str]) -> Option<Op> {
    if parts[1] == "mma" {
        return multiply(names, parts, operands);
    }
    let fragment = Fragment::read(parts)?;
    let space = if parts.contains(&"shared") { Space::Shared } else { Space::Global };
    let mut address = |text: &str| -> Option<Address> { names.address(text, space) };
    if parts[1] == "load" {
        let at = address(operands[1])?;
        Some(Op::LoadMatrix { to: names.words(operands[0])?, fragment, at, stride: names.word(operands[2])? })
    } else {
        let at = address(operands[0])?;
        Some(Op::StoreMatrix { from: names.words(operands[1])?, fragment, at, stride: names.word(operands[2])? })
    }
}
