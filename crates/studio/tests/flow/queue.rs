//! Runs one after another, and runs made longer.

use std::fs;
use std::path::Path;

use egui_kittest::kittest::Queryable;
use lorikeet_protocol::{Command, Event, LOCK_FILE, hold};
use lorikeet_queue::{QueueChange, QueueError, QueueFile, Task};
use lorikeet_recipe::{Preset, Recipe, Value, example, plan};
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::{Harness, settle, studio, studio_in};

/// With the first two examples in the queue, which is kept in `file`.
fn with_two(engine: &Fake, file: &Path) -> Harness<'static, StudioApp> {
    let mut harness = studio(engine, (1280.0, 900.0));
    harness.state_mut().keep_queue(file.to_owned());
    settle(&mut harness);
    harness.state_mut().go(Page::Training);
    harness.run_steps(2);
    harness.get_by_label("Add to queue").scroll_to_me();
    harness.run_steps(4);
    harness.get_by_label("Add to queue").click();
    harness.run_steps(2);
    harness.state_mut().use_example_at(1);
    settle(&mut harness);
    harness.state_mut().add_to_queue_now();
    settle(&mut harness);
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    assert_eq!(engine.take_sent(), [], "nothing starts by itself");
    harness
}

/// The picture folder of the run that was started.
fn started(engine: &Fake) -> String {
    let sent = engine.take_sent();
    let [Command::Start { recipe }] = sent.as_slice() else { panic!("{sent:?}") };
    let Value::Text(folder) = recipe.get("dataset.folder") else { unreachable!() };
    Path::new(&folder).file_name().unwrap().to_string_lossy().into_owned()
}

fn places(harness: &Harness<'_, StudioApp>) -> Vec<f32> {
    ["ink-style", "mascot"]
        .map(|name| harness.get_by_label(&format!("Drag {name} to another place")).rect().center().y)
        .to_vec()
}

#[test]
fn runs_of_the_queue_follow_each_other_and_one_that_fails_stops_none() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Fake::default();
    let mut harness = with_two(&engine, &folder.path().join("queue.json"));
    harness.get_by_label("2 runs wait until the queue is started");
    harness.get_by_label("Move mascot up").click();
    harness.run_steps(3);
    harness.get_by_label("Start queue").click();
    settle(&mut harness);
    assert_eq!(started(&engine), "mascot");
    harness.get_by_label("mascot is on");
    engine.push(Event::Started { run_dir: "runs/mascot-001".into(), resumed_at: 0 });
    engine.push(Event::Failed(fake::failure("The card fell off the bus", "It is loose")));
    harness.run_steps(3);
    harness.get_by_label("mascot failed; the queue goes on with the next run");
    settle(&mut harness);
    assert_eq!(started(&engine), "ink-style");
    harness.get_by_label("mascot failed. The card fell off the bus");
    engine.push(Event::Started { run_dir: "runs/ink-001".into(), resumed_at: 0 });
    engine.push(Event::Finished { run_dir: "runs/ink-001".into(), step: 300, lora: None, seconds: 1.0 });
    settle(&mut harness);
    harness.get_by_label("ink-style is done");
    assert_eq!(engine.take_sent(), []);
    harness.get_by_label("Forget the ended runs of the queue").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Queue").is_none());
}

#[test]
fn what_waits_is_there_after_a_restart_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.json");
    let mut harness = with_two(&Fake::default(), &file);
    harness.get_by_label("Move ink-style down").click();
    harness.run_steps(3);
    settle(&mut harness);
    drop(harness);

    let mut harness = studio(&Fake::default(), (1280.0, 900.0));
    harness.state_mut().keep_queue(file);
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    let at = places(&harness);
    assert!(at[1] < at[0], "the mascot is the first: {at:?}");
    harness.get_by_label("Take mascot out of the queue").click();
    harness.run_steps(3);
    harness.get_by_label("1 run waits until the queue is started");
    harness.get_by_label("Take ink-style out and change its recipe").click();
    harness.run_steps(3);
    settle(&mut harness);
    assert_eq!(harness.state().page(), Page::Training);
}

#[test]
fn a_run_is_dragged_to_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = with_two(&Fake::default(), &folder.path().join("queue.json"));
    let from = harness.get_by_label("Drag ink-style to another place").rect().center();
    let to = harness.get_by_label("Drag mascot to another place").rect();
    let to = egui::pos2(to.center().x, to.bottom() - 4.0);
    harness.drag_at(from);
    harness.run_steps(1);
    harness.hover_at(from + egui::vec2(0.0, 12.0));
    harness.run_steps(1);
    harness.hover_at(to);
    harness.run_steps(2);
    harness.drop_at(to);
    harness.run_steps(3);
    let at = places(&harness);
    assert!(at[1] < at[0], "{at:?}");
}

#[test]
fn stopping_a_run_of_the_queue_holds_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Fake::default();
    let mut harness = with_two(&engine, &folder.path().join("queue.json"));
    harness.get_by_label("Start queue").click();
    settle(&mut harness);
    engine.push(Event::Started { run_dir: "runs/ink-001".into(), resumed_at: 0 });
    harness.run_steps(2);
    engine.take_sent();
    harness.get_by_label("Stop").click();
    harness.run_steps(4);
    harness.get_by_label("Stop and save").click();
    harness.run_steps(3);
    engine.push(Event::Finished { run_dir: "runs/ink-001".into(), step: 3, lora: None, seconds: 1.0 });
    harness.run_steps(3);
    assert_eq!(engine.take_sent(), [Command::Stop]);
    harness.get_by_label("ink-style was stopped and saved");
    harness.get_by_label("Start queue");
}

/// As a second later.
fn look(harness: &mut Harness<'_, StudioApp>) {
    harness.state_mut().see_queue();
    settle(harness);
}

#[test]
fn a_queue_that_another_program_works_is_shown_followed_and_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.json");
    let engine = Fake::default();
    let mut harness = with_two(&engine, &path);

    let file = QueueFile::new(path);
    let working = file.work().unwrap();
    let (_, Some(Task::Start(run))) = working.next_task().unwrap() else { unreachable!() };
    let run_dir = folder.path().join("ink-001");
    fs::create_dir(&run_dir).unwrap();
    fs::write(run_dir.join("recipe.toml"), "").unwrap();
    let lock = hold(&run_dir.join(LOCK_FILE)).unwrap();
    file.change([QueueChange::Began(run_dir.clone())]).unwrap();
    look(&mut harness);
    harness.get_by_label("Another program works this queue in the background");
    harness.get_by_label(&format!("{} is on", run.name));
    assert_eq!(harness.state().state().run_dir.as_ref(), Some(&run_dir), "its run is shown");
    assert_eq!(harness.state().page(), Page::Runs, "on whatever page one is");

    // What is added there shows, and what is held here counts there.
    let recipe = Box::new(Recipe::default());
    file.change([QueueChange::Add { name: "third".to_owned(), about: String::new(), recipe }]).unwrap();
    look(&mut harness);
    harness.get_by_label("Drag third to another place");
    harness.get_by_label("Hold queue").click();
    settle(&mut harness);
    assert!(file.read().unwrap().queue.hold);
    harness.get_by_label("Start queue").click();
    settle(&mut harness);
    assert!(!file.read().unwrap().queue.hold);
    assert_eq!(engine.take_sent(), [], "it starts nothing itself");

    // It is killed.
    drop((working, lock));
    look(&mut harness);
    harness.get_by_label("ink-style was interrupted. It goes on first when the queue is started");
    harness.get_by_label("Start queue").click();
    settle(&mut harness);
    assert_eq!(engine.take_sent(), [Command::ResumeRun { run_dir }]);
    assert!(matches!(file.work(), Err(QueueError::Busy { .. })), "no other program does these runs meanwhile");
}

#[test]
fn a_file_that_is_no_queue_is_told_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.json");
    fs::write(&path, "steps = 3").unwrap();
    let mut harness = studio(&Fake::default(), (1280.0, 900.0));
    harness.state_mut().keep_queue(path.clone());
    settle(&mut harness);
    harness.get_by_label_contains("This file is no queue of Lorikeet's");
    harness.state_mut().add_to_queue_now();
    settle(&mut harness);
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    assert!(harness.query_by_label("Drag ink-style to another place").is_none(), "what is not kept is not shown");
    assert_eq!(fs::read_to_string(&path).unwrap(), "steps = 3");
}

/// A run folder of a run that is over.
fn run_folder(runs: &Path, schedule: &str) -> std::path::PathBuf {
    let run = runs.join("ink-001");
    fs::create_dir_all(run.join("checkpoints/step-000400")).unwrap();
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [("dataset.folder", "pictures"), ("train.steps", "400"), ("train.schedule", schedule)] {
        recipe.set_text(id, value).unwrap();
    }
    recipe.save(&run.join("recipe.toml")).unwrap();
    let plan = plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap();
    fs::write(run.join("plan.json"), serde_json::to_string(&plan).unwrap()).unwrap();
    fs::write(run.join("ink.safetensors"), "").unwrap();
    run
}

/// The dialog in which `run_folder`'s run gets more steps.
fn asked_for_more<'a>(engine: &Fake, runs: &Path) -> Harness<'a, StudioApp> {
    let mut harness = studio_in(engine, (1280.0, 900.0), runs);
    harness.state_mut().go(Page::Runs);
    settle(&mut harness);
    harness.get_by_label("Train ink-001 longer…").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness
}

#[test]
fn a_run_that_is_over_gets_more_steps() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "constant");
    let engine = Fake::default();
    let mut harness = asked_for_more(&engine, folder.path());
    harness.get_by_label("The result is that of a run of this length from the start");
    harness.get_by_label("Continue").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(engine.take_sent(), [Command::ResumeRun { run_dir: run.clone() }]);
    let Value::Int(steps) = Recipe::load(&run.join("recipe.toml")).unwrap().get("train.steps") else { unreachable!() };
    assert!(steps >= 600, "{steps}");
}

#[test]
fn a_learning_rate_that_has_fallen_starts_again_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "cosine");
    let engine = Fake::default();
    let mut harness = asked_for_more(&engine, folder.path());
    harness.get_by_label("More steps change what this run is");
    harness.get_by_label("Continue").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(engine.take_sent(), [], "not unasked");
    harness.get_by_label("Let the learning rate start again").click();
    harness.run_steps(2);
    harness.get_by_label("Continue").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(engine.take_sent(), [Command::ResumeRun { run_dir: run }]);
}
