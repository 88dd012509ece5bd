//! Every operation with a backward of its own against Burn's decomposed autodiff and against finite differences.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use burn::Tensor;
use burn::tensor::activation::{gelu_approximate, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_nn::{ConvGeometry, ops};
use lorikeet_seeded::{Purpose, Stream};

fn random(shape: [usize; 4], seed: u64) -> Tensor<4> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}

#[track_caller]
fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * largest.max(0.1), "number {i}: {f}, not {e}");
    }
}

fn leaf(t: &Tensor<4>) -> Tensor<4> {
    t.clone().autodiff().require_grad()
}

/// Gradients of `sum(f(inputs) * weights)`.
fn gradients<const N: usize>(
    inputs: &[Tensor<4>; N],
    weights: &Tensor<4>,
    f: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) -> (Tensor<4>, [Tensor<4>; N]) {
    let leaves = inputs.each_ref().map(leaf);
    let output = f(leaves.clone());
    let mut gradients = (output.clone() * weights.clone()).sum().backward();
    (output.without_autodiff(), leaves.map(|leaf| leaf.grad_remove(&mut gradients).unwrap()))
}

/// Central differences at some places of each input, in f32: coarse, but blind to how the gradient was derived.
fn finite_differences<const N: usize>(
    inputs: &[Tensor<4>; N],
    weights: &Tensor<4>,
    gradients: &[Tensor<4>; N],
    f: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) {
    let step = 1e-2f32;
    for n in 0..N {
        let shape = inputs[n].dims();
        let (start, gradient) = (values(inputs[n].clone()), values(gradients[n].clone()));
        for place in (0..start.len()).step_by(start.len() / 7 + 1) {
            let at = |offset: f32| {
                let mut moved = start.clone();
                moved[place] += offset;
                let mut inputs = inputs.clone();
                inputs[n] = Tensor::from_data(TensorData::new(moved, shape), (&Device::flex(), DType::F32));
                values((f(inputs) * weights.clone()).sum())[0]
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let scale = gradient.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(
                (slope - gradient[place]).abs() < 2e-2 * scale.max(0.1),
                "input {n}, number {place}: {} and {slope}",
                gradient[place]
            );
        }
    }
}

#[test]
fn attention_and_its_backward() {
    // (queries, keys, head size): self-attention, cross-attention, one key, a length that no tile divides.
    for (queries, keys, dim) in [(64, 64, 40), (36, 77, 16), (5, 1, 8), (130, 131, 64)] {
        let qkv = [random([2, 3, queries, dim], 1), random([2, 3, keys, dim], 2), random([2, 3, keys, dim], 3)];
        let weights = random([2, 3, queries, dim], 4);
        let ours = |[q, k, v]: [Tensor<4>; 3]| ops::sdpa(q, k, v);
        let plain = |[q, k, v]: [Tensor<4>; 3]| softmax(q.matmul(k.swap_dims(2, 3)) / (dim as f64).sqrt(), 3).matmul(v);
        let (y, dy) = gradients(&qkv, &weights, ours);
        let (y_plain, dy_plain) = gradients(&qkv, &weights, plain);
        close(y, y_plain, 1e-5);
        for (found, expected) in dy.iter().zip(dy_plain) {
            close(found.clone(), expected, 1e-5);
        }
        finite_differences(&qkv, &weights, &dy, ours);
    }
}

/// 2 x 3 heads x 2100 keys: more than one chunk of query rows in the backward.
#[test]
fn attention_in_chunks() {
    let qkv = [random([2, 3, 1400, 4], 1), random([2, 3, 2100, 4], 2), random([2, 3, 2100, 4], 3)];
    let weights = random([2, 3, 1400, 4], 4);
    let (y, dy) = gradients(&qkv, &weights, |[q, k, v]| ops::sdpa(q, k, v));
    let (y_plain, dy_plain) =
        gradients(&qkv, &weights, |[q, k, v]| softmax(q.matmul(k.swap_dims(2, 3)) / 2.0, 3).matmul(v));
    close(y, y_plain, 1e-5);
    for (found, expected) in dy.into_iter().zip(dy_plain) {
        close(found, expected, 2e-5);
    }
}

#[test]
fn attention_with_only_some_inputs_tracked() {
    let [q, k, v] = [random([1, 2, 9, 8], 1), random([1, 2, 7, 8], 2), random([1, 2, 7, 8], 3)];
    let only_k = leaf(&k);
    let mut one = ops::sdpa(q.clone(), only_k.clone(), v.clone()).sum().backward();
    let (_, all) = gradients(&[q, k, v], &Tensor::ones([1, 2, 9, 8], &Device::flex()), |[q, k, v]| ops::sdpa(q, k, v));
    close(only_k.grad_remove(&mut one).unwrap(), all[1].clone(), 1e-6);
}

#[test]
fn frozen_convolution_and_its_backward() {
    // (kernel, stride, padding, [batch, in, out, height, width]): every way of the CPU, and sizes that no tile divides.
    for (kernel, stride, padding, [b, inputs, outputs, height, width]) in [
        (3, 1, 1, [2, 6, 4, 9, 12]),
        (3, 2, 1, [2, 6, 4, 8, 10]),
        (3, 2, 1, [1, 3, 5, 7, 9]),
        (3, 2, 0, [2, 6, 4, 9, 11]),
        (3, 3, 2, [1, 2, 3, 8, 6]),
        (1, 1, 0, [2, 6, 4, 6, 5]),
        (1, 2, 0, [2, 6, 4, 6, 5]),
        (5, 1, 2, [1, 2, 3, 7, 6]),
        (3, 1, 1, [1, 3, 70, 20, 21]),
        (3, 1, 1, [1, 64, 80, 37, 21]),
        (3, 1, 0, [1, 70, 66, 30, 31]),
        (3, 1, 1, [3, 64, 65, 7, 6]),
        (3, 1, 1, [1, 65, 64, 5, 6]),
        (3, 2, 1, [1, 64, 64, 17, 18]),
    ] {
        let x = [random([b, inputs, height, width], 1)];
        let weight = random([outputs, inputs, kernel, kernel], 2) / (inputs as f64).sqrt();
        let bias: Tensor<1> = random([1, 1, 1, outputs], 3).reshape([outputs]);
        let ours = |[x]: [Tensor<4>; 1]| {
            ops::frozen_conv2d(x, weight.clone(), Some(bias.clone()), ConvGeometry { stride, padding })
        };
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let plain = |[x]: [Tensor<4>; 1]| conv2d(x, weight.clone(), Some(bias.clone()), options.clone());
        let weights = random(ours(x.clone()).dims(), 4);
        let (y, dx) = gradients(&x, &weights, ours);
        let (y_plain, dx_plain) = gradients(&x, &weights, plain);
        close(y, y_plain, 1e-5);
        close(dx[0].clone(), dx_plain[0].clone(), 1e-5);
        finite_differences(&x, &weights, &dx, ours);
    }
}

#[test]
fn tanh_gelu_and_its_backward() {
    let x = [random([2, 3, 5, 7], 1) * 3.0];
    let weights = random([2, 3, 5, 7], 2);
    let ours = |[x]: [Tensor<4>; 1]| ops::gelu_tanh(x);
    let (y, dx) = gradients(&x, &weights, ours);
    let (y_plain, dx_plain) = gradients(&x, &weights, |[x]| gelu_approximate(x));
    close(y, y_plain, 1e-6);
    close(dx[0].clone(), dx_plain[0].clone(), 1e-6);
    finite_differences(&x, &weights, &dx, ours);
}

#[test]
fn rotary_embedding_turns_pairs() {
    // Quarter turns of one pair and a half turn of the other, at the second of two places.
    let quarter = std::f64::consts::FRAC_PI_2;
    let rotary = ops::Rotary::new(&[0.0, 0.0, quarter, 2.0 * quarter], 4, &Device::flex());
    let x = Tensor::from_data(TensorData::from([[[[1.0f32, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]]]), &Device::flex());
    let turned =
        Tensor::from_data(TensorData::from([[[[1.0f32, 2.0, 3.0, 4.0], [-2.0, 1.0, -3.0, -4.0]]]]), &Device::flex());
    close(rotary.turn(x), turned, 1e-6);
}

#[test]
fn norms_and_their_backward() {
    let x = [random([2, 6, 4, 5], 1) * 3.0 + 2.0];
    let (weight, bias): (Tensor<1>, Tensor<1>) =
        (random([1, 1, 1, 6], 2).reshape([6]), random([1, 1, 1, 6], 3).reshape([6]));
    let group = |[x]: [Tensor<4>; 1]| ops::group_norm(x, weight.clone(), bias.clone(), 3, 1e-5);
    let weights = random([2, 6, 4, 5], 4);
    let (y, dx) = gradients(&x, &weights, group);
    finite_differences(&x, &weights, &dx, group);
    // Without scale and shift every group has mean 0 and variance 1.
    let plain =
        ops::group_norm(x[0].clone(), Tensor::ones([6], &Device::flex()), Tensor::zeros([6], &Device::flex()), 3, 1e-5);
    for group in values(plain).chunks(2 * 20) {
        let mean = group.iter().sum::<f32>() / 40.0;
        let variance = group.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 40.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
    assert_eq!(y.dims(), [2, 6, 4, 5]);

    let rows = [random([1, 2, 7, 6], 5)];
    let layer = |[x]: [Tensor<4>; 1]| {
        let y = ops::layer_norm(x.reshape([2, 7, 6]), weight.clone(), bias.clone(), 1e-5);
        y.reshape([1, 2, 7, 6])
    };
    let weights = random([1, 2, 7, 6], 6);
    let (_, dx) = gradients(&rows, &weights, layer);
    finite_differences(&rows, &weights, &dx, layer);
}

#[test]
fn upsampling_repeats_pixels() {
    let x = random([1, 2, 3, 2], 1);
    for (size, ours) in
        [([6, 4], ops::upsample_nearest_2x(x.clone())), ([5, 3], ops::upsample_nearest(x.clone(), [5, 3]))]
    {
        let (found, source) = (values(ours), values(x.clone()));
        for c in 0..2 {
            for row in 0..size[0] {
                for column in 0..size[1] {
                    let expected = source[(c * 3 + row * 3 / size[0]) * 2 + column * 2 / size[1]];
                    assert_eq!(found[(c * size[0] + row) * size[1] + column], expected, "{size:?} {row} {column}");
                }
            }
        }
    }
}
