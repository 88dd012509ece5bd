//! What packing the frozen weights does to the gradients of a LoRA, on a base that has learned something.

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_adapters::LoraSet;
use lorikeet_nn::segmented::{self, Segments, Wanted};
use lorikeet_nn::{DeviceKind, LayerKind};
use lorikeet_recipe::{Placement, Quantise};
use lorikeet_seeded::{Purpose, Stream};
use lorikeet_trainer::{Base, Condition, Sizes};

use super::fixture::{device, report};
use super::mse;

fn normals<const D: usize>(shape: [usize; D], seed: u64, scale: f32) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    let values: Vec<f32> = values.into_iter().map(|value| scale * value).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F32))
}

/// All gradients in one row: of every `A` and `B` of a LoRA on every layer, for one caption at three noise levels.
fn gradients(placement: Placement, quantise: Quantise) -> Vec<f32> {
    let mut base = Base::open("demo-flux", DeviceKind::Cpu).unwrap();
    base.set_storage(placement, quantise, None);
    let cx = lorikeet_nn::Context::base();
    let text = base.load_text().unwrap().encode(&cx, &["owl, shaded style"; 3]);
    let denoiser = base.load_denoiser().unwrap();
    let condition = Condition { text, sizes: vec![Sizes::whole(128, 128); 3], guidance: 1.0 };
    let side = denoiser.side(&[900.0, 600.0, 250.0], &condition);
    let targets = denoiser.targets();
    let mut set = LoraSet::from_modules(Default::default());
    for (number, layer) in targets.iter().enumerate() {
        let LayerKind::Linear { inputs, outputs } = layer.kind else { panic!("{} is no matrix", layer.name) };
        let matrix = |shape: [usize; 2], seed| {
            let values = normals(shape, seed, 0.02).into_data().try_into_vec::<f32>().unwrap();
            (shape.to_vec(), values)
        };
        let (a, b) = (matrix([4, inputs], 10 + number as u64), matrix([outputs, 4], 1000 + number as u64));
        set.insert(&layer.name, &targets, 4.0, (&a.0, a.1), (&b.0, b.1), &device()).unwrap();
    }
    let latents = normals([3, 16, 16, 16], 1, 1.0);
    segmented::backward(&*denoiser, Segments::One, latents, &side, &Wanted::default(), &set, |output| {
        mse(output, normals([3, 16, 16, 16], 2, 1.0))
    });
    let gradients = set.take_gradients();
    assert_eq!(gradients.len(), targets.len());
    gradients.into_values().flatten().flat_map(|matrix| matrix.into_data().try_into_vec::<f32>().unwrap()).collect()
}

/// Relative to the exact gradients, by the length of all together. 8 bits round weights by at most 1/254 of the largest of a
/// block, 4 bits of NF4 by about a tenth of a weight's spread (Dettmers and others 2023), and seven blocks add up: the bounds were
/// set from that before the first run.
#[test]
fn lora_gradients_of_a_packed_base() {
    let exact = gradients(Placement::Resident, Quantise::None);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for (name, placement, quantise, bound) in [
        ("streamed", Placement::Stream, Quantise::None, 1e-5),
        ("8 bits", Placement::Resident, Quantise::Int8, 0.03),
        ("4 bits", Placement::Resident, Quantise::Int4, 0.3),
    ] {
        let found = gradients(placement, quantise);
        let off = length(&mut found.iter().zip(&exact).map(|(a, b)| a - b)) / length(&mut exact.iter().copied());
        report(&format!("demo-flux, LoRA gradients, {name}"), off);
        assert!(off < bound, "{name}: {off}");
        assert!(quantise == Quantise::None || off > 1e-4, "{name}: nothing was packed");
    }
}
