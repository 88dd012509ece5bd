//! Linear layers with an adapter of low rank on the CPU: the adapter's part is added up by its product itself.

use super::pool;
use super::product::{Parallelism, View, product_into};

/// Of the operands of one layer: `x` `[rows, inputs]`, `weight` `[inputs, outputs]`, `down` `[rank, inputs]`, `up`
/// `[outputs, rank]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) rank: usize,
}

/// The numbers that do not change from row to row, wherever they lie: a layer's part is a view of its matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    pub(super) weight: View<'a>,
    pub(super) down: View<'a>,
    pub(super) up: View<'a>,
    pub(super) scale: f32,
}

/// `x W + bias + scale (x down^T) up^T` `[rows, outputs]`, and `x down^T` `[rows, rank]` for the backward.
pub(super) fn forward(sizes: Sizes, x: &[f32], weights: &Weights, bias: &[f32]) -> [Vec<f32>; 2] {
    let Sizes { rows, inputs, outputs, rank } = sizes;
    let Weights { weight, down, up, scale } = *weights;
    let x = View::dense(x, inputs);
    let mut y = pool::take(rows * outputs);
    let mut hidden = vec![0.0; rows * rank];
    multiply(&mut hidden, [rows, inputs, rank], false, 1.0, x, down.transposed());
    multiply(&mut y, [rows, inputs, outputs], false, 1.0, x, weight);
    // Bias and adapter in one pass over the output: the bias is a row more of `up`, for a column of ones. After the product and not
    // before, as without an adapter: one whose `up` is zero changes no bit.
    let mut factors = Vec::with_capacity(rows * (rank + 1));
    hidden.chunks_exact(rank.max(1)).for_each(|hidden| {
        factors.extend(hidden.iter().map(|hidden| scale * hidden));
        factors.push(1.0);
    });
    let mut added = Vec::with_capacity(outputs * (rank + 1));
    bias.iter().enumerate().for_each(|(output, bias)| {
        added.extend((0..rank).map(|r| up.data[output * up.row + r * up.column]));
        added.push(*bias);
    });
    let [factors, added] = [&factors, &added].map(|matrix| View::dense(matrix, rank + 1));
    multiply(&mut y, [rows, rank + 1, outputs], true, 1.0, factors, added.transposed());
    [y, hidden]
}

/// Gradients of x, down and up from that of y. Those not `wanted` are empty.
pub(super) fn backward(
    sizes: Sizes,
    x: &[f32],
    hidden: &[f32],
    weights: &Weights,
    dy: &[f32],
    wanted: [bool; 3],
) -> [Vec<f32>; 3] {
    let Sizes { rows, inputs, outputs, rank } = sizes;
    let Weights { weight, down, up, scale } = *weights;
    let dy = View::dense(dy, outputs);
    let mut d_hidden = vec![0.0; rows * rank];
    multiply(&mut d_hidden, [rows, outputs, rank], false, scale, dy, up);
    let d_hidden = View::dense(&d_hidden, rank);
    let [mut dx, mut d_down, mut d_up] = [const { Vec::new() }; 3];
    if wanted[0] {
        dx = pool::take(rows * inputs);
        multiply(&mut dx, [rows, outputs, inputs], false, 1.0, dy, weight.transposed());
        multiply(&mut dx, [rows, rank, inputs], true, 1.0, d_hidden, down);
    }
    if wanted[1] {
        d_down = vec![0.0; rank * inputs];
        multiply(&mut d_down, [rank, rows, inputs], false, 1.0, d_hidden.transposed(), View::dense(x, inputs));
    }
    if wanted[2] {
        d_up = vec![0.0; outputs * rank];
        multiply(&mut d_up, [outputs, rows, rank], false, scale, dy.transposed(), View::dense(hidden, rank));
    }
    [dx, d_down, d_up]
}

fn multiply(out: &mut [f32], [m, k, n]: [usize; 3], add: bool, factor: f32, a: View, b: View) {
    // Burn's own threshold for products on the CPU.
    let threads = if m * k * n >= 192 * 192 * 192 { Parallelism::Rayon(0) } else { Parallelism::None };
    product_into(out, n, [m, k, n], add, factor, a, b, threads);
}
