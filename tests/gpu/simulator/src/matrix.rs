//! Matrices spread over a warp. In `wmma` which thread holds which number is the driver's own affair, as PTX leaves it open; in `mma` and `ldmatrix`
//! it is laid down (PTX ISA, "Matrix fragments for mma.m16n8k16" and its neighbours).

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
    /// `mma`: places as laid down.
    laid_down: bool,
}

/// Which of the matrices of a product, by how its numbers lie in `mma`.
#[derive(Debug, Clone, Copy)]
enum Part {
    Left,
    Right,
    Sum,
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
            // Multipliers read the upper 19 bits.
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
    /// Of `wmma.mma...` or `mma.sync...`. Products into 16 bits are not known.
    pub(crate) fn read(parts: &[&str]) -> Option<Multiply> {
        let [m, n, k] = shape(parts)?;
        let laid_down = parts[0] == "mma";
        // `mma.sync.aligned.SHAPE.row.col.TYPES`, `wmma.mma.sync.aligned.row.row.SHAPE.TYPES`.
        let number = match parts[if laid_down { 6 } else { 7 }..] {
            ["f32", "f32"] => Number::Half,
            ["f32", a, b, "f32"] if a == b => Number::read(a)?,
            _ => return None,
        };
        (!laid_down || parts[4..6] == ["row", "col"]).then_some(())?;
        Some(Multiply { m, n, k, number, laid_down })
    }

    /// The row and column of a thread's number.
    fn place(&self, part: Part, register: usize, half: usize, lane: usize) -> (usize, usize) {
        let (group, thread) = (lane / 4, lane % 4);
        let wide = self.number.bytes() == 4;
        match part {
            Part::Left if wide => (group + 8 * (register % 2), thread + 4 * (register / 2)),
            Part::Left => (group + 8 * (register % 2), 2 * thread + 8 * (register / 2) + half),
            Part::Right if wide => (thread + 4 * register, group),
            Part::Right => (2 * thread + 8 * register + half, group),
            Part::Sum => (group + 8 * (register / 2), 2 * thread + register % 2),
        }
    }

    /// A matrix by rows.
    fn matrix(&self, part: Part, registers: &[Words]) -> Vec<f32> {
        let (number, rows, columns) = match part {
            Part::Left => (self.number, self.m, self.k),
            Part::Right => (self.number, self.k, self.n),
            Part::Sum => (Number::Float, self.m, self.n),
        };
        if !self.laid_down {
            return gather(number, rows * columns, registers).into_iter().map(|bits| number.float(bits)).collect();
        }
        let halves = 4 / number.bytes();
        if registers.len() * halves * 32 != rows * columns {
            return Vec::new();
        }
        let mut matrix = vec![0.0; rows * columns];
        for (index, register) in registers.iter().enumerate() {
            for (lane, word) in register.iter().enumerate() {
                for half in 0..halves {
                    let (row, column) = self.place(part, index, half, lane);
                    matrix[row * columns + column] =
                        number.float(if halves == 2 { word >> (16 * half) & 0xFFFF } else { *word });
                }
            }
        }
        matrix
    }

    /// [`None`]: registers that do not hold the matrices.
    pub(crate) fn product(&self, a: &[Words], b: &[Words], c: &[Words]) -> Option<Vec<Words>> {
        let (m, n, k) = (self.m, self.n, self.k);
        let [a, b, mut c] =
            [(Part::Left, a), (Part::Right, b), (Part::Sum, c)].map(|(part, words)| self.matrix(part, words));
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
        for (index, register) in registers.iter_mut().enumerate() {
            for (lane, word) in register.iter_mut().enumerate() {
                let (row, column) = self.place(Part::Sum, index, 0, lane);
                let at = if self.laid_down { row * n + column } else { index * 32 + lane };
                *word = c[at].to_bits();
            }
        }
        Some(registers)
    }
}

/// `ldmatrix`: what each thread gets of a matrix `[8, 8]` of 16 bits, of which it reads pairs of a row, or of a column.
pub(crate) fn eight_by_eight(matrix: &[[u16; 8]; 8], by_columns: bool) -> Words {
    std::array::from_fn(|lane| {
        let [low, high] = [0, 1].map(|half| {
            let (row, column) = (lane / 4, 2 * (lane % 4) + half);
            u32::from(if by_columns { matrix[column][row] } else { matrix[row][column] })
        });
        low | high << 16
    })
}
