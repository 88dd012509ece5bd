//! What programs tell each other through a run folder.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

/// Locked while a program works in the folder; holds the number of its process.
pub const LOCK_FILE: &str = ".lock";

/// Made by whoever wants a run of another process to save and stop. The worker looks for it after each step and removes it.
pub const STOP_FILE: &str = "stop";

/// There as long as a run waits between two steps: made by whoever wants it to, removed by whoever wants it to go on.
pub const PAUSE_FILE: &str = "pause";

/// The newest reading of the machine's load, as JSON; only there while a program works in the folder.
pub const LOAD_FILE: &str = "load.json";

/// Somebody who only looks whether a lock is held has it for a moment.
const LOCK_TRIES: usize = 64;

/// Whether a program works in the run folder now.
pub fn in_use(run_dir: &Path) -> bool {
    is_held(&run_dir.join(LOCK_FILE))
}

/// Whether a program holds this lock file.
pub fn is_held(path: &Path) -> bool {
    let Ok(lock) = File::open(path) else { return false };
    // Shared, so that two who only look do not see each other. It is let go at once.
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Holds a lock file, which is made if need be, as long as the returned file is open. It holds the number of this process.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when another program holds it.
pub fn hold(path: &Path) -> io::Result<File> {
    let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    let mut locked = lock.try_lock();
    for _ in 1..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::yield_now();
        locked = lock.try_lock();
    }
    locked?;
    note_process(&mut lock)?;
    Ok(lock)
}

/// For messages: which process holds the lock.
pub fn note_process(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_folder_is_in_use_until_it_is_let_go() {
        let folder = std::env::temp_dir().join(format!("lorikeet-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(!in_use(&folder));
        File::create(folder.join(LOCK_FILE)).unwrap();
        assert!(!in_use(&folder));
        let lock = hold(&folder.join(LOCK_FILE)).unwrap();
        assert!(in_use(&folder) && in_use(&folder));
        assert_eq!(hold(&folder.join(LOCK_FILE)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(!in_use(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
