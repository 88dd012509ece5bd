//! The queue's file, and the locks beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::write_atomically;
use lorikeet_protocol::{hold, in_use, is_held, note_process};

use crate::error::QueueError;
use crate::list::{Queue, QueueChange, Task};

/// Where a queue is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFile {
    path: PathBuf,
}

/// The queue at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub queue: Queue,
    /// Whether a program works it.
    pub worked: bool,
}

impl QueueFile {
    pub fn new(path: PathBuf) -> QueueFile {
        QueueFile { path }
    }

    /// The one that the window shows. `None` where no home folder is known.
    pub fn of_this_user() -> Option<QueueFile> {
        directories::ProjectDirs::from("", "", "lorikeet")
            .map(|dirs| QueueFile::new(dirs.data_dir().join("queue.json")))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn working_path(&self) -> PathBuf {
        self.path.with_extension("working")
    }

    /// # Errors
    /// When it cannot be read, or is no queue.
    pub fn read(&self) -> Result<Seen, QueueError> {
        // Looked at first: whoever begins or ends meanwhile changes the file after that.
        let worked = is_held(&self.working_path());
        let queue = match fs::read_to_string(&self.path) {
            Ok(text) => {
                Queue::parse(&text).map_err(|problem| QueueError::Foreign { path: self.path.clone(), problem })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Queue::default(),
            // Bytes that are no text.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(QueueError::Foreign { path: self.path.clone(), problem: error.to_string() });
            }
            Err(source) => return Err(QueueError::Read { path: self.path.clone(), source }),
        };
        Ok(Seen { queue, worked })
    }

    /// What shows without reading it that something may have changed.
    pub fn stamp(&self) -> impl PartialEq + Send + use<> {
        let facts = fs::metadata(&self.path).ok();
        let facts = facts.map(|facts| (facts.modified().ok(), facts.len()));
        (facts, is_held(&self.working_path()))
    }

    /// Makes changes to the queue as it is in the file. Waits for another program that does so at the moment.
    ///
    /// # Errors
    /// As [`QueueFile::read`], and when it cannot be written. Then the file is as it was.
    pub fn change(&self, changes: impl IntoIterator<Item = QueueChange>) -> Result<Seen, QueueError> {
        self.with(|queue| changes.into_iter().for_each(|change| queue.change(change))).map(|(seen, ())| seen)
    }

    fn with<T>(&self, job: impl FnOnce(&mut Queue) -> T) -> Result<(Seen, T), QueueError> {
        let path = self.path.with_extension("lock");
        let failed = |source| QueueError::Lock { path: path.clone(), source };
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut seen = self.read()?;
        let before = seen.queue.clone();
        let done = job(&mut seen.queue);
        if seen.queue != before {
            let text = seen.queue.to_json().map_err(|error| failed(error.into()))?;
            write_atomically(&self.path, |out| out.write_all(text.as_bytes()))?;
        }
        Ok((seen, done))
    }

    /// From now on this program works the queue, and no other.
    ///
    /// # Errors
    /// When another does.
    pub fn work(&self) -> Result<Working, QueueError> {
        let path = self.working_path();
        self.make_folder()?;
        match hold(&path) {
            Ok(lock) => Ok(Working { file: self.clone(), _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let process = fs::read_to_string(&path).ok().and_then(|id| id.trim().parse().ok());
                Err(QueueError::Busy { path: self.path.clone(), process })
            }
            Err(source) => Err(QueueError::Lock { path, source }),
        }
    }

    /// As [`QueueFile::work`], once whoever works it now has ended.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn work_after_others(&self) -> Result<Working, QueueError> {
        let path = self.working_path();
        self.make_folder()?;
        let failed = |source| QueueError::Lock { path: path.clone(), source };
        let mut lock =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        note_process(&mut lock).map_err(failed)?;
        Ok(Working { file: self.clone(), _lock: lock })
    }

    fn make_folder(&self) -> Result<(), QueueError> {
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        made.map_err(|source| QueueError::Lock { path: self.path.clone(), source })
    }
}

/// Held by the one program that works the queue. It goes with the value, and with the process.
#[derive(Debug)]
pub struct Working {
    file: QueueFile,
    _lock: File,
}

impl Working {
    pub fn file(&self) -> &QueueFile {
        &self.file
    }

    /// The next run to do. `None`: nothing waits, or the queue is held.
    ///
    /// # Errors
    /// When the file cannot be read or written, or when a run that an earlier program left is still on.
    pub fn next_task(&self) -> Result<(Seen, Option<Task>), QueueError> {
        let seen = self.file.read()?;
        let current = seen.queue.current.and_then(|current| current.run_dir);
        if let Some(run_dir) = current.filter(|run_dir| in_use(run_dir)) {
            return Err(QueueError::StillOn { run_dir });
        }
        self.file.with(Queue::next_task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::End;
    use lorikeet_protocol::LOCK_FILE;
    use lorikeet_recipe::Recipe;

    fn add(name: &str) -> QueueChange {
        QueueChange::Add { name: name.to_owned(), about: String::new(), recipe: Box::new(Recipe::default()) }
    }

    fn names(seen: &Seen) -> Vec<&str> {
        seen.queue.waiting.iter().map(|run| run.name.as_str()).collect()
    }

    #[test]
    fn changes_of_several_programs_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new folder/queue.json");
        let [one, other] = [QueueFile::new(path.clone()), QueueFile::new(path)];
        assert_eq!(one.read().unwrap(), Seen::default());
        let stamp = one.stamp();
        one.change([add("a"), add("b")]).unwrap();
        assert!(one.stamp() != stamp);
        let seen = other.change([QueueChange::Move(2, 0), add("c")]).unwrap();
        assert_eq!(names(&seen), ["b", "a", "c"]);
        let many: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn({
                    let file = one.clone();
                    move || file.change([add("d")]).unwrap()
                })
            })
            .collect();
        many.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        let seen = one.read().unwrap();
        let mut ids: Vec<u64> = seen.queue.waiting.iter().map(|run| run.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=11).collect::<Vec<_>>(), "none is lost, and none has the number of another");
    }

    #[test]
    fn what_is_no_queue_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.json");
        let file = QueueFile::new(path.clone());
        for foreign in [b"{ \"runs\": 1 }".as_slice(), b"{", b"\xff\xfe"] {
            fs::write(&path, foreign).unwrap();
            let told = file.change([add("a")]).unwrap_err().to_string();
            assert!(told.contains("is no queue of Lorikeet's") && told.contains("move it away"), "{told}");
            assert_eq!(fs::read(&path).unwrap(), foreign);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(file.read(), Err(QueueError::Read { .. })));
    }

    #[test]
    fn only_one_program_does_the_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = QueueFile::new(folder.path().join("queue.json"));
        file.change([add("a"), add("b")]).unwrap();
        let working = file.work().unwrap();
        assert!(file.read().unwrap().worked);
        let Err(QueueError::Busy { process, .. }) = file.work() else { panic!() };
        assert_eq!(process, Some(std::process::id()));
        let (seen, task) = working.next_task().unwrap();
        assert!(matches!(task, Some(Task::Start(run)) if run.name == "a"));
        assert_eq!(names(&seen), ["b"]);

        // As when the program is gone and the run that it began is not.
        let run_dir = folder.path().join("a-001");
        fs::create_dir(&run_dir).unwrap();
        fs::write(run_dir.join("recipe.toml"), "").unwrap();
        file.change([QueueChange::Began(run_dir.clone())]).unwrap();
        drop(working);
        assert!(!file.read().unwrap().worked);
        let run = hold(&run_dir.join(LOCK_FILE)).unwrap();
        let working = file.work_after_others().unwrap();
        assert!(matches!(working.next_task(), Err(QueueError::StillOn { .. })));
        drop(run);
        let (_, task) = working.next_task().unwrap();
        assert_eq!(task, Some(Task::Resume { name: "a".to_owned(), run_dir }));
        file.change([QueueChange::Ended(End::Done)]).unwrap();
        assert!(matches!(working.next_task().unwrap(), (_, Some(Task::Start(run))) if run.name == "b"));
    }
}
