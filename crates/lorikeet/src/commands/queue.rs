//! `queue`: runs one after another, without the window.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use lorikeet_protocol::{Command, Event, LOCK_FILE};
use lorikeet_queue::{End, Ended, QueueChange, QueueError, QueueFile, Seen, Task, Working};
use lorikeet_recipe::Plan;
use lorikeet_session::{ChildEngine, WorkerProgram, apart, run_name, with_absolute_paths};

use super::train::{self, plot_run};
use crate::args::{QueueAddArgs, QueueArgs, QueueRunArgs, QueueTask};
use crate::face::{Face, JsonLines, Progress};
use crate::follow::follow_in;
use crate::trouble::Trouble;

pub(crate) fn queue(args: &QueueArgs) -> Result<(), Trouble> {
    let file = match &args.file {
        Some(path) => QueueFile::new(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        None => QueueFile::of_this_user().ok_or_else(|| {
            Trouble::failed("There is no queue", "no home folder is known", "Name a file for it with --file")
        })?,
    };
    match &args.task {
        QueueTask::List => print_list(&file.read().map_err(trouble)?, &file),
        QueueTask::Add(recipe) => return add(&file, recipe),
        QueueTask::Remove { number } => return remove(&file, *number),
        QueueTask::Hold => {
            let seen = file.change([QueueChange::Hold(true)]).map_err(trouble)?;
            println!("{}", if seen.worked { "The queue ends after the run that is on" } else { "The queue is held" });
        }
        QueueTask::Forget => {
            let interrupted = !file.read().map_err(trouble)?.worked;
            file.change([QueueChange::Forget { interrupted }]).map_err(trouble)?;
        }
        QueueTask::Run(run) => return work(&file, run),
    }
    Ok(())
}

fn trouble(error: QueueError) -> Trouble {
    let text = error.to_string();
    // The last sentence of most says what to do.
    let (why, todo) =
        text.rsplit_once(". ").unwrap_or((&text, "Make room on the disk, or name another file with --file"));
    Trouble::failed("The queue cannot be used", why, todo)
}

fn print_list(seen: &Seen, file: &QueueFile) {
    let queue = &seen.queue;
    for Ended { name, end } in &queue.ended {
        match end {
            End::Done => println!("done         {name}"),
            End::Stopped => println!("stopped      {name}"),
            End::Failed(what) => println!("failed       {name}: {what}"),
        }
    }
    if let Some(current) = &queue.current {
        let folder = current.run_dir.as_ref().map_or_else(String::new, |run_dir| format!("  {}", run_dir.display()));
        let state = if seen.worked { "on now     " } else { "interrupted" };
        println!("{state}  {}{folder}", current.run.name);
    }
    for (place, run) in queue.waiting.iter().enumerate() {
        println!("{:<11}  {}  ({})", place + 1, run.name, run.about);
    }
    if queue.unreadable() > 0 {
        let path = file.path().display();
        println!("{} more cannot be read by this version; they stay in the file: {path}", queue.unreadable());
    }
    match (queue.waiting.len(), seen.worked, queue.hold) {
        (0, _, _) => println!("Nothing waits"),
        (_, true, false) => println!("A program works the queue"),
        (_, true, true) => println!("A program works the queue, and ends after the run that is on"),
        (_, false, _) => println!("`lorikeet queue run` does what waits"),
    }
}

/// Planned first: what cannot be trained is told now, not at night.
fn add(file: &QueueFile, args: &QueueAddArgs) -> Result<(), Trouble> {
    let recipe = with_absolute_paths(&train::recipe(&args.recipe, &args.changes)?);
    let plan = lorikeet_trainer::probe(&recipe).map_err(|error| error.failure())?;
    let (name, rank) = (run_name(&recipe), recipe.get("network.rank"));
    let about = format!("{} · {} · rank {rank}", plan.base, recipe.preset().label());
    let change = QueueChange::Add { name: name.clone(), about, recipe: Box::new(recipe) };
    let seen = file.change([change]).map_err(trouble)?;
    println!("{name} waits as number {}", seen.queue.waiting.len());
    Ok(())
}

fn remove(file: &QueueFile, number: usize) -> Result<(), Trouble> {
    let seen = file.read().map_err(trouble)?;
    let Some(run) = number.checked_sub(1).and_then(|at| seen.queue.waiting.get(at)) else {
        let why = format!("there is no number {number}, for {} wait", seen.queue.waiting.len());
        return Err(Trouble::usage(
            "Nothing was taken out of the queue",
            why,
            "`lorikeet queue list` shows the numbers",
        ));
    };
    file.change([QueueChange::Remove(run.id)]).map_err(trouble)?;
    println!("{} is taken out of the queue", run.name);
    Ok(())
}

fn work(file: &QueueFile, args: &QueueRunArgs) -> Result<(), Trouble> {
    let mut face: Box<dyn Face> = if args.json { Box::new(JsonLines) } else { Box::new(Progress::new()) };
    let working = match &args.after {
        Some(run_dir) => {
            let working = file.work_after_others().map_err(trouble)?;
            wait_for(run_dir);
            note_end(&working, run_dir)?;
            working
        }
        None => {
            let working = file.work().map_err(trouble)?;
            file.change([QueueChange::Hold(false)]).map_err(trouble)?;
            working
        }
    };
    let (mut done, mut failed) = (0, Vec::new());
    while let (_, Some(task)) = working.next_task().map_err(trouble)? {
        let (name, end) = one(&working, task, face.as_mut())?;
        let stopped = end == End::Stopped;
        match &end {
            End::Done => done += 1,
            End::Stopped => face.note(&format!("{name} was stopped and saved. The queue is held")),
            End::Failed(what) => {
                face.note(&format!("{name} failed: {what}"));
                failed.push(name);
            }
        }
        file.change([QueueChange::Hold(stopped), QueueChange::Ended(end)]).map_err(trouble)?;
    }
    if !failed.is_empty() {
        let why = format!("{} failed: {}", failed.len(), failed.join(", "));
        return Err(Trouble::failed(
            "Not every run of the queue is done",
            why,
            "See log.txt in the folders of these runs",
        ));
    }
    face.note(&format!("Done: {done}"));
    Ok(())
}

/// In a process of its own, so that a crash costs one run and not the queue.
fn one(working: &Working, task: Task, face: &mut dyn Face) -> Result<(String, End), Trouble> {
    let (name, command) = match task {
        Task::Start(run) => (run.name, Command::Start { recipe: Box::new(run.recipe) }),
        Task::Resume { name, run_dir } => (name, Command::ResumeRun { run_dir }),
    };
    face.note(&format!("Next: {name}"));
    let mut engine =
        WorkerProgram::this().and_then(ChildEngine::new).map_err(|error| Trouble::from(error.failure()))?;
    let mut began = Began { face, working, problem: None };
    let end = follow_in(&mut engine, command, &mut began);
    if let Some(problem) = began.problem {
        return Err(trouble(problem));
    }
    Ok(match end {
        Ok(Event::Finished { run_dir, step, .. }) => {
            plot_run(&run_dir);
            (name, how_finished(&run_dir, step))
        }
        Ok(_) => (name, End::Done),
        Err(trouble) => (name, End::Failed(format!("{}: {}", trouble.failure.what, trouble.failure.why))),
    })
}

/// Shows everything, and notes in the queue where its run is.
struct Began<'a> {
    face: &'a mut dyn Face,
    working: &'a Working,
    problem: Option<QueueError>,
}

impl Face for Began<'_> {
    fn event(&mut self, event: &Event) {
        if let Event::Started { run_dir, .. } = event {
            self.problem = self.working.file().change([QueueChange::Began(run_dir.clone())]).err();
        }
        self.face.event(event);
    }

    fn note(&mut self, message: &str) {
        self.face.note(message);
    }
}

/// Until no program works on the run any more.
fn wait_for(run_dir: &Path) {
    // Without a lock there is nothing to wait for.
    if let Ok(lock) = File::open(run_dir.join(LOCK_FILE)) {
        lock.lock_shared().ok();
    }
}

/// Of the run that a window left, as its folder tells; if it was of the queue.
fn note_end(working: &Working, run_dir: &Path) -> Result<(), Trouble> {
    let file = working.file();
    let current = file.read().map_err(trouble)?.queue.current.and_then(|current| current.run_dir);
    let end = how_ended(run_dir);
    let mut changes = vec![QueueChange::Hold(end == End::Stopped)];
    if current.as_deref() == Some(run_dir) {
        changes.push(QueueChange::Ended(end));
    }
    // Whoever held the queue meanwhile wants that still.
    let held = file.read().map_err(trouble)?.queue.hold;
    file.change(changes.into_iter().filter(|change| !held || *change != QueueChange::Hold(false))).map_err(trouble)?;
    Ok(())
}

fn how_ended(run_dir: &Path) -> End {
    let text = fs::read_to_string(run_dir.join("events.jsonl")).unwrap_or_default();
    let last = text.lines().rev().find_map(|line| serde_json::from_str::<Event>(line).ok());
    match last {
        Some(Event::Finished { step, .. }) => how_finished(run_dir, step),
        Some(Event::Failed(failure)) => End::Failed(failure.what),
        _ => End::Failed("Its program ended before the run did".to_owned()),
    }
}

fn how_finished(run_dir: &Path, step: u64) -> End {
    let plan = fs::read(run_dir.join("plan.json")).ok();
    let plan = plan.and_then(|text| serde_json::from_slice::<Plan>(&text).ok());
    // Without a plan it cannot have been far.
    if plan.is_some_and(|plan| step >= plan.steps) { End::Done } else { End::Stopped }
}

/// For the studio that goes: another process works the queue once the run is over.
pub(crate) fn go_on_after(queue: &Path, run_dir: &Path) -> Result<(), String> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lorikeet"));
    let mut process = Process::new(program);
    process.args(["queue", "--file"]).arg(queue).args(["run", "--after"]).arg(run_dir);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    apart(&mut process);
    let started = process.spawn();
    started.map(drop).map_err(|error| {
        format!("The queue cannot go on in the background ({error}). Hold it, or leave the window open")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_run_ended_is_read_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        assert!(matches!(how_ended(run), End::Failed(why) if why.contains("before the run did")));
        let finished = |step| Event::Finished { run_dir: run.to_owned(), step, lora: None, seconds: 1.0 };
        let told = |event: &Event| fs::write(run.join("events.jsonl"), serde_json::to_string(event).unwrap()).unwrap();
        let plan = lorikeet_recipe::plan(
            &lorikeet_recipe::Recipe::from_toml("dataset = { folder = 'a' }\ntrain = { steps = 10 }").unwrap(),
            &lorikeet_recipe::example::demo_base(),
            &lorikeet_recipe::example::pictures(24, 128),
            &lorikeet_recipe::example::machine(),
        );
        fs::write(run.join("plan.json"), serde_json::to_string(&plan.unwrap()).unwrap()).unwrap();
        told(&finished(4));
        assert_eq!(how_ended(run), End::Stopped);
        told(&finished(10));
        assert_eq!(how_ended(run), End::Done);
        told(&Event::Note { message: "killed here".to_owned() });
        assert!(matches!(how_ended(run), End::Failed(_)));
    }

    #[test]
    fn what_to_do_about_a_queue_stands_apart() {
        let told = trouble(QueueError::Busy { path: "q.json".into(), process: Some(3) }).to_string();
        assert!(
            told.contains("(process 3) works this queue already: q.json\n") && told.contains("do:  Wait for it"),
            "{told}"
        );
    }
}
