//! Gates and turns on the CPU, one pass each way.

use rayon::prelude::*;

use super::pool;
use super::vector::{exp, sigmoid, wide};

/// Numbers of one task.
const TASK: usize = 1 << 14;

/// First half of each row of `2 width` numbers times the exact GELU of the second (Shazeer 2020).
pub(super) fn geglu(x: &[f32], width: usize) -> Vec<f32> {
    let mut y = pool::take(x.len() / 2);
    let rows = (TASK / width).max(1);
    y.par_chunks_mut(rows * width).zip(x.par_chunks(2 * rows * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
            let (value, gate) = x.split_at(width);
            wide(
                #[inline(always)]
                || y.iter_mut().zip(value).zip(gate).for_each(|((y, value), gate)| *y = value * gate * normal(*gate)),
            );
        }
    });
    y
}

/// The gradient of x; that of GELU is `normal(g) + g density(g)`.
pub(super) fn geglu_backward(x: &[f32], width: usize, dy: &[f32]) -> Vec<f32> {
    let mut dx = pool::take(x.len());
    let rows = (TASK / width).max(1);
    let tasks = dx.par_chunks_mut(2 * rows * width).zip(x.par_chunks(2 * rows * width));
    tasks.zip(dy.par_chunks(rows * width)).for_each(|((dx, x), dy)| {
        let lines = dx.chunks_exact_mut(2 * width).zip(x.chunks_exact(2 * width)).zip(dy.chunks_exact(width));
        for ((dx, x), dy) in lines {
            let ((value, gate), (d_value, d_gate)) = (x.split_at(width), dx.split_at_mut(width));
            wide(
                #[inline(always)]
                || {
                    let sides = d_value.iter_mut().zip(&mut *d_gate).zip(value).zip(gate).zip(dy);
                    for ((((d_value, d_gate), value), gate), dy) in sides {
                        let below = normal(*gate);
                        let density = exp(-0.5 * gate * gate) * 0.398_942_3;
                        *d_value = dy * gate * below;
                        *d_gate = dy * value * (below + gate * density);
                    }
                },
            );
        }
    });
    dx
}

/// The tanh approximation of GELU, `x / 2 (1 + tanh(u)) = x sigmoid(2 u)`, `u = k (x + c x^3)`.
pub(super) fn gelu_tanh(x: &[f32]) -> Vec<f32> {
    let mut y = pool::take(x.len());
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        wide(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, x)| *y = x * sigmoid(2.0 * K * x * (1.0 + CUBIC * x * x))),
        );
    });
    y
}

/// With s = sigmoid(2 u) the derivative is `s + 2 x s (1 - s) u'`, `u' = k (1 + 3 c x^2)`.
pub(super) fn gelu_tanh_backward(x: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dx = pool::take(x.len());
    dx.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).zip(dy.par_chunks(TASK)).for_each(|((dx, x), dy)| {
        wide(
            #[inline(always)]
            || {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    let s = sigmoid(2.0 * K * x * (1.0 + CUBIC * x * x));
                    *dx = dy * (s + 2.0 * x * s * (1.0 - s) * K * (1.0 + 3.0 * CUBIC * x * x));
                }
            },
        );
    });
    dx
}

/// k = sqrt(2 / pi) and c of Hendrycks and Gimpel 2016.
const K: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `x cosines + swapped(x) sines`, the numbers of each pair changing places; for heads that follow each other, each as
/// long as the tables. If `back`, the turn the other way: the backward.
pub(super) fn turn(x: &[f32], cosines: &[f32], sines: &[f32], back: bool) -> Vec<f32> {
    let mut y = pool::take(x.len());
    let head = cosines.len();
    let sign = if back { -1.0 } else { 1.0 };
    y.par_chunks_mut(head).zip(x.par_chunks(head)).for_each(|(y, x)| {
        wide(
            #[inline(always)]
            || {
                let pairs = y.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
                let angles = cosines.as_chunks::<2>().0.iter().zip(sines.as_chunks::<2>().0);
                for ((y, x), (cosines, sines)) in pairs.zip(angles) {
                    y[0] = x[0] * cosines[0] + sign * x[1] * sines[0];
                    y[1] = x[1] * cosines[1] + sign * x[0] * sines[1];
                }
            },
        );
    });
    y
}

/// The share of the normal distribution below x: `(1 + erf(x / sqrt 2)) / 2`. erf is x times a ratio of polynomials in
/// x^2, as in Eigen's `generic_fast_erf_float`; within 3e-7.
#[inline(always)]
fn normal(x: f32) -> f32 {
    let x = x * std::f32::consts::FRAC_1_SQRT_2;
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let square = x * x;
    let mut above = -2.726_142_3e-10;
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        above = above * square + c;
    }
    let mut below = -1.456_607_2e-5;
    for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2] {
        below = below * square + c;
    }
    0.5 + 0.5 * x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_distribution() {
        // By Simpson's rule from 0, in f64.
        let exact = |x: f64| {
            let n = 2000;
            let h = x / n as f64;
            let f = |i: usize| (-0.5 * (h * i as f64).powi(2)).exp();
            let sum: f64 = (1..n).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
            0.5 + (f(0) + sum + f(n)) * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
        };
        for step in -120..=120 {
            let x = step as f32 / 20.0;
            assert!((f64::from(normal(x)) - exact(f64::from(x))).abs() < 3e-7, "{x}: {}", normal(x));
        }
        assert!(normal(f32::NAN).is_nan());
    }
}
