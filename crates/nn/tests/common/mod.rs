//! Numbers to test with, and what counts as equal.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part and may fail by panicking")]

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_seeded::{Purpose, Stream};

pub(crate) fn random(shape: [usize; 4], seed: u64) -> Tensor<4> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

pub(crate) fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}

#[track_caller]
pub(crate) fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * largest.max(0.1), "number {i}: {f}, not {e}");
    }
}

pub(crate) fn leaf(t: &Tensor<4>) -> Tensor<4> {
    t.clone().autodiff().require_grad()
}

/// Gradients of `sum(f(inputs) * weights)`.
pub(crate) fn gradients<const N: usize>(
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
pub(crate) fn finite_differences<const N: usize>(
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
