//! Matrices spread over a warp (`wmma`). Which thread holds which number is the driver's own affair there, as PTX leaves it open.

use half::{bf16, f16};

use crate::arithmetic::{EXACT, Words};

/// One of the matrices of a product and how it lies in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows lie one after another, else columns.
    pub(crate) by_rows: bool,
    pub(crate) number: Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Half,
    Brain,
    /// 32 bits, of which the product reads 19.
    Tensor,
    Float,
}

/// `d = a b + c` with `a` `[m, k]` and `b` `[k, n]`; `c` and `d` are floats of 32 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Multiply {
    m: usize,
    n: usize,
    k: usize,
    number: Number,
}

impl Number {
    fn read(name: &str) -> Option<Number> {
        Some(match name {
            "f16" => Number::Half,
            "bf16" => Number::Brain,
            "tf32" => Number::Tensor,
            "f32" => Number::Float,
            _ => return None,
        })
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Number::Half | Number::Brain => 2,
            Number::Tensor | Number::Float => 4,
        }
    }

    fn float(self, bits: u32) -> f32 {
        match self {
            Number::Half => f16::from_bits(bits as u16).to_f32(),
            Number::Brain => bf16::from_bits(bits as u16).to_f32(),
            // What is below is not wired to the multipliers.
            Number::Tensor if !*EXACT => f32::from_bits(bits & !0x1FFF),
            Number::Tensor | Number::Float => f32::from_bits(bits),
        }
    }
}

/// `m16n8k16` as its three numbers.
fn shape(parts: &[&str]) -> Option<[usize; 3]> {
    let part = parts.iter().find(|part| part.starts_with('m') && part.contains('n') && part.contains('k'))?;
    let (m, rest) = part[1..].split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?])
}

impl Fragment {
    /// Of `wmma.load.a...` or `wmma.store.d...`.
    pub(crate) fn read(parts: &[&str]) -> Option<Fragment> {
        let [m, n, k] = shape(parts)?;
        let (rows, columns) = match parts[2] {
            "a" => (m, k),
            "b" => (k, n),
            "c" | "d" => (m, n),
            _ => return None,
        };
        let number = Number::read(parts.last()?)?;
        Some(Fragment { rows, columns, by_rows: parts.contains(&"row"), number })
    }

    /// Where the number at a place of the matrix lies, in numbers.
    pub(crate) fn offset(&self, place: usize, stride: usize) -> usize {
        let (row, column) = (place / self.columns, place % self.columns);
        if self.by_rows { row * stride + column } else { column * stride + row }
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Puts a matrix, by rows, into registers; where they have room for more, numbers are there twice.
    ///
    /// The numbers of a thread are in the same order whatever their size: CubeCL casts an accumulator number by number, and cards allow it.
    pub(crate) fn spread(&self, matrix: &[u32], registers: &mut [Words]) {
        let at = |index: usize, lane: usize| matrix[(index * 32 + lane) % matrix.len()];
        for (index, register) in registers.iter_mut().enumerate() {
            for (lane, word) in register.iter_mut().enumerate() {
                *word = match self.number.bytes() {
                    4 => at(index, lane),
                    _ => at(2 * index, lane) | at(2 * index + 1, lane) << 16,
                };
            }
        }
    }
}

/// The bits of a matrix, by rows, from its registers.
pub(crate) fn gather(number: Number, count: usize, registers: &[Words]) -> Vec<u32> {
    let mut matrix = Vec::with_capacity(registers.len() * 64);
    for register in registers {
        match number.bytes() {
            4 => matrix.extend(register),
            _ => {
                matrix.extend(register.map(|word| word & 0xFFFF));
                matrix.extend(register.map(|word| word >> 16));
            }
        }
    }
    matrix.truncate(count);
    matrix
}

impl Multiply {
    /// Of `wmma.mma...`. Products into 16 bits are not known.
    pub(crate) fn read(parts: &[&str]) -> Option<Multiply> {
        let [m, n, k] = shape(parts)?;
        let at = parts.iter().position(|part| part.starts_with('m') && part.contains('k'))?;
        let number = match parts[at + 1..] {
            ["f32", "f32"] => Number::Half,
            ["f32", a, b, "f32"] if a == b => Number::read(a)?,
            _ => return None,
        };
        Some(Multiply { m, n, k, number })
    }

    /// # Errors
    /// Registers that do not hold the matrices.
    pub(crate) fn product(&self, a: &[Words], b: &[Words], c: &[Words]) -> Option<Vec<Words>> {
        let (m, n, k) = (self.m, self.n, self.k);
        let floats = |number: Number, count, registers: &[Words]| -> Vec<f32> {
            gather(number, count, registers).into_iter().map(|bits| number.float(bits)).collect()
        };
        let a = floats(self.number, m * k, a);
        let b = floats(self.number, k * n, b);
        let mut c = floats(Number::Float, m * n, c);
        (a.len() == m * k && b.len() == k * n && c.len() == m * n).then_some(())?;
        for row in 0..m {
            let sums = &mut c[row * n..][..n];
            for inner in 0..k {
                let factor = a[row * k + inner];
                for (sum, other) in sums.iter_mut().zip(&b[inner * n..][..n]) {
                    *sum += factor * other;
                }
            }
        }
        let mut registers = vec![[0; 32]; m * n / 32];
        for (register, sums) in registers.iter_mut().zip(c.chunks(32)) {
            for (word, sum) in register.iter_mut().zip(sums) {
                *word = sum.to_bits();
            }
        }
        Some(registers)
    }
}
