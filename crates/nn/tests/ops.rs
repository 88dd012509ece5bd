//! Every operation with a backward of its own against Burn's decomposed autodiff and against finite differences.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use burn::Tensor;
use burn::tensor::activation::{gelu_approximate, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, TensorData};
use common::{close, finite_differences, gradients, leaf, random, values};
use lorikeet_nn::{ConvGeometry, ops};

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
fn exact_gelu_and_its_backward() {
    let x = [random([2, 3, 5, 7], 1) * 3.0];
    let weights = random([2, 3, 5, 7], 2);
    let ours = |[x]: [Tensor<4>; 1]| ops::gelu(x);
    // Burn's erf has the derivative that belongs to it, unlike Burn's GELU on cards.
    let plain = |[x]: [Tensor<4>; 1]| x.clone() * 0.5 * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0);
    let (y, dx) = gradients(&x, &weights, ours);
    let (y_plain, dx_plain) = gradients(&x, &weights, plain);
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
