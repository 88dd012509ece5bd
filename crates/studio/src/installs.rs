//! Copies of an exported LoRA in the folders of other programs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::write_atomically;

use crate::texts;

/// What came of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Copied(PathBuf),
    /// The same file is there already.
    There(PathBuf),
    /// Another file has the name; it was left as it is.
    Taken(PathBuf),
}

/// Copies a LoRA, and the picture beside it, into a folder. For a thread.
pub(crate) fn place(lora: &Path, folder: &Path, replace: bool) -> Result<Placed, String> {
    let placed = copy(lora, folder, replace)?;
    let picture = lora.with_extension("preview.png");
    if picture.is_file() && !matches!(placed, Placed::Taken(_)) {
        // A picture of the user's own is left.
        copy(&picture, folder, replace)?;
    }
    Ok(placed)
}

fn copy(file: &Path, folder: &Path, replace: bool) -> Result<Placed, String> {
    let to = folder.join(file.file_name().unwrap_or_default());
    let failed = |error: &dyn std::fmt::Display| texts::export::cannot_copy(file.display(), error, to.display());
    if to.exists() {
        match same(file, &to) {
            Ok(true) => return Ok(Placed::There(to)),
            Ok(false) if !replace => return Ok(Placed::Taken(to)),
            Ok(false) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let written = write_atomically(&to, |out| {
        io::copy(&mut File::open(file)?, out)?;
        Ok(())
    });
    written.map_err(|error| failed(&error))?;
    Ok(Placed::Copied(to))
}

/// Whether two files hold the same.
fn same(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::canonicalize(a)? == fs::canonicalize(b)? {
        return Ok(true);
    }
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (io::BufReader::new(File::open(a)?), io::BufReader::new(File::open(b)?));
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_only_replaced_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (runs, loras) = (folder.path().join("runs"), folder.path().join("loras"));
        fs::create_dir_all(&runs).unwrap();
        fs::create_dir_all(&loras).unwrap();
        let (lora, to) = (runs.join("ink.safetensors"), loras.join("ink.safetensors"));
        fs::write(&lora, "new").unwrap();
        fs::write(runs.join("ink.preview.png"), "picture").unwrap();
        assert_eq!(place(&lora, &loras, false), Ok(Placed::Copied(to.clone())));
        assert_eq!(fs::read_to_string(loras.join("ink.preview.png")).unwrap(), "picture");
        assert_eq!(place(&lora, &loras, false), Ok(Placed::There(to.clone())));
        assert_eq!(place(&lora, &runs, false), Ok(Placed::There(lora.clone())), "it is where it was exported to");

        fs::write(&to, "old").unwrap();
        assert_eq!(place(&lora, &loras, false), Ok(Placed::Taken(to.clone())));
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        assert_eq!(place(&lora, &loras, true), Ok(Placed::Copied(to.clone())));
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        let error = place(&lora, &folder.path().join("gone"), false).unwrap_err();
        assert!(error.contains("ink.safetensors") && error.contains("gone"), "{error}");
    }
}
