//! Saving: a file is complete under its name, or the earlier one is still there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::dtype::Dtype;
use crate::error::CheckpointError;
use crate::safetensors::HEADER_LIMIT;

/// A tensor to be saved.
#[derive(Debug, Clone)]
pub struct TensorData<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Little-endian elements, row-major.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> TensorData<'a> {
    /// A tensor of f32 numbers.
    pub fn f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec(), bytes: Cow::Owned(bytes) }
    }

    /// A tensor whose bytes are already little-endian.
    pub fn raw(name: impl Into<String>, dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> Self {
        Self { name: name.into(), dtype, shape: shape.to_vec(), bytes: Cow::Borrowed(bytes) }
    }
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// SHA-256 of all tensor bytes, 64 lower-case hex digits: `sshs_model_hash`, CivitAI's AutoV3.
    pub data_sha256: String,
    /// Size of the file in bytes.
    pub file_size: u64,
}

/// Saves tensors as a safetensors file, under a temporary name in the same folder first. Tensors are laid out widest
/// type first and then by name, as the reference writer does.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[TensorData<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<Written, CheckpointError> {
    let path = path.as_ref();
    let order = ordered(path, tensors)?;
    let data_sha256 = data_sha256(&order);
    let header = header(path, &order, metadata)?;
    write_atomically(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        order.iter().try_for_each(|tensor| out.write_all(&tensor.bytes))
    })?;
    let data_size: usize = order.iter().map(|tensor| tensor.bytes.len()).sum();
    Ok(Written { data_sha256, file_size: (8 + header.len() + data_size) as u64 })
}

/// Saves tensors that are made one after the other, in the order given, so that a file may be larger than the memory.
/// `fill` writes the little-endian bytes of the tensor of an index, exactly as many as its type and shape take.
pub fn write_streamed(
    path: impl AsRef<Path>,
    tensors: &[(String, Dtype, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
    mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let path = path.as_ref();
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut begin = 0;
    for (name, dtype, shape) in tensors {
        let Some(size) = dtype.byte_size(shape) else {
            let problem = format!("the shape {shape:?} of tensor '{name}' is not possible.");
            return Err(CheckpointError::NotSavable { path: path.to_owned(), problem });
        };
        let entry = serde_json::json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [begin, begin + size]});
        entries.insert(name.clone(), entry);
        begin += size;
    }
    let header = padded(path, entries)?;
    write_atomically(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        (0..tensors.len()).try_for_each(|index| fill(index, out))
    })
}

/// Saves any file: `fill` writes to a temporary file beside `path`, which is brought to disk and then takes the name.
/// When anything fails the temporary file is removed and a file that was there before is untouched.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let fail = |source: io::Error| CheckpointError::Write {
        path: path.to_owned(),
        reason: reason(path, &source),
        kept: path.is_file(),
        source,
    };
    if path.is_dir() {
        return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mut temporary = Temporary::beside(path).map_err(fail)?;
    let file = temporary.create().map_err(fail)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    fill(&mut out).map_err(fail)?;
    let file = out.into_inner().map_err(|e| fail(e.into_error()))?;
    file.sync_all().map_err(fail)?;
    drop(file);
    fs::rename(&temporary.path, path).map_err(fail)?;
    temporary.done = true;
    sync_folder(path);
    Ok(())
}

/// Removes temporary files that saves of a killed program left in a folder, and returns how many there were. Only for
/// a folder that no other program is saving to.
pub fn remove_leftovers(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// Whether a name has the form `.NAME.PROCESS-COUNT.lorikeet.tmp`.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY_ENDING)
}

const TEMPORARY_ENDING: &str = ".lorikeet.tmp";

/// SHA-256 of the tensor bytes in the order given.
pub(crate) fn data_sha256(order: &[&TensorData<'_>]) -> String {
    let mut hash = Sha256::new();
    order.iter().for_each(|tensor| hash.update(&tensor.bytes));
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks the tensors and puts them into file order.
pub(crate) fn ordered<'t, 'a>(
    path: &Path,
    tensors: &'t [TensorData<'a>],
) -> Result<Vec<&'t TensorData<'a>>, CheckpointError> {
    let refuse = |problem: String| Err(CheckpointError::NotSavable { path: path.to_owned(), problem });
    let mut order: Vec<&TensorData<'a>> = tensors.iter().collect();
    order.sort_by(|a, b| b.dtype.bits().cmp(&a.dtype.bits()).then_with(|| a.name.cmp(&b.name)));
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse(format!("two tensors are named '{}'.", pair[0]));
    }
    for tensor in &order {
        if tensor.name == "__metadata__" {
            return refuse("a tensor must not be named '__metadata__'.".to_owned());
        }
        if tensor.dtype.byte_size(&tensor.shape) != Some(tensor.bytes.len() as u64) {
            return refuse(format!(
                "tensor '{}' of shape {:?} and type {} came with {} bytes.",
                tensor.name,
                tensor.shape,
                tensor.dtype,
                tensor.bytes.len()
            ));
        }
    }
    Ok(order)
}

/// The JSON header, padded with spaces so that the data starts at a multiple of eight.
pub(crate) fn header(
    path: &Path,
    order: &[&TensorData<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, CheckpointError> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut begin = 0;
    for tensor in order {
        let end = begin + tensor.bytes.len();
        let entry = serde_json::json!({
            "dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [begin, end]
        });
        entries.insert(tensor.name.clone(), entry);
        begin = end;
    }
    padded(path, entries)
}

fn padded(path: &Path, entries: serde_json::Map<String, serde_json::Value>) -> Result<Vec<u8>, CheckpointError> {
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > HEADER_LIMIT {
        let problem = format!("its header would be {} bytes; readers refuse more than {HEADER_LIMIT}.", header.len());
        return Err(CheckpointError::NotSavable { path: path.to_owned(), problem });
    }
    Ok(header)
}

/// A file that removes itself unless it got its final name.
struct Temporary {
    path: PathBuf,
    created: bool,
    done: bool,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}{TEMPORARY_ENDING}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        Ok(Self { path: path.with_file_name(temporary), created: false, done: false })
    }

    fn create(&mut self) -> io::Result<File> {
        // Anything of that name is left from a killed program that had our process number.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
        self.created = true;
        Ok(file)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.created && !self.done {
            // The failure that brought us here is being reported already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Brings the new name to disk. Windows cannot open folders, and a failure here costs only the newest save on a
/// power cut, so it is not an error.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

fn reason(path: &Path, source: &io::Error) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.display();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk that holds '{folder}' is full. Free some space or choose another folder")
        }
        io::ErrorKind::FileTooLarge => {
            format!(
                "the disk that holds '{folder}' takes no file that large (FAT32 drives stop at 4 GB). Choose another"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("'{folder}' is on a read-only disk. Choose another folder"),
        io::ErrorKind::PermissionDenied => {
            format!("no permission to write in '{folder}'. Choose another folder, or change its permissions")
        }
        io::ErrorKind::NotFound => format!("the folder '{folder}' does not exist. Create it or choose another"),
        io::ErrorKind::NotADirectory => format!("'{folder}' is not a folder. Choose another place"),
        io::ErrorKind::IsADirectory => "there is a folder of that name. Choose another name".to_owned(),
        io::ErrorKind::InvalidInput => format!("'{}' is not a usable file name", path.display()),
        _ => format!("{source}"),
    }
}
