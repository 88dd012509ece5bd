//! `lorikeet worker` behind the engine that the studio uses.

use std::sync::mpsc::{Receiver, sync_channel};

use lorikeet_protocol::{Command, Engine as _, Event, LOCK_FILE};
use lorikeet_recipe::Recipe;
use lorikeet_session::{ChildEngine, WorkerProgram};

use crate::common::{Bench, cache, losses, succeeded, text};

struct Watched {
    engine: ChildEngine,
    woken: Receiver<()>,
    seen: Vec<Event>,
}

impl Watched {
    fn new() -> Watched {
        let mut engine = ChildEngine::new(WorkerProgram {
            program: env!("CARGO_BIN_EXE_lorikeet").into(),
            arguments: vec!["worker".into()],
            environment: vec![("LORIKEET_CACHE".into(), cache().into())],
        })
        .unwrap();
        let (wake, woken) = sync_channel(1);
        engine.set_waker(Box::new(move || {
            wake.try_send(()).ok();
        }));
        Watched { engine, woken, seen: Vec::new() }
    }

    fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.drain(..=at).next_back().unwrap();
            }
            self.woken.recv().unwrap();
            let seen = &mut self.seen;
            self.engine.poll(&mut |event| seen.push(event));
        }
    }
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::Finished { .. } | Event::Failed(_))
}

#[cfg(unix)]
#[test]
fn a_worker_killed_in_the_middle_of_a_run_costs_nothing_but_the_steps_since_its_save() {
    let bench = Bench::new();
    let set = ["train.steps=6", "sample.every=0", "validation.every=0", "network.dropout=0.1"];
    succeeded(bench.train(&set));

    let mut recipe = Recipe::load(&bench.recipe_path()).unwrap();
    let own = [
        ("dataset.folder", text(&bench.pictures())),
        ("dataset.validation_folder", text(&bench.pictures())),
        ("save.folder", text(&bench.runs())),
    ];
    own.iter().for_each(|(id, value)| recipe.set_text(id, value).unwrap());
    for (id, value) in set.iter().filter_map(|change| change.split_once('=')) {
        recipe.set_text(id, value).unwrap();
    }
    let mut watched = Watched::new();
    watched.engine.send(Command::Start { recipe: Box::new(recipe) });
    watched.until(|event| matches!(event, Event::Saved { step: 2, .. }));
    let run = bench.run(2);
    let process = std::fs::read_to_string(run.join(LOCK_FILE)).unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", process.trim()]).status().unwrap().success());
    let end = watched.until(ended);
    let Event::Failed(failure) = end else { panic!("{end:?}") };
    let save = failure.last_save.unwrap();
    assert!(save.is_dir() && save.starts_with(&run), "{}", save.display());

    watched.engine.send(Command::ResumeRun { run_dir: run.clone() });
    let end = watched.until(ended);
    assert!(matches!(end, Event::Finished { step: 6, .. }), "{end:?}");
    assert_eq!(losses(&run), losses(&bench.run(1)));
}
