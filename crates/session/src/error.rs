//! What can go wrong around a run.

use std::io;
use std::path::PathBuf;

use lorikeet_protocol::Failure;

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no folder for the run can be made ({source}): {}", path.display())]
    Create { path: PathBuf, source: io::Error },

    #[error("the run folder cannot be written to ({source}): {}", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("there is no run: {}", path.display())]
    NotARun { path: PathBuf },

    #[error("another Lorikeet{} works in this run folder: {}", process.map_or_else(String::new, |id| format!(" (process {id})")), path.display())]
    InUse { path: PathBuf, process: Option<u32> },

    #[error("the worker thread cannot be started ({source})")]
    Thread { source: io::Error },

    #[error("no process for the worker can be started ({source}): {}", program.display())]
    Process { program: PathBuf, source: io::Error },
}

impl SessionError {
    /// In words for a person.
    pub fn failure(&self) -> Failure {
        let (what, todo) = match self {
            SessionError::Create { .. } | SessionError::Write { .. } => (
                "The run cannot be kept",
                "Choose an output folder (save.folder) on a disk with room and with permission to write",
            ),
            SessionError::NotARun { .. } => (
                "The run cannot be continued",
                "Give the folder of a run: the one that holds recipe.toml and checkpoints",
            ),
            SessionError::InUse { .. } => {
                ("The run cannot be continued", "Stop the other one first, or start a new run")
            }
            SessionError::Thread { .. } | SessionError::Process { .. } => {
                ("Nothing can be run", "Close other programs and start again")
            }
        };
        Failure { what: what.to_owned(), why: self.to_string(), todo: todo.to_owned(), last_save: None }
    }
}
