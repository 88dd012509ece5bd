//! Linear layers whose weights are packed or stay in their file, against plain ones with the same numbers.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use half::{bf16, f16};
use lorikeet_nn::{
    Bits, Context, ConvGeometry, Deltas, Linear, Loader, NnError, RawFormat, RawPiece, RawTensor, Storage, WeightSource,
};
use lorikeet_seeded::{Purpose, Stream};

const PACKED: [Storage; 10] = [
    Storage::Resident,
    Storage::Streamed,
    Storage::Int8 { block: None },
    Storage::Int8 { block: Some(64) },
    Storage::Int8 { block: Some(100) },
    Storage::Int4 { block: 32 },
    Storage::Int4 { block: 64 },
    Storage::Host(Bits::Computed),
    Storage::Host(Bits::Int8 { block: Some(64) }),
    Storage::Host(Bits::Int4 { block: 32 }),
];

/// A file with one layer.
struct File {
    shape: [usize; 2],
    format: RawFormat,
    bytes: Arc<Vec<u8>>,
    bias: Vec<f32>,
    scale: f32,
    values: Vec<f32>,
    /// Whether it hands out its bytes.
    mapped: bool,
}

impl File {
    fn bf16(outputs: usize, inputs: usize) -> Self {
        let values: Vec<bf16> = normals(outputs * inputs, 1).into_iter().map(|v| bf16::from_f32(0.02 * v)).collect();
        Self {
            bytes: Arc::new(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            values: values.into_iter().map(bf16::to_f32).collect(),
            shape: [outputs, inputs],
            format: RawFormat::Bf16,
            bias: normals(outputs, 2),
            scale: 1.0,
            mapped: true,
        }
    }

    /// Numbers that the 256 codes of an 8-bit float or two bytes of something larger stand for, whatever they are.
    fn other(format: RawFormat, values: impl Fn(usize) -> (Vec<u8>, f32)) -> Self {
        let (bytes, values): (Vec<_>, Vec<_>) = (0..256 * 256).map(values).unzip();
        let bytes = Arc::new(bytes.concat());
        Self { format, bytes, values, shape: [256, 256], bias: vec![0.0; 256], scale: 1.0, mapped: true }
    }

    fn layer(&self, storage: Storage) -> Result<Linear, NnError> {
        let device = Device::flex();
        let loader = Loader::new(self, "unet", &device, DType::F32).with_storage(storage).at("proj");
        Linear::load(&loader, self.shape[1], self.shape[0], true)
    }
}

impl WeightSource for File {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match name {
            "proj.weight" => Some(self.shape.to_vec()),
            "proj.bias" => Some(vec![self.shape[0]]),
            _ => None,
        }
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        Ok(if name == "proj.weight" { self.values.clone() } else { self.bias.clone() })
    }

    fn raw(&self, name: &str) -> Option<RawTensor> {
        // In two pieces, as q, k and v of other programs are in three.
        let first = self.shape[0] / 3 * self.shape[1] * self.format.size();
        let piece = |range| RawPiece { owner: self.bytes.clone(), range, scale: self.scale };
        (self.mapped && name == "proj.weight")
            .then(|| RawTensor { format: self.format, pieces: vec![piece(0..first), piece(first..self.bytes.len())] })
    }
}

fn normals(n: usize, seed: u64) -> Vec<f32> {
    Stream::new(seed, Purpose::RandomWeights, &[]).normals(n)
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    tensor(normals(shape.iter().product(), seed), shape)
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}

/// Largest difference over the largest number expected.
fn error<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max) / largest
}

/// Output and gradient of the input, for a loss that weighs every output differently.
fn both_ways<const D: usize>(x: &Tensor<D>, layer: impl Fn(Tensor<D>) -> Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let leaf = x.clone().autodiff().require_grad();
    let y = layer(leaf.clone());
    let weights = random(y.dims(), 9);
    let mut gradients = (y.clone() * weights).sum().backward();
    (y.without_autodiff(), leaf.grad_remove(&mut gradients).unwrap())
}

/// The weight `[in, out]` as a layer dequantises it: what comes out for the unit matrix, without the bias.
fn weight_of(layer: &Linear, file: &File) -> Tensor<2> {
    let unit = Tensor::<2>::eye(file.shape[1], &Device::flex());
    layer.forward(&Context::base(), unit) - tensor(file.bias.clone(), [1, file.shape[0]])
}

#[test]
fn forward_and_backward_are_those_of_a_plain_layer() {
    let mut worst = 0.0f32;
    // No multiples of blocks or tiles; more than one tile each way; fewer inputs than a block.
    for [outputs, inputs] in [[260, 300], [530, 2100], [2200, 31]] {
        let file = File::bf16(outputs, inputs);
        let bias: Tensor<1> = tensor(file.bias.clone(), [outputs]);
        for storage in PACKED {
            let layer = file.layer(storage).unwrap();
            let weight = weight_of(&layer, &file);
            let ours = |x: Tensor<3>| layer.forward(&Context::base(), x);
            for rows in [[2, 3], [1, 1], [1, 130]] {
                let x = random([rows[0], rows[1], inputs], 5);
                let (y, dx) = both_ways(&x, ours);
                let (y_plain, dx_plain) =
                    both_ways(&x, |x| x.matmul(weight.clone().unsqueeze()) + bias.clone().unsqueeze::<3>());
                let found = error(y, y_plain).max(error(dx, dx_plain));
                assert!(found < 1e-5, "{storage:?} [{outputs}, {inputs}] {rows:?}: {found:e}");
                worst = worst.max(found);
            }
            let row: Tensor<1> = random([inputs], 6);
            let alone = layer.forward(&Context::base(), row.clone());
            let among = layer.forward(&Context::base(), row.unsqueeze::<2>());
            assert_eq!(values(alone), values(among));
        }
    }
    println!("largest relative error of y and dx {worst:.1e}");
}

#[test]
fn gradients_are_slopes() {
    let file = File::bf16(260, 300);
    for storage in PACKED {
        let layer = file.layer(storage).unwrap();
        let ours = |x: Tensor<2>| layer.forward(&Context::base(), x);
        let x = random([2, 300], 5);
        let (_, dx) = both_ways(&x, ours);
        let (start, gradient) = (values(x), values(dx));
        let largest = gradient.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for place in (0..start.len()).step_by(97) {
            // The layer is linear, so a long step is as right as a short one and rounds less.
            let at = |offset: f32| {
                let mut moved = start.clone();
                moved[place] += offset;
                values((ours(tensor(moved, [2, 300])) * random([2, 260], 9)).sum())[0]
            };
            let slope = (at(4.0) - at(-4.0)) / 8.0;
            assert!((slope - gradient[place]).abs() < 1e-3 * largest, "{storage:?}: {slope}, not {}", gradient[place]);
        }
    }
}

#[test]
fn files_in_bf16_lose_nothing() {
    // Without its bytes a file's numbers are converted while loading.
    let file = File { mapped: false, ..File::bf16(530, 2100) };
    let plain = file.layer(Storage::Resident).unwrap();
    let x = random([2, 65, 2100], 5);
    let (y, dx) = both_ways(&x, |x| plain.forward(&Context::base(), x));
    for storage in [Storage::Resident, Storage::Streamed, Storage::Host(Bits::Computed)] {
        for mapped in [true, false] {
            let file = File { mapped, ..File::bf16(530, 2100) };
            let layer = file.layer(storage).unwrap();
            assert_eq!(values(weight_of(&layer, &file)), values(weight_of(&plain, &file)));
            let (found, dfound) = both_ways(&x, |x| layer.forward(&Context::base(), x));
            let errors = [error(found, y.clone()), error(dfound, dx.clone())];
            println!("{storage:?}, mapped {mapped}: y {:.1e}, dx {:.1e}", errors[0], errors[1]);
            assert!(errors.iter().all(|e| *e < 1e-6), "{errors:?}");
        }
    }
}

#[test]
fn error_of_quantised_layers() {
    let file = File::bf16(512, 4096);
    let x: Tensor<2> = random([64, 4096], 5);
    let plain = file.layer(Storage::Resident).unwrap().forward(&Context::base(), x.clone());
    let bias = tensor(file.bias.clone(), [1, 512]);
    let rms = |t: Tensor<2>| values((t.clone() * t).mean())[0].sqrt();
    let scale = rms(plain.clone() - bias);
    for (storage, bounds) in [
        (Storage::Int8 { block: None }, 0.005..0.01),
        (Storage::Int8 { block: Some(64) }, 0.004..0.008),
        (Storage::Int4 { block: 32 }, 0.07..0.085),
        (Storage::Int4 { block: 64 }, 0.075..0.09),
        (Storage::Host(Bits::Int8 { block: Some(64) }), 0.004..0.008),
    ] {
        for mapped in [true, false] {
            let file = File { mapped, ..File::bf16(512, 4096) };
            let y = file.layer(storage).unwrap().forward(&Context::base(), x.clone());
            let relative = rms(y - plain.clone()) / scale;
            println!("{storage:?}: {:.2} % of y", 100.0 * relative);
            assert!(bounds.contains(&relative), "{storage:?}: {relative}");
        }
    }
}

/// A LoRA of rank 2 on every layer.
struct Lora([Tensor<2>; 2]);

impl Deltas for Lora {
    fn linear(&self, name: &str, x: &Tensor<3>) -> Option<Tensor<3>> {
        assert_eq!(name, "unet.proj");
        let [a, b] = self.0.clone();
        Some(x.clone().matmul(a.unsqueeze()).matmul(b.unsqueeze()))
    }

    fn conv2d(&self, _: &str, _: &Tensor<4>, _: ConvGeometry) -> Option<Tensor<4>> {
        None
    }
}

#[test]
fn adapters_on_packed_layers() {
    let file = File::bf16(260, 300);
    let x: Tensor<3> = random([2, 5, 300], 5);
    for storage in PACKED {
        let layer = file.layer(storage).unwrap();
        let leaves = [random([300, 2], 6), random([2, 260], 7)].map(|t: Tensor<2>| t.autodiff().require_grad());
        let lora = Lora(leaves.clone());
        // The input tracked and not: without it only the delta is part of the graph.
        for x in [x.clone(), x.clone().autodiff().require_grad()] {
            let y = layer.forward(&Context::with(&lora), x.clone());
            let base = layer.forward(&Context::base(), x.clone());
            let delta = lora.linear("unet.proj", &x).unwrap();
            assert!(error(y.clone().without_autodiff(), (base + delta.clone()).without_autodiff()) < 1e-6);
            let mut gradients = y.sum().backward();
            let mut expected = delta.sum().backward();
            for leaf in &leaves {
                let found = leaf.grad_remove(&mut gradients).unwrap();
                assert!(error(found, leaf.grad_remove(&mut expected).unwrap()) < 1e-6);
            }
        }
    }
}

#[test]
fn numbers_of_every_format() {
    let files = [
        File::other(RawFormat::F16, |i| {
            let value = f16::from_bits((i * 7919 % 0x7c00) as u16);
            (value.to_le_bytes().to_vec(), value.to_f32())
        }),
        File::other(RawFormat::F32, |i| {
            let value = 1.0 / (i as f32 - 1000.5);
            (value.to_le_bytes().to_vec(), value)
        }),
        // Values by which the formats are told apart: smallest, one, largest.
        File::other(RawFormat::F8E4M3, |i| {
            let (code, value) = [(0x01, 2f32.powi(-9)), (0x38, 1.0), (0xb8, -1.0), (0x7e, 448.0), (0x80, 0.0)][i % 5];
            (vec![code], value)
        }),
        File::other(RawFormat::F8E5M2, |i| {
            let (code, value) = [(0x01, 2f32.powi(-16)), (0x3c, 1.0), (0xbc, -1.0), (0x7b, 57344.0)][i % 4];
            (vec![code], value)
        }),
    ];
    for mut file in files {
        file.scale = 0.25;
        let found = weight_of(&file.layer(Storage::Streamed).unwrap(), &file);
        let expected = tensor(file.values.clone(), [256, 256]).transpose() * 0.25;
        assert_eq!(values(found), values(expected), "{:?}", file.format);
    }
}

#[test]
fn small_matrices_stay_plain_and_bad_ones_are_named() {
    let small = File { mapped: true, ..File::bf16(60, 64) };
    let exact = weight_of(&small.layer(Storage::Resident).unwrap(), &small);
    assert_eq!(values(weight_of(&small.layer(Storage::Int4 { block: 32 }).unwrap(), &small)), values(exact));

    let mut bad = File { mapped: false, ..File::bf16(260, 300) };
    for (value, word) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        bad.values[3 * 300 + 7] = value;
        for storage in [Storage::Int8 { block: None }, Storage::Int4 { block: 64 }, Storage::Host(Bits::Computed)] {
            let message = bad.layer(storage).unwrap_err().to_string();
            assert!(message.contains("`proj.weight`") && message.contains("row 3, column 7"), "{message}");
            assert!(message.contains(word), "{message}");
        }
    }

    for storage in PACKED {
        let mut bytes = File::bf16(260, 300).bytes.to_vec();
        let at = 2 * (259 * 300 + 8);
        bytes[at..at + 2].copy_from_slice(&bf16::NAN.to_le_bytes());
        let bad = File { bytes: Arc::new(bytes), ..File::bf16(260, 300) };
        let message = bad.layer(storage).unwrap_err().to_string();
        assert!(message.contains("`proj.weight`") && message.contains("row 259, column 8"), "{storage:?}: {message}");
    }

    let file = File::bf16(260, 300);
    for storage in [Storage::Int4 { block: 48 }, Storage::Int4 { block: 0 }, Storage::Int8 { block: Some(0) }] {
        assert!(matches!(file.layer(storage), Err(NnError::Block { .. })), "{storage:?}");
    }
    let cut = File { bytes: Arc::new(vec![0; 260 * 300]), ..File::bf16(260, 300) };
    let message = cut.layer(Storage::Streamed).unwrap_err().to_string();
    assert!(message.contains("`proj.weight`") && message.contains("156000"), "{message}");

    // All zeros: there is no scale.
    let zeros = File { values: vec![0.0; 260 * 300], mapped: false, ..File::bf16(260, 300) };
    for storage in PACKED {
        let weight = weight_of(&zeros.layer(storage).unwrap(), &zeros);
        assert!(values(weight).iter().all(|v| *v == 0.0), "{storage:?}");
    }
}
