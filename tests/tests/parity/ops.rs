//! Each operation that a card has kernels of its own for, against the CPU: output and gradients, in every dtype that the device knows.

use burn::Tensor;
use burn::tensor::{DType, Device, FloatDType, TensorData};
use lorikeet_nn::ops::{self, Rotary};
use lorikeet_seeded::{Purpose, Stream};

use super::fixture::{device, dry, report, tensor_float};

/// Of f32, f16 and bf16, what may be wrong beside the largest number.
const DTYPES: [(DType, FloatDType, f64); 3] =
    [(DType::F32, FloatDType::F32, 5e-6), (DType::F16, FloatDType::F16, 2e-3), (DType::BF16, FloatDType::BF16, 1.6e-2)];

type Case<'a> = (&'a str, Vec<[usize; 4]>, Box<dyn Fn(&[Tensor<4>]) -> Tensor<4> + 'a>);

#[test]
fn operations_of_a_card_are_those_of_the_cpu() {
    compare(cases());
}

#[test]
fn attention_of_a_card_is_that_of_the_cpu() {
    compare(attentions());
}

fn compare(cases: Vec<Case>) {
    let (card, cpu) = (device(), Device::flex());
    if card == cpu {
        println!("skipped: LORIKEET_TEST_DEVICE names no card");
        return;
    }
    for (name, shapes, op) in cases {
        for (dtype, float, bound) in DTYPES {
            if !card.supports_dtype(float) {
                println!("skipped: {name} in {dtype:?}, which the device does not know");
                continue;
            }
            // The same numbers on both, so that what is compared is the arithmetic.
            let inputs: Vec<_> =
                shapes.iter().zip(1..).map(|(shape, seed)| random(*shape, seed, dtype, &cpu)).collect();
            let expected = gradients(&inputs, &op);
            let moved: Vec<_> = inputs.iter().map(|t| t.clone().to_device(&card).cast(dtype)).collect();
            let found = gradients(&moved, &op);
            let parts = std::iter::once("output".to_owned()).chain((0..).map(|i| format!("d input {i}")));
            for ((part, found), expected) in parts.zip(found).zip(expected) {
                let error = apart(found, expected);
                report(&format!("{name}, {dtype:?}, {part}"), error);
                let products = name == "attention" && dtype == DType::F32;
                let bound = if products { tensor_float().max(bound) } else { bound };
                assert!(error < bound || dry(), "{name}, {dtype:?}, {part}: {error:e}");
            }
        }
    }
}

fn cases() -> Vec<Case<'static>> {
    let vector = |t: &Tensor<4>| t.clone().without_autodiff().flatten::<1>(0, 3);
    let rows = |t: &Tensor<4>| t.clone().flatten::<3>(0, 1);
    let four = |t: Tensor<3>| t.unsqueeze_dim::<4>(0);
    let mut cases: Vec<Case> = Vec::new();
    for (shape, groups) in [([2, 6, 4, 5], 3), ([1, 128, 1, 1], 32), ([1, 64, 19, 33], 32), ([2, 4, 70, 61], 2)] {
        let channels = [1, 1, 1, shape[1]];
        let plain = move |t: &[Tensor<4>]| ops::group_norm(t[0].clone(), vector(&t[1]), vector(&t[2]), groups, 1e-5);
        cases.push(("group norm", vec![shape, channels, channels], Box::new(plain)));
        let [b, c, h, w] = shape;
        let last = move |t: &[Tensor<4>]| {
            // As convolutions leave it: channels side by side.
            let x = t[0].clone().permute([0, 3, 1, 2]) * 2.0;
            ops::group_norm_silu(x, vector(&t[1]), vector(&t[2]), groups, 1e-6)
        };
        cases.push(("group norm and silu, channels last", vec![[b, h, w, c], channels, channels], Box::new(last)));
    }
    for [n, width] in [[5, 37], [1, 5], [7, 320], [130, 3072]] {
        let layer = move |t: &[Tensor<4>]| four(ops::layer_norm(rows(&t[0]), vector(&t[1]), vector(&t[2]), 1e-5));
        cases.push(("layer norm", vec![[2, 1, n, width], [1, 1, 1, width], [1, 1, 1, width]], Box::new(layer)));
        let modulated =
            move |t: &[Tensor<4>]| four(ops::modulated_layer_norm(rows(&t[0]), rows(&t[1]), rows(&t[2]), 1e-6));
        cases.push((
            "modulated layer norm",
            vec![[2, 1, n, width], [2, 1, 1, width], [2, 1, 1, width]],
            Box::new(modulated),
        ));
    }
    for [n, width] in [[9, 64], [3, 128], [4, 4096]] {
        // As the projections leave heads.
        let rms = move |t: &[Tensor<4>]| ops::rms_norm(t[0].clone().swap_dims(1, 2), vector(&t[1]), 1e-6);
        cases.push(("rms norm", vec![[2, n, 3, width], [1, 1, 1, width]], Box::new(rms)));
    }
    cases.push(("geglu", vec![[2, 1, 7, 2 * 65]], Box::new(move |t: &[Tensor<4>]| four(ops::geglu(rows(&t[0]))))));
    let turn = |t: &[Tensor<4>]| {
        let angles: Vec<f64> = (0..6 * 8).map(|i| f64::from(i) * 0.37).collect();
        Rotary::new(&angles, 16, &t[0].device().inner()).turn(t[0].clone().swap_dims(1, 2))
    };
    cases.push(("rotary embedding", vec![[2, 6, 3, 16]], Box::new(turn)));
    cases
}

fn attentions() -> Vec<Case<'static>> {
    // Of more rows than a cube has for itself, of fewer than it takes at once, of widths that products do not divide. The last has more
    // scores than are kept at once.
    let shapes = [
        (64, 64, 64),
        (300, 77, 40),
        (1, 5, 8),
        (130, 513, 128),
        (33, 154, 160),
        (96, 96, 96),
        (5, 7, 12),
        (1700, 1700, 8),
    ];
    let attention = |(queries, keys, width)| {
        // As the projections leave heads.
        let op = |t: &[Tensor<4>]| {
            let [q, k, v] = [0, 1, 2].map(|i| t[i].clone().swap_dims(1, 2));
            ops::sdpa(q, k, v)
        };
        let shapes = vec![[2, queries, 3, width], [2, keys, 3, width], [2, keys, 3, width]];
        ("attention", shapes, Box::new(op) as Box<dyn Fn(&[Tensor<4>]) -> Tensor<4>>)
    };
    shapes.map(attention).into()
}

/// In f32, of numbers that the dtype has.
fn random(shape: [usize; 4], seed: u64, dtype: DType, device: &Device) -> Tensor<4> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    let values: Tensor<4> = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    values.cast(dtype).cast(DType::F32)
}

/// The output and the gradients of its sum, each number of it times another, for those inputs that have one.
fn gradients(inputs: &[Tensor<4>], op: &dyn Fn(&[Tensor<4>]) -> Tensor<4>) -> Vec<Vec<f32>> {
    let leaves: Vec<_> = inputs.iter().map(|t| t.clone().autodiff().require_grad()).collect();
    let output = op(&leaves);
    let weights = random(output.dims(), 99, output.dtype(), &Device::flex());
    let weights = weights.to_device(&output.device().inner()).cast(output.dtype());
    let mut gradients = (output.clone() * weights.autodiff()).sum().backward();
    let mut all = vec![output.without_autodiff()];
    all.extend(leaves.iter().filter_map(|leaf| leaf.grad_remove(&mut gradients)));
    all.into_iter().map(|t| t.cast(DType::F32).into_data().iter::<f32>().collect()).collect()
}

fn apart(found: Vec<f32>, expected: Vec<f32>) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.1f32, |most, x| most.max(x.abs()));
    let differences = found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |most, off| if off.is_nan() { f64::INFINITY } else { most.max(off) }) / f64::from(largest)
}
