//! Drawing after a run, with saves and files, at one strength and at many.

use std::fs;
use std::path::Path;

use egui::Role;
use egui_kittest::kittest::Queryable;
use lorikeet_protocol::{Command, DrawEnd, DrawRequest, Drawn, Event, PictureSettings, Stage, UsedLora};
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::{Harness, settle, studio};

/// A run that is over, with two saves, and the panel open.
fn after_a_run(engine: &Fake, run: &Path) -> Harness<'static, StudioApp> {
    for step in [100, 200] {
        let save = run.join(format!("checkpoints/step-{step:06}"));
        fs::create_dir_all(&save).unwrap();
        fs::write(save.join("adapter.safetensors"), "").unwrap();
    }
    let mut harness = studio(engine, (1280.0, 1200.0));
    engine.push(Event::Started { run_dir: run.to_owned(), resumed_at: 0 });
    engine.push(Event::Finished { run_dir: run.to_owned(), step: 200, lora: None, seconds: 1.0 });
    harness.run_steps(2);
    harness.state_mut().go(Page::Samples);
    harness.run_steps(2);
    harness.get_by_label("Draw").click();
    harness.run_steps(2);
    settle(&mut harness);
    engine.take_sent();
    harness
}

fn request(engine: &Fake) -> DrawRequest {
    match engine.take_sent().as_slice() {
        [Command::Draw(request)] => request.clone(),
        sent => panic!("{sent:?}"),
    }
}

fn press(harness: &mut Harness<'_, StudioApp>, label: &str) {
    harness.get_by_role_and_label(Role::Button, label).click();
    harness.run_steps(3);
}

#[test]
fn a_save_draws_and_the_picture_comes_in_with_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink");
    let engine = Fake::default();
    let mut harness = after_a_run(&engine, &run);
    harness.get_by_label("Prompt").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("a heron ".to_owned()));
    harness.run_steps(2);
    press(&mut harness, "Draw");
    let sent = request(&engine);
    assert_eq!(sent.out_dir, run.join("drawings"));
    let [picture] = sent.pictures.as_slice() else { panic!("{sent:?}") };
    assert!(picture.prompt.contains("a heron"), "{}", picture.prompt);
    assert_eq!(picture.loras[0].path, run.join("checkpoints/step-000200"));
    assert_eq!(picture.loras[0].strength, 1.0);

    // It can be stopped, once.
    engine.push(Event::Stage { stage: Stage::Sample, done: 3, total: 20 });
    harness.run_steps(2);
    harness.get_by_label_contains("3 of 20");
    press(&mut harness, "Stop");
    assert_eq!(engine.take_sent(), [Command::Stop]);
    harness.get_by_label("Stopping…");

    let settings = PictureSettings {
        prompt: "a heron".to_owned(),
        loras: vec![UsedLora { name: picture.loras[0].name.clone(), strength: 1.0 }],
        seed: 7,
        width: 64,
        height: 64,
        set: sent.set,
        ..Default::default()
    };
    engine.push(Event::Drawn(Drawn { index: 0, settings, path: run.join("drawings/a.png") }));
    engine.push(Event::DrawEnded(DrawEnd { set: sent.set, drawn: 1, failure: None }));
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Image, "Drawn: a heron");
    press(&mut harness, "Use these settings");
    press(&mut harness, "Draw");
    let again = request(&engine);
    assert_eq!((again.pictures[0].prompt.as_str(), again.pictures[0].seed), ("a heron", 7));
    assert_eq!(again.pictures[0].loras, picture.loras);
}

#[test]
fn a_sweep_with_a_file_beside_asks_for_every_strength_of_every_save() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Fake::default();
    let mut harness = after_a_run(&engine, &folder.path().join("ink"));
    // The test's dialog answers with /exports/ink.safetensors.
    press(&mut harness, "Add LoRA file…");
    settle(&mut harness);
    harness.get_by_label_contains("Sweep").click();
    harness.run_steps(3);
    harness.get_by_label("Step 100").click();
    harness.run_steps(3);
    press(&mut harness, "Draw 10 pictures");
    let sent = request(&engine);
    let used: Vec<(bool, f32)> = sent
        .pictures
        .iter()
        .map(|picture| (picture.loras[0].path.ends_with("step-000100"), picture.loras[0].strength))
        .collect();
    let of = |first: bool| [0.0, 0.5, 0.75, 1.0, 1.25].map(|strength| (first, strength));
    assert_eq!(used, [of(true), of(false)].concat());
    assert!(sent.pictures.iter().all(|picture| picture.loras[1].path == Path::new("/exports/ink.safetensors")));
}

#[test]
fn what_fails_is_told_where_it_was_asked_for_and_a_run_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink");
    let engine = Fake::default();
    let mut harness = after_a_run(&engine, &run);
    press(&mut harness, "Draw");
    let set = request(&engine).set;
    let failure = fake::failure("A LoRA does not fit the base", "it was made for FLUX");
    engine.push(Event::DrawEnded(DrawEnd { set, drawn: 0, failure: Some(failure) }));
    harness.run_steps(3);
    harness.get_by_label("A LoRA does not fit the base");
    assert!(
        matches!(harness.state().state().phase, lorikeet_studio::state::Phase::Finished(_)),
        "the run is as it was"
    );

    engine.push(Event::Started { run_dir: run, resumed_at: 200 });
    harness.run_steps(3);
    press(&mut harness, "Draw");
    assert_eq!(engine.take_sent(), []);
    harness.get_by_label_contains("A run is on and needs the memory");
}

#[test]
fn the_settings_of_a_picture_become_a_workflow_for_comfyui() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink");
    fs::create_dir_all(run.join("drawings")).unwrap();
    let settings = PictureSettings { prompt: "a heron".to_owned(), width: 1, height: 1, ..Default::default() };
    let bytes = lorikeet_picture::png_bytes(&[9; 3], (1, 1), &settings, "test").unwrap();
    let picture = run.join("drawings/heron-1.png");
    fs::write(&picture, bytes).unwrap();
    let to = folder.path().join("heron.json");
    let engine = Fake::default();
    let mut harness = after_a_run(&engine, &run);
    // Of an earlier sitting, it is shown again.
    harness.get_by_role_and_label(Role::Image, "Drawn: a heron");
    harness.state_mut().save_workflow(picture, to.clone());
    settle(&mut harness);
    let workflow: serde_json::Value = serde_json::from_str(&fs::read_to_string(to).unwrap()).unwrap();
    assert_eq!(workflow["version"], 0.4);
}

#[test]
fn a_running_run_draws_a_prompt_at_once_and_takes_others_for_later() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 900.0));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(3, 400));
    harness.run_steps(2);
    harness.state_mut().go(Page::Samples);
    harness.run_steps(2);
    engine.take_sent();
    harness.get_by_label("Draw this now").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("a heron".to_owned()));
    harness.run_steps(2);
    press(&mut harness, "Draw this");
    assert_eq!(engine.take_sent(), [Command::SamplePrompts { prompts: vec!["a heron".to_owned()] }]);

    press(&mut harness, "Change the prompts of all previews…");
    harness.get_by_label("Prompts of the previews, one a line").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("a boat\n\n".to_owned()));
    harness.run_steps(2);
    press(&mut harness, "Use these prompts");
    let sent = engine.take_sent();
    let [Command::SetPrompts { prompts }] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(prompts.iter().any(|prompt| prompt.ends_with("a boat")), "{prompts:?}");
    assert!(prompts.len() > 1 && prompts.iter().all(|prompt| !prompt.is_empty()), "{prompts:?}");
    engine.push(Event::Prompts { prompts: vec!["a boat".to_owned()] });
    harness.run_steps(2);
    assert_eq!(harness.state().state().prompts_now(), ["a boat"]);
}
