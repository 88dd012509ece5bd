//! GELU (Hendrycks and Gimpel 2016) on backend primitives, in f32 whatever the dtype. Burn's own backward of the exact one is that of
//! the approximation, 4e-4 off.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata as _};
use burn::tensor::FloatDType;

#[derive(Clone, Copy, Debug)]
pub(super) enum Gelu {
    /// `x / 2 (1 + erf(x / sqrt 2))`.
    Exact,
    /// `x / 2 (1 + tanh(k (x + c x^3)))`, k = sqrt(2 / pi), c = 0.044715.
    Tanh,
}

const CUBIC: f64 = 0.044715;

pub(super) fn forward<B: Backend>(x: FloatTensor<B>, kind: Gelu) -> FloatTensor<B> {
    let dtype = x.dtype().into();
    let x = B::float_cast(x, FloatDType::F32);
    let gate = plus_one::<B>(odd_part::<B>(x.clone(), kind));
    B::float_cast(B::float_mul(B::float_mul_scalar(x, 0.5.into()), gate), dtype)
}

/// With t = [`odd_part`] the derivative is `(1 + t + x t') / 2`.
pub(super) fn backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>, kind: Gelu) -> FloatTensor<B> {
    let dtype = grad.dtype().into();
    let x = B::float_cast(x, FloatDType::F32);
    let t = odd_part::<B>(x.clone(), kind);
    let square = B::float_mul(x.clone(), x.clone());
    let slope = match kind {
        // sqrt(2 / pi) e^(-x^2 / 2).
        Gelu::Exact => B::float_exp(B::float_mul_scalar(square, (-0.5).into())),
        // k (1 - t^2) (1 + 3 c x^2).
        Gelu::Tanh => {
            let inner = plus_one::<B>(B::float_mul_scalar(square, (3.0 * CUBIC).into()));
            B::float_mul(plus_one::<B>(B::float_neg(B::float_mul(t.clone(), t.clone()))), inner)
        }
    };
    let second = B::float_mul(B::float_mul_scalar(x, scale().into()), slope);
    let derivative = B::float_mul_scalar(plus_one::<B>(B::float_add(t, second)), 0.5.into());
    B::float_cast(B::float_mul(B::float_cast(grad, FloatDType::F32), derivative), dtype)
}

/// erf or tanh of the definitions.
fn odd_part<B: Backend>(x: FloatTensor<B>, kind: Gelu) -> FloatTensor<B> {
    match kind {
        Gelu::Exact => B::float_erf(B::float_mul_scalar(x, std::f64::consts::FRAC_1_SQRT_2.into())),
        Gelu::Tanh => {
            let square = B::float_mul(x.clone(), x.clone());
            let factor = plus_one::<B>(B::float_mul_scalar(square, CUBIC.into()));
            B::float_tanh(B::float_mul_scalar(B::float_mul(x, factor), scale().into()))
        }
    }
}

fn plus_one<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add_scalar(x, 1.0.into())
}

/// sqrt(2 / pi), of both.
fn scale() -> f64 {
    std::f64::consts::FRAC_2_PI.sqrt()
}
