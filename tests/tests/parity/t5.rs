//! T5: the encoder, and its tokenizer.

use burn::Tensor;
use burn::tensor::{DType, Int, TensorData};
use lorikeet_models::t5::{T5Config, T5EncoderModel, T5Tokenizer};
use lorikeet_nn::segmented::LeafSource as _;
use lorikeet_nn::{Context, Loader};

use super::adapter;
use super::fixture::{self, Fixture, close, device, model, report};

fn t5() -> T5EncoderModel {
    let (config, weights) = model("t5", "model.safetensors");
    let device = device();
    let loader = Loader::new(&weights, "text_encoder_2", &device, DType::F32);
    T5EncoderModel::load(&T5Config::from_json(&config).unwrap(), &loader).unwrap()
}

fn ids(fixture: &Fixture) -> Tensor<2, Int> {
    let (shape, ids) = fixture.ids("ids");
    Tensor::from_data(TensorData::new(ids, shape), &device())
}

#[test]
fn t5_states_with_and_without_a_mask() {
    let model = t5();
    let fixture = Fixture::open("t5/cases.safetensors");
    let states = model.forward(&Context::base(), ids(&fixture), None);
    report("t5 states", close(states, fixture.tensor("states"), 1e-5));
    let (shape, mask) = fixture.ids("mask");
    let mask = Tensor::<2, Int>::from_data(TensorData::new(mask, shape), &device()).equal_elem(1);
    let masked = model.forward(&Context::base(), ids(&fixture), Some(mask));
    report("t5 states, masked", close(masked, fixture.tensor("masked"), 1e-5));
}

#[test]
fn t5_gradients_of_every_lora_matrix() {
    let model = t5();
    let fixture = Fixture::open("t5/lora-gradients.safetensors");
    let layers = model.layers();
    assert_eq!(2 * 2 * layers.len() + 3, fixture.len(), "layers are not the reference's");
    let set = adapter(&fixture, "", "text_encoder_2", &layers, 1.0);
    let tracked = set.tracked();
    let ids = ids(&Fixture::open("t5/cases.safetensors"));
    let states = model.forward(&Context::with(tracked.deltas()), ids, None);
    report("t5 lora states", close(states.clone().without_autodiff(), fixture.tensor("states"), 1e-5));
    let error = states - fixture.tensor("target");
    let loss = (error.clone() * error).mean();
    report("t5 lora loss", close(loss.clone().without_autodiff(), fixture.tensor("loss"), 1e-5));
    tracked.collect(&mut loss.backward());
    let gradients = set.take_gradients();
    let mut worst = 0.0f64;
    for layer in &layers {
        let path = layer.name.strip_prefix("text_encoder_2.").unwrap();
        for (gradient, matrix) in gradients[&layer.name].iter().zip(["lora_A", "lora_B"]) {
            let expected = fixture.flat::<2>(&format!("{path}.{matrix}.grad"), gradient.dims());
            worst = worst.max(close(gradient.clone(), expected, 1e-4));
        }
    }
    report(&format!("t5 lora d A and d B, worst of {}", 2 * layers.len()), worst);
}

#[test]
fn t5_tokenizer_on_hard_strings() {
    let path = fixture::root().join("t5/tokenizer.json");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    let tokenizer = T5Tokenizer::embedded().unwrap();
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let expected: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text, expected.len()), expected, "{text:?}");
    }
    assert_eq!(tokenizer.encode("a photo of a cat", 512)[..9], [3, 9, 1202, 13, 3, 9, 1712, 1, 0]);
    println!("T5 tokenizer: {} strings equal", rows.len());
}
