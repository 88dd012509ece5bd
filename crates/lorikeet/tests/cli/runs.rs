//! Whole runs on the demo base.

use std::fs;
use std::path::Path;

use lorikeet_checkpoint::{SafetensorsFile, lora};
use lorikeet_protocol::Event;
use serde_json::Value;

use crate::common::{Bench, Running, events, failed, lorikeet, losses, stdout, succeeded, text};

fn tensors(file: &Path) -> Vec<(String, Vec<u8>)> {
    let file = SafetensorsFile::open(file).unwrap();
    file.names().map(|name| (name.to_owned(), file.bytes(name).unwrap().to_vec())).collect()
}

#[test]
fn three_steps_leave_a_readable_run_and_a_lora_that_draws() {
    let bench = Bench::new();
    let told = events(&stdout(&succeeded(bench.train(&[]))));
    let run = bench.run(1);
    assert!(matches!(told.last(), Some(Event::Finished { step: 3, .. })), "{:?}", told.last());

    let plan: Value = serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap();
    assert_eq!(plan["steps"], 3);
    let recipe = lorikeet_recipe::Recipe::load(&run.join("recipe.toml")).unwrap();
    assert_eq!(recipe.get("network.rank").to_string(), "2");
    assert_eq!(losses(&run).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3]);
    let kept = events(&fs::read_to_string(run.join("events.jsonl")).unwrap());
    let count = |wanted: fn(&Event) -> bool| kept.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Sample(_))), 2);
    assert_eq!(count(|event| matches!(event, Event::Validation { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::Saved { .. })), 2);
    for event in &kept {
        if let Event::Sample(sample) = event {
            assert_eq!(image::open(&sample.path).unwrap().width(), 128);
        }
    }
    for name in ["checkpoints/step-000002", "checkpoints/step-000003", "log.txt", "loss.png"] {
        assert!(run.join(name).exists(), "{name}");
    }

    let file = run.join("kreise.safetensors");
    let adapters = lora::read(&file).unwrap();
    assert!(adapters.modules.iter().all(|module| module.rank == 2));
    let told = stdout(&succeeded(lorikeet(&["inspect", &text(&file)])));
    assert!(told.contains("LoRA") && told.contains("rank 2"), "{told}");

    let exported = bench.folder.join("von Schritt 2.safetensors");
    let arguments = ["export", &text(&run), "--to", &text(&exported), "--dtype", "f32", "--step", "2"];
    succeeded(lorikeet(&arguments));
    assert_eq!(lora::read(&exported).unwrap().modules.len(), adapters.modules.len());

    let out = bench.folder.join("gezeichnet");
    let with_strength = format!("{}:0.5", text(&file));
    let arguments =
        ["sample", "--lora", &with_strength, "--prompt", "circle", "--steps", "1", "--cfg", "1", "--out", &text(&out)];
    let drawn = stdout(&succeeded(lorikeet(&arguments)));
    let picture = drawn.lines().last().unwrap();
    assert_eq!(image::open(picture).unwrap().width(), 128);
}

#[test]
fn a_run_killed_anywhere_goes_on_as_if_it_had_not_been() {
    let bench = Bench::new();
    // Without previews and validation, which say nothing about the losses.
    let set = ["train.steps=6", "sample.every=0", "validation.every=0", "network.dropout=0.1"];
    succeeded(bench.train(&set));
    let whole = bench.run(1);
    assert_eq!(losses(&whole).len(), 6);

    let before_any_save: fn(&Event) -> bool = |event| matches!(event, Event::Step(step) if step.step == 1);
    let at_a_save: fn(&Event) -> bool = |event| matches!(event, Event::Saved { step: 2, .. });
    let between_saves: fn(&Event) -> bool = |event| matches!(event, Event::Step(step) if step.step == 5);
    for (number, when) in [(2, before_any_save), (3, at_a_save), (4, between_saves)] {
        let mut running = Running::start(&bench.train_arguments(&set));
        running.until(when);
        running.kill();
        let run = bench.run(number);
        succeeded(lorikeet(&["resume", &text(&run), "--json"]));
        assert_eq!(losses(&run), losses(&whole));
        assert!(tensors(&run.join("kreise.safetensors")) == tensors(&whole.join("kreise.safetensors")));
    }
}

#[test]
fn a_run_made_longer_equals_one_of_that_length_from_the_start() {
    let bench = Bench::new();
    let set = |steps| ["sample.every=0", "validation.every=0", "train.schedule=constant", steps, "network.dropout=0.1"];
    succeeded(bench.train(&set("train.steps=6")));
    succeeded(bench.train(&set("train.steps=3")));
    let (whole, run) = (bench.run(1), bench.run(2));
    failed(&lorikeet(&["resume", &text(&run), "--steps", "3"]), 1, &["3 steps already"]);
    succeeded(lorikeet(&["resume", &text(&run), "--steps", "6", "--json"]));
    assert_eq!(losses(&run), losses(&whole));
    assert!(tensors(&run.join("kreise.safetensors")) == tensors(&whole.join("kreise.safetensors")));

    succeeded(bench.train(&["sample.every=0", "validation.every=0", "train.steps=2"]));
    let fallen = text(&bench.run(3));
    failed(&lorikeet(&["resume", &fallen, "--steps", "4"]), 1, &["cosine", "--restart-schedule"]);
    succeeded(lorikeet(&["resume", &fallen, "--steps", "4", "--restart-schedule", "--json"]));
    assert_eq!(losses(&bench.run(3)).len(), 4);
}

#[test]
fn a_run_of_another_program_is_paused_and_stopped_from_the_command_line() {
    let bench = Bench::new();
    let mut running =
        Running::start(&bench.train_arguments(&["train.steps=100000", "sample.every=0", "validation.every=0"]));
    running.until(|event| matches!(event, Event::Step(_)));
    let run = text(&bench.run(1));
    let told = stdout(&succeeded(lorikeet(&["pause", &run])));
    assert!(told.contains(&format!("lorikeet pause --off {run}")), "{told}");
    running.until(|event| matches!(event, Event::Paused { .. }));
    assert!(stdout(&succeeded(lorikeet(&["pause", "--off", &run]))).contains("goes on"));
    running.until(|event| matches!(event, Event::Resumed { .. }));
    running.until(|event| matches!(event, Event::Step(_)));
    assert!(stdout(&succeeded(lorikeet(&["stop", &run]))).contains("lorikeet resume"));
    let Event::Finished { step, .. } = running.until(|event| matches!(event, Event::Finished { .. })) else {
        unreachable!()
    };
    assert_eq!(running.exit_code(), Some(0));
    assert!(bench.run(1).join(format!("checkpoints/step-{step:06}")).is_dir());
    for command in ["pause", "stop"] {
        failed(&lorikeet(&[command, &run]), 2, &["no program trains in", &run]);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_with_a_save_and_success() {
    let bench = Bench::new();
    let mut running =
        Running::start(&bench.train_arguments(&["train.steps=100000", "sample.every=0", "validation.every=0"]));
    running.until(|event| matches!(event, Event::Step(step) if step.step == 1));
    running.interrupt();
    let Event::Finished { step, lora, .. } = running.until(|event| matches!(event, Event::Finished { .. })) else {
        unreachable!()
    };
    assert_eq!(running.exit_code(), Some(0));
    assert!(step < 100_000);
    assert!(lora.unwrap().is_file());
    assert!(bench.run(1).join(format!("checkpoints/step-{step:06}")).is_dir());
}
