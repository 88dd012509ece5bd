//! Products by tiles beside those by vectors and in f64.

use half::{bf16, f16};
use lorikeet_seeded::{Purpose, Stream};

use super::super::cpu_product::{Frozen, multiply_by};
use super::super::packed::Part;
use super::*;
use crate::quant::{Layout, int8};

const OUTPUTS: usize = 300;
const INPUTS: usize = 800;

fn values(n: usize, seed: u64) -> Vec<f32> {
    Stream::new(seed, Purpose::RandomWeights, &[]).normals(n)
}

fn unit() -> bool {
    let there = Unit::new().is_some();
    if !there {
        println!("skipped: this processor has no AMX with bf16, or the system does not let it be used");
    }
    there
}

fn parts() -> [Part; 2] {
    [Part { outputs: 0..OUTPUTS, inputs: 0..INPUTS }, Part { outputs: 7..290, inputs: 64..715 }]
}

/// Both means' results, and that in f64 for each 7th row.
fn products(weight: &Frozen, read: &Matrix, part: &Part, rows: usize, way: Way, x: &[f32]) -> [Vec<f64>; 3] {
    let (outputs, inputs) = (part.outputs.len(), part.inputs.len());
    let (depth, columns) = if way == Way::Forward { (inputs, outputs) } else { (outputs, inputs) };
    let x = &x[..rows * depth];
    let [tiles, vectors] = [true, false].map(|tiles| {
        let mut y = vec![f32::NAN; rows * columns];
        multiply_by(tiles, &mut y, x, weight, way, None);
        let rows = y.chunks_exact(columns).step_by(7);
        rows.flatten().map(|y| f64::from(*y)).collect::<Vec<_>>()
    });
    let mut matrix = vec![0.0; OUTPUTS * INPUTS];
    matrix.chunks_exact_mut(INPUTS).enumerate().for_each(|(row, out)| read.read(row, 0, out));
    let at = |o: usize, i: usize| f64::from(matrix[(part.outputs.start + o) * INPUTS + part.inputs.start + i]);
    let exact = x.chunks_exact(depth).step_by(7).flat_map(|x| {
        let mut sums = vec![0.0; columns];
        for (d, x) in x.iter().enumerate() {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from(*x) * if way == Way::Forward { at(c, d) } else { at(d, c) };
            }
        }
        sums
    });
    [tiles, vectors, exact.collect()]
}

fn bytes(format: RawFormat, floats: &[f32]) -> Vec<u8> {
    let each = |v: &f32| match format {
        RawFormat::F16 => f16::from_f32(*v).to_le_bytes(),
        _ => bf16::from_f32(*v).to_le_bytes(),
    };
    floats.iter().flat_map(each).collect()
}

/// Root mean square of the difference, and of the numbers.
fn difference(a: &[f64], exact: &[f64]) -> f64 {
    let square = |sum: f64| (sum / exact.len() as f64).sqrt();
    square(a.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum()) / square(exact.iter().map(|b| b * b).sum())
}

#[test]
fn tiles_are_as_exact_as_vectors() {
    if !unit() {
        return;
    }
    let floats = values(OUTPUTS * INPUTS, 1);
    let x = values(600 * INPUTS, 2);
    let layout = |block| Layout { outputs: OUTPUTS, inputs: INPUTS, block };
    let raws = [RawFormat::Bf16, RawFormat::F16].map(|format| (format, bytes(format, &floats)));
    let whole = Matrix { inputs: INPUTS, kept: Kept::Values(&floats) };
    let (codes8, scales8) = int8(&whole, layout(100)).unwrap();
    let raw = |i: usize, scale| {
        let (format, bytes) = &raws[i];
        let cut = 5 * INPUTS * format.size();
        Kept::Raw { format: *format, pieces: vec![(&bytes[..cut], 2.0), (&bytes[cut..], scale)] }
    };
    let kinds = [
        ("bf16", raw(0, 0.5)),
        ("f16", raw(1, 1.0)),
        ("8 bits", Kept::Int8 { codes: &codes8, scales: &scales8, block: 100 }),
    ];
    for (name, kept) in kinds {
        let read = Matrix { inputs: INPUTS, kept: clone(&kept) };
        for part in parts() {
            for way in [Way::Forward, Way::Backward] {
                for rows in [1, 3, 77, 140, 600] {
                    let shape = [part.outputs.len(), part.inputs.len()];
                    let weight =
                        Frozen::Kept { matrix: Matrix { inputs: INPUTS, kept: clone(&kept) }, part: part.clone() };
                    let [tiles, vectors, exact] = products(&weight, &read, &part, rows, way, &x);
                    // They round differently: the same numbers would be those of one way.
                    assert_eq!(tiles != vectors, rows >= 32, "{name} {way:?} {rows}");
                    let [tiles, vectors] = [tiles, vectors].map(|y| difference(&y, &exact));
                    println!("{name} {way:?} {rows} x {shape:?}: {tiles:.1e}, vectors {vectors:.1e}");
                    assert!(tiles < 1.5 * vectors.max(1e-7), "{name} {way:?} {rows} {shape:?}: {tiles} {vectors}");
                }
            }
        }
    }
}

fn clone<'a>(kept: &Kept<'a>) -> Kept<'a> {
    match kept {
        Kept::Values(values) => Kept::Values(values),
        Kept::Raw { format, pieces } => Kept::Raw { format: *format, pieces: pieces.clone() },
        &Kept::Int8 { codes, scales, block } => Kept::Int8 { codes, scales, block },
        &Kept::Nf4 { codes, scales, block } => Kept::Nf4 { codes, scales, block },
    }
}

/// `x` `[rows, 128]` times a matrix of these numbers `[128, 64]`, by tiles.
fn by_tiles(format: RawFormat, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / 128 * 64];
    let bytes = bytes(format, weight);
    let kept = Kept::Raw { format, pieces: vec![(&bytes, 1.0)] };
    let weight = Frozen::Kept { matrix: Matrix { inputs: 64, kept }, part: Part { outputs: 0..128, inputs: 0..64 } };
    multiply_by(true, &mut y, x, &weight, Way::Backward, None);
    y
}

#[test]
fn what_is_not_finite_stays_so() {
    if !unit() {
        return;
    }
    let bits = [0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff, 0xffff_ffff, f32::MAX.to_bits()];
    for (bits, format) in bits.into_iter().flat_map(|bits| [(bits, RawFormat::Bf16), (bits, RawFormat::F16)]) {
        let wrong = f32::from_bits(bits);
        let [mut x, mut weight] = [values(40 * 128, 1), values(128 * 64, 2)];
        // In the row of x, zeros and other numbers meet it.
        weight[64 * 50..64 * 51][..32].fill(0.0);
        x[17 * 128 + 50] = wrong;
        let y = by_tiles(format, &x, &weight);
        for (row, y) in y.chunks_exact(64).enumerate() {
            assert!(y.iter().all(|y| y.is_finite() == (row != 17)), "{wrong} in row {row}: {y:?}");
        }
        let [x, mut weight] = [values(40 * 128, 1), values(128 * 64, 2)];
        weight[64 * 50 + 33] = wrong;
        for y in by_tiles(format, &x, &weight).chunks_exact(64) {
            assert!(y.iter().enumerate().all(|(column, y)| y.is_finite() == (column != 33)), "{wrong}: {y:?}");
        }
    }
}

#[test]
fn huge_and_tiny_numbers() {
    if !unit() {
        return;
    }
    // Powers of two are exact, and what they are multiplied with need not be small.
    let x = values(40 * 128, 1);
    let weight: Vec<f32> = values(128 * 64, 2).iter().map(|v| bf16::from_f32(*v).to_f32()).collect();
    let plain = by_tiles(RawFormat::Bf16, &x, &weight);
    for exponent in [-60, -30, 30, 120] {
        let factor = 2f32.powi(exponent);
        let scaled: Vec<f32> = x.iter().map(|x| x * factor).collect();
        let y = by_tiles(RawFormat::Bf16, &scaled, &weight);
        assert!(y.iter().zip(&plain).all(|(y, plain)| *y == plain * factor), "{exponent}");
    }
    // Of each number of a product, up to 2^-125 is lost, and of each product of parts.
    for exponent in [-105, -115, -125, -135, -145] {
        let scaled: Vec<f32> = x.iter().map(|x| x * 2f32.powi(-60) * 2f32.powi(exponent + 60)).collect();
        let y = by_tiles(RawFormat::Bf16, &scaled, &weight);
        for (i, y) in y.iter().enumerate() {
            let (row, column) = (&scaled[i / 64 * 128..][..128], i % 64);
            let term = |d: usize| f64::from(row[d]) * f64::from(weight[d * 64 + column]);
            let exact: f64 = (0..128).map(term).sum();
            let size: f64 = (0..128).map(|d| term(d).abs()).sum();
            let lost: f64 =
                (0..128).map(|d| 1.0 + f64::from(weight[d * 64 + column]).abs()).sum::<f64>() * 2f64.powi(-124);
            assert!((f64::from(*y) - exact).abs() < 1e-6 * size + lost, "{exponent}: {y} {exact}");
        }
    }
}
