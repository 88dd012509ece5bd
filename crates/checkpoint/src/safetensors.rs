use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::Mmap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::dtype::{self, Dtype};
use crate::error::CheckpointError;
use crate::sniff;

/// The largest header that readers accept, in bytes. A larger number at the start of a file means that it is not one.
pub const HEADER_LIMIT: u64 = 100_000_000;

/// What the header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes within the data section, which starts after the header.
    pub range: Range<usize>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }
}

/// A memory-mapped safetensors file whose header has been checked in full. Tensor bytes are read from disk only
/// when they are asked for.
///
/// The file must not be cut short by another program while it is open: the operating system ends a program that
/// touches mapped bytes which are no longer there.
pub struct SafetensorsFile {
    path: PathBuf,
    /// Stays open: a file that took its place under the same name is no matter.
    file: File,
    /// When it was written last, where the system tells.
    written: Option<SystemTime>,
    map: Mmap,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
}

/// The whole file, header and all.
impl AsRef<[u8]> for SafetensorsFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl fmt::Debug for SafetensorsFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SafetensorsFile({}, {} tensors)", self.path.display(), self.tensors.len())
    }
}

impl SafetensorsFile {
    /// Opens a file and checks its header: lengths, types, shapes, offsets, overlaps and doubled names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let facts = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?;
        if facts.is_dir() {
            let advice = "Choose the .safetensors file inside it.".to_owned();
            return Err(CheckpointError::Folder { path: path.to_owned(), advice });
        }
        let file = File::open(path).map_err(|e| CheckpointError::read(path, e))?;
        if facts.len() == 0 {
            return Err(sniff::as_error(path, &[], 0));
        }
        let map = map_file(&file).map_err(|e| CheckpointError::read(path, e))?;
        let length = map.len() as u64;
        let Some((size_bytes, rest)) = map.split_first_chunk::<8>() else {
            return Err(sniff::as_error(path, &map, length));
        };
        let header_size = u64::from_le_bytes(*size_bytes);
        if !(2..=HEADER_LIMIT).contains(&header_size) || rest.first().is_none_or(|&byte| byte != b'{') {
            return Err(sniff::as_error(path, &map[..map.len().min(4096)], length));
        }
        let data_start = 8 + header_size;
        if data_start > length {
            return Err(CheckpointError::Truncated { path: path.to_owned(), expected: data_start, found: length });
        }
        let data_start = data_start as usize;
        let header: Header = serde_json::from_slice(&map[8..data_start])
            .map_err(|e| CheckpointError::Header { path: path.to_owned(), problem: e.to_string() })?;
        let tensors = check(path, header.tensors, length, data_start)?;
        let written = facts.modified().ok();
        Ok(Self { path: path.to_owned(), file, written, map, data_start, tensors, metadata: header.metadata })
    }

    /// # Errors
    /// When the file was written to since it was opened.
    pub fn unchanged(&self) -> Result<(), CheckpointError> {
        let facts = self.file.metadata().map_err(|e| CheckpointError::read(&self.path, e))?;
        let same = facts.len() == self.file_size() && facts.modified().ok() == self.written;
        if same { Ok(()) } else { Err(CheckpointError::Changed { path: self.path.clone() }) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the whole file in bytes.
    pub fn file_size(&self) -> u64 {
        self.map.len() as u64
    }

    /// Tensor names in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names and facts of all tensors, in alphabetical order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// Whether some tensor's name starts with `start`.
    pub(crate) fn has_start(&self, start: &str) -> bool {
        let from = (std::ops::Bound::Included(start), std::ops::Bound::Unbounded);
        self.tensors.range::<str, _>(from).next().is_some_and(|(name, _)| name.starts_with(start))
    }

    /// What the header says of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| info.shape.as_slice())
    }

    /// Little-endian elements of a tensor, row-major.
    pub fn bytes(&self, name: &str) -> Result<&[u8], CheckpointError> {
        let info = self.expect(name)?;
        Ok(&self.map[self.data_start + info.range.start..self.data_start + info.range.end])
    }

    /// A tensor as f32, row-major.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let info = self.expect(name)?;
        dtype::to_f32(info.dtype, self.bytes(name)?).ok_or_else(|| {
            let problem = format!("its type {} cannot be read as plain numbers.", info.dtype);
            CheckpointError::tensor(&self.path, name, problem)
        })
    }

    /// The `__metadata__` object.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// All tensor bytes as they lie in the file: what `sshs_model_hash` and `modelspec.hash_sha256` cover.
    pub fn data_section(&self) -> &[u8] {
        &self.map[self.data_start..]
    }

    /// Unmaps the pages of a tensor until they are read again, so that they no longer count as memory of this program.
    pub fn let_go(&self, name: &str) {
        #[cfg(unix)]
        if let Some(info) = self.info(name) {
            #[allow(unsafe_code, reason = "for private maps that were written it would lose data")]
            // SAFETY: the map is read-only and of a file, from which the next reading brings the same bytes.
            let advised = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    self.data_start + info.range.start,
                    info.range.len(),
                )
            };
            // A system that does not take the advice keeps them, as it did.
            advised.ok();
        }
        #[cfg(not(unix))]
        let _ = name;
    }

    fn expect(&self, name: &str) -> Result<&TensorInfo, CheckpointError> {
        self.info(name)
            .ok_or_else(|| CheckpointError::MissingTensor { path: self.path.clone(), tensor: name.to_owned() })
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private and read-only. A program that changes the file meanwhile can change the numbers we
    // read, which are plain data, but none of our types has invalid bit patterns; see the note on `SafetensorsFile`.
    unsafe { Mmap::map(file) }
}

fn check(
    path: &Path,
    header: BTreeMap<String, RawTensor>,
    length: u64,
    data_start: usize,
) -> Result<BTreeMap<String, TensorInfo>, CheckpointError> {
    let data_size = length - data_start as u64;
    let mut tensors = BTreeMap::new();
    for (name, raw) in header {
        let fail = |problem: String| CheckpointError::tensor(path, &name, problem);
        let dtype = Dtype::from_name(&raw.dtype)
            .ok_or_else(|| fail(format!("its type '{}' is not known to this version of Lorikeet.", raw.dtype)))?;
        let (begin, end) = raw.data_offsets;
        let shape = raw.shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
        let size = shape.as_deref().and_then(|shape| dtype.byte_size(shape));
        let (Some(shape), Some(size)) = (shape, size) else {
            return Err(fail(format!("its shape {:?} is not possible.", raw.shape)));
        };
        if begin > end || end - begin != size {
            return Err(fail(format!(
                "its shape {shape:?} of {dtype} needs {size} bytes, but the header gives it bytes {begin} to {end}. \
                 The header is damaged; fetch the file again."
            )));
        }
        if end > data_size {
            let expected = (data_start as u64).saturating_add(end);
            return Err(CheckpointError::Truncated { path: path.to_owned(), expected, found: length });
        }
        tensors.insert(name, TensorInfo { dtype, shape, range: begin as usize..end as usize });
    }
    // Gaps are let pass: some writers align tensors to pages. Overlaps can only be damage.
    let mut order: Vec<(&String, &TensorInfo)> = tensors.iter().filter(|(_, info)| !info.range.is_empty()).collect();
    order.sort_by_key(|(_, info)| info.range.start);
    for pair in order.windows(2) {
        if pair[1].1.range.start < pair[0].1.range.end {
            let problem = format!("it shares bytes with tensor '{}'. The header is damaged.", pair[0].0);
            return Err(CheckpointError::tensor(path, pair[1].0, problem));
        }
    }
    Ok(tensors)
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct Header {
    tensors: BTreeMap<String, RawTensor>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the header object itself rather than through a map, which would hide doubled names.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Header, A::Error> {
        let mut header = Header { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value::<Value>()?;
            if name == "__metadata__" {
                header.metadata = metadata_text(value);
                continue;
            }
            let tensor =
                serde_json::from_value(value).map_err(|e| A::Error::custom(format!("tensor '{name}': {e}")))?;
            if header.tensors.insert(name.clone(), tensor).is_some() {
                return Err(A::Error::custom(format!("tensor '{name}' is listed twice")));
            }
        }
        Ok(header)
    }
}

/// The format asks for text values only; some writers put numbers there, which are kept as their JSON text.
fn metadata_text(value: Value) -> BTreeMap<String, String> {
    let Value::Object(entries) = value else { return BTreeMap::new() };
    let text = |value| if let Value::String(text) = value { text } else { value.to_string() };
    entries.into_iter().map(|(key, value)| (key, text(value))).collect()
}
