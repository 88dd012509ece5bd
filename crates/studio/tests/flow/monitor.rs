//! What the Monitor page shows beside the loss of its run.

use std::fs;

use egui_kittest::kittest::Queryable;
use lorikeet_protocol::{CardLoad, CardMemory, Event, Load};
use lorikeet_studio::Page;

use crate::fake::{self, Fake};
use crate::{settle, studio_in};

#[test]
fn earlier_runs_are_drawn_beside_the_one_that_is_on() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ink-001", "ink-002"] {
        let run = folder.path().join(name);
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("recipe.toml"), "").unwrap();
        let steps: String = (1..=50)
            .filter_map(|at| match fake::step(at, 50) {
                Event::Step(step) => Some(serde_json::to_string(&step).unwrap() + "\n"),
                _ => None,
            })
            .collect();
        fs::write(run.join("metrics.jsonl"), steps).unwrap();
        let held = Event::Validation { step: 50, loss: 0.1, base_loss: 0.2 };
        fs::write(run.join("events.jsonl"), serde_json::to_string(&held).unwrap() + "\n").unwrap();
    }
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 1400.0), folder.path());
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: folder.path().join("ink-003"), resumed_at: 0 });
    (1..=20).for_each(|at| engine.push(fake::step(at, 400)));
    harness.run_steps(3);
    harness.get_by_label("Earlier runs").click();
    harness.run_steps(3);
    settle(&mut harness);
    harness.get_by_label("ink-001").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Earlier runs (1)");
    assert!(harness.query_all_by_label("ink-001").count() >= 2, "in the menu and in the legend");
}

#[test]
fn the_log_is_filtered_and_memory_stands_beside_the_plan() {
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 1400.0), std::path::Path::new("runs"));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(10, 400));
    engine.push(Event::Note { message: "The base is read from its file".to_owned() });
    engine.push(Event::Warning { message: "one picture was left out".to_owned() });
    engine.push(Event::Memory { measured_bytes: 2 << 30, planned_bytes: 3 << 30 });
    harness.run_steps(3);
    assert_eq!(harness.state().page(), Page::Monitor);
    harness.get_by_label("The most so far");
    harness.get_by_label_contains("2 GB of 3 GB planned");
    harness.get_by_label("The base is read from its file");
    harness.get_by_role_and_label(egui::Role::RadioButton, "Warnings").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("The base is read from its file").is_none());
    harness.get_by_label("one picture was left out");
    harness.get_by_role_and_label(egui::Role::RadioButton, "Errors").click();
    harness.run_steps(3);
    harness.get_by_label("Nothing of that kind was told");
}

#[test]
fn how_busy_processor_and_card_are_is_shown_while_the_run_goes_on() {
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 1400.0), std::path::Path::new("runs"));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(10, 400));
    engine.push(Event::Load(Load { processor: 0.97, own_processor: 0.5, ..Load::default() }));
    harness.run_steps(3);
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Processor, all programs");
    harness.get_by_label("97 %");
    harness.get_by_label("50 %");
    assert!(harness.query_by_label("Temperature").is_none());

    engine.push(Event::Load(Load { processor: 0.2, own_processor: 0.1, card: Some(card()), tuned: 12 }));
    harness.run_steps(3);
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Card of a test");
    for text in ["12", "88 %", "24 of 24 GB", "5.5 GB", "71 °C", "245 of 300 W"] {
        harness.get_by_label(text);
    }
    harness.get_by_label_contains("Other programs have 5.5 GB of it");

    // What the driver does not tell is left out.
    let silent = CardLoad { name: "Card of a test".to_owned(), watts: Some(12.4), ..CardLoad::default() };
    engine.push(Event::Load(Load { card: Some(silent), ..Load::default() }));
    harness.run_steps(3);
    harness.get_by_label("12 W");
    assert!(harness.query_by_label("Temperature").is_none() && harness.query_by_label("Card of a test").is_none());

    engine.push(Event::Finished { run_dir: "runs/ink".into(), step: 400, lora: None, seconds: 9.0 });
    harness.run_steps(3);
    assert!(harness.query_by_label("Load").is_none(), "what was is over");
}

fn card() -> CardLoad {
    let gigabytes = |number: f64| (number * f64::from(1 << 30)) as u64;
    CardLoad {
        name: "Card of a test".to_owned(),
        busy: Some(0.88),
        memory: Some(CardMemory { total: gigabytes(24.0), used: gigabytes(23.5), own: Some(gigabytes(18.0)) }),
        celsius: Some(71),
        watts: Some(245.2),
        watts_limit: Some(300.0),
    }
}
