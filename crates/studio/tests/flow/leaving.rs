//! Closing the window while a run is on, and a run that goes on without a window.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use egui::{ViewportCommand, ViewportEvent, ViewportId};
use egui_kittest::kittest::Queryable;
use lorikeet_protocol::{Command, Event, LOAD_FILE, LOCK_FILE, PAUSE_FILE, STOP_FILE, Workplace};
use lorikeet_queue::QueueFile;
use lorikeet_studio::{Page, StudioApp, state::Phase};

use crate::fake::{self, Fake};
use crate::{Harness, settle, studio, studio_in, studio_with};

/// As the cross of the window. Returns what the window is told in the same frame.
fn close_window(harness: &mut Harness<'_, StudioApp>) -> Vec<ViewportCommand> {
    let viewport = harness.input_mut().viewports.entry(ViewportId::ROOT).or_default();
    viewport.events.push(ViewportEvent::Close);
    harness.step();
    let told = told(harness);
    harness.input_mut().viewports.entry(ViewportId::ROOT).or_default().events.clear();
    harness.run_steps(3);
    told
}

fn told(harness: &Harness<'_, StudioApp>) -> Vec<ViewportCommand> {
    harness.output().viewport_output.get(&ViewportId::ROOT).map(|output| output.commands.clone()).unwrap_or_default()
}

fn running(engine: &Fake) -> Harness<'static, StudioApp> {
    let mut harness = studio(engine, (1280.0, 800.0));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(10, 400));
    harness.run_steps(3);
    engine.take_sent();
    harness
}

#[test]
fn without_a_run_the_window_closes_at_once() {
    let mut harness = studio(&Fake::default(), (1280.0, 800.0));
    assert!(!close_window(&mut harness).contains(&ViewportCommand::CancelClose));
}

#[test]
fn a_run_in_this_process_is_saved_before_the_window_closes() {
    let engine = Fake::default();
    let mut harness = running(&engine);
    assert!(close_window(&mut harness).contains(&ViewportCommand::CancelClose));
    harness.get_by_label("Training is going on");
    assert!(harness.query_by_label("Go on in the background").is_none());
    harness.get_by_label("Cancel").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Training is going on").is_none());

    close_window(&mut harness);
    harness.get_by_label("Stop and save").click();
    harness.run_steps(3);
    assert_eq!(engine.take_sent(), [Command::Stop]);
    harness.get_by_label("Saving before the window closes");
    assert!(close_window(&mut harness).contains(&ViewportCommand::CancelClose), "it waits for the save");
    engine.push(Event::Finished { run_dir: "runs/ink".into(), step: 11, lora: None, seconds: 1.0 });
    harness.step();
    assert!(told(&harness).contains(&ViewportCommand::Close));
}

#[test]
fn a_save_that_fails_keeps_the_window_open() {
    let engine = Fake::default();
    let mut harness = running(&engine);
    close_window(&mut harness);
    harness.get_by_label("Stop and save").click();
    harness.run_steps(3);
    engine.push(Event::Failed(fake::failure("The disk is full", "It is")));
    harness.step();
    assert!(!told(&harness).contains(&ViewportCommand::Close));
    harness.run_steps(3);
    assert!(harness.query_all_by_label("The disk is full").count() >= 1);
}

#[test]
fn a_run_in_another_process_can_be_left_to_go_on() {
    let engine = Fake::default().in_another_process();
    let mut harness = running(&engine);
    engine.push(Event::Paused { step: 10 });
    harness.run_steps(2);
    close_window(&mut harness);
    harness.get_by_label("Go on in the background").click();
    harness.step();
    harness.step();
    assert!(engine.left());
    assert_eq!(engine.take_sent(), [], "a paused run stays so: the next window can have it go on");
    assert!(
        told(&harness).contains(&ViewportCommand::Close) || {
            harness.step();
            told(&harness).contains(&ViewportCommand::Close)
        }
    );
}

/// In the place of a program that goes on with the queue: notes what it is told.
fn note(queue: &Path, run_dir: &Path) -> Result<(), String> {
    // Of whoever leaves it, so that no other program does its runs too.
    let worked = QueueFile::new(queue.to_owned()).read().unwrap().worked;
    fs::write(queue.with_extension("left"), format!("{} {worked}", run_dir.display()))
        .map_err(|error| error.to_string())
}

#[test]
fn the_queue_goes_on_with_the_run_that_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.json");
    let engine = Fake::default().in_another_process();
    let mut harness = studio_with(&engine, (1280.0, 900.0), |start| start.go_on = Some(note));
    harness.state_mut().keep_queue(path.clone());
    settle(&mut harness);
    harness.state_mut().add_to_queue_now();
    harness.state_mut().add_to_queue_now();
    settle(&mut harness);
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    harness.get_by_label("Start queue").click();
    settle(&mut harness);
    close_window(&mut harness);
    harness.get_by_label("The queue (1 run) goes on in the background too");
    harness.get_by_label("Go on in the background").click();
    settle(&mut harness);
    assert!(!engine.left(), "the run has no folder yet to be found by");
    engine.push(Event::Started { run_dir: "/runs/ink-001".into(), resumed_at: 0 });
    settle(&mut harness);
    assert!(engine.left());
    assert_eq!(fs::read_to_string(path.with_extension("left")).unwrap(), "/runs/ink-001 false");
    let queue = QueueFile::new(path).read().unwrap().queue;
    let current = queue.current.unwrap();
    assert_eq!((current.run.name.as_str(), current.run_dir), ("ink-style", Some("/runs/ink-001".into())));
    assert_eq!(queue.waiting.len(), 1);
}

#[test]
fn a_run_that_went_on_is_shown_when_the_window_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink-001");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("recipe.toml"), "").unwrap();
    let add = |name: &str, event: &Event| {
        let mut file = File::options().create(true).append(true).open(run.join(name)).unwrap();
        match event {
            Event::Step(step) => writeln!(file, "{}", serde_json::to_string(step).unwrap()).unwrap(),
            event => writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap(),
        }
    };
    add("events.jsonl", &Event::Started { run_dir: run.clone(), resumed_at: 0 });
    (1..=5).for_each(|at| add("metrics.jsonl", &fake::step(at, 400)));
    let mut lock = File::create(run.join(LOCK_FILE)).unwrap();
    writeln!(lock, "4711").unwrap();
    lock.lock().unwrap();

    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 900.0), folder.path());
    assert_eq!(harness.state().page(), Page::Monitor);
    harness.get_by_label_contains("works in the background (process 4711)");
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Step 5 of 400");
    assert!(harness.query_by_label("Train").is_none());
    assert!(!close_window(&mut harness).contains(&ViewportCommand::CancelClose), "it goes on without the window");

    fs::write(run.join(LOAD_FILE), r#"{"processor":0.5,"own_processor":0.25,"card":null}"#).unwrap();
    add("metrics.jsonl", &fake::step(6, 400));
    add("events.jsonl", &Event::Saved { step: 6, path: run.join("checkpoints/step-000006") });
    settle(&mut harness);
    harness.get_by_label("25 %");
    harness.get_by_role_and_label(egui::Role::ProgressIndicator, "Step 6 of 400");
    harness.get_by_label("Pause").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(run.join(PAUSE_FILE).is_file());
    add("events.jsonl", &Event::Paused { step: 6 });
    settle(&mut harness);
    harness.get_by_label("Resume").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!run.join(PAUSE_FILE).exists());
    add("events.jsonl", &Event::Resumed { step: 6 });
    settle(&mut harness);
    harness.get_by_label("Pause");
    harness.get_by_label("Stop").click();
    harness.run_steps(4);
    harness.get_by_label("Stop and save").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(run.join(STOP_FILE).is_file());
    assert_eq!(engine.take_sent(), [], "the engine of this window has no part in it");

    add("events.jsonl", &Event::Finished { run_dir: run.clone(), step: 7, lora: None, seconds: 9.0 });
    drop(lock);
    settle(&mut harness);
    assert!(matches!(harness.state().state().phase, Phase::Finished(_)));
    harness.get_by_label("Train");
}

#[test]
fn a_run_elsewhere_can_be_watched_from_the_list_and_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink-001");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("recipe.toml"), "").unwrap();
    let engine = Fake::default();
    let mut harness = studio_in(&engine, (1280.0, 900.0), folder.path());
    let lock = File::create(run.join(LOCK_FILE)).unwrap();
    lock.lock().unwrap();
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    harness.get_by_label("Watch").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Stop watching").click();
    harness.run_steps(2);
    assert_eq!(harness.state().state().phase, Phase::Idle);
    assert!(!run.join(STOP_FILE).exists());
}

#[test]
fn settings_say_in_which_process_runs_work() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 900.0));
    harness.state_mut().go(Page::Settings);
    harness.run_steps(2);
    harness.get_by_label("A process of its own for drawing and planning too").click();
    harness.run_steps(2);
    assert_eq!(engine.workplace(), Workplace::Child);
}
