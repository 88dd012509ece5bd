//! Runs to be done one after another. What waits is kept in a file, so that it is there after a restart.

use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::write_atomically;
use lorikeet_protocol::Command;
use lorikeet_recipe::Recipe;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::StudioApp;
use crate::closing::Closing;
use crate::draft::Load;
use crate::kit::Tone;
use crate::state::Phase;

/// How many ended runs are told of.
const MOST_ENDED: usize = 8;

/// A run that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueuedRun {
    pub name: String,
    /// `Style · Demo base`.
    pub about: String,
    pub recipe: Recipe,
    /// Of this sitting.
    #[serde(skip)]
    pub id: u64,
}

/// How a run of the queue ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Stopped,
    /// What went wrong.
    Failed(String),
}

#[derive(Default)]
pub(crate) struct Queue {
    pub waiting: Vec<QueuedRun>,
    /// Whether the next one starts when nothing is on.
    pub going: bool,
    /// The name of the one that is on.
    pub current: Option<String>,
    /// The newest last.
    pub ended: Vec<(String, End)>,
    next_id: u64,
    file: Option<PathBuf>,
    /// The file is being written, and whether it is out of date again.
    writing: bool,
    changed: bool,
}

/// What is asked of the queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum QueueAction {
    /// The recipe as it is now.
    Add,
    Go(bool),
    Remove(u64),
    /// Before what stands at that place now.
    Move(u64, usize),
    /// Looks at its recipe, which leaves the queue.
    Edit(u64),
    ForgetEnded,
}

impl Queue {
    fn add(&mut self, name: String, about: String, recipe: Recipe) {
        self.next_id += 1;
        self.waiting.push(QueuedRun { name, about, recipe, id: self.next_id });
        self.changed = true;
    }

    fn take(&mut self, id: u64) -> Option<QueuedRun> {
        let at = self.waiting.iter().position(|run| run.id == id)?;
        self.changed = true;
        Some(self.waiting.remove(at))
    }

    fn shift(&mut self, id: u64, to: usize) {
        let Some(from) = self.waiting.iter().position(|run| run.id == id) else { return };
        let run = self.waiting.remove(from);
        // Its own place has closed.
        let to = if to > from { to - 1 } else { to };
        self.waiting.insert(to.min(self.waiting.len()), run);
        self.changed = true;
    }

    fn end(&mut self, end: End) {
        let Some(name) = self.current.take() else { return };
        self.ended.push((name, end));
        if self.ended.len() > MOST_ENDED {
            self.ended.remove(0);
        }
    }
}

impl StudioApp {
    /// From now on the queue is kept in this file; what is there is read.
    pub(crate) fn keep_queue_in(&mut self, file: PathBuf) {
        self.queue.file = Some(file.clone());
        self.work.read_queue(file);
    }

    pub(crate) fn queue_read(&mut self, runs: Vec<QueuedRun>, problem: Option<String>) {
        let added = std::mem::take(&mut self.queue.waiting);
        let changed = self.queue.changed;
        for run in runs.into_iter().chain(added) {
            self.queue.add(run.name, run.about, run.recipe);
        }
        self.queue.changed = changed;
        if let Some(problem) = problem {
            self.toasts.add(Tone::Warn, problem);
        }
    }

    pub(crate) fn queue_written(&mut self, result: Result<(), String>) {
        self.queue.writing = false;
        if let Err(error) = result {
            self.toasts.add(Tone::Warn, error);
        }
    }

    pub(crate) fn queue_action(&mut self, action: QueueAction) {
        match action {
            QueueAction::Add => self.add_to_queue(),
            QueueAction::Go(going) => self.queue.going = going,
            QueueAction::Remove(id) => drop(self.queue.take(id)),
            QueueAction::Move(id, to) => self.queue.shift(id, to),
            QueueAction::Edit(id) => {
                if let Some(run) = self.queue.take(id) {
                    self.use_recipe(run.recipe);
                }
            }
            QueueAction::ForgetEnded => self.queue.ended.clear(),
        }
    }

    /// `Demo base · Style · rank 16`.
    pub(crate) fn summary(&self) -> String {
        let base = match &self.draft.base {
            _ if self.draft.is_demo() => self.draft.built_in().map_or("", |base| base.title),
            Load::Ready(base) => base.title.as_str(),
            _ => "Base",
        };
        format!("{base} · {} · rank {}", self.draft.recipe.preset().label(), self.draft.int("network.rank"))
    }

    fn add_to_queue(&mut self) {
        self.commit_caption();
        if let Some(missing) = self.draft.missing() {
            self.toasts.add(Tone::Warn, missing);
            return;
        }
        let about = self.summary();
        self.queue.add(self.draft.name(), about, self.outgoing());
        // Who adds one while another is on wants it done after that.
        self.queue.going |= self.state.active();
        let told = if self.queue.going {
            "Added to the queue, which goes on after this run"
        } else {
            "Added to the queue. Start it on the Runs page"
        };
        self.toasts.add(Tone::Ok, told);
    }

    /// Notes how the run of the queue ended.
    pub(crate) fn queue_run_ended(&mut self, was_stopping: bool) {
        if was_stopping {
            // Whoever stops a run does not want the next one at once.
            self.queue.going = false;
        }
        let end = match &self.state.phase {
            Phase::Failed(failure) => End::Failed(failure.what.clone()),
            _ if was_stopping => End::Stopped,
            _ => End::Done,
        };
        if let (End::Failed(_), Some(name), true) =
            (&end, &self.queue.current, self.queue.going && !self.queue.waiting.is_empty())
        {
            let told = format!("{name} failed; the queue goes on with the next run");
            self.toasts.add(Tone::Warn, told);
        }
        self.queue.end(end);
    }

    /// Between frames: starts the next run when it is its turn, and keeps the file up to date.
    pub(crate) fn advance_queue(&mut self) {
        let free = !self.state.active() && !self.file_job_out && self.closing == Closing::No;
        if self.queue.going && free {
            if self.queue.waiting.is_empty() {
                self.queue.going = false;
            } else {
                let run = self.queue.waiting.remove(0);
                self.queue.changed = true;
                self.queue.current = Some(run.name);
                self.state.starting();
                self.enlarged = None;
                self.send(Command::Start { recipe: Box::new(run.recipe) });
            }
        }
        if self.queue.changed
            && !self.queue.writing
            && let Some(file) = self.queue.file.clone()
        {
            (self.queue.changed, self.queue.writing) = (false, true);
            self.work.write_queue(self.queue.waiting.clone(), file);
        }
    }
}

/// None yet when there is no file. Runs that cannot be read are left out and told; the file as it was is kept beside it.
pub(crate) fn read(file: &Path) -> Result<Vec<QueuedRun>, (Vec<QueuedRun>, String)> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((Vec::new(), format!("The queue cannot be read ({error}): {}", file.display()))),
    };
    let list = serde_json::from_str::<Value>(&text).ok().and_then(|value| value["runs"].as_array().cloned());
    let total = list.as_ref().map(Vec::len);
    let runs: Vec<QueuedRun> = list.into_iter().flatten().filter_map(|run| serde_json::from_value(run).ok()).collect();
    if total == Some(runs.len()) {
        return Ok(runs);
    }
    let kept = file.with_extension("json.unread");
    let where_to = match fs::copy(file, &kept) {
        Ok(_) => format!("The file as it was is kept: {}", kept.display()),
        Err(error) => format!("It cannot be kept either ({error}): {}", kept.display()),
    };
    let what = match total {
        Some(total) => format!("{} of {total} queued runs cannot be read by this version", total - runs.len()),
        None => "The queue is damaged and cannot be read".to_owned(),
    };
    Err((runs, format!("{what}. {where_to}")))
}

pub(crate) fn write(runs: &[QueuedRun], file: &Path) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&json!({ "runs": runs })).map_err(|error| error.to_string());
    let made = |folder: &Path| fs::create_dir_all(folder).map_err(|error| error.to_string());
    let written = file.parent().map_or(Ok(()), made).and(text).and_then(|text| {
        write_atomically(file, |out| out.write_all(text.as_bytes())).map_err(|error| error.to_string())
    });
    written.map_err(|error| format!("The queue cannot be kept for the next start ({error}): {}", file.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn queue(names: &[&str]) -> Queue {
        let mut queue = Queue::default();
        names.iter().for_each(|name| queue.add((*name).to_owned(), String::new(), Recipe::default()));
        queue
    }

    fn names(runs: &[QueuedRun]) -> Vec<&str> {
        runs.iter().map(|run| run.name.as_str()).collect()
    }

    #[test]
    fn a_run_moves_to_before_the_one_it_is_dropped_on() {
        let mut queue = queue(&["a", "b", "c"]);
        let id = |queue: &Queue, name: &str| queue.waiting.iter().find(|run| run.name == name).unwrap().id;
        let (a, c) = (id(&queue, "a"), id(&queue, "c"));
        queue.shift(a, 3);
        assert_eq!(names(&queue.waiting), ["b", "c", "a"]);
        queue.shift(c, 0);
        assert_eq!(names(&queue.waiting), ["c", "b", "a"]);
        queue.shift(c, 1);
        assert_eq!(names(&queue.waiting), ["c", "b", "a"], "before its neighbour it is already");
        queue.take(c);
        queue.shift(c, 0);
        assert_eq!(names(&queue.waiting), ["b", "a"]);
    }

    #[test]
    fn the_file_gives_back_what_was_put_in_and_is_kept_when_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new folder/queue.json");
        assert_eq!(read(&file), Ok(Vec::new()));
        let runs = queue(&["a", "b"]).waiting;
        write(&runs, &file).unwrap();
        assert_eq!(names(&read(&file).unwrap()), ["a", "b"]);

        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("\"name\": \"a\"", "\"nome\": \"a\"", 1)).unwrap();
        let (rest, told) = read(&file).unwrap_err();
        assert_eq!(names(&rest), ["b"]);
        assert!(told.contains("1 of 2 queued runs"), "{told}");
        assert!(file.with_extension("json.unread").is_file());
        fs::write(&file, "{").unwrap();
        assert!(read(&file).unwrap_err().1.contains("damaged"));
    }
}
