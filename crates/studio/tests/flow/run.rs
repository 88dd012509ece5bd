//! From a dropped folder to an exported LoRA.

use std::path::PathBuf;

use egui::{Key, Modifiers, Theme};
use egui_kittest::kittest::Queryable;
use lorikeet_protocol::{Command, Event, Failure, Stage};
use lorikeet_recipe::Value;
use lorikeet_studio::{Page, StudioApp, state::Phase};

use crate::fake::{self, Fake};
use crate::{Harness, drop_path, pictures, settle, studio};

#[test]
fn at_the_first_start_the_demo_base_and_an_example_are_ready_to_train() {
    let engine = Fake::default();
    let harness = studio(&engine, (1280.0, 800.0));
    for title in ["Teach a style", "Teach a character", "Teach a concept"] {
        harness.get_by_label(title);
    }
    let recipe = harness.state().recipe();
    assert_eq!(recipe.get("base.path"), Value::Text("demo".to_owned()));
    assert_eq!(recipe.get("dataset.trigger"), Value::Text("ink style".to_owned()));
    assert!(harness.state().state().plan.is_some());
    harness.get_by_label("Train").click();
}

#[test]
fn a_dropped_folder_is_trained_watched_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 3);
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    drop_path(&mut harness, folder.path());
    harness.get_by_label_contains("3 pictures · all with captions");

    harness.get_by_label("Train").click();
    harness.run_steps(2);
    let sent = engine.take_sent();
    let [Command::Start { recipe }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(recipe.get("dataset.folder"), Value::Text(folder.path().to_string_lossy().into_owned()));
    assert_eq!(recipe.get("dataset.trigger"), Value::Text(String::new()), "the trigger word was the example's");
    assert_eq!(recipe.get("save.folder"), Value::Text("runs".to_owned()));
    assert_eq!(harness.state().page(), Page::Monitor);

    engine.push(Event::Started { run_dir: "runs/thing".into(), resumed_at: 0 });
    engine.push(Event::Stage { stage: Stage::CacheLatents, done: 2, total: 3 });
    harness.run_steps(2);
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Encoding pictures");
    harness.get_by_label("2 of 3");
    for at in 1..=120 {
        engine.push(fake::step(at, 2000));
    }
    engine.push(Event::Saved { step: 100, path: "runs/thing/checkpoints/step-000100".into() });
    harness.run_steps(2);
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Step 120 of 2,000");
    harness.get_by_label("Saved at step 100");

    harness.get_by_label("Pause").click();
    harness.run_steps(2);
    engine.push(Event::Paused { step: 120 });
    harness.run_steps(2);
    harness.get_by_label("Resume").click();
    harness.run_steps(2);
    engine.push(Event::Resumed { step: 120 });
    harness.run_steps(2);
    harness.get_by_label("Save now").click();
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), [Command::Pause, Command::Resume, Command::SaveNow]);

    harness.get_by_label("Stop").click();
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), [], "stopping is confirmed first");
    harness.get_by_label("Stop and save").click();
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), [Command::Stop]);
    let lora = PathBuf::from("runs/thing/thing.safetensors");
    engine.push(Event::Finished { run_dir: "runs/thing".into(), step: 120, lora: Some(lora), seconds: 61.0 });
    harness.run_steps(2);
    harness.get_by_label("Stopped and saved");
    harness.get_by_label("Open folder");

    harness.get_by_label("Export LoRA…").click();
    // A dialog measures itself in a frame that is not shown.
    harness.run_steps(3);
    harness.get_by_label("Choose file…").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Export").click();
    harness.run_steps(2);
    let to = PathBuf::from("/exports/ink.safetensors");
    let sent = engine.take_sent();
    let [Command::Export(request)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((&request.to, request.step, &request.run_dir), (&to, None, &PathBuf::from("runs/thing")));
    engine.push(Event::Exported { path: to, modules: 84 });
    harness.run_steps(2);
    harness.get_by_label("Exported ink.safetensors with 84 trained layers");
    settle(&mut harness);
    // The file of this story does not exist, which the check tells.
    assert!(harness.query_all_by_label_contains("ink.safetensors").count() >= 1);
    harness.get_by_label("Done").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Export LoRA").is_none(), "the dialog closes");
}

#[test]
fn a_failed_run_says_what_why_and_what_to_do_and_goes_on_from_its_save() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    harness.run_steps(2);
    assert!(matches!(engine.take_sent().as_slice(), [Command::Start { .. }]), "Ctrl+Enter starts");
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(50, 300));
    engine.push(Event::Failed(Failure {
        what: "The loss is not a number at step 51".to_owned(),
        why: "The learning rate is too high".to_owned(),
        todo: "Lower it to 1.0e-4".to_owned(),
        last_save: Some("runs/ink/checkpoints/step-000050".into()),
    }));
    harness.run_steps(3);
    // Once on the card, once as a message.
    assert_eq!(harness.query_all_by_label("The loss is not a number at step 51").count(), 2);
    harness.get_by_label("The learning rate is too high");
    harness.get_by_label("Lower it to 1.0e-4");
    harness.get_by_label("Continue from last save").click();
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), [Command::ResumeRun { run_dir: "runs/ink".into() }]);
    assert_eq!(harness.state().state().phase, Phase::Starting);
}

#[test]
fn a_folder_without_pictures_is_explained_and_cannot_be_trained() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    drop_path(&mut harness, folder.path());
    assert!(harness.query_all_by_label_contains("The folder is empty").count() >= 1);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), []);
}

#[test]
fn one_broken_picture_among_good_ones_is_named() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 2);
    std::fs::write(folder.path().join("broken.png"), b"").unwrap();
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    drop_path(&mut harness, folder.path());
    harness.get_by_label_contains("Left out broken.png");
    harness.get_by_label_contains("2 pictures ·");
}

#[test]
fn a_wrong_base_is_told_on_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    std::fs::write(&file, b"").unwrap();
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    drop_path(&mut harness, &file);
    assert_eq!(harness.state().page(), Page::Model);
    assert!(harness.query_all_by_label_contains("model.safetensors").count() >= 1);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    harness.run_steps(2);
    assert_eq!(engine.take_sent(), []);
}

/// Drawing a form must not touch what it shows: some widgets round what they are given.
#[test]
fn looking_at_every_page_changes_nothing_in_the_recipe() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    let before = harness.state().recipe();
    harness.state_mut().show_advanced(true);
    for page in Page::ALL {
        harness.state_mut().go(page);
        settle(&mut harness);
    }
    assert_eq!(harness.state().recipe(), before);
}

/// The harness itself fails on inputs without a name and on signs no font has.
#[test]
fn every_page_draws_in_both_themes_in_every_state() {
    for theme in [Theme::Dark, Theme::Light] {
        for size in [(1280.0, 800.0), (960.0, 640.0)] {
            let engine = Fake::default();
            let mut harness = studio(&engine, size);
            harness.state_mut().set_theme(theme.into());
            harness.state_mut().show_advanced(true);
            every_page(&mut harness);
            harness.state_mut().train();
            engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
            every_page(&mut harness);
            for prompt in 0..3 {
                for at in [0, 50, 100] {
                    engine.push(fake::sample(at, prompt, "a cat", "missing.png".into()));
                }
            }
            engine.push(Event::Validation { step: 50, loss: 0.1, base_loss: 0.13 });
            engine.push(fake::step(100, 300));
            every_page(&mut harness);
            harness.state_mut().enlarge(Some((1, 50)));
            harness.run_steps(3);
            harness.get_by_role_and_label(egui::Role::Image, "With LoRA, step 50");
            harness.state_mut().enlarge(None);
            engine.push(Event::Failed(fake::failure("It broke", "A reason")));
            every_page(&mut harness);
        }
    }
}

fn every_page(harness: &mut Harness<'_, StudioApp>) {
    for page in Page::ALL {
        harness.state_mut().go(page);
        harness.state_mut().settle();
        harness.run_steps(3);
        harness.get_by_role_and_label(egui::Role::Tab, page.label());
    }
}
