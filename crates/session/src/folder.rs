//! Run folders: made, named, locked, listed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lorikeet_protocol::{LOCK_FILE, hold};
use lorikeet_recipe::{Recipe, Value};

use crate::SessionError;

const LONGEST_NAME: usize = 48;

/// A run folder that this process holds. The lock goes with the value, and with the process however it ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes `parent/name-001`, or the next number that is free.
    pub fn create(parent: &Path, name: &str) -> Result<RunFolder, SessionError> {
        let parent = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| SessionError::Create { path, source }
        };
        fs::create_dir_all(&parent).map_err(failed(&parent))?;
        let mut number = 1;
        loop {
            let path = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return RunFolder::hold(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }

    /// Takes the folder of an earlier run.
    pub fn open(path: &Path) -> Result<RunFolder, SessionError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if !path.join("recipe.toml").is_file() {
            return Err(SessionError::NotARun { path });
        }
        RunFolder::hold(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a folder in which nothing was made: for a run that never began.
    pub(crate) fn discard(self) {
        // What cannot be removed is left; the next run takes the next number.
        fs::remove_dir_all(&self.path).ok();
    }

    fn hold(path: PathBuf) -> Result<RunFolder, SessionError> {
        let lock_path = path.join(LOCK_FILE);
        match hold(&lock_path) {
            Ok(lock) => Ok(RunFolder { path, _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let process = fs::read_to_string(&lock_path).ok().and_then(|id| id.trim().parse().ok());
                Err(SessionError::InUse { path, process })
            }
            Err(source) => Err(SessionError::Write { path, source }),
        }
    }
}

/// The readable part of a run folder's name: the name of the LoRA, else the trigger word, else the picture folder's.
pub fn run_name(recipe: &Recipe) -> String {
    let text = |id| if let Value::Text(text) = recipe.get(id) { text } else { String::new() };
    let folder = recipe.folders().into_iter().next().map(|folder| folder.path).unwrap_or_default();
    let folder = Path::new(&folder).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    [text("save.name"), text("dataset.trigger"), folder]
        .iter()
        .map(|name| plain(name))
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "lora".to_owned())
}

/// Letters and digits of any script, joined by hyphens.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-").to_lowercase();
    joined.chars().take(LONGEST_NAME).collect::<String>().trim_end_matches('-').to_owned()
}

/// The run folders in a folder, the newest first.
pub fn list_runs(folder: &Path) -> Vec<PathBuf> {
    let changed = |path: &Path| {
        let time = |name| fs::metadata(path.join(name)).and_then(|facts| facts.modified()).ok();
        time("metrics.jsonl").or_else(|| time("recipe.toml")).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("recipe.toml").is_file())
        .map(|path| (changed(&path), path))
        .collect();
    runs.sort_by(|a, b| b.cmp(a));
    runs.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(settings: &[(&str, &str)]) -> Recipe {
        let mut recipe = Recipe::default();
        settings.iter().for_each(|(id, value)| recipe.set_text(id, value).unwrap());
        recipe
    }

    #[test]
    fn a_run_is_named_after_what_it_teaches() {
        assert_eq!(run_name(&recipe(&[("dataset.folder", "/pictures/My Cat")])), "my-cat");
        assert_eq!(run_name(&recipe(&[("dataset.folder", "/x"), ("dataset.trigger", "ink style")])), "ink-style");
        assert_eq!(run_name(&recipe(&[("dataset.trigger", "ink"), ("save.name", "Füchse 2")])), "füchse-2");
        assert_eq!(run_name(&Recipe::default()), "lora");
        assert!(run_name(&recipe(&[("dataset.trigger", &"word ".repeat(40))])).len() <= LONGEST_NAME);
    }

    #[test]
    fn folders_get_the_next_free_number() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path().join("läufe of mine");
        let names: Vec<_> =
            (0..3).map(|_| RunFolder::create(&parent, "ink").unwrap().path().file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["ink-001", "ink-002", "ink-003"]);
    }

    #[test]
    fn a_folder_in_use_is_refused_until_it_is_let_go() {
        let parent = tempfile::tempdir().unwrap();
        let held = RunFolder::create(parent.path(), "ink").unwrap();
        fs::write(held.path().join("recipe.toml"), "").unwrap();
        let error = RunFolder::open(held.path()).unwrap_err();
        let SessionError::InUse { process, .. } = &error else { panic!("{error}") };
        assert_eq!(*process, Some(std::process::id()));
        assert!(error.to_string().contains("another Lorikeet"), "{error}");
        let path = held.path().to_owned();
        drop(held);
        RunFolder::open(&path).unwrap();
    }

    #[test]
    fn what_is_no_run_is_said_to_be_none() {
        let parent = tempfile::tempdir().unwrap();
        assert!(matches!(RunFolder::open(parent.path()), Err(SessionError::NotARun { .. })));
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunFolder::create(&file, "ink").unwrap_err();
        assert!(error.to_string().contains("no folder for the run can be made"), "{error}");
    }

    #[test]
    fn runs_are_listed_newest_first() {
        let parent = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 100), ("new", 1), ("middle", 50)] {
            let run = parent.path().join(name);
            fs::create_dir(&run).unwrap();
            let recipe = File::create(run.join("recipe.toml")).unwrap();
            recipe.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        fs::create_dir(parent.path().join("no run")).unwrap();
        let names: Vec<_> = list_runs(parent.path())
            .iter()
            .map(|run| run.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["new", "middle", "old"]);
    }
}
