//! Ours against PyTorch, diffusers, transformers and peft, on the fixtures that `tests/reference` made.
//!
//! `cargo test -p lorikeet-e2e --test parity -- --nocapture` prints the largest error of every comparison.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod card;
mod fixture;
mod flux;
mod ops;
mod quantised;
mod t5;
mod text;
mod topology;

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::DType;
use fixture::{Fixture, close, device, dry, model, report, tensor_float};
use lorikeet_adapters::{LoraSet, convolution_targets, transformer_targets};
use lorikeet_models::unet::{Added, UNet2DConditionModel, UNetConfig};
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

/// What SDXL is told beside the text, where the fixture has it.
fn added(fixture: &Fixture, prefix: &str) -> Option<Added> {
    let name = |name: &str| format!("{prefix}{name}");
    fixture.has(&name("pooled")).then(|| Added {
        pooled: fixture.tensor(&name("pooled")),
        time_ids: fixture.raw(&name("time_ids")).1.as_chunks().0.to_vec(),
    })
}

/// The gradients that a backward pass gave for the side inputs, carried on to text states and pooled states. Inputs and
/// expected gradients each stand in a fixture, under a prefix.
fn side_gradients(
    label: &str,
    unet: &UNet2DConditionModel,
    (inputs, prefix): (&Fixture, &str),
    (expected, under): (&Fixture, &str),
    side: Vec<Option<Tensor<3>>>,
) {
    let [text, time] = side.try_into().unwrap();
    let wanted = expected.tensor(&format!("{under}grad_text"));
    report(&format!("{label} d text"), close(text.unwrap(), wanted, 1e-4));
    let Some(added) = added(inputs, prefix) else { return };
    let pooled = added.pooled.clone().autodiff().require_grad();
    let added = Added { pooled: pooled.clone(), ..added };
    let timesteps = inputs.raw(&format!("{prefix}timesteps")).1;
    let side = unet.side(&timesteps, inputs.tensor(&format!("{prefix}text")), Some(&added));
    let mut gradients = (side[1].clone() * time.unwrap()).sum().backward();
    let wanted = expected.tensor(&format!("{under}grad_pooled"));
    report(&format!("{label} d pooled"), close(pooled.grad_remove(&mut gradients).unwrap(), wanted, 1e-4));
}

/// The largest error over all matrices; `path` gives a layer's path in the fixture.
#[track_caller]
fn worst_gradient(
    gradients: &BTreeMap<String, [Tensor<2>; 2]>,
    fixture: &Fixture,
    path: impl Fn(&str) -> String,
) -> f64 {
    assert_eq!(
        2 * gradients.len(),
        fixture.count("lora_A.grad") + fixture.count("lora_B.grad"),
        "others than expected"
    );
    let mut worst = 0.0f64;
    for (name, matrices) in gradients {
        for (gradient, matrix) in matrices.iter().zip(["lora_A", "lora_B"]) {
            let expected = fixture.flat::<2>(&format!("{}.{matrix}.grad", path(name)), gradient.dims());
            worst = worst.max(close(gradient.clone(), expected, 1e-4));
        }
    }
    worst
}

#[test]
fn unet_forward_and_gradients_of_its_inputs() {
    for folder in ["unet", "unet-sd2", "unet-sdxl"] {
        let unet = unet(folder);
        let fixture = Fixture::open(&format!("{folder}/cases.safetensors"));
        for case in ["square", "wide"] {
            let get = |name: &str| fixture.tensor::<4>(&format!("{case}.{name}"));
            let prefix = format!("{case}.");
            let text: Tensor<3> = fixture.tensor(&format!("{case}.text"));
            let timesteps = fixture.raw(&format!("{case}.timesteps")).1;
            let added = added(&fixture, &prefix);
            assert_eq!(added.as_ref().map(|added| added.pooled.dims()[1]), unet.config().pooled_width());
            let output = unet.forward(&Context::base(), get("latents"), &timesteps, text.clone(), added.as_ref());
            report(&format!("{folder} {case} output"), close(output, get("output"), 1e-5));
            for segments in SEGMENTS {
                let none = LoraSet::from_modules(BTreeMap::new());
                let wanted = Wanted { input: true, side: vec![true, true] };
                let side = unet.side(&timesteps, text.clone(), added.as_ref());
                let outcome = segmented::backward(&unet, segments, get("latents"), &side, &wanted, &none, |output| {
                    mse(output, get("target"))
                });
                let label = format!("{folder} {case} {segments:?}");
                let loss = fixture.tensor::<1>(&format!("{case}.loss"));
                report(&format!("{label} loss"), close(outcome.loss, loss, 1e-5));
                report(&format!("{label} d latents"), close(outcome.input.unwrap(), get("grad_latents"), 1e-4));
                side_gradients(&label, &unet, (&fixture, &prefix), (&fixture, &prefix), outcome.side);
            }
        }
    }
}

#[test]
fn gradients_of_every_lora_matrix() {
    let transformers = transformer_targets as fn(&[LayerInfo]) -> Vec<LayerInfo>;
    for (folder, file, targets, alpha) in [
        ("unet", "lora/gradients.safetensors", transformers, 2.0),
        ("unet-sd2", "lora/unet-sd2-gradients.safetensors", transformers, 1.0),
        ("unet-sdxl", "lora/unet-sdxl-gradients.safetensors", transformers, 1.0),
        ("unet", "lora/unet-convolutions-gradients.safetensors", convolution_targets, 1.0),
    ] {
        let unet = unet(folder);
        let fixture = Fixture::open(file);
        let cases = Fixture::open(&format!("{folder}/cases.safetensors"));
        let set = adapter(&fixture, "", "unet", &targets(&unet.layers()), alpha);
        let added = added(&cases, "square.");
        let side = unet.side(&cases.raw("square.timesteps").1, cases.tensor("square.text"), added.as_ref());
        let inputs = fixture.has("grad_latents");
        let wanted = Wanted { input: inputs, side: vec![inputs; 2] };
        let mut both = Vec::new();
        for segments in SEGMENTS {
            let latents = cases.tensor("square.latents");
            let outcome = segmented::backward(&unet, segments, latents, &side, &wanted, &set, |output| {
                mse(output, cases.tensor("square.target"))
            });
            let label = format!("{file} {segments:?}");
            report(&format!("{label} output"), close(outcome.output, fixture.tensor("output"), 1e-5));
            report(&format!("{label} loss"), close(outcome.loss, fixture.tensor("loss"), 1e-5));
            if inputs {
                let expected = fixture.tensor("grad_latents");
                report(&format!("{label} d latents"), close(outcome.input.unwrap(), expected, 1e-4));
                side_gradients(&label, &unet, (&cases, "square."), (&fixture, ""), outcome.side);
            }
            let gradients = set.take_gradients();
            let worst = worst_gradient(&gradients, &fixture, |name| name.strip_prefix("unet.").unwrap().to_owned());
            report(&format!("{label} d A and d B, worst of {}", 2 * gradients.len()), worst);
            both.push(gradients);
        }
        for (name, one) in &both[0] {
            for (one, block) in one.iter().zip(&both[1][name]) {
                // The same operations; what several blocks add to one gradient comes in another order.
                close(one.clone(), block.clone(), 3e-6);
            }
        }
    }
}

#[test]
fn ten_steps_of_adamw() {
    trajectory("unet", "lora/trajectory.safetensors", 4.0);
}

#[test]
fn ten_steps_of_adamw_on_sdxl() {
    trajectory("unet-sdxl", "lora/unet-sdxl-trajectory.safetensors", 2.0);
}

fn trajectory(folder: &str, file: &str, alpha: f32) {
    let unet = unet(folder);
    let fixture = Fixture::open(file);
    let targets = transformer_targets(&unet.layers());
    let mut set = adapter(&fixture, "before.", "unet", &targets, alpha);
    let mut adamw = AdamW::default();
    for step in 0..10 {
        let get = |name: &str| fixture.tensor::<4>(&format!("step{step}.{name}"));
        let timesteps = fixture.raw(&format!("step{step}.timesteps")).1;
        let added = added(&fixture, &format!("step{step}."));
        let side = unet.side(&timesteps, fixture.tensor(&format!("step{step}.text")), added.as_ref());
        let segments = SEGMENTS[step % 2];
        let outcome = segmented::backward(&unet, segments, get("noisy"), &side, &Wanted::default(), &set, |output| {
            mse(output, get("noise"))
        });
        finish_step(&fixture, folder, step, outcome.loss, &mut set, &mut adamw);
    }
    matrices_after(&fixture, folder, "unet.", &targets, &set);
}

/// Loss and gradient norm of a step beside the reference's, then the reference's clipping and AdamW.
fn finish_step(fixture: &Fixture, name: &str, step: usize, loss: Tensor<1>, set: &mut LoraSet, adamw: &mut AdamW) {
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 };
    let mut gradients = set.take_gradients();
    let norm = optim::global_norm(&gradients).unwrap();
    let loss = close(loss, fixture.tensor(&format!("step{step}.loss")), 1e-4);
    report(&format!("{name} trajectory step {step} loss"), loss);
    let expected = fixture.raw(&format!("step{step}.grad_norm")).1[0];
    let off = f64::from(norm / expected - 1.0).abs();
    // Ways that began with a rounding part from step to step: AdamW's first steps are as long for a gradient near 0 as for any other.
    assert!(off < (4.0 * tensor_float()).max(1e-3) || dry(), "step {step}: gradient norm {norm}, not {expected}");
    optim::clip(&mut gradients, norm, 1.0);
    adamw.step(&config, set, gradients, |_| 1e-3);
}

/// The matrices after ten steps beside the reference's. `component`: what layer names start with here.
fn matrices_after(fixture: &Fixture, name: &str, component: &str, targets: &[LayerInfo], set: &LoraSet) {
    let mut worst = 0.0f64;
    for layer in targets {
        let path = layer.name.strip_prefix(component).unwrap();
        let module = &set.modules[&layer.name];
        for (matrix, name) in [(&module.a, "lora_A"), (&module.b, "lora_B")] {
            let expected = fixture.flat::<2>(&format!("after.{path}.{name}"), matrix.dims());
            let norm = |t: Tensor<2>| (t.clone() * t).sum().into_scalar::<f32>().sqrt();
            let error = f64::from(norm(matrix.clone() - expected.clone()) / norm(expected));
            assert!(
                error < (8.0 * tensor_float()).max(1e-3) || dry(),
                "{path}.{name}: relative Frobenius error {error:e}"
            );
            worst = worst.max(error);
        }
    }
    report(&format!("{name} trajectory matrices after 10 steps, worst relative Frobenius norm"), worst);
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
