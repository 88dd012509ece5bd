//! The demo on a graphics card against the CPU. Run by `tests/gpu/run`; see docs/gpu.md.

use std::path::Path;

use lorikeet_protocol::{Command, Event, Step};
use lorikeet_recipe::{Preset, Recipe};
use lorikeet_trainer::{Host, train};
use serde_json::json;

use super::fixture::{device_name, root};

const STEPS: u64 = 100;

/// Keeps steps and the plan, which exporting reads; answers nothing.
struct Listening<'a> {
    run_dir: &'a Path,
    steps: Vec<Step>,
}

impl Host for Listening<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Step(step) => self.steps.push(step),
            Event::Planned { plan } => {
                std::fs::write(self.run_dir.join("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
            }
            Event::Warning { message } => println!("warning: {message}"),
            _ => {}
        }
    }

    fn command(&mut self) -> Option<Command> {
        None
    }

    fn wait(&mut self) -> Option<Command> {
        None
    }
}

fn demo(device: &str, run_dir: &Path) -> Vec<Step> {
    let pictures = root().join("../../../datasets-example/ink-style");
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [
        ("dataset.folder", pictures.to_str().unwrap()),
        ("dataset.trigger", "ink style"),
        ("train.steps", &STEPS.to_string()),
        ("sample.every", "0"),
        ("validation.every", "0"),
        ("run.device", device),
    ] {
        recipe.set_text(id, value).unwrap();
    }
    std::fs::create_dir_all(run_dir).unwrap();
    let mut host = Listening { run_dir, steps: Vec::new() };
    train(&recipe, run_dir, &mut host).unwrap();
    host.steps
}

/// bf16 against f32: single steps differ by some per cent, the mean of a hundred by little.
#[test]
#[ignore = "trains for minutes and needs a graphics card: LORIKEET_TEST_DEVICE=cuda, see docs/gpu.md"]
fn the_demo_on_the_card_loses_as_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let card = demo(device_name(), &folder.path().join("card"));
    let cpu = demo("cpu", &folder.path().join("cpu"));
    let mean = |steps: &[Step]| steps.iter().map(|step| f64::from(step.loss)).sum::<f64>() / steps.len() as f64;
    // The first steps compile and tune kernels.
    let pace = |steps: &[Step]| {
        let seconds = steps[20..].iter().map(|step| step.seconds);
        seconds.clone().sum::<f64>() / seconds.count() as f64
    };
    let peak = card.iter().filter_map(|step| step.device_memory_bytes).max();
    let difference = (mean(&card) / mean(&cpu) - 1.0).abs();
    println!(
        "{}",
        json!({
            "check": "demo, 100 steps",
            "device": device_name(),
            "seconds_a_step": pace(&card),
            "seconds_a_step_cpu": pace(&cpu),
            "peak_device_bytes": peak,
            "mean_loss": mean(&card),
            "mean_loss_cpu": mean(&cpu),
            "relative_difference": difference,
            "ok": difference < 0.02,
        })
    );
    assert_eq!(card.len(), STEPS as usize);
    assert!(difference < 0.02, "mean loss {} on the card, {} on the CPU", mean(&card), mean(&cpu));
}
