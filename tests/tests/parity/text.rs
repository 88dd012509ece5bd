//! Text encoders and their tokenizer.

use burn::Tensor;
use burn::tensor::{DType, Int, TensorData};
use lorikeet_adapters::{text_encoder_targets, transformer_targets};
use lorikeet_models::clip::{ClipConfig, ClipTextModel, ClipTokenizer, EOS, Output, PAD_OPEN_CLIP, join_chunks};
use lorikeet_nn::segmented::{self, LeafSource as _, Wanted};
use lorikeet_nn::{Context, Loader};

use super::fixture::{self, Fixture, close, device, dry, model, report};
use super::{SEGMENTS, adapter, mse, unet, worst_gradient};

/// Where the rows of ids end: the first row's sentence is short, the second's takes all places.
const ENDS: [usize; 2] = [10, 76];

fn clip(folder: &str) -> ClipTextModel {
    let (config, weights) = model(folder, "model.safetensors");
    let device = device();
    let loader = Loader::new(&weights, "text_encoder", &device, DType::F32);
    ClipTextModel::load(&ClipConfig::from_json(&config).unwrap(), &loader).unwrap()
}

fn ids(fixture: &Fixture) -> Tensor<2, Int> {
    let (shape, ids) = fixture.ids("ids");
    Tensor::from_data(TensorData::new(ids, shape), &device())
}

#[test]
fn text_encoders() {
    for folder in ["clip-quick-gelu", "clip-gelu"] {
        let text = clip(folder);
        let fixture = Fixture::open(&format!("{folder}/cases.safetensors"));
        let cx = Context::base();
        let states = |skip| text.forward(&cx, ids(&fixture), skip);
        report(&format!("{folder} last"), close(states(1), fixture.tensor("last"), 1e-5));
        report(&format!("{folder} clip skip 2"), close(states(2), fixture.tensor("penultimate_normed"), 1e-5));
        let output = Output { clip_skip: 2, final_norm: true };
        let (states, pooled) = text.encode(&cx, ids(&fixture), &ENDS, &output);
        report(&format!("{folder} encode"), close(states, fixture.tensor("penultimate_normed"), 1e-5));
        report(&format!("{folder} pooled"), close(pooled, fixture.tensor("pooled"), 1e-5));
    }
}

#[test]
fn states_and_projected_pooled_states() {
    let text = clip("clip-projection");
    let fixture = Fixture::open("clip-projection/cases.safetensors");
    let encode = |cx: &Context| text.encode(cx, ids(&fixture), &ENDS, &Output::SDXL);
    let (states, pooled) = encode(&Context::base());
    report("clip-projection states", close(states, fixture.tensor("penultimate"), 1e-5));
    report("clip-projection pooled", close(pooled, fixture.tensor("pooled"), 1e-5));

    let set = adapter(&fixture, "", "text_encoder", &text_encoder_targets(&text.layers()), 1.0);
    let tracked = set.tracked();
    let (states, pooled) = encode(&Context::with(tracked.deltas()));
    report("clip-projection lora states", close(states.clone().inner(), fixture.tensor("lora.states"), 1e-5));
    report("clip-projection lora pooled", close(pooled.clone().inner(), fixture.tensor("lora.pooled"), 1e-5));
    let (d_states, d_pooled): (Tensor<3>, Tensor<2>) = (fixture.tensor("d_states"), fixture.tensor("d_pooled"));
    tracked.collect(&mut ((states * d_states).sum() + (pooled * d_pooled).sum()).backward());
    let path = |name: &str| name.strip_prefix("text_encoder.text_model.").unwrap().to_owned();
    let gradients = set.take_gradients();
    let worst = worst_gradient(&gradients, &fixture, path);
    report(&format!("clip-projection d A and d B, worst of {}", 2 * gradients.len()), worst);
}

#[test]
fn gradients_through_the_text_encoder() {
    let (unet, text) = (unet("unet"), clip("clip-quick-gelu"));
    let fixture = Fixture::open("clip-quick-gelu/joint-lora.safetensors");
    let cases = Fixture::open("unet/cases.safetensors");
    let ids = ids(&Fixture::open("clip-quick-gelu/cases.safetensors"));
    let unet_targets = transformer_targets(&unet.layers());
    let text_targets = text_encoder_targets(&text.layers());
    let mut set = adapter(&fixture, "unet.", "unet", &unet_targets, 2.0);
    set.modules.extend(adapter(&fixture, "text_encoder.", "text_encoder", &text_targets, 2.0).modules);

    for segments in SEGMENTS {
        let states_of = |cx: &Context| text.forward(cx, ids.clone(), 1);
        let states = states_of(&Context::with(&set.deltas(1.0)));
        report("joint text states", close(states.clone(), fixture.tensor("states"), 1e-5));
        let side_of = |states| unet.side(&cases.raw("square.timesteps").1, states, None);
        let side = side_of(states);
        let wanted = Wanted { input: false, side: vec![true] };
        let latents = cases.tensor("square.latents");
        let outcome = segmented::backward(&unet, segments, latents, &side, &wanted, &set, |output| {
            mse(output, cases.tensor("square.target"))
        });
        report("joint loss", close(outcome.loss, fixture.tensor("loss"), 1e-5));
        lorikeet_trainer::side_backward(&set, outcome.side, |cx| side_of(states_of(cx)));
        let gradients = set.take_gradients();
        let path = |name: &str| name.replace("text_encoder.text_model.", "text_encoder.");
        let worst = worst_gradient(&gradients, &fixture, path);
        report(&format!("joint {segments:?} d A and d B, worst of {}", 2 * gradients.len()), worst);
    }
}

#[test]
fn tokenizer_on_hard_strings() {
    let path = fixture::root().join("tokenizer.json");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    let tokenizer = ClipTokenizer::embedded(EOS).unwrap();
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let expected: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text), expected, "{text:?}");
    }
    println!("tokenizer: {} strings equal", rows.len());
}

#[test]
fn long_captions_are_cut_as_kohya_cuts_them() {
    let path = fixture::root().join("tokenizer-chunks.json");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let tokenizers = [EOS, PAD_OPEN_CLIP].map(|padding| (padding, ClipTokenizer::embedded(padding).unwrap()));
    for row in rows.as_array().unwrap() {
        let text = row["text"].as_str().unwrap();
        let (_, tokenizer) = tokenizers.iter().find(|(padding, _)| row["padding"] == *padding).unwrap();
        let expected: Vec<Vec<u32>> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode_chunks(text, expected.len()), expected, "{text:?}");
        assert_eq!(tokenizer.encode(text), expected[0], "{text:?}");
    }
}

#[test]
fn chunks_join_between_the_first_start_and_the_last_end() {
    let states = Tensor::<1, Int>::arange(0..16, &device()).float().reshape([4, 4, 1]);
    let joined = join_chunks(states.clone(), 2).into_data().iter::<f32>().collect::<Vec<_>>();
    assert!(dry() || joined == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 13.0, 14.0, 15.0]);
    close(join_chunks(states.clone(), 1), states, 0.0);
}
