//! FLUX.1: the transformer.

use burn::Tensor;
use burn::tensor::DType;
use lorikeet_adapters::LoraSet;
use lorikeet_models::flux::{FluxConfig, FluxTransformer};
use lorikeet_nn::segmented::{self, Side, Wanted};
use lorikeet_nn::{Context, LayerInfo, Loader};
use lorikeet_trainer::optim::AdamW;

use super::fixture::{Fixture, close, device, model, report};
use super::{SEGMENTS, adapter, finish_step, matrices_after, mse};

fn flux(folder: &str) -> FluxTransformer {
    let (config, weights) = model(folder, "flux.safetensors");
    let device = device();
    let loader = Loader::new(&weights, "transformer", &device, DType::F32);
    FluxTransformer::load(&FluxConfig::from_json(&config).unwrap(), &loader).unwrap()
}

/// All of a case but the latents.
fn side(model: &FluxTransformer, fixture: &Fixture, case: &str, pooled: Tensor<2>) -> Side {
    let sigmas = fixture.raw(&format!("{case}.sigmas")).1;
    let guidance = fixture.raw(&format!("{case}.guidance")).1[0];
    model.side(&sigmas, Some(guidance), fixture.tensor(&format!("{case}.text")), pooled)
}

fn pooled(fixture: &Fixture, case: &str) -> Tensor<2> {
    fixture.tensor(&format!("{case}.pooled"))
}

/// The linears of the double and single blocks.
fn targets(model: &FluxTransformer) -> Vec<LayerInfo> {
    model.layers().into_iter().filter(|layer| layer.name.contains("_blocks.")).collect()
}

#[test]
fn flux_forward_and_gradients_of_every_input() {
    for folder in ["flux", "flux-schnell"] {
        let model = flux(folder);
        let fixture = Fixture::open(&format!("{folder}/cases.safetensors"));
        // One size after the other, and back: the rotary table follows.
        for case in ["square", "tall", "square"] {
            let get = |name: &str| fixture.tensor::<4>(&format!("{case}.{name}"));
            let side = side(&model, &fixture, case, pooled(&fixture, case));
            let output = model.forward(&Context::base(), get("latents"), &side);
            report(&format!("{folder} {case} output"), close(output, get("output"), 1e-5));
            for segments in SEGMENTS {
                let none = LoraSet::from_modules(Default::default());
                let wanted = Wanted { input: true, side: vec![true, true] };
                let outcome = segmented::backward(&model, segments, get("latents"), &side, &wanted, &none, |output| {
                    mse(output, get("target"))
                });
                let label = format!("{folder} {case} {segments:?}");
                let loss = fixture.tensor::<1>(&format!("{case}.loss"));
                report(&format!("{label} loss"), close(outcome.loss, loss, 1e-5));
                report(&format!("{label} d latents"), close(outcome.input.unwrap(), get("grad_latents"), 1e-4));
                let [text, vector] = outcome.side.try_into().unwrap();
                let expected: Tensor<3> = fixture.tensor(&format!("{case}.grad_text"));
                report(&format!("{label} d text"), close(text.unwrap(), expected, 1e-4));
                // The vector's gradient goes on to the pooled embedding, which is read nowhere else.
                let leaf = pooled(&fixture, case).autodiff().require_grad();
                let again = self::side(&model, &fixture, case, leaf.clone())[1].clone();
                let found = leaf.grad_remove(&mut (again * vector.unwrap()).sum().backward()).unwrap();
                let expected: Tensor<2> = fixture.tensor(&format!("{case}.grad_pooled"));
                report(&format!("{label} d pooled"), close(found, expected, 1e-4));
            }
        }
    }
}

#[test]
fn flux_gradients_of_every_lora_matrix() {
    let model = flux("flux");
    let fixture = Fixture::open("flux/lora-gradients.safetensors");
    let cases = Fixture::open("flux/cases.safetensors");
    let targets = targets(&model);
    let set = adapter(&fixture, "", "transformer", &targets, 2.0);
    assert_eq!(2 * 2 * targets.len() + 2, fixture.len(), "targets are not the reference's");
    let side = side(&model, &cases, "square", pooled(&cases, "square"));
    for segments in SEGMENTS {
        let latents = cases.tensor("square.latents");
        let outcome = segmented::backward(&model, segments, latents, &side, &Wanted::default(), &set, |output| {
            mse(output, cases.tensor("square.target"))
        });
        report(&format!("flux lora {segments:?} output"), close(outcome.output, fixture.tensor("output"), 1e-5));
        report(&format!("flux lora {segments:?} loss"), close(outcome.loss, fixture.tensor("loss"), 1e-5));
        let gradients = set.take_gradients();
        let mut worst = 0.0f64;
        for layer in &targets {
            let path = layer.name.strip_prefix("transformer.").unwrap();
            for (gradient, matrix) in gradients[&layer.name].iter().zip(["lora_A", "lora_B"]) {
                let expected = fixture.flat::<2>(&format!("{path}.{matrix}.grad"), gradient.dims());
                worst = worst.max(close(gradient.clone(), expected, 1e-4));
            }
        }
        report(&format!("flux lora {segments:?} d A and d B, worst of {}", 2 * targets.len()), worst);
    }
}

#[test]
fn flux_ten_steps_of_adamw() {
    let model = flux("flux");
    let fixture = Fixture::open("flux/trajectory.safetensors");
    let targets = targets(&model);
    let mut set = adapter(&fixture, "before.", "transformer", &targets, 4.0);
    let mut adamw = AdamW::default();
    for step in 0..10 {
        let case = format!("step{step}");
        let get = |name: &str| fixture.tensor::<4>(&format!("{case}.{name}"));
        let side = side(&model, &fixture, &case, pooled(&fixture, &case));
        let (latents, segments) = (get("latents"), SEGMENTS[step % 2]);
        let outcome = segmented::backward(&model, segments, latents, &side, &Wanted::default(), &set, |output| {
            mse(output, get("target"))
        });
        finish_step(&fixture, "flux", step, outcome.loss, &mut set, &mut adamw);
    }
    matrices_after(&fixture, "flux", "transformer.", &targets, &set);
}
