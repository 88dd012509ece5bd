//! What the frozen parts compute once: latents of pictures and states of captions, on disk, keyed by content.
//!
//! A file's name is the hash of everything its numbers depend on, so nothing is ever out of date, and a second run, or a
//! run of other settings on the same pictures, starts at once. A file that is damaged is made again.

mod ahead;
mod latents;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use lorikeet_checkpoint::{SafetensorsFile, TensorData, write_safetensors};
use lorikeet_nn::DeviceKind;
use lorikeet_protocol::{Command, Event};

use crate::{Host, TrainError};

pub use latents::{LatentCache, Moments, cache_latents};
pub use text::TextCache;

/// Numbers kept in memory; beyond it they are read from disk each time.
const MEMORY_LIMIT: usize = 1 << 30;

/// `LORIKEET_CACHE`, else the user's cache folder.
pub fn cache_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("LORIKEET_CACHE").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    directories::ProjectDirs::from("", "", "Lorikeet")
        .map_or_else(|| std::env::temp_dir().join("lorikeet-cache"), |folders| folders.cache_dir().to_owned())
}

/// Files of one kind below the cache folder.
struct Store {
    folder: PathBuf,
    /// Once writing has failed it is not tried again: the run goes on from memory.
    broken: bool,
}

impl Store {
    fn new(cache: &Path, kind: &str) -> Self {
        Self { folder: cache.join(kind), broken: false }
    }

    fn path(&self, key: &str) -> PathBuf {
        // Split, since some file systems are slow with many thousand files in one folder.
        self.folder.join(&key[..2]).join(format!("{key}.safetensors"))
    }

    /// The named tensors, if the file is whole and they have these sizes.
    fn load<const N: usize>(&self, key: &str, names: [&str; N], sizes: [usize; N]) -> Option<[Vec<f32>; N]> {
        load(&self.path(key), names, sizes)
    }

    /// Returns whether the file is there now. The first failure is told.
    fn save(&mut self, key: &str, tensors: &[(&str, &[usize], &[f32])], host: &mut dyn Host) -> bool {
        if self.broken {
            return false;
        }
        let path = self.path(key);
        let result = self.prepare(&path).map_err(|error| error.to_string()).and_then(|()| {
            let data: Vec<TensorData<'_>> =
                tensors.iter().map(|(name, shape, values)| TensorData::f32(*name, shape, values)).collect();
            let sum = checksum(tensors.iter().map(|(_, _, values)| *values));
            let metadata = BTreeMap::from([("blake3".to_owned(), sum)]);
            write_safetensors(&path, &data, &metadata).map_err(|error| error.to_string())
        });
        if let Err(reason) = result {
            self.broken = true;
            host.event(Event::Warning {
                message: format!(
                    "the cache cannot be written, so the next run will not start faster ({reason}). \
                     Set LORIKEET_CACHE to a folder that can be written to"
                ),
            });
        }
        !self.broken
    }

    fn prepare(&self, path: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        // Backup programs leave folders with this file alone (bford.info/cachedir).
        let tag = self.folder.join("CACHEDIR.TAG");
        if !tag.exists() {
            std::fs::write(tag, "Signature: 8a477f597d28d172789f06886806bc55\n# Made by Lorikeet; may be deleted.\n")?;
        }
        Ok(())
    }
}

fn load<const N: usize>(path: &Path, names: [&str; N], sizes: [usize; N]) -> Option<[Vec<f32>; N]> {
    let file = SafetensorsFile::open(path).ok()?;
    let mut tensors = names.map(|_| Vec::new());
    for ((name, tensor), size) in names.iter().zip(&mut tensors).zip(sizes) {
        *tensor = file.f32(name).ok()?;
        if tensor.len() != size {
            return None;
        }
    }
    let sum = checksum(tensors.iter().map(Vec::as_slice));
    (file.metadata().get("blake3") == Some(&sum)).then_some(tensors)
}

fn checksum<'a>(tensors: impl Iterator<Item = &'a [f32]>) -> String {
    let mut hash = blake3::Hasher::new();
    for tensor in tensors {
        let bytes: Vec<u8> = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    hash.finalize().to_hex().to_string()
}

fn key(parts: &[&str]) -> String {
    let mut hash = blake3::Hasher::new_derive_key("lorikeet cache 1");
    for part in parts {
        // With its length, so that no two lists of parts run together to the same text.
        hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// Devices of different kinds differ in the last bits, and bf16 from f32 and f16 in more; one run's numbers all come from one kind.
fn device_key(kind: DeviceKind, dtype: DType) -> &'static str {
    match kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Cuda(_) => match dtype {
            DType::F32 => "cuda, f32",
            DType::F16 => "cuda, f16",
            _ => "cuda",
        },
        // Autoencoders compute in f32 there.
        DeviceKind::Vulkan(_) => "vulkan",
    }
}

/// How many to encode at a time. On the CPU a larger batch is no faster, and one at a time gives the same bits whatever
/// else is in the folder.
fn batch_size(kind: DeviceKind) -> usize {
    if kind == DeviceKind::Cpu { 1 } else { 4 }
}

/// Looks at the commands that came in before or between steps.
///
/// # Errors
/// [`TrainError::Stopped`] when asked to stop, or when the face is gone during a pause.
pub(crate) fn obey(host: &mut dyn Host) -> Result<(), TrainError> {
    let mut next = host.command();
    let mut paused = false;
    loop {
        match next {
            Some(Command::Stop) => return Err(TrainError::Stopped),
            Some(Command::Pause) if !paused => {
                paused = true;
                host.event(Event::Paused { step: 0 });
            }
            Some(Command::Resume) if paused => {
                paused = false;
                host.event(Event::Resumed { step: 0 });
            }
            Some(_) => host.event(Event::Warning { message: "that has to wait until training has begun".to_owned() }),
            None if paused => return Err(TrainError::Stopped),
            None => return Ok(()),
        }
        next = if paused { host.wait() } else { host.command() };
    }
}

#[cfg(test)]
mod tests;
