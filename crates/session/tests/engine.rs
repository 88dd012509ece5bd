//! The engine with a quick job in the trainer's place.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use lorikeet_protocol::{
    Command, DrawEnd, DrawRequest, Drawn, Engine as _, Event, ExportRequest, Failure, LOAD_FILE, Load, Step, ToDraw,
};
use lorikeet_recipe::{Plan, Preset, Recipe, example, plan};
use lorikeet_session::{Done, Exported, Host, Jobs, RunFolder, ThreadEngine};

type Body = Box<dyn Fn(&Path, &mut dyn Host) -> Result<Done, Failure> + Send>;

/// Trains with a closure.
struct Fake {
    train: Body,
}

impl Jobs for Fake {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        plan(recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine())
            .map_err(|error| failure(&error.to_string()))
    }

    fn train(&self, _: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: 0 });
        (self.train)(run_dir, host)
    }

    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: 2 });
        (self.train)(run_dir, host)
    }

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure> {
        Ok(Exported { path: request.to.clone(), modules: 192 })
    }

    /// Draws until it is asked to stop, or what was asked for.
    fn draw(&self, request: &DrawRequest, host: &mut dyn Host) -> Result<(), Failure> {
        for index in 0..request.pictures.len() {
            let path = request.out_dir.join(format!("{index}.png"));
            host.event(Event::Drawn(Drawn { index, settings: Default::default(), path }));
            if request.set == UNTIL_STOPPED {
                while host.command().is_none() {
                    std::thread::yield_now();
                }
                return Ok(());
            }
        }
        if request.pictures.is_empty() { Err(failure("no prompt")) } else { Ok(()) }
    }
}

/// The set of a drawing that goes on until it is stopped.
const UNTIL_STOPPED: u64 = 77;

fn draw(set: u64, pictures: usize) -> Command {
    Command::Draw(DrawRequest { set, pictures: vec![ToDraw::default(); pictures], ..Default::default() })
}

fn failure(why: &str) -> Failure {
    Failure { what: "It failed".to_owned(), why: why.to_owned(), todo: "Mend it".to_owned(), last_save: None }
}

fn done(run_dir: &Path, step: u64) -> Result<Done, Failure> {
    Ok(Done { run_dir: run_dir.to_owned(), step, lora: None, seconds: 0.1 })
}

fn step(step: u64) -> Event {
    Event::Step(Step { step, steps: 10, ..Default::default() })
}

/// An engine, and a way to wait for its events.
struct Bench {
    engine: ThreadEngine,
    woken: Receiver<()>,
    seen: Vec<Event>,
    runs: tempfile::TempDir,
}

impl Bench {
    fn new(train: impl Fn(&Path, &mut dyn Host) -> Result<Done, Failure> + Send + 'static) -> Bench {
        let mut engine = ThreadEngine::with_jobs(Box::new(Fake { train: Box::new(train) })).unwrap();
        let (wake, woken) = sync_channel(1);
        engine.set_waker(Box::new(move || {
            // Full: it is awake already.
            wake.try_send(()).ok();
        }));
        Bench { engine, woken, seen: Vec::new(), runs: tempfile::tempdir().unwrap() }
    }

    fn recipe(&self) -> Box<Recipe> {
        let mut recipe = Recipe::new(Preset::Style);
        recipe.set_text("dataset.folder", "pictures/ink").unwrap();
        recipe.set_text("save.folder", self.runs.path().to_str().unwrap()).unwrap();
        Box::new(recipe)
    }

    fn start(&mut self) {
        let recipe = self.recipe();
        self.engine.send(Command::Start { recipe });
    }

    /// Everything up to and with the first event that `wanted` likes.
    fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.drain(..=at).collect();
            }
            self.woken.recv().expect("the worker lives as long as the engine");
            let seen = &mut self.seen;
            self.engine.poll(&mut |event| seen.push(event));
        }
    }

    fn run_dir(&self) -> PathBuf {
        self.runs.path().join("ink-001")
    }
}

fn finished(event: &Event) -> bool {
    matches!(event, Event::Finished { .. } | Event::Failed(_))
}

#[test]
fn a_run_is_told_in_order_and_written_down() {
    let mut bench = Bench::new(|run_dir, host| {
        (1..=3).for_each(|number| host.event(step(number)));
        host.event(Event::Validation { step: 3, loss: 0.25, base_loss: 0.5 });
        done(run_dir, 3)
    });
    bench.start();
    let events = bench.until(finished);
    let steps: Vec<_> =
        events.iter().filter_map(|e| if let Event::Step(s) = e { Some(s.step) } else { None }).collect();
    assert_eq!(steps, [1, 2, 3]);
    assert!(matches!(events.last(), Some(Event::Finished { step: 3, .. })), "{events:?}");

    let read = |name: &str| fs::read_to_string(bench.run_dir().join(name)).unwrap();
    assert_eq!(read("metrics.jsonl").lines().count(), 4);
    let kept: Vec<Event> = read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(kept[..], [Event::Started { .. }, Event::Validation { .. }, Event::Finished { .. }]), "{kept:?}");
    assert!(read("log.txt").contains("Validation loss at step 3: 0.2500 (base 0.5000)"));
    let recipe = Recipe::from_toml(&read("recipe.toml")).unwrap();
    let folder = recipe.get("dataset.folder").to_string();
    assert!(folder.ends_with("pictures/ink\"") && Path::new(folder.trim_matches('"')).is_absolute(), "{folder}");
}

#[test]
fn readings_of_the_load_come_beside_the_work_and_leave_nothing_behind() {
    let mut bench = Bench::new(|run_dir, host| {
        let tell = host.aside().unwrap();
        let read = |processor| Event::Load(Load { processor, ..Load::default() });
        std::thread::spawn(move || [0.25, 0.5].map(|share| tell(read(share)))).join().unwrap();
        let kept: Load = serde_json::from_slice(&fs::read(run_dir.join(LOAD_FILE)).unwrap()).unwrap();
        assert_eq!(kept.processor, 0.5, "the newest");
        done(run_dir, 3)
    });
    bench.start();
    let events = bench.until(finished);
    let told: Vec<f32> =
        events.iter().filter_map(|e| if let Event::Load(load) = e { Some(load.processor) } else { None }).collect();
    assert_eq!(told, [0.25, 0.5]);
    assert!(matches!(events.last(), Some(Event::Finished { step: 3, .. })), "{events:?}");
    assert!(!bench.run_dir().join(LOAD_FILE).exists(), "what was is over");
}

#[test]
fn commands_reach_the_run_in_order() {
    let (heard, hear): (SyncSender<Command>, _) = sync_channel(16);
    let mut bench = Bench::new(move |run_dir, host| {
        host.event(Event::Paused { step: 0 });
        while let Some(command) = host.wait() {
            heard.send(command.clone()).unwrap();
            if command == Command::Stop {
                break;
            }
        }
        done(run_dir, 1)
    });
    bench.start();
    bench.until(|event| matches!(event, Event::Paused { .. }));
    let told = [Command::Pause, Command::Resume, Command::SaveNow, Command::SampleNow, Command::Stop];
    told.iter().for_each(|command| bench.engine.send(command.clone()));
    bench.until(finished);
    assert_eq!(hear.try_iter().collect::<Vec<_>>(), told);
}

#[test]
fn a_second_start_is_refused_while_plans_and_exports_are_answered() {
    let mut bench = Bench::new(|run_dir, host| {
        host.event(Event::Paused { step: 0 });
        assert_eq!(host.wait(), Some(Command::Stop));
        done(run_dir, 0)
    });
    bench.start();
    bench.until(|event| matches!(event, Event::Paused { .. }));
    bench.start();
    let recipe = bench.recipe();
    bench.engine.send(Command::Probe { recipe });
    let export =
        Command::Export(ExportRequest { run_dir: "run".into(), to: "a.safetensors".into(), ..Default::default() });
    bench.engine.send(export);
    bench.engine.send(Command::Stop);
    let events = bench.until(finished);
    assert!(matches!(&events[0], Event::Warning { message } if message.contains("A run is on already")), "{events:?}");
    assert!(matches!(&events[1], Event::Planned { .. }), "{events:?}");
    assert!(matches!(&events[2], Event::Exported { modules: 192, .. }), "{events:?}");
    assert!(!bench.runs.path().join("ink-002").exists());
}

#[test]
fn a_command_for_a_run_without_a_run_is_answered() {
    let mut bench = Bench::new(|run_dir, _| done(run_dir, 0));
    bench.engine.send(Command::Pause);
    let events = bench.until(|_| true);
    assert!(matches!(&events[0], Event::Warning { message } if message.contains("No run is on")), "{events:?}");
}

#[test]
fn a_panic_becomes_a_failure_with_the_log_and_the_last_save_and_the_worker_lives_on() {
    let mut bench = Bench::new(|run_dir, host| {
        host.event(Event::Saved { step: 5, path: run_dir.join("checkpoints/step-000005") });
        panic!("index 7 of 7")
    });
    bench.start();
    let events = bench.until(finished);
    let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
    assert_eq!(failure.why, "index 7 of 7");
    assert!(failure.todo.contains("log.txt"), "{failure}");
    assert_eq!(failure.last_save, Some(bench.run_dir().join("checkpoints/step-000005")));
    assert!(fs::read_to_string(bench.run_dir().join("log.txt")).unwrap().contains("index 7 of 7"));
    bench.start();
    bench.until(finished);
    assert!(bench.runs.path().join("ink-002").exists());
}

#[test]
fn what_cannot_be_planned_leaves_no_folder() {
    let mut bench = Bench::new(|run_dir, _| done(run_dir, 0));
    let mut recipe = bench.recipe();
    recipe.set_text("dataset.bucket_min", "512").unwrap();
    recipe.set_text("dataset.bucket_max", "256").unwrap();
    bench.engine.send(Command::Start { recipe });
    let events = bench.until(finished);
    assert!(matches!(events.last(), Some(Event::Failed(_))), "{events:?}");
    assert_eq!(fs::read_dir(bench.runs.path()).unwrap().count(), 0);
}

#[test]
fn a_resumed_run_drops_the_steps_it_does_again() {
    let mut bench = Bench::new(|run_dir, host| {
        host.event(step(3));
        done(run_dir, 3)
    });
    let folder = RunFolder::create(bench.runs.path(), "ink").unwrap();
    fs::write(folder.path().join("recipe.toml"), "").unwrap();
    let line = |number: u64| format!("{{\"step\":{number},\"loss\":9.0}}\n");
    fs::write(folder.path().join("metrics.jsonl"), (1..=5).map(line).collect::<String>() + "{\"step\":6,\"lo").unwrap();
    let run_dir = folder.path().to_owned();

    bench.engine.send(Command::ResumeRun { run_dir: run_dir.clone() });
    let events = bench.until(finished);
    let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
    assert!(failure.why.contains("another Lorikeet"), "{failure}");

    drop(folder);
    bench.engine.send(Command::ResumeRun { run_dir: run_dir.clone() });
    bench.until(finished);
    let metrics = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap();
    let steps: Vec<u64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [1, 2, 3]);
}

#[test]
fn a_face_that_leaves_stops_the_run_and_waits_for_it() {
    let stopped = Arc::new(Mutex::new(None));
    let kept = stopped.clone();
    let mut bench = Bench::new(move |run_dir, host| {
        host.event(Event::Paused { step: 0 });
        let end = host.wait();
        *kept.lock().unwrap() = Some((end, host.command(), host.command()));
        done(run_dir, 0)
    });
    bench.start();
    bench.until(|event| matches!(event, Event::Paused { .. }));
    drop(bench.engine);
    assert_eq!(*stopped.lock().unwrap(), Some((None, Some(Command::Stop), None)));
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::DrawEnded(_))
}

#[test]
fn pictures_are_drawn_without_a_run_and_a_failure_is_told_with_the_end() {
    let mut bench = Bench::new(|run_dir, _| done(run_dir, 0));
    bench.engine.send(draw(1, 2));
    let events = bench.until(ended);
    assert!(matches!(&events[..2], [Event::Drawn(_), Event::Drawn(Drawn { index: 1, .. })]), "{events:?}");
    assert_eq!(events[2], Event::DrawEnded(DrawEnd { set: 1, drawn: 2, failure: None }));
    bench.engine.send(draw(2, 0));
    let events = bench.until(ended);
    let Some(Event::DrawEnded(DrawEnd { set: 2, drawn: 0, failure: Some(failure) })) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(failure.why, "no prompt");
}

#[test]
fn a_drawing_is_stopped_and_what_waits_comes_next() {
    let mut bench = Bench::new(|run_dir, _| done(run_dir, 0));
    bench.engine.send(draw(UNTIL_STOPPED, 2));
    bench.until(|event| matches!(event, Event::Drawn(_)));
    bench.engine.send(Command::SaveNow);
    bench.engine.send(draw(2, 1));
    bench.engine.send(Command::Stop);
    let events = bench.until(ended);
    assert!(matches!(&events[0], Event::Warning { message } if message.contains("No run is on")), "{events:?}");
    assert_eq!(events.last(), Some(&Event::DrawEnded(DrawEnd { set: UNTIL_STOPPED, drawn: 1, failure: None })));
    let events = bench.until(ended);
    assert_eq!(events.last(), Some(&Event::DrawEnded(DrawEnd { set: 2, drawn: 1, failure: None })));
}

#[test]
fn a_run_goes_before_a_drawing_and_refuses_others() {
    let mut bench = Bench::new(|run_dir, host| {
        host.event(Event::Paused { step: 0 });
        assert_eq!(host.wait(), Some(Command::Stop));
        done(run_dir, 0)
    });
    bench.engine.send(draw(UNTIL_STOPPED, 1));
    bench.until(|event| matches!(event, Event::Drawn(_)));
    bench.start();
    bench.until(ended);
    bench.until(|event| matches!(event, Event::Paused { .. }));
    bench.engine.send(draw(3, 1));
    let events = bench.until(ended);
    let Some(Event::DrawEnded(DrawEnd { set: 3, failure: Some(failure), .. })) = events.last() else {
        panic!("{events:?}")
    };
    assert!(failure.why.contains("A run is on"), "{failure}");
    bench.engine.send(Command::Stop);
    bench.until(finished);
}

#[test]
fn a_face_that_leaves_ends_a_drawing() {
    let mut bench = Bench::new(|run_dir, _| done(run_dir, 0));
    bench.engine.send(draw(UNTIL_STOPPED, 2));
    bench.until(|event| matches!(event, Event::Drawn(_)));
    drop(bench.engine);
}
