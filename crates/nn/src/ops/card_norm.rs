//! Normalisations on graphics cards.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::card_rows::{column_sum, own_row, row_start, row_sum, sigmoid};

/// Which number of scale and shift belongs to which of a row.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Affine {
    /// So many rows one after the other have the same numbers,
    pub(super) rows: usize,
    /// then come the next, so often, and it begins anew.
    pub(super) cycle: usize,
    /// Numbers of a row.
    pub(super) length: usize,
    /// So many numbers of the row side by side have the same.
    pub(super) run: usize,
}

#[cube]
impl Affine {
    fn first(&self, row: usize) -> usize {
        row / self.rows % self.cycle * self.length
    }

    fn of(&self, first: usize, column: usize, #[comptime] channels_last: bool) -> usize {
        if channels_last { first + column % self.length } else { first + column / self.run }
    }
}

/// What a normalisation does, known when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// Whether the mean is taken off and a shift added (all but RMS norm).
    pub(super) centred: bool,
    pub(super) silu: bool,
    /// A group's channels lie side by side, and the next pixel's `channels` numbers on.
    pub(super) channels_last: bool,
    /// Of the tensors; the rows lie along the last axis.
    pub(super) rank: usize,
    pub(super) lanes: usize,
}

/// y = act((x - mean) inv scale + shift), inv = 1 / sqrt(variance + epsilon), for each row of x; without `centred` as if the mean were 0.
#[cube(launch, address_type = "dynamic")]
pub(super) fn normalise<F: Float, S: Float>(
    x: &Tensor<F>,
    scale: &Tensor<S>,
    shift: &Tensor<S>,
    y: &mut Tensor<F>,
    rows: usize,
    width: usize,
    channels: usize,
    affine: Affine,
    epsilon: f32,
    #[comptime] kind: Kind,
    #[define(F, S)] _dtypes: [ElemType; 2],
) {
    let lanes = comptime!(kind.lanes);
    let row = own_row(lanes, rows);
    let x_first = first_of_row::<F>(x, row, affine.length, channels, width, kind);
    let y_first = first_of_row::<F>(&*y, row, affine.length, channels, width, kind);
    let (mean, inv) = statistics::<F>(x, x_first, width, affine.length, channels, epsilon, kind);
    let first = affine.first(row);
    let mut column = UNIT_POS_X as usize;
    while column < width {
        let place = offset(column, affine.length, channels, kind);
        let at = affine.of(first, column, kind.channels_last);
        let mut value = (f32::cast_from(x[x_first + place]) - mean) * inv * f32::cast_from(scale[at]);
        if comptime!(kind.centred) {
            value += f32::cast_from(shift[at]);
        }
        if comptime!(kind.silu) {
            value *= sigmoid(value);
        }
        y[y_first + place] = F::cast_from(value);
        column += lanes;
    }
}

/// With x' = (x - mean) inv and h = grad act' scale: dx = inv (h - mean(h) - x' mean(h x')), without `centred` inv (h - x' mean(h x')).
/// `rows_seen` `[rows, 2]` is given mean and inv.
#[cube(launch, address_type = "dynamic")]
pub(super) fn normalise_backward<F: Float, S: Float>(
    x: &Tensor<F>,
    scale: &Tensor<S>,
    shift: &Tensor<S>,
    grad: &Tensor<F>,
    dx: &mut Tensor<F>,
    rows_seen: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    channels: usize,
    affine: Affine,
    epsilon: f32,
    #[comptime] kind: Kind,
    #[define(F, S)] _dtypes: [ElemType; 2],
) {
    let lanes = comptime!(kind.lanes);
    let row = own_row(lanes, rows);
    let x_first = first_of_row::<F>(x, row, affine.length, channels, width, kind);
    let grad_first = first_of_row::<F>(grad, row, affine.length, channels, width, kind);
    let dx_first = first_of_row::<F>(&*dx, row, affine.length, channels, width, kind);
    let (mean, inv) = statistics::<F>(x, x_first, width, affine.length, channels, epsilon, kind);
    let first = affine.first(row);
    let lane = UNIT_POS_X as usize;

    let mut sum = 0f32;
    let mut product = 0f32;
    let mut column = lane;
    while column < width {
        let place = offset(column, affine.length, channels, kind);
        let at = affine.of(first, column, kind.channels_last);
        let normal = (f32::cast_from(x[x_first + place]) - mean) * inv;
        let h = before_affine::<S>(f32::cast_from(grad[grad_first + place]), normal, scale, shift, at, kind);
        sum += h;
        product += h * normal;
        column += lanes;
    }
    let product = row_sum(product, lanes) / f32::cast_from(width);
    let mut mean_of_h = 0f32;
    if comptime!(kind.centred) {
        mean_of_h = row_sum(sum, lanes) / f32::cast_from(width);
    }

    let mut column = lane;
    while column < width {
        let place = offset(column, affine.length, channels, kind);
        let at = affine.of(first, column, kind.channels_last);
        let normal = (f32::cast_from(x[x_first + place]) - mean) * inv;
        let h = before_affine::<S>(f32::cast_from(grad[grad_first + place]), normal, scale, shift, at, kind);
        dx[dx_first + place] = F::cast_from(inv * (h - mean_of_h - normal * product));
        column += lanes;
    }
    if lane == 0 {
        rows_seen[2 * row] = mean;
        rows_seen[2 * row + 1] = inv;
    }
}

/// The gradient in front of scale and shift, times the scale.
#[cube]
fn before_affine<S: Float>(
    grad: f32,
    normal: f32,
    scale: &Tensor<S>,
    shift: &Tensor<S>,
    at: usize,
    #[comptime] kind: Kind,
) -> f32 {
    let scale = f32::cast_from(scale[at]);
    let mut h = grad * scale;
    if comptime!(kind.silu) {
        let before = normal * scale + f32::cast_from(shift[at]);
        let s = sigmoid(before);
        h *= s * (1.0 + before * (1.0 - s));
    }
    h
}

/// Gradients of scale and shift of a layer norm, `[blocks, width]` each: sums of grad x' and of grad over the `per_block` rows of a block.
/// x and grad `[blocks * per_block, width]` in order, `rows_seen` as [`normalise_backward`] gives it. A cube has `lanes` columns
/// and goes down them with all its rows of units.
#[cube(launch, address_type = "dynamic")]
pub(super) fn affine_backward<F: Float, S: Float>(
    x: &Tensor<F>,
    grad: &Tensor<F>,
    rows_seen: &Tensor<f32>,
    d_scale: &mut Tensor<S>,
    d_shift: &mut Tensor<S>,
    per_block: usize,
    width: usize,
    #[comptime] lanes: usize,
    #[comptime] depth: usize,
    #[define(F, S)] _dtypes: [ElemType; 2],
) {
    let strips = width.div_ceil(lanes);
    let block = CUBE_POS / strips;
    let column = CUBE_POS % strips * lanes + UNIT_POS_X as usize;
    let inside = column < width && block * width < d_scale.len();
    let mut by_normal = 0f32;
    let mut plain = 0f32;
    if inside {
        let mut row = UNIT_POS_Y as usize;
        while row < per_block {
            let at = block * per_block + row;
            let g = f32::cast_from(grad[at * width + column]);
            by_normal += g * (f32::cast_from(x[at * width + column]) - rows_seen[2 * at]) * rows_seen[2 * at + 1];
            plain += g;
            row += depth;
        }
    }
    let by_normal = column_sum(by_normal, lanes, depth);
    let plain = column_sum(plain, lanes, depth);
    if inside && UNIT_POS_Y == 0 {
        d_scale[block * width + column] = S::cast_from(by_normal);
        d_shift[block * width + column] = S::cast_from(plain);
    }
}

/// Where a row begins.
#[cube]
fn first_of_row<F: Float>(
    x: &Tensor<F>,
    row: usize,
    length: usize,
    channels: usize,
    width: usize,
    #[comptime] kind: Kind,
) -> usize {
    if comptime!(kind.channels_last) {
        let groups = channels / length;
        row / groups * groups * width + row % groups * length
    } else {
        row_start::<F>(x, row, kind.rank)
    }
}

/// Of a number from the beginning of its row.
#[cube]
fn offset(column: usize, length: usize, channels: usize, #[comptime] kind: Kind) -> usize {
    if comptime!(kind.channels_last) { column / length * channels + column % length } else { column }
}

/// Mean and 1 / sqrt(variance + epsilon). In two passes: in one, the variance of numbers far from zero has no digits left.
#[cube]
fn statistics<F: Float>(
    x: &Tensor<F>,
    first: usize,
    width: usize,
    length: usize,
    channels: usize,
    epsilon: f32,
    #[comptime] kind: Kind,
) -> (f32, f32) {
    let lanes = comptime!(kind.lanes);
    let mut mean = 0f32;
    if comptime!(kind.centred) {
        let mut sum = 0f32;
        let mut column = UNIT_POS_X as usize;
        while column < width {
            sum += f32::cast_from(x[first + offset(column, length, channels, kind)]);
            column += lanes;
        }
        mean = row_sum(sum, lanes) / f32::cast_from(width);
    }
    let mut squares = 0f32;
    let mut column = UNIT_POS_X as usize;
    while column < width {
        let off = f32::cast_from(x[first + offset(column, length, channels, kind)]) - mean;
        squares += off * off;
        column += lanes;
    }
    let variance = row_sum(squares, lanes) / f32::cast_from(width);
    (mean, 1.0 / (variance + epsilon).sqrt())
}
