//! Linear layers with an adapter of low rank on the CPU: the adapter's part is added up by its product itself.

use super::cpu_product::{self, Added, Frozen};
use super::packed::Way;
use super::pool;
use super::product::{View, product_into, threads};

/// Of the operands of one layer: `x` `[rows, inputs]`, `weight` `[outputs, inputs]`, `down` `[rank, inputs]`, `up`
/// `[outputs, rank]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) rank: usize,
}

/// The numbers that do not change from row to row, wherever they lie: a layer's part is a view of its matrices.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) weight: &'a Frozen<'a>,
    pub(super) down: View<'a>,
    pub(super) up: View<'a>,
    pub(super) scale: f32,
}

/// `x W^T + bias + scale (x down^T) up^T` `[rows, outputs]`, and `x down^T` `[rows, rank]` for the backward.
pub(super) fn forward(sizes: Sizes, x: &[f32], weights: &Weights, bias: Option<&[f32]>) -> [Vec<f32>; 2] {
    let Sizes { rows, inputs, outputs, rank } = sizes;
    let Weights { weight, down, up, scale } = *weights;
    let mut y = pool::take(rows * outputs);
    let mut hidden = vec![0.0; rows * rank];
    multiply(&mut hidden, [rows, inputs, rank], 1.0, View::dense(x, inputs), down.transposed());
    // The bias is a row more of `up`, for a column of ones. After the product and not before, as without an adapter: one whose
    // `up` is zero changes no bit.
    let mut left = Vec::with_capacity(rows * (rank + 1));
    hidden.chunks_exact(rank.max(1)).for_each(|hidden| {
        left.extend(hidden.iter().map(|hidden| scale * hidden));
        left.push(1.0);
    });
    let mut right = Vec::with_capacity(outputs * (rank + 1));
    for output in 0..outputs {
        right.extend((0..rank).map(|r| up.data[output * up.row + r * up.column]));
        right.push(bias.map_or(0.0, |bias| bias[output]));
    }
    let depth = rank + 1;
    let added = Added { left: View::dense(&left, depth), right: View::dense(&right, depth).transposed(), depth };
    cpu_product::multiply(&mut y, x, weight, Way::Forward, Some(added));
    [y, hidden]
}

/// Gradients of x, down and up from that of y. Those not `wanted` are empty.
pub(super) fn backward(
    sizes: Sizes,
    x: &[f32],
    hidden: &[f32],
    weights: &Weights,
    gradient: &[f32],
    wanted: [bool; 3],
) -> [Vec<f32>; 3] {
    let Sizes { rows, inputs, outputs, rank } = sizes;
    let Weights { weight, down, up, scale } = *weights;
    let dy = View::dense(gradient, outputs);
    let mut d_hidden = vec![0.0; rows * rank];
    multiply(&mut d_hidden, [rows, outputs, rank], scale, dy, up);
    let d_hidden = View::dense(&d_hidden, rank);
    let [mut dx, mut d_down, mut d_up] = [const { Vec::new() }; 3];
    if wanted[0] {
        dx = pool::take(rows * inputs);
        let added = Added { left: d_hidden, right: down, depth: rank };
        cpu_product::multiply(&mut dx, gradient, weight, Way::Backward, Some(added));
    }
    if wanted[1] {
        d_down = vec![0.0; rank * inputs];
        multiply(&mut d_down, [rank, rows, inputs], 1.0, d_hidden.transposed(), View::dense(x, inputs));
    }
    if wanted[2] {
        d_up = vec![0.0; outputs * rank];
        multiply(&mut d_up, [outputs, rows, rank], scale, dy.transposed(), View::dense(hidden, rank));
    }
    [dx, d_down, d_up]
}

fn multiply(out: &mut [f32], [m, k, n]: [usize; 3], factor: f32, a: View, b: View) {
    product_into(out, n, [m, k, n], false, factor, a, b, threads([m, k, n]));
}
