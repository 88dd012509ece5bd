//! Attention on the CPU by tiles of queries and keys, so that the scores are never whole (Dao and others 2022; Dao 2023).
//!
//! A head's queries are cut into parts that are computed side by side. How they are cut follows from the shape alone, not
//! from the machine, so that the numbers are the same with any number of threads.

use rayon::prelude::*;

use super::pool;
use super::product::{View, product};
use super::vector::{exp_row, less_times, max_of, scale};

/// Scores of a tile: 256 KiB, of which the backward keeps two in the second level cache.
const SCORES: usize = 1 << 16;
/// Keys of a tile.
const KEYS: usize = 256;
/// From one row of a transposed tile to the next: not a power of two, so that its columns do not fall onto few cache lines.
const PITCH: usize = KEYS + 16;
/// Parts that a backward is cut into at least, heads counted: enough for the processors of a home computer.
const PARTS: usize = 16;

/// Sizes of one attention: `q` `[heads, queries, width]`, `k` and `v` `[heads, keys, width]`. Batches count as heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
}

impl Sizes {
    fn scale(self) -> f32 {
        (self.width as f32).powf(-0.5)
    }

    /// Query rows of a tile.
    fn rows(self) -> usize {
        (SCORES / self.keys.clamp(1, KEYS)).clamp(64, 256)
    }
}

/// A tensor `[heads, n, width]` wherever its numbers lie.
#[derive(Clone)]
pub(super) struct Heads<'a> {
    pub(super) data: &'a [f32],
    /// Where each head begins.
    pub(super) starts: Vec<usize>,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> Heads<'a> {
    /// `[rows, width]` of one head from row `first`.
    fn at(&self, head: usize, first: usize) -> View<'a> {
        View { data: &self.data[self.starts[head] + first * self.row..], row: self.row, column: self.column }
    }

    /// All `n` rows of one head, transposed by tiles of [`KEYS`]: a product would do that anew for each tile of queries.
    fn transposed(&self, head: usize, n: usize, width: usize) -> Transposed {
        let mut data = vec![0.0; n.div_ceil(KEYS) * width * PITCH];
        for (tile, out) in data.chunks_exact_mut((width * PITCH).max(1)).enumerate() {
            let first = tile * KEYS;
            let View { data, row, column } = self.at(head, first);
            // By squares, so that neither side is left for long.
            for row_start in (0..KEYS.min(n - first)).step_by(16) {
                let rows = row_start..(row_start + 16).min(KEYS.min(n - first));
                for (at, out) in out.chunks_exact_mut(PITCH).enumerate() {
                    let out = out[rows.clone()].iter_mut();
                    out.zip(rows.clone()).for_each(|(out, i)| *out = data[i * row + at * column]);
                }
            }
        }
        Transposed { data, width }
    }
}

/// `[width, n]`, a tile of [`KEYS`] columns after the other.
struct Transposed {
    data: Vec<f32>,
    width: usize,
}

impl Transposed {
    /// `[width, KEYS]` from column `first`, the start of a tile.
    fn at(&self, first: usize) -> View<'_> {
        View { data: &self.data[first / KEYS * self.width * PITCH..], row: PITCH, column: 1 }
    }
}

/// Output `[heads, queries, width]`, and of each row of scores the logarithm of the sum of their exponentials
/// `[heads, queries]`.
pub(super) fn forward(sizes: Sizes, q: &Heads, k: &Heads, v: &Heads) -> (Vec<f32>, Vec<f32>) {
    let Sizes { heads, queries, width, .. } = sizes;
    let mut out = pool::take(heads * queries * width);
    let mut sums = vec![0.0; heads * queries];
    let rows = sizes.rows();
    let per_head = out.par_chunks_mut((queries * width).max(1)).zip(sums.par_chunks_mut(queries.max(1)));
    per_head.enumerate().for_each(|(head, (out, sums))| {
        let k = k.transposed(head, sizes.keys, width);
        let tiles = out.par_chunks_mut(rows * width).zip(sums.par_chunks_mut(rows));
        tiles.enumerate().for_each(|(tile, (out, sums))| {
            forward_tile(sizes, q.at(head, tile * rows), &k, v.at(head, 0), out, sums);
        });
    });
    (out, sums)
}

fn forward_tile(sizes: Sizes, q: View, k: &Transposed, v: View, out: &mut [f32], sums: &mut [f32]) {
    let Sizes { keys, width, .. } = sizes;
    let rows = sums.len();
    let mut highest = vec![f32::NEG_INFINITY; rows];
    let mut scores = vec![0.0; rows * KEYS.min(keys)];
    for first in (0..keys).step_by(KEYS) {
        let n = KEYS.min(keys - first);
        let scores = &mut scores[..rows * n];
        product(scores, [rows, width, n], false, sizes.scale(), q, k.at(first));
        for (row, scores) in scores.chunks_exact_mut(n).enumerate() {
            let high = max_of(scores).max(highest[row]);
            let lower = (highest[row] - high).exp();
            highest[row] = high;
            let sum = exp_row(scores, high);
            sums[row] = sums[row] * lower + sum;
            if first > 0 && lower != 1.0 {
                scale(&mut out[row * width..(row + 1) * width], lower);
            }
        }
        // Fresh memory is written before it is read: a page that was read first costs a second fault, which halts the other
        // processors.
        product(out, [rows, n, width], first > 0, 1.0, View::dense(scores, n), v.from(first));
    }
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        scale(out, sums[row].recip());
        sums[row] = highest[row] + sums[row].ln();
    }
}

/// What [`forward`] made, and the gradient of its output. `out` and `grad` `[heads, queries, width]`, dense.
pub(super) struct Made<'a> {
    pub(super) out: &'a [f32],
    pub(super) sums: &'a [f32],
    pub(super) grad: &'a [f32],
}

/// Gradients of `q`, `k` and `v`, dense. With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)),
/// dQ = s dS K, dK = s dS^T Q (Dao and others 2022, algorithm 4).
pub(super) fn backward(sizes: Sizes, q: &Heads, k: &Heads, v: &Heads, made: &Made) -> [Vec<f32>; 3] {
    let Sizes { heads, queries, keys, width } = sizes;
    if queries == 0 {
        return [Vec::new(), vec![0.0; heads * keys * width], vec![0.0; heads * keys * width]];
    }
    let mut dq = pool::take(heads * queries * width);
    let [mut dk, mut dv] = [(); 2].map(|()| pool::take(heads * keys * width));
    let parts = PARTS.div_ceil(heads.max(1));
    // Whole tiles, so that a part is not cut smaller than it need be.
    let rows = queries.div_ceil(parts).next_multiple_of(sizes.rows());
    let per_head = dq
        .par_chunks_mut(queries * width)
        .zip(dk.par_chunks_mut((keys * width).max(1)))
        .zip(dv.par_chunks_mut((keys * width).max(1)));
    per_head.enumerate().for_each(|(head, ((dq, dk), dv))| {
        let (q, k_rows) = (q.at(head, 0), k.at(head, 0));
        let [k, v] = [k, v].map(|t| t.transposed(head, keys, width));
        let operands = Operands { q, k_rows, k, v };
        // The first part writes where its sums belong, the others are added to it.
        let more = dq.len().div_ceil(rows * width) - 1;
        let mut others = vec![[vec![0.0; keys * width], vec![0.0; keys * width]]; more];
        let mut sums = vec![[&mut *dk, &mut *dv]];
        sums.extend(others.iter_mut().map(|pair| pair.each_mut().map(Vec::as_mut_slice)));
        dq.par_chunks_mut(rows * width).zip(sums).enumerate().for_each(|(part, (dq, sums))| {
            backward_part(sizes, &operands, made, [head, part * rows], dq, sums);
        });
        for [more_dk, more_dv] in &others {
            add(dk, more_dk);
            add(dv, more_dv);
        }
    });
    [dq, dk, dv]
}

fn add(sum: &mut [f32], part: &[f32]) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
}

/// Of one head.
struct Operands<'a> {
    q: View<'a>,
    k_rows: View<'a>,
    k: Transposed,
    v: Transposed,
}

/// `dq` of some rows of a head from `start`, and what they add to `dk` and `dv` `[keys, width]`, which are overwritten.
fn backward_part(
    sizes: Sizes,
    operands: &Operands,
    made: &Made,
    [head, start]: [usize; 2],
    dq: &mut [f32],
    [dk, dv]: [&mut [f32]; 2],
) {
    let Sizes { queries, keys, width, .. } = sizes;
    let rows = sizes.rows();
    let mut buffers = [(); 2].map(|()| vec![0.0; rows * KEYS.min(keys)]);
    for (tile, dq) in dq.chunks_mut(rows * width).enumerate() {
        let (first_row, rows) = (start + tile * rows, dq.len() / width);
        let place = head * queries + first_row;
        let [out, grad] = [made.out, made.grad].map(|values| &values[place * width..(place + rows) * width]);
        let dots: Vec<f32> = out
            .chunks_exact(width)
            .zip(grad.chunks_exact(width))
            .map(|(out, grad)| out.iter().zip(grad).map(|(a, b)| a * b).sum())
            .collect();
        let q = operands.q.from(first_row);
        let grad = View::dense(grad, width);
        for first in (0..keys).step_by(KEYS) {
            let n = KEYS.min(keys - first);
            let [p, ds] = &mut buffers;
            let (p, ds) = (&mut p[..rows * n], &mut ds[..rows * n]);
            let range = first * width..(first + n) * width;
            product(p, [rows, width, n], false, sizes.scale(), q, operands.k.at(first));
            for (row, p) in p.chunks_exact_mut(n).enumerate() {
                exp_row(p, made.sums[place + row]);
            }
            product(&mut dv[range.clone()], [n, rows, width], tile > 0, 1.0, View::dense(p, n).transposed(), grad);
            product(ds, [rows, width, n], false, 1.0, grad, operands.v.at(first));
            for ((ds, p), dot) in ds.chunks_exact_mut(n).zip(p.chunks_exact(n)).zip(&dots) {
                less_times(ds, p, *dot);
            }
            let ds = View::dense(ds, n);
            product(dq, [rows, n, width], first > 0, sizes.scale(), ds, operands.k_rows.from(first));
            product(&mut dk[range], [n, rows, width], tile > 0, sizes.scale(), ds.transposed(), q);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dense `[heads, n, width]` with numbers that are no pattern.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        lorikeet_seeded::Stream::new(seed, lorikeet_seeded::Purpose::Noise, &[]).normals(count)
    }

    fn heads(data: &[f32], heads: usize, n: usize, width: usize) -> Heads<'_> {
        Heads { data, starts: (0..heads).map(|head| head * n * width).collect(), row: width, column: 1 }
    }

    /// In f64, as the definition says.
    fn plain(sizes: Sizes, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f64> {
        let Sizes { heads, queries, keys, width } = sizes;
        let at = |t: &[f32], n: usize, h: usize, i: usize, c: usize| f64::from(t[(h * n + i) * width + c]);
        let mut out = Vec::new();
        for h in 0..heads {
            for i in 0..queries {
                let score = |j| {
                    let dot: f64 = (0..width).map(|c| at(q, queries, h, i, c) * at(k, keys, h, j, c)).sum();
                    (dot / (width as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = (0..keys).map(score).collect();
                let sum: f64 = scores.iter().sum();
                out.extend((0..width).map(|c| (0..keys).map(|j| scores[j] / sum * at(v, keys, h, j, c)).sum::<f64>()));
            }
        }
        out
    }

    #[test]
    fn tiles_give_what_the_definition_says() {
        // More than a tile of rows and of keys, no multiples of either, and fewer keys than a tile.
        for (queries, keys, width) in [(150, 1100, 40), (300, 77, 64), (1, 3, 8), (65, 513, 128)] {
            let sizes = Sizes { heads: 2, queries, keys, width };
            let [q, k, v] = [(queries, 1), (keys, 2), (keys, 3)].map(|(n, seed)| numbers(2 * n * width, seed));
            let (views, n) = ([&q, &k, &v], [queries, keys, keys]);
            let [qh, kh, vh] = [0, 1, 2].map(|i| heads(views[i], 2, n[i], width));
            let (out, sums) = forward(sizes, &qh, &kh, &vh);
            let expected = plain(sizes, &q, &k, &v);
            let worst = out.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-6, "{queries} {keys} {width}: {worst}");

            // The gradient of <out, grad>, against differences of the definition.
            let grad = numbers(out.len(), 4);
            let made = Made { out: &out, sums: &sums, grad: &grad };
            let gradients = backward(sizes, &qh, &kh, &vh, &made);
            let value = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
                plain(sizes, q, k, v).iter().zip(&grad).map(|(a, b)| a * f64::from(*b)).sum()
            };
            for which in 0..3 {
                let direction = numbers([&q, &k, &v][which].len(), 5 + which as u64);
                let moved = |by: f32| {
                    let mut all = [q.clone(), k.clone(), v.clone()];
                    all[which].iter_mut().zip(&direction).for_each(|(x, d)| *x += by * d);
                    value(&all[0], &all[1], &all[2])
                };
                let difference = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                let slope: f64 =
                    gradients[which].iter().zip(&direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let size = gradients[which].iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
                assert!((difference - slope).abs() < 2e-3 * size, "{which}: {difference} {slope} {size}");
            }
        }
    }

    #[test]
    fn rows_that_lie_apart_are_read_in_place() {
        let (n, width) = (70, 16);
        let sizes = Sizes { heads: 2, queries: n, keys: n, width };
        // [n, heads, width], as a linear layer leaves it.
        let apart = numbers(2 * n * width, 1);
        let dense: Vec<f32> = (0..2)
            .flat_map(|h| (0..n).flat_map(move |i| (0..width).map(move |c| (i * 2 + h) * width + c)))
            .map(|at| apart[at])
            .collect();
        let view = Heads { data: &apart, starts: vec![0, width], row: 2 * width, column: 1 };
        let copy = heads(&dense, 2, n, width);
        assert_eq!(forward(sizes, &view, &view, &view), forward(sizes, &copy, &copy, &copy));
    }
}
