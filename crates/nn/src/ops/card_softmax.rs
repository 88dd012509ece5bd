//! Softmax on graphics cards, and the gradient that an attention's backward needs of it.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::card_rows::{most_of_row, own_row, row_sum};

/// p = softmax(factor s) along each row; s `[rows, width]`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn softmax<F: Float>(
    s: &Tensor<f32>,
    p: &mut Tensor<F>,
    rows: usize,
    width: usize,
    factor: f32,
    #[comptime] lanes: usize,
    #[define(F)] _dtype: ElemType,
) {
    let first = own_row(lanes, rows) * width;
    let lane = UNIT_POS_X as usize;
    let most = most_of_row(s, first, width, factor, lanes);
    let mut sum = 0f32;
    let mut column = lane;
    while column < width {
        sum += (s[first + column] * factor - most).exp();
        column += lanes;
    }
    let sum = row_sum(sum, lanes);
    let mut column = lane;
    while column < width {
        p[first + column] = F::cast_from((s[first + column] * factor - most).exp() / sum);
        column += lanes;
    }
}

/// p as [`softmax`] gives it, and the gradient of s from that of p: ds = factor p (dp - sum(p dp)), in which sum(p dp) is the rowsum(dO O)
/// of Dao and others 2022.
#[cube(launch, address_type = "dynamic")]
pub(super) fn softmax_backward<F: Float>(
    s: &Tensor<f32>,
    dp: &Tensor<f32>,
    p: &mut Tensor<F>,
    ds: &mut Tensor<F>,
    rows: usize,
    width: usize,
    factor: f32,
    #[comptime] lanes: usize,
    #[define(F)] _dtype: ElemType,
) {
    let first = own_row(lanes, rows) * width;
    let lane = UNIT_POS_X as usize;
    let most = most_of_row(s, first, width, factor, lanes);
    let mut sum = 0f32;
    let mut product = 0f32;
    let mut column = lane;
    while column < width {
        let e = (s[first + column] * factor - most).exp();
        sum += e;
        product += e * dp[first + column];
        column += lanes;
    }
    let sum = row_sum(sum, lanes);
    let product = row_sum(product, lanes) / sum;
    let mut column = lane;
    while column < width {
        let share = (s[first + column] * factor - most).exp() / sum;
        p[first + column] = F::cast_from(share);
        ds[first + column] = F::cast_from(factor * share * (dp[first + column] - product));
        column += lanes;
    }
}
