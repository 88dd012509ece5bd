//! Operations that the CPU does in one pass, against their compositions and against finite differences.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use burn::Tensor;
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::linear;
use burn::tensor::{DType, Device};
use common::{close, finite_differences, gradients, random, values};
use lorikeet_nn::{Context, ConvGeometry, Deltas, Linear, Loader, LowRank, WeightSource, ops};

/// `(x - mean) / sqrt(variance + epsilon)` over the last axis.
fn standardise(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    centred * (variance + 1e-5).sqrt().recip()
}

/// Ours and its composition: outputs, gradients, and finite differences of ours.
#[track_caller]
fn same<const N: usize>(
    inputs: &[Tensor<4>; N],
    ours: impl Fn([Tensor<4>; N]) -> Tensor<4>,
    plain: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) {
    let weights = random(ours(inputs.clone()).dims(), 99);
    let (y, dx) = gradients(inputs, &weights, &ours);
    let (y_plain, dx_plain) = gradients(inputs, &weights, &plain);
    close(y, y_plain, 2e-6);
    for (found, expected) in dx.iter().zip(dx_plain) {
        close(found.clone(), expected, 5e-6);
    }
    finite_differences(inputs, &weights, &dx, ours);
}

fn vector(length: usize, seed: u64) -> Tensor<1> {
    random([1, 1, 1, length], seed).reshape([length])
}

#[test]
fn group_norm_with_and_without_silu() {
    // The last has groups of more numbers than are summed at once.
    for (shape, groups) in [([2, 6, 4, 5], 3), ([1, 4, 1, 1], 2), ([3, 32, 7, 3], 32), ([1, 4, 70, 61], 2)] {
        let [b, c, h, w] = shape;
        let x = [random(shape, 1) * 3.0 + 2.0];
        let (weight, bias) = (vector(c, 2), vector(c, 3));
        let plain = |[x]: [Tensor<4>; 1]| {
            let normal = standardise(x.reshape([b, groups, c / groups * h * w])).reshape(shape);
            normal * weight.clone().reshape([1, c, 1, 1]) + bias.clone().reshape([1, c, 1, 1])
        };
        // With one number in a group, all is zero and differences say nothing.
        same(&x, |[x]| ops::group_norm(x, weight.clone(), bias.clone(), groups, 1e-5), plain);
        let plain_silu = |x: [Tensor<4>; 1]| {
            let y = plain(x);
            y.clone() * sigmoid(y)
        };
        same(&x, |[x]| ops::group_norm_silu(x, weight.clone(), bias.clone(), groups, 1e-5), plain_silu);
    }
}

/// A mean far from zero costs no accuracy.
#[test]
fn group_norm_far_from_zero() {
    let x = random([1, 2, 40, 40], 1) + 1000.0;
    let (ones, zeros) = (Tensor::ones([2], &Device::flex()), Tensor::zeros([2], &Device::flex()));
    let y = values(ops::group_norm(x, ones, zeros, 2, 1e-5));
    for channel in y.chunks(1600) {
        let mean = channel.iter().sum::<f32>() / 1600.0;
        let variance = channel.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 1600.0;
        assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
}

#[test]
fn layer_norm_plain_and_modulated() {
    for [b, n, width] in [[2, 7, 6], [1, 1, 33], [3, 70, 320]] {
        let only = [random([1, b, n, width], 1) * 2.0 + 1.0];
        let [x] = only.clone();
        let (weight, bias) = (vector(width, 2), vector(width, 3));
        let rows = |x: Tensor<4>| x.reshape([b, n, width]);
        let back = |y: Tensor<3>| y.reshape([1, b, n, width]);
        same(
            &only,
            |[x]| back(ops::layer_norm(rows(x), weight.clone(), bias.clone(), 1e-5)),
            |[x]| back(standardise(rows(x)) * weight.clone().unsqueeze() + bias.clone().unsqueeze()),
        );
        let (shift, scale) = (random([1, b, 1, width], 4), random([1, b, 1, width], 5));
        let row = |t: Tensor<4>| t.reshape([b, 1, width]);
        same(
            &[x, shift.clone(), scale.clone()],
            |[x, shift, scale]| back(ops::modulated_layer_norm(rows(x), row(shift), row(scale), 1e-5)),
            |[x, shift, scale]| back(standardise(rows(x)) * (row(scale) + 1.0) + row(shift)),
        );
        // Only x wants a gradient.
        same(
            &only,
            |[x]| back(ops::modulated_layer_norm(rows(x), row(shift.clone()), row(scale.clone()), 1e-5)),
            |[x]| back(standardise(rows(x)) * (row(scale.clone()) + 1.0) + row(shift.clone())),
        );
    }
}

#[test]
fn rms_norm_of_heads_wherever_they_lie() {
    let weight = vector(8, 2);
    let plain = |x: Tensor<4>| {
        let mean = (x.clone() * x.clone()).mean_dim(3);
        x * (mean + 1e-6).sqrt().recip() * weight.clone().reshape([1, 1, 1, 8])
    };
    let ours = |x: Tensor<4>| ops::rms_norm(x, weight.clone(), 1e-6);
    let x = [random([2, 5, 3, 8], 1) * 2.0];
    same(&x, |[x]| ours(x), |[x]| plain(x));
    same(&x, |[x]| ours(x.swap_dims(1, 2)), |[x]| plain(x.swap_dims(1, 2)));
    same(&x, |[x]| ours(x.narrow(1, 1, 3)), |[x]| plain(x.narrow(1, 1, 3)));
}

#[test]
fn gated_gelu() {
    let x = [random([1, 2, 37, 2 * 19], 1) * 2.0];
    let rows = |x: Tensor<4>| x.reshape([2, 37, 38]);
    let back = |y: Tensor<3>| y.reshape([1, 2, 37, 19]);
    let plain = |[x]: [Tensor<4>; 1]| {
        let x = rows(x);
        back(x.clone().narrow(2, 0, 19) * gelu(x.narrow(2, 19, 19)))
    };
    same(&x, |[x]| back(ops::geglu(rows(x))), plain);
}

#[test]
fn rotary_embedding_and_its_backward() {
    let angles: Vec<f64> = (0..5 * 4).map(|i| 0.37 * f64::from(i)).collect();
    let rotary = ops::Rotary::new(&angles, 8, &Device::flex());
    let table = |f: fn(f64) -> f64| -> Tensor<5> {
        let values: Vec<f32> = angles.iter().map(|a| f(*a) as f32).collect();
        Tensor::<1>::from_floats(&values[..], &Device::flex()).reshape([1, 1, 5, 4, 1])
    };
    let (cos, sin) = (table(f64::cos), table(f64::sin));
    let plain = |[x]: [Tensor<4>; 1]| {
        let pairs = x.reshape([2, 3, 5, 4, 2]);
        let (a, b) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
        let turned = [a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos.clone() + a * sin.clone()];
        Tensor::cat(turned.into(), 4).reshape([2, 3, 5, 8])
    };
    same(&[random([2, 3, 5, 8], 1)], |[x]| rotary.turn(x), plain);
    same(&[random([2, 5, 3, 8], 1)], |[x]| rotary.turn(x.swap_dims(1, 2)), |[x]| plain([x.swap_dims(1, 2)]));
}

/// A linear layer's weights, made up.
struct Made {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl WeightSource for Made {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let outputs = self.bias.len();
        Some(if name == "bias" { vec![outputs] } else { vec![outputs, self.weight.len() / outputs] })
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        Ok(if name == "bias" { self.bias.clone() } else { self.weight.clone() })
    }
}

struct OneAdapter(LowRank);

impl Deltas for OneAdapter {
    fn low_rank(&self, _: &str, _: DType) -> Option<LowRank> {
        Some(self.0.clone())
    }

    fn linear(&self, _: &str, _: &Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    fn conv2d(&self, _: &str, _: &Tensor<4>, _: ConvGeometry) -> Option<Tensor<4>> {
        None
    }
}

#[test]
fn linear_with_an_adapter() {
    for ([rows, inputs, outputs, rank], bias) in
        [([5, 7, 6, 2], true), ([1, 3, 4, 1], false), ([70, 33, 65, 16], true), ([300, 160, 200, 4], true)]
    {
        let weight = random([1, 1, outputs, inputs], 1);
        let offset = if bias { vector(outputs, 2) } else { Tensor::zeros([outputs], &Device::flex()) };
        let source = Made { weight: values(weight.clone()), bias: values(offset.clone()) };
        let device = Device::flex();
        let layer = Linear::load(&Loader::new(&source, "test", &device, DType::F32), inputs, outputs, bias).unwrap();
        let inputs =
            [random([1, 2, rows, inputs], 3), random([1, 1, rank, inputs], 4), random([1, 1, outputs, rank], 5)];
        let matrix = |t: Tensor<4>| {
            let [_, _, rows, columns] = t.dims();
            t.reshape([rows, columns])
        };
        let ours = |[x, down, up]: [Tensor<4>; 3]| {
            let adapter = OneAdapter(LowRank { down: matrix(down), up: matrix(up), scale: 0.7 });
            layer.forward(&Context::with(&adapter), x)
        };
        let plain = |[x, down, up]: [Tensor<4>; 3]| {
            let base = linear(x.clone(), matrix(weight.clone()).transpose(), Some(offset.clone()));
            base + linear(linear(x, matrix(down).transpose(), None), matrix(up).transpose(), None) * 0.7
        };
        // One that was not trained yet changes no bit.
        let [x, down, up] = inputs.clone();
        let untrained = ours([x.clone(), down.clone(), up.clone() * 0.0]);
        assert_eq!(values(untrained), values(layer.forward(&Context::base(), x.clone())), "{rows} rows");
        same(&inputs, ours, plain);

        // In parts: each output has a weight in the sum, so that a part in the wrong place is seen.
        let (first, rest) = (outputs / 3, outputs - outputs / 3);
        let split = |[x, down, up]: [Tensor<4>; 3]| {
            let adapter = OneAdapter(LowRank { down: matrix(down), up: matrix(up), scale: 0.7 });
            Tensor::cat(layer.forward_split(&Context::with(&adapter), x, [first, rest]).into(), 3)
        };
        same(&inputs, split, plain);
        let width = x.dims()[3];
        let cut = |x: Tensor<4>| [x.clone().narrow(3, 0, width / 2), x.narrow(3, width / 2, width.div_ceil(2))];
        let joined = |[x, down, up]: [Tensor<4>; 3]| {
            let adapter = OneAdapter(LowRank { down: matrix(down), up: matrix(up), scale: 0.7 });
            layer.forward_joined(&Context::with(&adapter), cut(x))
        };
        same(&inputs, joined, plain);
        let untrained = joined([x.clone(), down, up * 0.0]);
        let base = layer.forward_joined(&Context::base(), cut(x));
        assert_eq!(values(untrained), values(base), "{rows} rows, joined");
    }
}
