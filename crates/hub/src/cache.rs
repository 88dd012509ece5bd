//! The hub's cache on this computer, laid out as huggingface_hub does it, so that other programs share what was fetched:
//! `blobs/` named by checksum, `snapshots/<commit>/` with links to them, and `refs/` from a revision to its commit.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::HubError;
use crate::listing::{RemoteFile, Repository};

pub(crate) struct Cache<'a> {
    root: &'a Path,
    folder: PathBuf,
    repository: &'a Repository,
}

impl<'a> Cache<'a> {
    pub(crate) fn new(root: &'a Path, repository: &'a Repository) -> Cache<'a> {
        Cache { root, folder: root.join(repository.name.folder()), repository }
    }

    /// Where the files can be found by their names.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.repository.commit)
    }

    pub(crate) fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.folder.join("blobs").join(file.digest.hex())
    }

    /// A blob that is not whole yet.
    pub(crate) fn partial(&self, file: &RemoteFile) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", file.digest.hex()))
    }

    /// Bytes that need not be fetched.
    pub(crate) fn present(&self, file: &RemoteFile) -> u64 {
        if self.is_whole(file) {
            return file.size;
        }
        fs::metadata(self.partial(file)).map_or(0, |facts| facts.len().min(file.size))
    }

    pub(crate) fn is_whole(&self, file: &RemoteFile) -> bool {
        // Without links the snapshot may be all there is.
        let whole = |path: &Path| fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == file.size);
        whole(&self.blob(file)) || whole(&self.snapshot().join(&file.path))
    }

    /// Held while a blob is written. Where huggingface_hub has its own lock, and of the same kind.
    pub(crate) fn lock(&self, file: &RemoteFile) -> Result<File, HubError> {
        let folder = self.root.join(".locks").join(self.repository.name.folder());
        let path = folder.join(format!("{}.lock", file.digest.hex()));
        let failed = |error| HubError::write(&path, error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(HubError::Busy { file: file.path.clone() }),
            // Some network disks have no locks; two programs at once are rare.
            Err(TryLockError::Error(_)) => Ok(lock),
        }
    }

    /// Gives a whole blob its name.
    pub(crate) fn place(&self, file: &RemoteFile) -> Result<(), HubError> {
        let (blob, path) = (self.blob(file), self.snapshot().join(&file.path));
        let failed = |error| HubError::write(&path, error);
        if fs::metadata(&path).is_ok_and(|facts| facts.len() == file.size) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(failed)?;
        // A link that leads nowhere, or a file that was cut short.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // From the file's folder up to that of the repository.
        let up = file.path.split('/').count() + 1;
        let relative: PathBuf =
            std::iter::repeat_n("..", up).collect::<PathBuf>().join("blobs").join(file.digest.hex());
        symlink(&relative, &path)
            .or_else(|_| fs::hard_link(&blob, &path))
            .or_else(|_| copy(&blob, &path))
            .map_err(failed)
    }

    /// Notes which commit the revision is.
    pub(crate) fn note_revision(&self) -> Result<(), HubError> {
        let revision = self.repository.name.revision();
        if revision == self.repository.commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let folder = path.parent().unwrap_or(&path);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, &self.repository.commit));
        written.map_err(|error| HubError::write(&path, error))
    }
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(to, at)
}

/// Beside its place first: a copy that is cut short must not look whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    fs::copy(from, &part)?;
    fs::rename(&part, to)
}
