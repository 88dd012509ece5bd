//! The demo on a graphics card, with and without fusion, against the CPU. Run by `tests/gpu/run` and `tests/vulkan/run`; see
//! docs/gpu.md.

use std::path::Path;
use std::process::Command as Process;

use lorikeet_protocol::{Command, Event, Step};
use lorikeet_recipe::{Preset, Recipe};
use lorikeet_trainer::{Host, train};
use serde_json::json;

use super::fixture::{device_name, dry, root};

/// A run for [`run_of_its_own`]: the base, the device, `true` or `false` for fusion, the precision, and the file that takes its steps.
const RUN: &str = "LORIKEET_TEST_RUN";

/// `LORIKEET_TEST_STEPS`, else 100.
fn steps() -> u64 {
    std::env::var("LORIKEET_TEST_STEPS").map_or(100, |steps| steps.parse().unwrap())
}

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

fn demo([base, device, fusion, precision]: [&str; 4], run_dir: &Path) -> Vec<Step> {
    let pictures = root().join("../../../datasets-example/ink-style");
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [
        ("base.path", base),
        ("dataset.folder", pictures.to_str().unwrap()),
        ("dataset.trigger", "ink style"),
        ("train.steps", &steps().to_string()),
        ("sample.every", "0"),
        ("validation.every", "0"),
        ("run.device", device),
        ("run.fusion", fusion),
        ("run.precision", precision),
    ] {
        recipe.set_text(id, value).unwrap();
    }
    std::fs::create_dir_all(run_dir).unwrap();
    let mut host = Listening { run_dir, steps: Vec::new() };
    let done = train(&recipe, run_dir, &mut host);
    // What was never computed may be no number.
    assert!(dry() || done.is_ok(), "{:?}", done.err());
    host.steps
}

/// The switch of fusion holds for a process, so each run gets one.
#[test]
#[ignore = "a part of the test below"]
fn run_of_its_own() {
    let Ok(run) = std::env::var(RUN) else { return };
    let [base, device, fusion, precision, out] = run.split('|').collect::<Vec<_>>().try_into().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let steps = demo([base, device, fusion, precision], folder.path());
    std::fs::write(out, serde_json::to_vec(&steps).unwrap()).unwrap();
}

fn in_a_process(base: &str, device: &str, fusion: bool, precision: &str, folder: &Path) -> Vec<Step> {
    let out = folder.join("steps.json");
    let status = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "card::run_of_its_own", "--ignored", "--nocapture"])
        .env(RUN, format!("{base}|{device}|{fusion}|{precision}|{}", out.display()))
        .status()
        .unwrap();
    assert!(status.success(), "the run of {base} on {device}, fusion {fusion}, precision {precision}: {status}");
    serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap()
}

#[test]
#[ignore = "trains for minutes and needs a graphics card: LORIKEET_TEST_DEVICE=cuda, see docs/gpu.md"]
fn the_demo_on_the_card_loses_as_on_the_cpu() {
    let exact = if device_name().starts_with("cuda") { 5e-3 } else { 1e-5 };
    compare(
        "demo",
        &[
            ("demo, fused", true, "auto", 0.02),
            ("demo, not fused", false, "auto", 0.02),
            ("demo in f32", true, "f32", exact),
        ],
    );
}

#[test]
#[ignore = "trains for minutes and needs a graphics card: LORIKEET_TEST_DEVICE=cuda, see docs/gpu.md"]
fn the_demo_of_the_flux_layout_on_the_card_loses_as_on_the_cpu() {
    compare("demo-flux", &[("demo of the FLUX layout", true, "auto", 0.02)]);
}

/// 16 bits against f32: single steps differ by some per cent, the mean of a hundred by little. In f32 each step is the same, but for
/// tensor units, which take 10 bits of it. Of each run its name, whether fused, its precision, and how far its mean loss may be off.
fn compare(base: &str, runs: &[(&str, bool, &str, f64)]) {
    let folder = tempfile::tempdir().unwrap();
    let run = |device, fusion, precision| in_a_process(base, device, fusion, precision, folder.path());
    let cpu = run("cpu", true, "auto");
    let mean = |steps: &[Step]| steps.iter().map(|step| f64::from(step.loss)).sum::<f64>() / steps.len() as f64;
    // The first steps compile and tune kernels.
    let pace = |steps: &[Step]| {
        let seconds = steps[steps.len() / 5..].iter().map(|step| step.seconds);
        seconds.clone().sum::<f64>() / seconds.count() as f64
    };
    for &(name, fusion, precision, bound) in runs {
        let card = run(device_name(), fusion, precision);
        if dry() {
            continue;
        }
        let peak = card.iter().filter_map(|step| step.device_memory_bytes).max();
        let difference = (mean(&card) / mean(&cpu) - 1.0).abs();
        println!(
            "{}",
            json!({
                "check": name,
                "steps": card.len(),
                "device": device_name(),
                "seconds_a_step": pace(&card),
                "seconds_of_the_first": card[0].seconds,
                "seconds_a_step_cpu": pace(&cpu),
                "peak_device_bytes": peak,
                "mean_loss": mean(&card),
                "mean_loss_cpu": mean(&cpu),
                "relative_difference": difference,
                "ok": difference < bound,
            })
        );
        assert_eq!(card.len() as u64, steps());
        assert!(difference < bound, "{name}: mean loss {} on the card, {} on the CPU", mean(&card), mean(&cpu));
    }
}
