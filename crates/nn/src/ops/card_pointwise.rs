//! GEGLU and rotary embedding on graphics cards.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::card_rows::row_start;

/// `[rows, 2 width]` → `[rows, width]`, x[.., ..width] gelu(x[.., width..]) with the exact GELU.
#[cube(launch, address_type = "dynamic")]
pub(super) fn geglu<F: Float>(x: &Tensor<F>, y: &mut Tensor<F>, width: usize, #[define(F)] _dtype: ElemType) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let first = ABSOLUTE_POS / width * 2 * width + ABSOLUTE_POS % width;
    let gate = f32::cast_from(x[first + width]);
    y[ABSOLUTE_POS] = F::cast_from(f32::cast_from(x[first]) * gate * normal_cdf(gate));
}

/// gelu'(u) = cdf(u) + u pdf(u).
#[cube(launch, address_type = "dynamic")]
pub(super) fn geglu_backward<F: Float>(
    x: &Tensor<F>,
    grad: &Tensor<F>,
    dx: &mut Tensor<F>,
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= grad.len() {
        terminate!();
    }
    let first = ABSOLUTE_POS / width * 2 * width + ABSOLUTE_POS % width;
    let grad = f32::cast_from(grad[ABSOLUTE_POS]);
    let (value, gate) = (f32::cast_from(x[first]), f32::cast_from(x[first + width]));
    let cdf = normal_cdf(gate);
    // 1 / sqrt(2 pi).
    let pdf = (gate * gate * -0.5f32).exp() * 0.398_942_3f32;
    dx[first] = F::cast_from(grad * gate * cdf);
    dx[first + width] = F::cast_from(grad * value * (cdf + gate * pdf));
}

#[cube]
fn normal_cdf(x: f32) -> f32 {
    0.5f32 + 0.5f32 * Erf::erf(x * core::f32::consts::FRAC_1_SQRT_2)
}

/// x `[b, heads, n, head_dim]`, cosines and sines `[n, head_dim]`: each number times its cosine, and the other of its pair times
/// its sine and `sign`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn turn<F: Float>(
    x: &Tensor<F>,
    cosines: &Tensor<f32>,
    sines: &Tensor<f32>,
    y: &mut Tensor<F>,
    sign: f32,
    #[define(F)] _dtype: ElemType,
) {
    if 2 * ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let (n, head_dim) = (x.shape(2), x.shape(3));
    let pairs = head_dim / 2;
    let (row, column) = (ABSOLUTE_POS / pairs, ABSOLUTE_POS % pairs * 2);
    let table = row % n * head_dim + column;
    let from = row_start::<F>(x, row, comptime!(4usize)) + column * x.stride(3);
    let (a, b) = (f32::cast_from(x[from]), f32::cast_from(x[from + x.stride(3)]));
    y[2 * ABSOLUTE_POS] = F::cast_from(a * cosines[table] + b * sines[table] * sign);
    y[2 * ABSOLUTE_POS + 1] = F::cast_from(b * cosines[table + 1] + a * sines[table + 1] * sign);
}
