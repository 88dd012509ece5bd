//! Operations with a backward of their own, and compositions that keep their statistics in f32.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "ops/amx_none.rs"]
mod amx;
mod amx_product;
mod attention;
#[cfg(feature = "card")]
mod card;
#[cfg(feature = "card")]
mod card_attention;
#[cfg(feature = "card")]
mod card_flash;
#[cfg(feature = "card")]
mod card_norm;
#[cfg(feature = "card")]
mod card_pointwise;
#[cfg(feature = "card")]
mod card_rows;
#[cfg(feature = "card")]
mod card_softmax;
#[cfg(feature = "card")]
mod card_tiles;
mod conv;
mod cpu;
mod cpu_attention;
mod cpu_conv;
mod cpu_linear;
mod cpu_norm;
mod cpu_pointwise;
mod cpu_product;
mod extension;
mod gelu;
mod norm;
mod one_pass;
mod packed;
mod pool;
mod product;
mod rotary;
mod scratch;
mod vector;
mod winograd;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::activation::sigmoid;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};

use crate::{ConvGeometry, LowRank};
use cpu::CpuOps as _;
pub(crate) use cpu::on_cpu;
use extension::FrozenOps as _;
use gelu::Gelu;
pub use norm::{group_norm, group_norm_silu, layer_norm, modulated_layer_norm, rms_norm};
use one_pass::OnePass as _;
use packed::Bias;
pub(crate) use packed::{HostMatrix, Packed, Part, file_data, packed_linear};
pub(crate) use pool::clear as clear_pool;
pub use rotary::Rotary;
pub(crate) use vector::wide;

/// Scaled dot-product attention without a mask, `softmax(q k^T / sqrt(head_dim)) v`.
///
/// `q` `[b, heads, queries, head_dim]`, `k` and `v` `[b, heads, keys, head_dim]`. Its backward recomputes the scores, for a few rows
/// at a time, so no `[queries, keys]` matrix is kept (the scheme of Dao and others 2022).
pub fn sdpa(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::sdpa(q.into_dispatch(), k.into_dispatch(), v.into_dispatch()))
}

/// Convolution with a weight that is never trained: keeps no input and computes no weight gradient.
///
/// `x` `[b, in, h, w]`, `weight` `[out, in, k, k]`, `bias` `[out]`.
pub fn frozen_conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, geometry: ConvGeometry) -> Tensor<4> {
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], (&x.device().inner(), x.dtype())));
    let options = conv_options(geometry);
    Tensor::from_dispatch(Dispatch::frozen_conv2d(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        options,
    ))
}

/// Convolution whose weight is trained.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, geometry: ConvGeometry) -> Tensor<4> {
    burn::tensor::module::conv2d(x, weight, None, conv_options(geometry))
}

fn conv_options(geometry: ConvGeometry) -> ConvOptions<2> {
    let ConvGeometry { stride, padding } = geometry;
    ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1)
}

/// A linear layer with an adapter of low rank, in the fewest passes; for tensors of which [`on_cpu`] says so. `x` `[.., in]`, a
/// part `[out, in]` of `weight`, `bias` `[out]`.
pub(crate) fn adapted_linear<const D: usize>(
    x: Tensor<D>,
    weight: Packed<Dispatch>,
    part: Part,
    bias: Option<Tensor<1>>,
    adapter: LowRank,
) -> Tensor<D> {
    let LowRank { down, up, scale } = adapter;
    let [down, up] = [down, up].map(Tensor::into_dispatch);
    let (x, bias) = (x.into_dispatch(), Bias::new(bias));
    Tensor::from_dispatch(Dispatch::adapted_linear(x, weight, part, bias, down, up, scale))
}

/// `x * sigmoid(x)`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * sigmoid(x)
}

/// OpenAI CLIP's approximation, `x * sigmoid(1.702 x)`.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * sigmoid(x * 1.702)
}

/// The tanh approximation of GELU (Hendrycks and Gimpel 2016), `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`;
/// transformers' `gelu_new`. Computed in f32; its backward keeps nothing but x.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if on_cpu(&x) {
        return Tensor::from_dispatch(Dispatch::tanh_gelu(x.into_dispatch()));
    }
    Tensor::from_dispatch(Dispatch::gelu_of(x.into_dispatch(), Gelu::Tanh))
}

/// The exact GELU, `x / 2 (1 + erf(x / sqrt 2))`. Computed in f32; its backward keeps nothing but x.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_of(x.into_dispatch(), Gelu::Exact))
}

/// First half of the last axis times the exact GELU of the second (Shazeer 2020). `[b, n, 2 d]` → `[b, n, d]`.
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    if one_pass::applies(&x) {
        return Tensor::from_dispatch(Dispatch::gated(x.into_dispatch()));
    }
    let half = x.dims()[2] / 2;
    x.clone().narrow(2, 0, half) * gelu(x.narrow(2, half, half))
}

/// Each pixel becomes four. `[b, c, h, w]` → `[b, c, 2 h, 2 w]`.
pub fn upsample_nearest_2x(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    upsample_nearest(x, [2 * height, 2 * width])
}

/// To the given `[height, width]`.
pub fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [b, c, height, width] = x.dims();
    if size == [2 * height, 2 * width] {
        // Repeating along inserted axes has an exact and cheap backward: a sum.
        return x.reshape([b, c, height, 1, width, 1]).expand([b, c, height, 2, width, 2]).reshape([
            b,
            c,
            2 * height,
            2 * width,
        ]);
    }
    interpolate(x, InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size))
}
