//! `lorikeet queue`: the queue of the studio without its window.

use std::fs::File;
use std::path::PathBuf;

use lorikeet_protocol::{Event, LOCK_FILE};
use lorikeet_queue::{End, QueueChange, QueueFile};

use crate::common::{Bench, Running, failed, lorikeet, losses, program, stdout, succeeded, text};

struct Queued {
    bench: Bench,
    file: PathBuf,
}

impl Queued {
    fn new() -> Queued {
        let bench = Bench::new();
        let file = bench.folder.join("die schlange.json");
        Queued { bench, file }
    }

    fn arguments(&self, task: &[&str]) -> Vec<String> {
        let mut arguments = vec!["queue".to_owned(), "--file".to_owned(), text(&self.file)];
        arguments.extend(task.iter().map(|word| (*word).to_owned()));
        arguments
    }

    fn queue(&self, task: &[&str]) -> std::process::Output {
        program().args(self.arguments(task)).output().unwrap()
    }

    fn add(&self, steps: u32) -> String {
        let mut arguments = self.arguments(&["add"]);
        let steps = format!("train.steps={steps}");
        let set = self.bench.train_arguments(&["sample.every=0", "validation.every=0", &steps]);
        arguments.extend(set.into_iter().skip(1).filter(|word| word != "--json"));
        stdout(&succeeded(program().args(arguments).output().unwrap()))
    }

    fn ended(&self) -> Vec<End> {
        let seen = QueueFile::new(self.file.clone()).read().unwrap();
        assert!(!seen.worked && seen.queue.current.is_none());
        seen.queue.ended.into_iter().map(|ended| ended.end).collect()
    }

    fn steps_of(&self, number: u32) -> usize {
        losses(&self.bench.run(number)).len()
    }
}

#[test]
fn runs_are_added_listed_taken_out_and_done() {
    let queued = Queued::new();
    assert!(stdout(&queued.queue(&["list"])).contains("Nothing waits"));
    assert_eq!(queued.add(2), "kreise waits as number 1\n");
    queued.add(3);
    queued.add(4);
    let list = stdout(&succeeded(queued.queue(&["list"])));
    assert!(list.contains("3            kreise  (") && list.contains("Style · rank 2)"), "{list}");
    succeeded(queued.queue(&["remove", "2"]));
    failed(&queued.queue(&["remove", "3"]), 2, &["there is no number 3"]);
    let told = stdout(&succeeded(queued.queue(&["run"])));
    assert!(told.contains("Run folder:"), "{told}");
    assert_eq!((queued.steps_of(1), queued.steps_of(2)), (2, 4));
    assert_eq!(queued.ended(), [End::Done, End::Done]);
    succeeded(queued.queue(&["forget"]));
    assert!(stdout(&queued.queue(&["list"])).starts_with("Nothing waits"));
}

#[test]
fn a_recipe_that_cannot_be_trained_is_told_at_once_and_one_that_fails_later_stops_no_other() {
    let queued = Queued::new();
    let missing = queued.bench.folder.join("nowhere");
    let mut arguments = queued.arguments(&["add", &text(&queued.bench.recipe_path()), "--set"]);
    arguments.push(format!("dataset.folder={}", text(&missing)));
    failed(&program().args(arguments).output().unwrap(), 1, &["nowhere"]);

    queued.add(2);
    queued.add(3);
    let pictures = queued.bench.pictures();
    let file = QueueFile::new(queued.file.clone());
    let first = file.read().unwrap().queue.waiting[0].clone();
    let mut recipe = first.recipe;
    recipe.set_text("dataset.folder", &text(&missing)).unwrap();
    let changes = [
        QueueChange::Remove(first.id),
        QueueChange::Add { name: "broken".to_owned(), about: String::new(), recipe: Box::new(recipe) },
        QueueChange::Move(3, 0),
    ];
    file.change(changes).unwrap();
    assert!(pictures.is_dir());
    failed(&queued.queue(&["run"]), 1, &["1 failed: broken", "log.txt"]);
    let ended = queued.ended();
    assert!(matches!(&ended[..], [End::Failed(_), End::Done]), "{ended:?}");
    assert_eq!(queued.steps_of(1), 3);
}

#[cfg(unix)]
#[test]
fn a_queue_whose_program_was_killed_goes_on_and_no_run_is_done_twice() {
    let queued = Queued::new();
    queued.add(6);
    queued.add(2);
    let mut running = Running::start(&queued.arguments(&["run", "--json"]));
    running.until(|event| matches!(event, Event::Saved { step: 2, .. }));
    failed(&queued.queue(&["run"]), 1, &["works this queue already"]);
    let list = stdout(&queued.queue(&["list"]));
    assert!(list.contains("on now       kreise  ") && list.contains("A program works the queue"), "{list}");
    running.kill();
    // The process with the run saves and stops by itself.
    File::open(queued.bench.run(1).join(LOCK_FILE)).unwrap().lock_shared().unwrap();
    let list = stdout(&queued.queue(&["list"]));
    assert!(list.contains("interrupted  kreise  "), "{list}");
    succeeded(queued.queue(&["run"]));
    assert_eq!((queued.steps_of(1), queued.steps_of(2)), (6, 2));
    assert!(!queued.bench.run(3).exists());
    assert_eq!(queued.ended(), [End::Done, End::Done]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_run_with_a_save_and_holds_the_queue() {
    let queued = Queued::new();
    queued.add(500);
    queued.add(2);
    let mut running = Running::start(&queued.arguments(&["run", "--json"]));
    running.until(|event| matches!(event, Event::Step(_)));
    running.interrupt();
    assert_eq!(running.exit_code(), Some(0));
    assert_eq!(queued.ended(), [End::Stopped]);
    let list = stdout(&queued.queue(&["list"]));
    assert!(list.contains("1            kreise"), "{list}");
}

/// As after a window that was closed with "go on in the background".
#[cfg(unix)]
#[test]
fn the_queue_goes_on_after_a_run_that_was_left_even_if_that_crashes() {
    let queued = Queued::new();
    queued.add(500);
    queued.add(2);
    let file = QueueFile::new(queued.file.clone());
    let working = file.work().unwrap();
    working.next_task().unwrap();
    let mut left = Running::start(&queued.bench.train_arguments(&["train.steps=500", "sample.every=0"]));
    left.until(|event| matches!(event, Event::Step(_)));
    let run = queued.bench.run(1);
    file.change([QueueChange::Began(run.clone())]).unwrap();

    let after = Running::start(&queued.arguments(&["run", "--json", "--after", &text(&run)]));
    // It waits for the window to go, and then for the run.
    drop(working);
    left.kill();
    assert_eq!(after.exit_code(), Some(0));
    assert!(matches!(&queued.ended()[..], [End::Failed(why), End::Done] if why.contains("before the run did")));
    assert_eq!(queued.steps_of(2), 2);
}

#[test]
fn a_file_that_is_no_queue_is_left_alone() {
    let queued = Queued::new();
    let recipe = text(&queued.bench.recipe_path());
    let before = std::fs::read(queued.bench.recipe_path()).unwrap();
    for task in ["list", "run", "hold"] {
        failed(&lorikeet(&["queue", "--file", &recipe, task]), 1, &["is no queue of Lorikeet's", "move it away"]);
    }
    assert_eq!(std::fs::read(queued.bench.recipe_path()).unwrap(), before);
}
