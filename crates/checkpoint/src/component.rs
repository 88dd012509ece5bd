use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dtype::{self, Dtype};
use crate::error::CheckpointError;
use crate::safetensors::SafetensorsFile;

/// A part of an image model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Unet,
    /// The denoiser of FLUX.
    Transformer,
    Vae,
    /// CLIP, in every family.
    TextEncoder,
    /// OpenCLIP-bigG in SDXL, T5 in FLUX.
    TextEncoder2,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Unet, Self::Transformer, Self::Vae, Self::TextEncoder, Self::TextEncoder2];

    /// Its folder inside a diffusers folder; also what names of its layers start with in adapters.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Transformer => "transformer",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }

    /// The usual name of its weight file in a diffusers folder, without the ending.
    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Unet | Self::Transformer | Self::Vae => "diffusion_pytorch_model",
            Self::TextEncoder | Self::TextEncoder2 => "model",
        }
    }

    /// Whether this is the part that removes noise.
    pub fn is_denoiser(self) -> bool {
        matches!(self, Self::Unet | Self::Transformer)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Unet => "UNet",
            Self::Transformer => "transformer",
            Self::Vae => "VAE",
            Self::TextEncoder => "text encoder",
            Self::TextEncoder2 => "second text encoder",
        })
    }
}

/// A stored tensor, or some of its rows.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) file: Arc<SafetensorsFile>,
    pub(crate) key: String,
    /// Along axis 0; `None` is all.
    pub(crate) rows: Option<Range<usize>>,
    /// Where the numbers are multiplied by a stored scale (scaled fp8): the file and key of it.
    pub(crate) scale: Option<(Arc<SafetensorsFile>, String)>,
}

impl Piece {
    pub(crate) fn new(file: &Arc<SafetensorsFile>, key: &str) -> Self {
        Self { file: Arc::clone(file), key: key.to_owned(), rows: None, scale: None }
    }

    pub(crate) fn of_rows(self, rows: Range<usize>) -> Self {
        Self { rows: Some(rows), ..self }
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.file.shape(&self.key).unwrap_or_default().to_vec();
        if let (Some(first), Some(rows)) = (shape.first_mut(), &self.rows) {
            *first = rows.len();
        }
        shape
    }

    fn dtype(&self) -> Option<Dtype> {
        self.file.info(&self.key).map(|info| info.dtype)
    }

    fn bytes(&self) -> Result<&[u8], CheckpointError> {
        let bytes = self.file.bytes(&self.key)?;
        let all = self.file.shape(&self.key).and_then(|shape| shape.first()).copied().unwrap_or(1).max(1);
        let row = bytes.len() / all;
        Ok(self.rows.as_ref().map_or(bytes, |rows| &bytes[rows.start * row..rows.end * row]))
    }

    fn stored_bytes(&self) -> u64 {
        self.bytes().map_or(0, |bytes| bytes.len() as u64)
    }

    /// `None` when it has more scales than one.
    fn mapped(&self) -> Option<Mapped> {
        let scale = match &self.scale {
            None => 1.0,
            Some((file, key)) => match file.f32(key).ok()?[..] {
                [scale] => scale,
                _ => return None,
            },
        };
        let bytes = self.bytes().ok()?;
        let all: &[u8] = (*self.file).as_ref();
        let start = (bytes.as_ptr() as usize).checked_sub(all.as_ptr() as usize)?;
        Some(Mapped { file: Arc::clone(&self.file), range: start..start + bytes.len(), scale })
    }

    fn f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let fail = |problem: String| CheckpointError::tensor(self.file.path(), &self.key, problem);
        let dtype = self.dtype().unwrap_or(Dtype::U8);
        let values = dtype::to_f32(dtype, self.bytes()?);
        let mut values = values.ok_or_else(|| fail(format!("its type {dtype} cannot be read as plain numbers.")))?;
        let Some((file, key)) = &self.scale else { return Ok(values) };
        let scales = file.f32(key)?;
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(CheckpointError::tensor(file.path(), key, format!("the scale is {scale}. {AGAIN}")));
        }
        let all = self.file.shape(&self.key).and_then(|shape| shape.first()).copied().unwrap_or(1);
        match scales[..] {
            [scale] => values.iter_mut().for_each(|value| *value *= scale),
            _ if scales.len() == all => {
                let rows = self.rows.clone().unwrap_or(0..all);
                let width = (values.len() / rows.len().max(1)).max(1);
                for (row, scale) in values.chunks_mut(width).zip(&scales[rows]) {
                    row.iter_mut().for_each(|value| *value *= scale);
                }
            }
            _ => {
                let problem = format!(
                    "its scale '{key}' holds {} numbers, where Lorikeet reads one for all or one for each of {all} rows. \
                     Get the f16 or bf16 version of the model.",
                    scales.len()
                );
                return Err(fail(problem));
            }
        }
        Ok(values)
    }
}

const AGAIN: &str = "The file is damaged; fetch it again.";

/// How a tensor of a component is made of stored ones: stacked along axis 0, then perhaps transposed.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) transposed: bool,
    pub(crate) shape: Vec<usize>,
}

impl Entry {
    pub(crate) fn whole(piece: Piece) -> Self {
        Self { shape: piece.shape(), pieces: vec![piece], transposed: false }
    }

    /// A 1x1 convolution as the linear layer that it is.
    pub(crate) fn squeezed(mut self) -> Self {
        if matches!(self.shape[..], [_, _, 1, 1]) {
            self.shape.truncate(2);
        }
        self
    }

    pub(crate) fn transposed(mut self) -> Self {
        self.transposed = self.shape.len() == 2;
        self.shape.reverse();
        self
    }

    /// Pieces below each other. The error says what does not fit, as a sentence.
    pub(crate) fn stacked(pieces: Vec<Piece>) -> Result<Self, String> {
        let shapes: Vec<Vec<usize>> = pieces.iter().map(Piece::shape).collect();
        let Some(first) = shapes.first() else { return Err("there is nothing to stack.".to_owned()) };
        let same = |shape: &Vec<usize>| !shape.is_empty() && shape[1..] == first[1..];
        if let Some(i) = shapes.iter().position(|shape| !same(shape)) {
            return Err(format!(
                "its shape {:?} does not go with {first:?} of '{}', to which it belongs. {AGAIN}",
                shapes[i], pieces[0].key
            ));
        }
        let mut shape = first.clone();
        shape[0] = shapes.iter().map(|shape| shape[0]).sum();
        Ok(Self { pieces, transposed: false, shape })
    }

    /// The type of all pieces, when the stored bytes can be used as they are.
    fn plain(&self) -> Option<Dtype> {
        let dtype = self.pieces.first()?.dtype()?;
        let same = |piece: &Piece| piece.dtype() == Some(dtype) && piece.scale.is_none();
        (!self.transposed && self.pieces.iter().all(same)).then_some(dtype)
    }
}

/// Type, shape and little-endian bytes of a tensor.
pub type RawTensor<'a> = (Dtype, Vec<usize>, Cow<'a, [u8]>);

/// Where rows of a tensor lie. Row-major, little-endian; the weights are the stored numbers times `scale`.
#[derive(Debug, Clone)]
pub struct Mapped {
    pub file: Arc<SafetensorsFile>,
    /// Bytes of the whole file.
    pub range: Range<usize>,
    pub scale: f32,
}

/// The weights of one part under one set of names, whatever the file's own layout: those of diffusers and transformers
/// for UNet, VAE and text encoders, those of Black Forest Labs for the FLUX transformer. Names of CLIP text encoders
/// start with `text_model.`; the projection of SDXL's second one is `text_projection.weight` `[out, in]`.
#[derive(Debug, Clone)]
pub struct Component {
    part: Part,
    place: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Component {
    pub(crate) fn new(part: Part, place: &Path) -> Self {
        Self { part, place: place.to_owned(), entries: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, name: String, entry: Entry) {
        self.entries.insert(name, entry);
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

    /// Type in which a tensor is stored; the first of several.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.entries.get(name)?.pieces.first()?.dtype()
    }

    /// A tensor as f32, row-major, with the scale of scaled 8-bit floats applied. Only this tensor is read.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let entry = self.entry(name)?;
        let mut values = Vec::new();
        for piece in &entry.pieces {
            let more = piece.f32()?;
            if values.is_empty() { values = more } else { values.extend(more) }
        }
        match entry.shape[..] {
            [rows, columns] if entry.transposed => Ok(transpose(&values, rows, columns)),
            _ => Ok(values),
        }
    }

    /// A tensor as type, shape and little-endian bytes: as stored where it can be used like that, without a copy when it
    /// lies in one piece; as F32 when it is scaled, transposed or stored in several types.
    pub fn raw(&self, name: &str) -> Result<RawTensor<'_>, CheckpointError> {
        let entry = self.entry(name)?;
        let shape = entry.shape.clone();
        let Some(dtype) = entry.plain() else {
            let bytes = self.f32(name)?.iter().flat_map(|value| value.to_le_bytes()).collect();
            return Ok((Dtype::F32, shape, Cow::Owned(bytes)));
        };
        if let [piece] = &entry.pieces[..] {
            return Ok((dtype, shape, Cow::Borrowed(piece.bytes()?)));
        }
        let mut bytes = Vec::new();
        for piece in &entry.pieces {
            bytes.extend_from_slice(piece.bytes()?);
        }
        Ok((dtype, shape, Cow::Owned(bytes)))
    }

    /// A tensor as its bytes lie in its file or files, where that is how it is used: of one type, not transposed, with at most
    /// one scale for each piece. The pieces follow each other along axis 0.
    pub fn mapped(&self, name: &str) -> Option<(Dtype, Vec<Mapped>)> {
        let entry = self.entries.get(name).filter(|entry| !entry.transposed)?;
        let dtype = entry.pieces.first()?.dtype()?;
        let pieces = entry.pieces.iter().filter(|piece| piece.dtype() == Some(dtype)).filter_map(Piece::mapped);
        let pieces: Vec<Mapped> = pieces.collect();
        (pieces.len() == entry.pieces.len()).then_some((dtype, pieces))
    }

    /// # Errors
    /// When one of its files was written to since it was opened.
    pub fn unchanged(&self) -> Result<(), CheckpointError> {
        let mut looked: Option<&Arc<SafetensorsFile>> = None;
        for piece in self.entries.values().flat_map(|entry| &entry.pieces) {
            // Tensors next to each other by name are mostly in one file.
            if looked.is_none_or(|file| !Arc::ptr_eq(file, &piece.file)) {
                piece.file.unchanged()?;
                looked = Some(&piece.file);
            }
        }
        Ok(())
    }

    /// See [`SafetensorsFile::let_go`].
    pub fn let_go(&self, name: &str) {
        for piece in self.entries.get(name).iter().flat_map(|entry| &entry.pieces) {
            piece.file.let_go(&piece.key);
        }
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.entries.values().map(|entry| entry.shape.iter().map(|&size| size as u64).product::<u64>()).sum()
    }

    /// Size of the weights as stored, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.entries.values().flat_map(|entry| &entry.pieces).map(Piece::stored_bytes).sum()
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
            hash.update(format!("{name} {dtype} {shape:?}\n").as_bytes()).update(&bytes);
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    fn entry(&self, name: &str) -> Result<&Entry, CheckpointError> {
        let missing = || CheckpointError::MissingTensor { path: self.place.clone(), tensor: name.to_owned() };
        self.entries.get(name).ok_or_else(missing)
    }
}

/// `values` are `[columns, rows]`; the result is `[rows, columns]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let at = |i: usize| values[(i % columns) * rows + i / columns];
    (0..rows * columns).map(at).collect()
}
