//! Loops over rows of numbers, compiled for the widest vectors of the processor it runs on.

use pulp::{Arch, NullaryFnOnce};

/// Numbers worked on side by side; sums and maxima are kept for each place apart, so that their order is fixed and the
/// compiler may use vectors of any width up to it.
pub(super) const LANES: usize = 16;

/// Runs `f`, compiled for the widest vectors of the processor, if its closure says `#[inline(always)]`.
///
/// Handed to pulp as it is, a closure that could run twice is called through a shim, which the compiler may leave as a
/// function of its own: then its loops have the narrow vectors that every processor has.
#[inline(always)]
pub(crate) fn wide<R>(f: impl FnMut() -> R) -> R {
    struct Body<F>(F);

    impl<R, F: FnMut() -> R> NullaryFnOnce for Body<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }

    Arch::new().dispatch(Body(f))
}

/// Largest number of a row; minus infinity for an empty one. NaN counts as smaller than any number.
pub(super) fn max_of(row: &[f32]) -> f32 {
    wide(
        #[inline(always)]
        || {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            let (chunks, rest) = row.as_chunks::<LANES>();
            for chunk in chunks {
                for (lane, x) in lanes.iter_mut().zip(chunk) {
                    *lane = if *x > *lane { *x } else { *lane };
                }
            }
            rest.iter().chain(&lanes).copied().fold(f32::NEG_INFINITY, f32::max)
        },
    )
}

/// Replaces each x by `e^(x - shift)` and returns their sum.
pub(super) fn exp_row(row: &mut [f32], shift: f32) -> f32 {
    wide(
        #[inline(always)]
        || {
            let mut lanes = [0.0f32; LANES];
            let (chunks, rest) = row.as_chunks_mut::<LANES>();
            for chunk in chunks {
                for (lane, x) in lanes.iter_mut().zip(chunk) {
                    *x = exp(*x - shift);
                    *lane += *x;
                }
            }
            let mut sum = 0.0;
            for x in rest {
                *x = exp(*x - shift);
                sum += *x;
            }
            sum + lanes.iter().sum::<f32>()
        },
    )
}

pub(super) fn scale(row: &mut [f32], factor: f32) {
    wide(
        #[inline(always)]
        || row.iter_mut().for_each(|x| *x *= factor),
    );
}

/// Replaces each x by `(x - less) times`.
pub(super) fn less_times(row: &mut [f32], times: &[f32], less: f32) {
    wide(
        #[inline(always)]
        || row.iter_mut().zip(times).for_each(|(x, times)| *x = (*x - less) * times),
    );
}

/// `e^x` within 2 units in the last place for -87 <= x <= 88; below, nearly 0; NaN stays NaN. Without branches or calls, so
/// that loops over it become vector code.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // e^x = 2^n e^r with n whole and |r| <= ln 2 / 2. Adding and taking away 1.5 2^23 rounds to whole numbers, and leaves n
    // in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts (Cody and Waite 1980): n times the first is exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut power = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * r + coefficient;
    }
    power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// `1 / (1 + e^-x)`, by [`exp`].
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    // Beyond 87 the exponential is not exact, and the result 1 in any case.
    1.0 / (1.0 + exp(if x < -87.0 { 87.0 } else { -x }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_exact_to_a_few_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in 0..200_000 {
            let x = -87.0 + 175.0 * (step as f32 / 200_000.0);
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact / f64::from(f32::EPSILON));
        }
        assert!(worst < 2.0, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(-1e30) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_of_any_length() {
        for length in [0, 1, 15, 16, 17, 77] {
            let row: Vec<f32> = (0..length).map(|i| ((i * 7) % 13) as f32 - 5.0).collect();
            let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max_of(&row), high);
            let mut exps = row.clone();
            let sum = exp_row(&mut exps, 1.0);
            let expected: f32 = row.iter().map(|x| (x - 1.0).exp()).sum();
            assert!((sum - expected).abs() <= 1e-5 * expected, "{length}: {sum} {expected}");
        }
    }
}
