//! Ours against PyTorch, diffusers, transformers and peft, on the fixtures that `tests/reference` made.
//!
//! `cargo test -p lorikeet-e2e --test parity -- --nocapture` prints the largest error of every comparison.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod card;
mod fixture;
mod flux;
mod t5;

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::{DType, Int, TensorData};
use fixture::{Fixture, close, device, model, report};
use lorikeet_adapters::{LoraSet, text_encoder_targets, transformer_targets};
use lorikeet_models::clip::{ClipConfig, ClipTextModel, ClipTokenizer};
use lorikeet_models::unet::{UNet2DConditionModel, UNetConfig};
use lorikeet_models::vae::{AutoencoderKl, VaeConfig};
use lorikeet_nn::segmented::{self, Segments, Wanted};
use lorikeet_nn::{Context, LayerInfo, Loader};
use lorikeet_trainer::optim::{self, AdamW, AdamWConfig};

const SEGMENTS: [Segments; 2] = [Segments::One, Segments::PerBlock];

fn unet(folder: &str) -> UNet2DConditionModel {
    let (config, weights) = model(folder, "diffusion_pytorch_model.safetensors");
    let device = device();
    let loader = Loader::new(&weights, "unet", &device, DType::F32);
    UNet2DConditionModel::load(&UNetConfig::from_json(&config).unwrap(), &loader).unwrap()
}

fn clip(folder: &str) -> ClipTextModel {
    let (config, weights) = model(folder, "model.safetensors");
    let device = device();
    let loader = Loader::new(&weights, "text_encoder", &device, DType::F32);
    ClipTextModel::load(&ClipConfig::from_json(&config).unwrap(), &loader).unwrap()
}

fn mse(output: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    let error = output - target;
    (error.clone() * error).mean()
}

/// The adapter whose matrices a fixture holds under `<prefix><layer path>.lora_A`.
fn adapter(fixture: &Fixture, prefix: &str, component: &str, layers: &[LayerInfo], alpha: f32) -> LoraSet {
    let mut set = LoraSet::from_modules(BTreeMap::new());
    for layer in layers {
        let path = layer.name.strip_prefix(component).unwrap().trim_start_matches('.');
        let path = path.trim_start_matches("text_model.");
        let (a, b) = (fixture.raw(&format!("{prefix}{path}.lora_A")), fixture.raw(&format!("{prefix}{path}.lora_B")));
        set.insert(&layer.name, layers, alpha, (&a.0, a.1), (&b.0, b.1), &device()).unwrap();
    }
    set
}

#[test]
fn unet_forward_and_gradients_of_latents_and_text() {
    for folder in ["unet", "unet-linear"] {
        let unet = unet(folder);
        let fixture = Fixture::open(&format!("{folder}/cases.safetensors"));
        for case in ["square", "wide"] {
            let get = |name: &str| fixture.tensor::<4>(&format!("{case}.{name}"));
            let text: Tensor<3> = fixture.tensor(&format!("{case}.text"));
            let timesteps = fixture.raw(&format!("{case}.timesteps")).1;
            let output = unet.forward(&Context::base(), get("latents"), &timesteps, text.clone());
            report(&format!("{folder} {case} output"), close(output, get("output"), 1e-5));
            for segments in SEGMENTS {
                let none = LoraSet::from_modules(BTreeMap::new());
                let wanted = Wanted { input: true, side: vec![true] };
                let side = unet.side(&timesteps, text.clone());
                let outcome = segmented::backward(&unet, segments, get("latents"), &side, &wanted, &none, |output| {
                    mse(output, get("target"))
                });
                let label = format!("{folder} {case} {segments:?}");
                let loss = fixture.tensor::<1>(&format!("{case}.loss"));
                report(&format!("{label} loss"), close(outcome.loss, loss, 1e-5));
                report(&format!("{label} d latents"), close(outcome.input.unwrap(), get("grad_latents"), 1e-4));
                let expected: Tensor<3> = fixture.tensor(&format!("{case}.grad_text"));
                report(&format!("{label} d text"), close(outcome.side[0].clone().unwrap(), expected, 1e-4));
            }
        }
    }
}

#[test]
fn gradients_of_every_lora_matrix() {
    let unet = unet("unet");
    let fixture = Fixture::open("lora/gradients.safetensors");
    let cases = Fixture::open("unet/cases.safetensors");
    let targets = transformer_targets(&unet.layers());
    let set = adapter(&fixture, "", "unet", &targets, 2.0);
    assert_eq!(2 * 2 * targets.len() + 2, fixture.len(), "targets are not the reference's");
    let side = unet.side(&cases.raw("square.timesteps").1, cases.tensor("square.text"));
    let mut both = Vec::new();
    for segments in SEGMENTS {
        let latents = cases.tensor("square.latents");
        let outcome = segmented::backward(&unet, segments, latents, &side, &Wanted::default(), &set, |output| {
            mse(output, cases.tensor("square.target"))
        });
        report(&format!("lora {segments:?} output"), close(outcome.output, fixture.tensor("output"), 1e-5));
        report(&format!("lora {segments:?} loss"), close(outcome.loss, fixture.tensor("loss"), 1e-5));
        let gradients = set.take_gradients();
        let mut worst = 0.0f64;
        for layer in &targets {
            let path = layer.name.strip_prefix("unet.").unwrap();
            let [a, b] = gradients[&layer.name].clone();
            for (gradient, matrix) in [(a, "lora_A"), (b, "lora_B")] {
                let expected = fixture.flat::<2>(&format!("{path}.{matrix}.grad"), gradient.dims());
                worst = worst.max(close(gradient, expected, 1e-4));
            }
        }
        report(&format!("lora {segments:?} d A and d B, worst of {}", 2 * targets.len()), worst);
        both.push(gradients);
    }
    for (name, one) in &both[0] {
        for (one, block) in one.iter().zip(&both[1][name]) {
            close(one.clone(), block.clone(), 1e-6);
        }
    }
}

#[test]
fn ten_steps_of_adamw() {
    let unet = unet("unet");
    let fixture = Fixture::open("lora/trajectory.safetensors");
    let targets = transformer_targets(&unet.layers());
    let mut set = adapter(&fixture, "before.", "unet", &targets, 4.0);
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 };
    let mut adamw = AdamW::default();
    for step in 0..10 {
        let get = |name: &str| fixture.tensor::<4>(&format!("step{step}.{name}"));
        let side =
            unet.side(&fixture.raw(&format!("step{step}.timesteps")).1, fixture.tensor(&format!("step{step}.text")));
        let segments = SEGMENTS[step % 2];
        let outcome = segmented::backward(&unet, segments, get("noisy"), &side, &Wanted::default(), &set, |output| {
            mse(output, get("noise"))
        });
        let mut gradients = set.take_gradients();
        let norm = optim::global_norm(&gradients).unwrap();
        let loss = close(outcome.loss, fixture.tensor(&format!("step{step}.loss")), 1e-4);
        report(&format!("trajectory step {step} loss"), loss);
        let expected = fixture.raw(&format!("step{step}.grad_norm")).1[0];
        assert!((norm / expected - 1.0).abs() < 1e-3, "step {step}: gradient norm {norm}, not {expected}");
        optim::clip(&mut gradients, norm, 1.0);
        adamw.step(&config, &mut set, gradients, |_| 1e-3);
    }
    let mut worst = 0.0f64;
    for layer in &targets {
        let path = layer.name.strip_prefix("unet.").unwrap();
        let module = &set.modules[&layer.name];
        for (matrix, name) in [(&module.a, "lora_A"), (&module.b, "lora_B")] {
            let expected = fixture.flat::<2>(&format!("after.{path}.{name}"), matrix.dims());
            let norm = |t: Tensor<2>| (t.clone() * t).sum().into_scalar::<f32>().sqrt();
            let error = f64::from(norm(matrix.clone() - expected.clone()) / norm(expected));
            assert!(error < 1e-3, "{path}.{name}: relative Frobenius error {error:e}");
            worst = worst.max(error);
        }
    }
    report("trajectory matrices after 10 steps, worst relative Frobenius norm", worst);
}

#[test]
fn autoencoder_both_ways() {
    for (folder, shift) in [("vae", 0.0), ("vae-flux", 0.1159)] {
        let (config, weights) = model(folder, "diffusion_pytorch_model.safetensors");
        let device = device();
        let loader = Loader::new(&weights, "vae", &device, DType::F32);
        let vae = AutoencoderKl::load(&VaeConfig::from_json(&config).unwrap(), &loader).unwrap();
        assert_eq!(vae.config().shift(), shift);
        let fixture = Fixture::open(&format!("{folder}/cases.safetensors"));
        for case in ["square", "wide"] {
            let get = |name: &str| fixture.tensor::<4>(&format!("{case}.{name}"));
            let moments = vae.encode(get("picture"));
            report(&format!("{folder} {case} mean"), close(moments.mean, get("mean"), 1e-5));
            report(&format!("{folder} {case} logvar"), close(moments.logvar, get("logvar"), 1e-5));
            report(&format!("{folder} {case} decoded"), close(vae.decode(get("latents")), get("decoded"), 1e-5));
        }
    }
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
        let states = |skip| text.forward(&Context::base(), ids(&fixture), skip);
        report(&format!("{folder} last"), close(states(1), fixture.tensor("last"), 1e-5));
        report(&format!("{folder} clip skip 2"), close(states(2), fixture.tensor("penultimate_normed"), 1e-5));
    }
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
        let states = lorikeet_trainer::text_states(&text, &set, ids.clone());
        report("joint text states", close(states.clone(), fixture.tensor("states"), 1e-5));
        let side = unet.side(&cases.raw("square.timesteps").1, states);
        let wanted = Wanted { input: false, side: vec![true] };
        let latents = cases.tensor("square.latents");
        let outcome = segmented::backward(&unet, segments, latents, &side, &wanted, &set, |output| {
            mse(output, cases.tensor("square.target"))
        });
        report("joint loss", close(outcome.loss, fixture.tensor("loss"), 1e-5));
        lorikeet_trainer::text_backward(&text, &set, ids.clone(), outcome.side[0].clone().unwrap());
        let gradients = set.take_gradients();
        let mut worst = 0.0f64;
        for layer in unet_targets.iter().chain(&text_targets) {
            let path = layer.name.replace("text_encoder.text_model.", "text_encoder.");
            for (gradient, matrix) in gradients[&layer.name].iter().zip(["lora_A", "lora_B"]) {
                let expected = fixture.flat::<2>(&format!("{path}.{matrix}.grad"), gradient.dims());
                worst = worst.max(close(gradient.clone(), expected, 1e-4));
            }
        }
        report(&format!("joint {segments:?} d A and d B, worst of {}", 2 * gradients.len()), worst);
    }
}

#[test]
fn tokenizer_on_hard_strings() {
    let path = fixture::root().join("tokenizer.json");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    let tokenizer = ClipTokenizer::embedded().unwrap();
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let expected: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text), expected, "{text:?}");
    }
    println!("tokenizer: {} strings equal", rows.len());
}
