//! What waits, what is on and what ended.

use std::path::{Path, PathBuf};

use lorikeet_recipe::Recipe;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many ended runs are told of.
const MOST_ENDED: usize = 8;

/// A run that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedRun {
    /// Stays with the run, and no other run of the queue ever has it. 0: not given yet.
    #[serde(default)]
    pub id: u64,
    pub name: String,
    /// `Demo base · Style · rank 16`.
    pub about: String,
    pub recipe: Recipe,
}

/// The run that is being done, or was when its program was ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Current {
    pub run: QueuedRun,
    /// None: it has not begun.
    pub run_dir: Option<PathBuf>,
}

/// How a run of the queue ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Done,
    Stopped,
    /// What went wrong.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub name: String,
    pub end: End,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Start(QueuedRun),
    /// One that was interrupted goes on from its last save.
    Resume {
        name: String,
        run_dir: PathBuf,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    pub waiting: Vec<QueuedRun>,
    pub current: Option<Current>,
    /// The newest last.
    pub ended: Vec<Ended>,
    /// Whoever works the queue ends after the run that is on.
    pub hold: bool,
    next_id: u64,
    /// Runs of the file that this version cannot read, as they are there.
    unread: Vec<Value>,
}

/// A change of the queue. Each is small, so that programs can make theirs one after another.
#[derive(Clone, Debug, PartialEq)]
pub enum QueueChange {
    Add {
        name: String,
        about: String,
        recipe: Box<Recipe>,
    },
    Remove(u64),
    /// Before what stands at that place now.
    Move(u64, usize),
    Hold(bool),
    /// The run that is on has a folder.
    Began(PathBuf),
    Ended(End),
    /// The run that was taken was not begun.
    GiveBack,
    /// How runs ended; and a run that was interrupted, if nobody works the queue.
    Forget {
        interrupted: bool,
    },
}

impl Queue {
    /// Of a file's text.
    ///
    /// # Errors
    /// What is wrong with it, when it is no queue at all.
    pub(crate) fn parse(text: &str) -> Result<Queue, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let runs = value["runs"].as_array().ok_or("there is no list of runs")?;
        let mut queue = Queue {
            next_id: value["next_id"].as_u64().unwrap_or(0),
            hold: value["hold"].as_bool().unwrap_or(false),
            current: serde_json::from_value(value["current"].clone()).unwrap_or_default(),
            ended: serde_json::from_value(value["ended"].clone()).unwrap_or_default(),
            ..Queue::default()
        };
        for run in runs {
            match serde_json::from_value(run.clone()) {
                Ok(run) => queue.waiting.push(run),
                Err(_) => queue.unread.push(run.clone()),
            }
        }
        let current = queue.current.iter().map(|current| current.run.id);
        let highest = queue.waiting.iter().map(|run| run.id).chain(current).max().unwrap_or(0);
        queue.next_id = queue.next_id.max(highest);
        // In a fixed order, so that all programs give the same numbers to a file of an earlier version.
        for run in queue.waiting.iter_mut().filter(|run| run.id == 0) {
            queue.next_id += 1;
            run.id = queue.next_id;
        }
        Ok(queue)
    }

    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut runs = self.waiting.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
        runs.extend(self.unread.iter().cloned());
        serde_json::to_string_pretty(&json!({
            "runs": runs,
            "current": self.current,
            "ended": self.ended,
            "hold": self.hold,
            "next_id": self.next_id,
        }))
    }

    /// How many runs of the file this version cannot read. They stay in the file, and are not done.
    pub fn unreadable(&self) -> usize {
        self.unread.len()
    }

    pub fn get(&self, id: u64) -> Option<&QueuedRun> {
        self.waiting.iter().find(|run| run.id == id)
    }

    /// What has become impossible meanwhile changes nothing.
    pub fn change(&mut self, change: QueueChange) {
        match change {
            QueueChange::Add { name, about, recipe } => {
                self.next_id += 1;
                self.waiting.push(QueuedRun { id: self.next_id, name, about, recipe: *recipe });
            }
            QueueChange::Remove(id) => self.waiting.retain(|run| run.id != id),
            QueueChange::Move(id, to) => self.shift(id, to),
            QueueChange::Hold(hold) => self.hold = hold,
            QueueChange::Began(run_dir) => {
                if let Some(current) = &mut self.current {
                    current.run_dir = Some(run_dir);
                }
            }
            QueueChange::Ended(end) => {
                if let Some(current) = self.current.take() {
                    self.ended.push(Ended { name: current.run.name, end });
                    self.ended.drain(..self.ended.len().saturating_sub(MOST_ENDED));
                }
            }
            QueueChange::GiveBack => {
                if let Some(current) = self.current.take() {
                    self.waiting.insert(0, current.run);
                }
            }
            QueueChange::Forget { interrupted } => {
                self.ended.clear();
                if interrupted {
                    self.current = None;
                }
            }
        }
    }

    fn shift(&mut self, id: u64, to: usize) {
        let Some(from) = self.waiting.iter().position(|run| run.id == id) else { return };
        let run = self.waiting.remove(from);
        // Its own place has closed.
        let to = if to > from { to - 1 } else { to };
        self.waiting.insert(to.min(self.waiting.len()), run);
    }

    /// Takes the next run, which is the current one from now on. For whoever works the queue, and nobody else: one that is
    /// current already was left behind by a program that is gone.
    pub fn next_task(&mut self) -> Option<Task> {
        if let Some(Current { run, run_dir }) = &self.current {
            match run_dir {
                None => return Some(Task::Start(run.clone())),
                Some(run_dir) if is_run(run_dir) => {
                    return Some(Task::Resume { name: run.name.clone(), run_dir: run_dir.clone() });
                }
                Some(_) => self.change(QueueChange::Ended(End::Failed("Its folder is gone".to_owned()))),
            }
        }
        if self.hold || self.waiting.is_empty() {
            return None;
        }
        let run = self.waiting.remove(0);
        self.current = Some(Current { run: run.clone(), run_dir: None });
        Some(Task::Start(run))
    }
}

fn is_run(run_dir: &Path) -> bool {
    run_dir.join("recipe.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(names: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for name in names {
            queue.change(QueueChange::Add {
                name: (*name).to_owned(),
                about: String::new(),
                recipe: Box::new(Recipe::default()),
            });
        }
        queue
    }

    fn names(queue: &Queue) -> Vec<&str> {
        queue.waiting.iter().map(|run| run.name.as_str()).collect()
    }

    #[test]
    fn a_run_moves_to_before_the_one_it_is_dropped_on() {
        let mut queue = queue(&["a", "b", "c"]);
        let (a, c) = (1, 3);
        queue.change(QueueChange::Move(a, 3));
        assert_eq!(names(&queue), ["b", "c", "a"]);
        queue.change(QueueChange::Move(c, 0));
        assert_eq!(names(&queue), ["c", "b", "a"]);
        queue.change(QueueChange::Move(c, 1));
        assert_eq!(names(&queue), ["c", "b", "a"], "before its neighbour it is already");
        queue.change(QueueChange::Remove(c));
        queue.change(QueueChange::Move(c, 0));
        assert_eq!(names(&queue), ["b", "a"]);
    }

    #[test]
    fn runs_are_taken_in_order_until_the_queue_is_held() {
        let mut queue = queue(&["a", "b", "c"]);
        let Some(Task::Start(run)) = queue.next_task() else { panic!() };
        assert_eq!((run.name.as_str(), names(&queue)), ("a", vec!["b", "c"]));
        queue.change(QueueChange::Ended(End::Done));
        let Some(Task::Start(run)) = queue.next_task() else { panic!() };
        assert_eq!(run.name, "b");
        queue.change(QueueChange::Hold(true));
        queue.change(QueueChange::Ended(End::Failed("It fell over".to_owned())));
        assert_eq!(queue.next_task(), None);
        let ended: Vec<_> = queue.ended.iter().map(|ended| ended.name.as_str()).collect();
        assert_eq!(ended, ["a", "b"]);
    }

    #[test]
    fn what_was_interrupted_goes_on_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = queue(&["a", "b"]);
        queue.next_task();
        let Some(Task::Start(run)) = queue.next_task() else { panic!() };
        assert_eq!(run.name, "a", "it had not begun");
        queue.change(QueueChange::Began(folder.path().to_owned()));
        std::fs::write(folder.path().join("recipe.toml"), "").unwrap();
        let resume = Task::Resume { name: "a".to_owned(), run_dir: folder.path().to_owned() };
        assert_eq!(queue.next_task(), Some(resume));
        std::fs::remove_file(folder.path().join("recipe.toml")).unwrap();
        let Some(Task::Start(run)) = queue.next_task() else { panic!() };
        assert_eq!(run.name, "b", "the folder of the other is gone");
        queue.change(QueueChange::GiveBack);
        assert_eq!(names(&queue), ["b"]);
    }

    #[test]
    fn runs_of_earlier_versions_get_numbers_and_those_of_later_ones_stay_in_the_file() {
        let mut queue = queue(&["a", "b"]);
        let text = queue.to_json().unwrap();
        assert_eq!(Queue::parse(&text).unwrap(), queue);
        let old = text.replace("\"id\": 1,", "").replace("\"id\": 2,", "").replace("next_id", "unknown");
        assert_eq!(Queue::parse(&old).unwrap(), queue);

        let later = text.replacen("\"name\": \"a\"", "\"nome\": \"a\"", 1);
        queue = Queue::parse(&later).unwrap();
        assert_eq!((names(&queue), queue.unreadable()), (vec!["b"], 1));
        queue.change(QueueChange::Remove(2));
        assert!(queue.to_json().unwrap().contains("\"nome\": \"a\""));
        for foreign in ["{", "[]", "{\"runs\": 3}", "steps = 3"] {
            Queue::parse(foreign).unwrap_err();
        }
    }
}
