use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dtype::Dtype;
use crate::error::CheckpointError;
use crate::safetensors::SafetensorsFile;

/// A part of a Stable Diffusion model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Unet,
    Vae,
    TextEncoder,
}

impl Part {
    /// All parts of a Stable Diffusion 1.x model.
    pub const ALL: [Self; 3] = [Self::Unet, Self::Vae, Self::TextEncoder];

    /// Its folder inside a diffusers folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
        }
    }

    /// The usual name of its weight file in a diffusers folder, without the ending.
    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Unet | Self::Vae => "diffusion_pytorch_model",
            Self::TextEncoder => "model",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Unet => "UNet",
            Self::Vae => "VAE",
            Self::TextEncoder => "text encoder",
        })
    }
}

/// Where a tensor of a component lies.
#[derive(Debug, Clone)]
struct Entry {
    file: usize,
    key: String,
    shape: Vec<usize>,
}

/// The weights of one part under the names that diffusers and transformers use today, whatever the file's own layout.
/// Names of the text encoder always start with `text_model.`.
#[derive(Debug, Clone)]
pub struct Component {
    part: Part,
    place: PathBuf,
    files: Vec<Arc<SafetensorsFile>>,
    entries: BTreeMap<String, Entry>,
}

impl Component {
    pub(crate) fn new(part: Part, place: &Path) -> Self {
        Self { part, place: place.to_owned(), files: Vec::new(), entries: BTreeMap::new() }
    }

    /// Takes a tensor in under `name`; `squeeze` turns a 1x1 convolution into the linear layer that it is.
    pub(crate) fn insert(&mut self, name: String, file: &Arc<SafetensorsFile>, key: &str, squeeze: bool) {
        let known = self.files.iter().position(|other| Arc::ptr_eq(other, file));
        let index = known.unwrap_or_else(|| {
            self.files.push(Arc::clone(file));
            self.files.len() - 1
        });
        let mut shape = file.shape(key).unwrap_or_default().to_vec();
        if squeeze && matches!(shape[..], [_, _, 1, 1]) {
            shape.truncate(2);
        }
        self.entries.insert(name, Entry { file: index, key: key.to_owned(), shape });
    }

    /// Which part this is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The file, or the folder when the part is sharded or in a diffusers folder.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Tensor names in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Type in which a tensor is stored.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        let entry = self.entries.get(name)?;
        self.files[entry.file].info(&entry.key).map(|info| info.dtype)
    }

    /// A tensor as f32, row-major. Only this tensor is read.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let entry = self.entry(name)?;
        self.files[entry.file].f32(&entry.key)
    }

    /// A tensor as stored: type, shape, little-endian bytes.
    pub fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, &[u8]), CheckpointError> {
        let entry = self.entry(name)?;
        let file = &self.files[entry.file];
        let bytes = file.bytes(&entry.key)?;
        let dtype = file.info(&entry.key).map_or(Dtype::U8, |info| info.dtype);
        Ok((dtype, entry.shape.clone(), bytes))
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.entries.values().map(|entry| entry.shape.iter().map(|&size| size as u64).product::<u64>()).sum()
    }

    /// Size of the weights as stored, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        let size = |entry: &Entry| self.files[entry.file].info(&entry.key).map_or(0, |info| info.range.len() as u64);
        self.entries.values().map(size).sum()
    }

    /// How many tensors there are of each type.
    pub fn dtypes(&self) -> BTreeMap<Dtype, usize> {
        let mut counts = BTreeMap::new();
        for name in self.names() {
            if let Some(dtype) = self.dtype(name) {
                *counts.entry(dtype).or_default() += 1;
            }
        }
        counts
    }

    /// BLAKE3 of names, shapes and all stored bytes, as 64 hex digits: tells two parts apart whatever their file names,
    /// for caches of what a part computes. Reads the whole part.
    pub fn content_key(&self) -> Result<String, CheckpointError> {
        let mut hash = blake3::Hasher::new();
        for name in self.names() {
            let (dtype, shape, bytes) = self.raw(name)?;
            hash.update(format!("{name} {dtype} {shape:?}\n").as_bytes()).update(bytes);
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    fn entry(&self, name: &str) -> Result<&Entry, CheckpointError> {
        let missing = || CheckpointError::MissingTensor { path: self.place.clone(), tensor: name.to_owned() };
        self.entries.get(name).ok_or_else(missing)
    }
}
