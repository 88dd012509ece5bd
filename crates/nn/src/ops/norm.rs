//! Normalisations with statistics in f32, whatever the dtype of the activations.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::DType;

use super::one_pass::{Norm, OnePass as _, applies};

/// `x` `[b, c, h, w]`, `weight` and `bias` `[c]`. Wu and He 2018.
pub fn group_norm(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, groups: usize, epsilon: f64) -> Tensor<4> {
    if applies(&x) && !weight.is_tracked() && !bias.is_tracked() {
        return normalise(x, weight, bias, Norm::Group { groups, epsilon, silu: false });
    }
    let [b, c, h, w] = x.dims();
    let dtype = x.dtype();
    let normal = standardise(x.reshape([b, groups, c / groups * h * w]), epsilon);
    let affine = |t: Tensor<1>| t.cast(DType::F32).reshape([1, c, 1, 1]);
    (normal.reshape([b, c, h, w]) * affine(weight) + affine(bias)).cast(dtype)
}

/// [`group_norm`] and [`super::silu`].
pub fn group_norm_silu(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, groups: usize, epsilon: f64) -> Tensor<4> {
    if applies(&x) && !weight.is_tracked() && !bias.is_tracked() {
        return normalise(x, weight, bias, Norm::Group { groups, epsilon, silu: true });
    }
    super::silu(group_norm(x, weight, bias, groups, epsilon))
}

/// Over the last axis. `x` `[b, n, width]`, `weight` and `bias` `[width]`. Ba, Kiros and Hinton 2016.
pub fn layer_norm(x: Tensor<3>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<3> {
    if applies(&x) {
        return normalise(x, weight.unsqueeze::<3>(), bias.unsqueeze::<3>(), Norm::Layer { epsilon });
    }
    let dtype = x.dtype();
    let affine = |t: Tensor<1>| t.cast(DType::F32).unsqueeze::<3>();
    (standardise(x, epsilon) * affine(weight) + affine(bias)).cast(dtype)
}

/// Over the last axis without weights, then `(1 + scale) x + shift`, in f32 (adaLN of Peebles and Xie 2022).
/// `x` `[b, n, width]`, `scale` and `shift` `[b, 1, width]`.
pub fn modulated_layer_norm(x: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>, epsilon: f64) -> Tensor<3> {
    if applies(&x) {
        return normalise(x, scale.cast(DType::F32) + 1.0, shift.cast(DType::F32), Norm::Layer { epsilon });
    }
    let dtype = x.dtype();
    (standardise(x, epsilon) * (scale.cast(DType::F32) + 1.0) + shift.cast(DType::F32)).cast(dtype)
}

/// `weight x / sqrt(mean(x^2) + epsilon)` over the last axis. `weight` as long as that axis. Zhang and Sennrich 2019.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    if applies(&x) && !weight.is_tracked() {
        return normalise(x, weight.clone(), weight, Norm::Rms { epsilon });
    }
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    (x * (mean_square + epsilon).sqrt().recip() * weight.cast(DType::F32).unsqueeze::<D>()).cast(dtype)
}

fn normalise<const D: usize, const S: usize>(
    x: Tensor<D>,
    scale: Tensor<S>,
    shift: Tensor<S>,
    norm: Norm,
) -> Tensor<D> {
    let [scale, shift] = [scale, shift].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::normalised(x.into_dispatch(), scale, shift, norm))
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last axis, in f32.
fn standardise(x: Tensor<3>, epsilon: f64) -> Tensor<3> {
    let x = x.cast(DType::F32);
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    centred * (variance + epsilon).sqrt().recip()
}
