//! Fetching: what is there is kept, what breaks off goes on where it was, what is damaged is thrown away.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use ureq::http::{StatusCode, header};

use crate::access::Access;
use crate::cache::Cache;
use crate::cancel::Cancel;
use crate::choose::Selection;
use crate::error::HubError;
use crate::http::{Client, Fault, escaped, text};
use crate::listing::{Digest, RemoteFile, Repository};

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes, with those that were there before.
    pub done: u64,
    pub total: u64,
    /// The file under way.
    pub file: String,
    /// From 1.
    pub number: usize,
    pub count: usize,
}

/// For the system itself, beside what is fetched.
const SPARE: u64 = 64 << 20;
const CHUNK: usize = 256 << 10;

/// Bytes of a selection that need not be fetched. Looks at the disk only.
pub fn already_there(access: &Access, repository: &Repository, selection: &Selection) -> u64 {
    let Some(root) = &access.cache else { return 0 };
    let cache = Cache::new(root, repository);
    selection.files.iter().map(|file| cache.present(file)).sum()
}

/// Fetches files into the hub's cache. Gives the folder, or the file, that is the model.
///
/// # Errors
/// See [`HubError`]. What was fetched until then is kept, unless it is damaged.
pub fn fetch(
    access: &Access,
    repository: &Repository,
    selection: &Selection,
    cancel: &Cancel,
    told: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, HubError> {
    let root = access.cache.as_deref().ok_or(HubError::NoCache)?;
    let cache = Cache::new(root, repository);
    let mut progress = Progress { total: selection.bytes(), count: selection.files.len(), ..Progress::default() };
    let missing = progress.total - already_there(access, repository, selection);
    if missing > 0 {
        let needed = missing + SPARE;
        match (access.free)(root) {
            Some(free) if free < needed => return Err(HubError::DiskFull { needed, free, place: root.to_owned() }),
            _ => {}
        }
    }
    let whole_in_advance = missing == 0;
    // What is all there is used offline too.
    let client = if whole_in_advance { None } else { Some(Client::new(access, cancel, &repository.name.id())?) };
    for (index, file) in selection.files.iter().enumerate() {
        (progress.number, progress.file) = (index + 1, file.path.clone());
        if !cache.is_whole(file) {
            let lock = cache.lock(file)?;
            // Another program may have been faster.
            if !cache.is_whole(file) {
                let client = client.as_ref().ok_or(HubError::Cancelled)?;
                One { client, cache: &cache, repository, file }.fetch(&mut progress, told)?;
            }
            drop(lock);
        } else {
            progress.done += file.size;
        }
        told(&progress);
        cache.place(file)?;
    }
    cache.note_revision()?;
    let snapshot = cache.snapshot();
    Ok(selection.model.as_ref().map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// One file on its way.
struct One<'a> {
    client: &'a Client<'a>,
    cache: &'a Cache<'a>,
    repository: &'a Repository,
    file: &'a RemoteFile,
}

impl One<'_> {
    fn fetch(&self, progress: &mut Progress, told: &mut dyn FnMut(&Progress)) -> Result<(), HubError> {
        let (blob, partial) = (self.cache.blob(self.file), self.cache.partial(self.file));
        let failed = |error| HubError::write(&partial, error);
        if let Some(folder) = partial.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let before = progress.done;
        let mut hash = self.client.patiently(|| self.attempt(&partial, before, progress, told))?;
        let found = hash.hex();
        let expected = self.file.digest.hex();
        if found != expected {
            // The failure to be told is the checksum's.
            fs::remove_file(&partial).ok();
            progress.done = before;
            return Err(HubError::Checksum { file: self.file.path.clone(), expected: expected.to_owned(), found });
        }
        fs::rename(&partial, &blob).map_err(failed)
    }

    /// Goes on from what is there, to the end or to where it breaks off.
    fn attempt(
        &self,
        partial: &Path,
        before: u64,
        progress: &mut Progress,
        told: &mut dyn FnMut(&Progress),
    ) -> Result<Hash, (Fault, bool)> {
        let failed = |error| (Fault::Lasting(HubError::write(partial, error)), false);
        let (mut hash, mut have) = Hash::of_start(&self.file.digest, self.file.size, partial).map_err(failed)?;
        if have > self.file.size {
            (hash, have) = (Hash::new(&self.file.digest, self.file.size), 0);
        }
        progress.done = before + have;
        told(progress);
        let mut out = File::options().create(true).append(true).open(partial).map_err(failed)?;
        out.set_len(have).map_err(failed)?;
        if have == self.file.size && have > 0 {
            return Ok(hash);
        }
        let (id, commit) = (self.repository.name.id(), &self.repository.commit);
        let path = format!("/{id}/resolve/{commit}/{}", escaped(&self.file.path, true));
        let mut response = self.client.get(&path, have).map_err(|fault| (fault, false))?;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            // The server knows another length than it told: from the start, then.
            out.set_len(0).map_err(failed)?;
            return Err((Fault::Passing(HubError::Status { url: self.file.path.clone(), status: 416 }, None), false));
        }
        if !status.is_success() {
            return Err((self.client.refusal(&id, commit, &self.file.path, &response), false));
        }
        if have > 0 && !continues(status, text(&response, header::CONTENT_RANGE.as_str()).as_deref(), have) {
            out.set_len(0).map_err(failed)?;
            (hash, have) = (Hash::new(&self.file.digest, self.file.size), 0);
            progress.done = before;
        }
        let start = have;
        let mut buffer = vec![0; CHUNK];
        let mut body = response.body_mut().as_reader();
        loop {
            let cut = |reason: &dyn std::fmt::Display, further| {
                (Fault::Passing(self.client.network(&self.client.access.endpoint, reason), None), further)
            };
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cut(&error, have > start)),
            };
            out.write_all(&buffer[..count]).map_err(failed)?;
            hash.update(&buffer[..count]);
            have += count as u64;
            if have > self.file.size {
                // More than was told cannot be the file; what is wrong with it the checksum says.
                break;
            }
            progress.done = before + have;
            told(progress);
            if self.client.cancel.is_cancelled() {
                return Err((Fault::Lasting(HubError::Cancelled), true));
            }
        }
        if have < self.file.size {
            let reason = "the connection ended early";
            let error = self.client.network(&self.client.access.endpoint, &reason);
            return Err((Fault::Passing(error, None), have > start));
        }
        // A name in the cache stands for bytes on the disk.
        out.sync_all().map_err(failed)?;
        Ok(hash)
    }
}

/// Whether an answer goes on where it was asked to.
fn continues(status: StatusCode, range: Option<&str>, from: u64) -> bool {
    let starts = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    status == StatusCode::PARTIAL_CONTENT && starts == Some(from)
}

enum Hash {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hash {
    fn new(digest: &Digest, size: u64) -> Hash {
        match digest {
            Digest::Sha256(_) => Hash::Sha256(Sha256::new()),
            Digest::Git(_) => Hash::Git(Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }

    /// That of what was fetched before, and how much that is.
    fn of_start(digest: &Digest, size: u64, path: &Path) -> io::Result<(Hash, u64)> {
        let mut hash = Hash::new(digest, size);
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((hash, 0)),
            opened => opened?,
        };
        let (mut have, mut buffer) = (0, vec![0; CHUNK]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((hash, have)),
                count => {
                    hash.update(&buffer[..count]);
                    have += count as u64;
                }
            }
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Git(hash) => hash.update(bytes),
        }
    }

    fn hex(&mut self) -> String {
        let bytes = match self {
            Hash::Sha256(hash) => hash.finalize_reset().to_vec(),
            Hash::Git(hash) => hash.finalize_reset().to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
