//! What programs tell each other through a run folder.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Locked while a program works in the folder; holds the number of its process.
pub const LOCK_FILE: &str = ".lock";

/// Made by whoever wants a run of another process to save and stop. The worker looks for it after each step and removes it.
pub const STOP_FILE: &str = "stop";

/// The newest reading of the machine's load, as JSON; only there while a program works in the folder.
pub const LOAD_FILE: &str = "load.json";

/// Whether a program works in the run folder now.
pub fn in_use(run_dir: &Path) -> bool {
    let Ok(lock) = File::open(run_dir.join(LOCK_FILE)) else { return false };
    // Shared, so that two who only look do not see each other. It is let go at once.
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_folder_is_in_use_until_it_is_let_go() {
        let folder = std::env::temp_dir().join(format!("lorikeet-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(!in_use(&folder));
        let lock = File::create(folder.join(LOCK_FILE)).unwrap();
        assert!(!in_use(&folder));
        lock.lock().unwrap();
        assert!(in_use(&folder) && in_use(&folder));
        drop(lock);
        assert!(!in_use(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
