//! What other programs want of a run, told by files in its folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lorikeet_protocol::{Command, PAUSE_FILE, STOP_FILE};

/// Looked at between two steps, and while the run waits.
pub(crate) struct Wishes {
    run_dir: PathBuf,
    /// The run waits until its file is gone.
    paused: bool,
}

impl Wishes {
    /// What is there already is of an earlier sitting that ended before it looked.
    pub(crate) fn new(run_dir: &Path) -> Wishes {
        let mut wishes = Wishes { run_dir: run_dir.to_owned(), paused: false };
        wishes.forget();
        wishes
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn forget(&mut self) {
        self.paused = false;
        for name in [STOP_FILE, PAUSE_FILE] {
            fs::remove_file(self.run_dir.join(name)).ok();
        }
    }

    /// A command of the run's own face: whether the run waits is there to see and to end for other programs too.
    pub(crate) fn note(&mut self, command: &Command) {
        let file = self.run_dir.join(PAUSE_FILE);
        match command {
            // Without the file only the face can end it.
            Command::Pause => self.paused = File::create(file).is_ok(),
            Command::Resume | Command::Stop => {
                self.paused = false;
                fs::remove_file(file).ok();
            }
            _ => {}
        }
    }

    /// Between two steps.
    pub(crate) fn look(&mut self) -> Option<Command> {
        if self.asked_to_stop() {
            return Some(Command::Stop);
        }
        self.paused = self.run_dir.join(PAUSE_FILE).exists();
        self.paused.then_some(Command::Pause)
    }

    pub(crate) fn look_while_paused(&mut self) -> Option<Command> {
        if self.asked_to_stop() {
            return Some(Command::Stop);
        }
        let over = self.paused && !self.run_dir.join(PAUSE_FILE).exists();
        self.paused &= !over;
        over.then_some(Command::Resume)
    }

    fn asked_to_stop(&mut self) -> bool {
        let asked = fs::remove_file(self.run_dir.join(STOP_FILE)).is_ok();
        if asked {
            self.note(&Command::Stop);
        }
        asked
    }
}
