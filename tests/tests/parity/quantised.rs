//! What packing the frozen weights does to the gradients of a LoRA, on a base that has learned something.

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_adapters::LoraSet;
use lorikeet_nn::LayerKind;
use lorikeet_nn::segmented::{Batch, Segments, Wanted, Way, backward_all};
use lorikeet_recipe::{Placement, Quantise};
use lorikeet_seeded::{Purpose, Stream};
use lorikeet_trainer::{Base, Condition, Sizes};

use super::fixture::{device, device_name, dry, report, root, tensor_float};
use super::mse;

fn normals<const D: usize>(shape: [usize; D], seed: u64, scale: f32) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    let values: Vec<f32> = values.into_iter().map(|value| scale * value).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F32))
}

/// All gradients in one row: of every `A` and `B` of a LoRA on every layer, for one caption at three noise levels.
/// `hold`: block by block, as on a card.
fn gradients(placement: Placement, quantise: Quantise, hold: bool) -> Vec<f32> {
    let mut base = Base::open("demo-flux", device_name().parse().unwrap()).unwrap();
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
    let latents = normals([3, 16, 16, 16], 1, 1.0).cast(base.dtype);
    let way = Way { hold, ..Way::plain(if hold { Segments::PerBlock } else { Segments::One }) };
    let loss = Box::new(|output: Tensor<4>| mse(output.cast(DType::F32), normals([3, 16, 16, 16], 2, 1.0)));
    let batch = Batch { input: latents, side, wanted: Wanted::default(), loss };
    backward_all(&*denoiser, &way, vec![batch], 0, &set).unwrap();
    let gradients = set.take_gradients();
    assert_eq!(gradients.len(), targets.len());
    gradients.into_values().flatten().flat_map(|matrix| matrix.into_data().try_into_vec::<f32>().unwrap()).collect()
}

/// Relative to the exact gradients, by the length of all together. 8 bits round weights by at most 1/254 of the largest of a
/// block, 4 bits of NF4 by about a tenth of a weight's spread (Dettmers and others 2023), and seven blocks add up: the bounds were
/// set from that before the first run.
#[test]
fn lora_gradients_of_a_packed_base() {
    // The archive for machines with a card does without this base.
    if !root().join("../../../assets/demo-flux").exists() {
        return println!("skipped: assets/demo-flux is not here");
    }
    let exact = gradients(Placement::Resident, Quantise::None, false);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for (name, placement, quantise, hold, bound) in [
        ("streamed", Placement::Stream, Quantise::None, false, 1e-5),
        ("streamed, block by block", Placement::Stream, Quantise::None, true, 1e-5),
        ("from memory", Placement::Host, Quantise::None, true, 1e-5),
        ("8 bits", Placement::Resident, Quantise::Int8, false, 0.03),
        ("8 bits from memory", Placement::Host, Quantise::Int8, true, 0.03),
        ("4 bits", Placement::Resident, Quantise::Int4, false, 0.3),
    ] {
        let found = gradients(placement, quantise, hold);
        let off = length(&mut found.iter().zip(&exact).map(|(a, b)| a - b)) / length(&mut exact.iter().copied());
        report(&format!("demo-flux, LoRA gradients, {name}"), off);
        assert!(off < tensor_float().max(bound) || dry(), "{name}: {off}");
        assert!(quantise == Quantise::None || off > 1e-4 || dry(), "{name}: nothing was packed");
    }
}
