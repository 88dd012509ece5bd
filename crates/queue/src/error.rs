use std::io;
use std::path::PathBuf;

use lorikeet_checkpoint::CheckpointError;

/// Why the queue cannot be read, changed or worked. Each message says what happened, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue cannot be read ({source}): {}. Check its permissions", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "this file is no queue of Lorikeet's, or damaged ({problem}): {}. It is left as it is; move it away to begin a new \
         queue", path.display()
    )]
    Foreign { path: PathBuf, problem: String },
    #[error("the queue cannot be kept: {source}")]
    Write {
        #[from]
        source: CheckpointError,
    },
    #[error("the queue cannot be locked ({source}): {}. Check the permissions of the folder", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("another program{} works this queue already: {}. Wait for it, or have it hold", process.map_or_else(String::new, |id| format!(" (process {id})")), path.display())]
    Busy { path: PathBuf, process: Option<u32> },
    #[error("a run of the queue is still on: {}. Wait for it, or stop it", run_dir.display())]
    StillOn { run_dir: PathBuf },
}
