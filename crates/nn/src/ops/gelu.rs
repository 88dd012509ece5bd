//! The tanh approximation of GELU on backend primitives, in f32 whatever the dtype.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata as _};
use burn::tensor::FloatDType;

const CUBIC: f64 = 0.044715;

/// `x / 2 (1 + t)`.
pub(super) fn forward<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = x.dtype().into();
    let x = B::float_cast(x, FloatDType::F32);
    let gate = B::float_add_scalar(inner_tanh::<B>(x.clone()), 1.0.into());
    B::float_cast(B::float_mul(B::float_mul_scalar(x, 0.5.into()), gate), dtype)
}

/// The derivative is `(1 + t + k x (1 - t^2) (1 + 3 c x^2)) / 2`, with k and c as in [`inner_tanh`].
pub(super) fn backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = grad.dtype().into();
    let x = B::float_cast(x, FloatDType::F32);
    let t = inner_tanh::<B>(x.clone());
    let plus_one = |t| B::float_add_scalar(t, 1.0.into());
    let square = B::float_mul(x.clone(), x.clone());
    let inner = plus_one(B::float_mul_scalar(square, (3.0 * CUBIC).into()));
    let slope = plus_one(B::float_neg(B::float_mul(t.clone(), t.clone())));
    let second = B::float_mul(B::float_mul(B::float_mul_scalar(x, scale().into()), slope), inner);
    let derivative = B::float_mul_scalar(plus_one(B::float_add(t, second)), 0.5.into());
    B::float_cast(B::float_mul(B::float_cast(grad, FloatDType::F32), derivative), dtype)
}

/// t = `tanh(k (x + c x^3))`, k = sqrt(2 / pi), c = 0.044715.
fn inner_tanh<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let factor = B::float_add_scalar(B::float_mul_scalar(square, CUBIC.into()), 1.0.into());
    B::float_tanh(B::float_mul_scalar(B::float_mul(x, factor), scale().into()))
}

fn scale() -> f64 {
    std::f64::consts::FRAC_2_PI.sqrt()
}
