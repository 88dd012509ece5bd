//! The engine over a real child process: this test program itself, with a quick job in the trainer's place.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use lorikeet_protocol::{
    Command, DrawEnd, DrawRequest, Drawn, Engine as _, Event, ExportRequest, Failure, LOCK_FILE, PAUSE_FILE, STOP_FILE,
    Step, in_use,
};
use lorikeet_recipe::{Plan, Preset, Recipe, Value, example, plan};
use lorikeet_session::{ChildEngine, Done, Exported, Host, Jobs, WorkerProgram, serve};

/// Set for the child.
const CHILD: &str = "LORIKEET_TEST_WORKER";
const FLOOD: u64 = 10_000;

/// Not a test but the child, when it is run as one. What the test program prints around it is noise to the engine.
#[test]
fn the_child() {
    if std::env::var_os(CHILD).is_some() {
        serve(std::io::stdin(), std::io::stdout(), Box::new(Scripted)).unwrap();
    }
}

/// Does what the name of the LoRA says.
struct Scripted;

fn text(recipe: &Recipe, id: &str) -> String {
    if let Value::Text(text) = recipe.get(id) { text } else { String::new() }
}

fn done(run_dir: &Path, step: u64) -> Result<Done, Failure> {
    Ok(Done { run_dir: run_dir.to_owned(), step, lora: None, seconds: 0.1 })
}

fn failure(what: &str) -> Failure {
    Failure { what: what.to_owned(), why: "So it is".to_owned(), todo: "Nothing".to_owned(), last_save: None }
}

/// Looks for commands as a run does between steps, until it is told to stop.
fn until_stopped(run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
    // Not for ever, if a test fails.
    for _ in 0..200_000_000_u64 {
        match host.command() {
            Some(Command::Stop) => {
                fs::write(run_dir.join("stopped"), "").unwrap();
                return done(run_dir, 4);
            }
            Some(Command::Pause) => {
                host.event(Event::Paused { step: 3 });
                let next = host.wait();
                host.event(if next == Some(Command::Resume) {
                    Event::Resumed { step: 3 }
                } else {
                    return done(run_dir, 3);
                });
            }
            _ => std::thread::yield_now(),
        }
    }
    Err(failure("Nobody stopped it"))
}

impl Jobs for Scripted {
    fn probe(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        plan(recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine())
            .map_err(|error| failure(&error.to_string()))
    }

    fn train(&self, recipe: &Recipe, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: 0 });
        match text(recipe, "save.name").as_str() {
            "flood" => {
                for step in 1..=FLOOD {
                    host.event(Event::Step(Step { step, steps: FLOOD, ..Default::default() }));
                    host.event(Event::Note { message: step.to_string() });
                }
                done(run_dir, FLOOD)
            }
            "noise" => {
                std::io::stdout().write_all(b"warming up\n\xff\xfe\n{\"event\":\"nonsense\"}\nhalf a line").unwrap();
                host.event(Event::Note { message: "heard".to_owned() });
                done(run_dir, 1)
            }
            "fails" => Err(failure("It failed by itself")),
            _ => {
                eprintln!("CUDA_ERROR_OF_THIS_TEST");
                let save = run_dir.join("checkpoints/step-000002");
                host.event(Event::Saved { step: 2, path: save });
                until_stopped(run_dir, host)
            }
        }
    }

    fn resume(&self, run_dir: &Path, host: &mut dyn Host) -> Result<Done, Failure> {
        host.event(Event::Started { run_dir: run_dir.to_owned(), resumed_at: 2 });
        done(run_dir, 9)
    }

    fn export(&self, request: &ExportRequest) -> Result<Exported, Failure> {
        Ok(Exported { path: request.to.clone(), modules: std::process::id() as usize })
    }

    /// A set of 13 is the end of the process.
    fn draw(&self, request: &DrawRequest, host: &mut dyn Host) -> Result<(), Failure> {
        if request.set == 13 {
            std::process::abort();
        }
        host.event(Event::Drawn(Drawn { index: 0, settings: Default::default(), path: "a.png".into() }));
        Ok(())
    }
}

/// An engine, and a way to wait for its events.
struct Bench {
    engine: ChildEngine,
    woken: Receiver<()>,
    seen: Vec<Event>,
    runs: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let program = std::env::current_exe().unwrap();
        let arguments = ["the_child", "--exact", "--nocapture"].map(Into::into).to_vec();
        Bench::with(WorkerProgram { program, arguments, environment: vec![(CHILD.into(), "1".into())] })
    }

    fn with(program: WorkerProgram) -> Bench {
        let mut engine = ChildEngine::new(program).unwrap();
        let (wake, woken) = sync_channel(1);
        engine.set_waker(Box::new(move || {
            // Full: it is awake already.
            wake.try_send(()).ok();
        }));
        Bench { engine, woken, seen: Vec::new(), runs: tempfile::tempdir().unwrap() }
    }

    fn start(&mut self, name: &str) -> PathBuf {
        let mut recipe = Recipe::new(Preset::Style);
        recipe.set_text("dataset.folder", "pictures/ink").unwrap();
        recipe.set_text("save.folder", self.runs.path().to_str().unwrap()).unwrap();
        recipe.set_text("save.name", name).unwrap();
        self.engine.send(Command::Start { recipe: Box::new(recipe) });
        self.runs.path().join(format!("{name}-001"))
    }

    /// Everything up to and with the first event that `wanted` likes.
    fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.drain(..=at).collect();
            }
            self.woken.recv().expect("the engine lives");
            let seen = &mut self.seen;
            self.engine.poll(&mut |event| seen.push(event));
        }
    }
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::Finished { .. } | Event::Failed(_))
}

fn saved(event: &Event) -> bool {
    matches!(event, Event::Saved { .. })
}

#[test]
fn ten_thousand_events_at_once_arrive_in_order_and_only_steps_are_left_out() {
    let mut bench = Bench::new();
    bench.start("flood");
    let events = bench.until(ended);
    let notes: Vec<&str> = events
        .iter()
        .filter_map(|e| if let Event::Note { message } = e { Some(message.as_str()) } else { None })
        .collect();
    let expected: Vec<String> = (1..=FLOOD).map(|step| step.to_string()).collect();
    assert_eq!(notes, expected);
    let steps: Vec<u64> =
        events.iter().filter_map(|e| if let Event::Step(step) = e { Some(step.step) } else { None }).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&FLOOD), "{} steps", steps.len());
    assert!(matches!(events.last(), Some(Event::Finished { step: FLOOD, .. })));
}

#[test]
fn what_libraries_print_among_the_events_is_passed_over() {
    let mut bench = Bench::new();
    bench.start("noise");
    let events = bench.until(ended);
    assert!(events.contains(&Event::Note { message: "heard".to_owned() }), "{events:?}");
    assert!(matches!(events.last(), Some(Event::Finished { step: 1, .. })), "{events:?}");
}

#[cfg(unix)]
fn kill(run_dir: &Path) {
    let process = fs::read_to_string(run_dir.join(LOCK_FILE)).unwrap();
    assert_ne!(process.trim(), std::process::id().to_string(), "the run is in another process");
    assert!(std::process::Command::new("kill").args(["-KILL", process.trim()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_killed_process_is_a_failed_run_that_goes_on_in_the_next_process() {
    let mut bench = Bench::new();
    let run_dir = bench.start("long");
    bench.until(saved);
    kill(&run_dir);
    let events = bench.until(ended);
    let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
    assert!(failure.why.contains("signal 9") && failure.why.contains("CUDA_ERROR_OF_THIS_TEST"), "{failure}");
    assert!(failure.todo.starts_with("Continue the run from its last save"), "{failure}");
    assert_eq!(failure.last_save, Some(run_dir.join("checkpoints/step-000002")));
    // The process could not write it down any more.
    let told = fs::read_to_string(run_dir.join("events.jsonl")).unwrap();
    assert!(matches!(serde_json::from_str(told.lines().last().unwrap()), Ok(Event::Failed(_))), "{told}");
    let log = fs::read_to_string(run_dir.join("log.txt")).unwrap();
    assert!(log.contains("CUDA_ERROR_OF_THIS_TEST") && log.contains("signal: 9"), "{log}");
    assert!(!in_use(&run_dir));

    bench.engine.send(Command::ResumeRun { run_dir: run_dir.clone() });
    let events = bench.until(ended);
    assert!(events.contains(&Event::Started { run_dir: run_dir.clone(), resumed_at: 2 }), "{events:?}");
    assert_eq!(events.last(), Some(&Event::Finished { run_dir, step: 9, lora: None, seconds: 0.1 }));
}

/// A driver that failed once often stays broken for its process.
#[test]
fn after_a_failed_run_there_is_a_new_process() {
    let mut bench = Bench::new();
    let process = |bench: &mut Bench| {
        bench.engine.send(Command::Export(ExportRequest { to: "a.safetensors".into(), ..Default::default() }));
        let told = bench.until(|event| matches!(event, Event::Exported { .. }));
        let Some(Event::Exported { modules, .. }) = told.last() else { unreachable!() };
        *modules
    };
    let first = process(&mut bench);
    assert_eq!(process(&mut bench), first, "a process is used again while all is well");
    bench.start("fails");
    let events = bench.until(ended);
    assert!(
        matches!(events.last(), Some(Event::Failed(failure)) if failure.what == "It failed by itself"),
        "{events:?}"
    );
    assert_ne!(process(&mut bench), first);
}

#[test]
fn a_program_that_cannot_be_started_is_told_for_each_command() {
    let mut bench = Bench::with(WorkerProgram { program: "/no/such/lorikeet".into(), ..Default::default() });
    for _ in 0..2 {
        bench.start("long");
        let events = bench.until(ended);
        let Some(Event::Failed(failure)) = events.last() else { panic!("{events:?}") };
        assert!(failure.why.contains("/no/such/lorikeet"), "{failure}");
    }
}

#[test]
fn a_face_that_goes_stops_the_run_and_waits_for_it() {
    let mut bench = Bench::new();
    let run_dir = bench.start("long");
    bench.until(saved);
    drop(bench.engine);
    assert!(run_dir.join("stopped").exists());
    assert!(!in_use(&run_dir));
}

#[test]
fn a_run_that_is_left_goes_on_until_it_is_stopped_through_its_folder() {
    let mut bench = Bench::new();
    let run_dir = bench.start("long");
    bench.until(saved);
    bench.engine.leave();
    drop(bench.engine);
    assert!(in_use(&run_dir) && !run_dir.join("stopped").exists(), "it goes on");
    let lock = File::open(run_dir.join(LOCK_FILE)).unwrap();
    fs::write(run_dir.join(STOP_FILE), "").unwrap();
    // Waits until the process lets go of the folder.
    lock.lock_shared().unwrap();
    assert!(run_dir.join("stopped").exists() && !run_dir.join(STOP_FILE).exists());
    let told = fs::read_to_string(run_dir.join("events.jsonl")).unwrap();
    assert!(
        matches!(serde_json::from_str(told.lines().last().unwrap()), Ok(Event::Finished { step: 4, .. })),
        "{told}"
    );
}

/// Until a line of the run's events is one that is wanted. The run is in another process, and tells no other way.
fn until_written(run_dir: &Path, wanted: impl Fn(&Event) -> bool) {
    loop {
        let told = fs::read_to_string(run_dir.join("events.jsonl")).unwrap();
        if told.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|event| wanted(&event)) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_run_that_is_left_is_paused_and_goes_on_through_its_folder() {
    let mut bench = Bench::new();
    let run_dir = bench.start("long");
    bench.until(saved);
    bench.engine.leave();
    drop(bench.engine);
    let pause = run_dir.join(PAUSE_FILE);
    fs::write(&pause, "").unwrap();
    until_written(&run_dir, |event| matches!(event, Event::Paused { .. }));
    assert!(in_use(&run_dir) && pause.exists());
    fs::remove_file(&pause).unwrap();
    until_written(&run_dir, |event| matches!(event, Event::Resumed { .. }));
    fs::write(run_dir.join(STOP_FILE), "").unwrap();
    File::open(run_dir.join(LOCK_FILE)).unwrap().lock_shared().unwrap();
    assert!(run_dir.join("stopped").exists());
}

#[test]
fn a_paused_run_that_is_left_stays_paused_and_can_be_stopped() {
    let mut bench = Bench::new();
    let run_dir = bench.start("long");
    bench.until(saved);
    bench.engine.send(Command::Pause);
    bench.until(|event| matches!(event, Event::Paused { .. }));
    assert!(run_dir.join(PAUSE_FILE).exists(), "for other programs to see, and to end");
    bench.engine.leave();
    drop(bench.engine);
    assert!(in_use(&run_dir));
    fs::write(run_dir.join(STOP_FILE), "").unwrap();
    File::open(run_dir.join(LOCK_FILE)).unwrap().lock_shared().unwrap();
    until_written(&run_dir, |event| matches!(event, Event::Finished { step: 3, .. }));
    assert!(!run_dir.join(PAUSE_FILE).exists() && !run_dir.join(STOP_FILE).exists());
}

#[test]
fn a_drawing_crosses_to_the_child_and_one_that_ends_it_is_told() {
    let mut bench = Bench::new();
    let draw = |set| Command::Draw(DrawRequest { set, ..Default::default() });
    bench.engine.send(draw(1));
    let events = bench.until(|event| matches!(event, Event::DrawEnded(_)));
    assert_eq!(events.last(), Some(&Event::DrawEnded(DrawEnd { set: 1, drawn: 1, failure: None })));
    bench.engine.send(draw(13));
    let events = bench.until(|event| matches!(event, Event::DrawEnded(_)));
    let Some(Event::DrawEnded(DrawEnd { set: 13, failure: Some(failure), .. })) = events.last() else {
        panic!("{events:?}")
    };
    assert!(failure.what.contains("Nothing was drawn"), "{failure}");
}
