//! What a run leaves: previews compared, runs listed and looked at again, the exported file checked, advice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use egui::{Key, Role};
use egui_kittest::kittest::Queryable;
use lorikeet_checkpoint::lora::{self, Array, LoraModule};
use lorikeet_checkpoint::{Dtype, Family};
use lorikeet_protocol::{Command, Event};
use lorikeet_recipe::Value;
use lorikeet_studio::{Page, StudioApp, state::Phase};

use crate::fake::{self, Fake};
use crate::{Harness, drop_path, settle, studio, studio_in};

fn with_previews(engine: &Fake) -> Harness<'static, StudioApp> {
    let mut harness = studio(engine, (1280.0, 900.0));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    for prompt in 0..2 {
        for at in [0, 50, 100] {
            engine.push(fake::sample(at, prompt, &format!("prompt {prompt}"), "missing.png".into()));
        }
    }
    harness.run_steps(2);
    harness
}

#[test]
fn previews_are_flicked_through_with_arrow_keys_and_wiped_against_any_other_step() {
    let engine = Fake::default();
    let mut harness = with_previews(&engine);
    harness.state_mut().enlarge(Some((0, 100)));
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Image, "With LoRA, step 100");
    harness.get_by_role_and_label(Role::Image, "Base");
    harness.key_press(Key::ArrowLeft);
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Image, "With LoRA, step 50");
    harness.key_press(Key::ArrowDown);
    harness.run_steps(3);
    harness.get_by_label("prompt 1");
    harness.get_by_label("Wipe").click();
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Slider, "Wipe between the two");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(harness.query_by_label("Wipe between the two").is_none());
}

/// A run folder as the worker leaves it.
fn run_folder(runs: &Path, name: &str) -> PathBuf {
    let run = runs.join(name);
    fs::create_dir_all(run.join("checkpoints/step-000100")).unwrap();
    fs::write(run.join("recipe.toml"), "preset = \"concept\"\n[network]\nrank = 7\n").unwrap();
    let line = |event: Event| serde_json::to_string(&event).unwrap() + "\n";
    let events = [
        fake::sample(0, 0, "a cat", run.join("samples/a.png")),
        fake::sample(100, 0, "a cat", run.join("samples/b.png")),
        Event::Validation { step: 100, loss: 0.125, base_loss: 0.2 },
        Event::Saved { step: 100, path: run.join("checkpoints/step-000100") },
    ];
    fs::write(run.join("events.jsonl"), events.map(line).concat()).unwrap();
    let steps = (1..=100).filter_map(|at| match fake::step(at, 400) {
        Event::Step(step) => Some(serde_json::to_string(&step).unwrap() + "\n"),
        _ => None,
    });
    fs::write(run.join("metrics.jsonl"), steps.collect::<String>()).unwrap();
    run
}

#[test]
fn runs_are_found_opened_and_their_recipes_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "ink-001");
    run_folder(folder.path(), "other-001");
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 900.0), folder.path());
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    assert_eq!(harness.query_all_by_label("Open").count(), 2);
    harness.get_by_label("Find a run").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("ink".to_owned()));
    harness.run_steps(3);
    harness.get_by_label("ink-001");
    assert!(harness.query_by_label("other-001").is_none());

    harness.get_by_label("Open").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(harness.state().page(), Page::Monitor);
    assert_eq!(harness.state().state().losses.points().len(), 100);
    assert_eq!(harness.state().state().samples.len(), 2);
    let Phase::Failed(failure) = &harness.state().state().phase else { panic!("it never finished") };
    assert_eq!(failure.what, "This run was interrupted");
    harness.get_by_label("Continue from last save").click();
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), [Command::ResumeRun { run_dir: run.clone() }]);
    engine.push(Event::Finished { run_dir: run, step: 400, lora: None, seconds: 1.0 });
    harness.run_steps(2);

    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    harness.get_by_label("Use the recipe of ink-001 again").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(harness.state().page(), Page::Training);
    assert_eq!(harness.state().recipe().get("network.rank"), Value::Int(7));
}

#[test]
fn deleting_a_run_is_confirmed_first() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "ink-001");
    let mut harness = studio_in(&Fake::default(), (1280.0, 900.0), folder.path());
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    harness.get_by_label("Delete ink-001…").click();
    harness.run_steps(4);
    harness.get_by_label("Delete run");
    harness.get_by_label("Cancel").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Delete run").is_none());
    assert!(run.is_dir());
}

#[test]
fn an_export_asks_what_to_tell_and_shows_who_reads_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ink.safetensors");
    let half = |shape: &[usize]| Array { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] };
    let module = LoraModule {
        name: "unet.mid_block.attentions.0.proj_in".to_owned(),
        rank: 2,
        alpha: 2.0,
        down: half(&[2, 8]),
        up: half(&[8, 2]),
    };
    lora::write(&file, Family::Sd1, &[module], Dtype::F16, &BTreeMap::new()).unwrap();

    let engine = Fake::default();
    let mut harness = with_previews(&engine);
    engine.push(Event::Saved { step: 100, path: "runs/ink/checkpoints/step-000100".into() });
    engine.push(Event::Finished { run_dir: "runs/ink".into(), step: 100, lora: None, seconds: 1.0 });
    harness.run_steps(2);
    engine.take_sent();
    harness.state_mut().ask_export();
    harness.run_steps(4);
    harness.get_by_label("Author").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("Ann".to_owned()));
    harness.run_steps(2);
    harness.get_by_role_and_label(Role::Image, "The picture it is shown with");
    harness.get_by_label("diffusers (PEFT)").click();
    harness.run_steps(2);
    harness.get_by_label("Export").click();
    harness.run_steps(2);
    let sent = engine.take_sent();
    let [Command::Export(request)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(
        (request.about.author.as_str(), request.about.usage_hint.as_str()),
        ("Ann", "Use \"ink style\" in the prompt")
    );
    assert_eq!(request.names, lorikeet_protocol::ExportNames::Diffusers);
    assert_eq!(request.thumbnail.as_deref(), Some(Path::new("missing.png")));
    engine.push(Event::Exported { path: file, modules: 1 });
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Read back: 1 layer, every number finite");
    harness.get_by_label("Good for ComfyUI");
    harness.get_by_label("Done").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Export LoRA").is_none());
}

#[test]
fn curves_that_go_wrong_are_told_with_what_to_do() {
    let engine = Fake::default();
    let mut harness = with_previews(&engine);
    harness.state_mut().go(Page::Monitor);
    engine.push(fake::step(10, 400));
    for (at, loss) in [(50, 0.1), (100, 0.12), (150, 0.14)] {
        engine.push(Event::Saved { step: at, path: format!("runs/ink/checkpoints/step-{at:06}").into() });
        engine.push(Event::Validation { step: at, loss, base_loss: 0.2 });
    }
    harness.run_steps(3);
    harness.get_by_label_contains("Over-fitting since step 50");
    harness.get_by_label("Export the save at step 50, where validation was best");
}

#[test]
fn settings_of_another_trainer_are_shown_before_they_are_used_and_can_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kohya.json");
    fs::write(&file, r#"{"network_dim": 24, "network_alpha": 12, "optimizer": "Prodigy", "learning_rate": 0.0005}"#)
        .unwrap();
    let mut harness = studio(&Fake::default(), (1280.0, 900.0));
    let before = harness.state().recipe();
    drop_path(&mut harness, &file);
    harness.get_by_label("Settings of kohya");
    harness.get_by_label_contains("AdamW is used instead");
    assert_eq!(harness.state().recipe(), before, "not before it is asked for");
    harness.get_by_label("Use these settings").click();
    harness.run_steps(2);
    settle(&mut harness);
    let recipe = harness.state().recipe();
    assert_eq!((recipe.get("network.rank"), recipe.get("network.alpha")), (Value::Int(24), Value::Float(12.0)));
    assert_eq!(recipe.get("dataset.folder"), before.get("dataset.folder"), "what the file does not say stays");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::Z);
    settle(&mut harness);
    assert_eq!(harness.state().recipe(), before);
}

#[test]
fn a_favourite_is_marked_kept_with_the_run_and_exported_first() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "ink-001");
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 900.0), folder.path());
    engine.push(Event::Started { run_dir: run.clone(), resumed_at: 0 });
    for at in [100, 200] {
        engine.push(fake::sample(at, 0, "a cat", run.join(format!("samples/{at}.png"))));
        engine.push(Event::Saved { step: at, path: run.join("checkpoints") });
    }
    engine.push(Event::Finished { run_dir: run.clone(), step: 200, lora: None, seconds: 1.0 });
    harness.run_steps(2);
    harness.state_mut().go(Page::Samples);
    settle(&mut harness);
    harness.get_by_label("Step 100 as favourite").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(fs::read_to_string(run.join("favourite.json")).unwrap(), "{\"step\":100}");
    harness.state_mut().ask_export();
    harness.run_steps(4);
    harness.get_by_label("Export").click();
    harness.run_steps(2);
    let sent = engine.take_sent();
    let [Command::Export(request)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((request.step, request.thumbnail.clone()), (Some(100), Some(run.join("samples/100.png"))));
}
