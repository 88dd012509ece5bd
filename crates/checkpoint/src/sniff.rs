//! What a file is when it is not safetensors, told by its first bytes.

use std::path::Path;

use crate::error::CheckpointError;

/// A kind of file that people take for a model, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// "a pickled PyTorch checkpoint": fits behind "this is".
    pub what: String,
    /// What to do about it, as a sentence.
    pub advice: String,
}

/// Tells what a file is by its first bytes (4096 are plenty) and its whole length.
pub fn sniff(path: &Path, start: &[u8], length: u64) -> Foreign {
    let (what, advice) = recognise(path, start, length);
    Foreign { what: what.to_owned(), advice: advice.to_owned() }
}

pub(crate) fn as_error(path: &Path, start: &[u8], length: u64) -> CheckpointError {
    let Foreign { what, advice } = sniff(path, start, length);
    CheckpointError::NotSafetensors { path: path.to_owned(), what, advice }
}

const PICKLE: (&str, &str) = (
    "a pickled PyTorch checkpoint, which can run any program hidden in it when it is read",
    "Get the .safetensors version of the model, or convert it with a tool you trust.",
);

fn recognise(path: &Path, start: &[u8], length: u64) -> (&'static str, &'static str) {
    const OTHER_FILE: &str = "Choose a .safetensors model file or a diffusers folder.";
    const AGAIN: &str = "Download it again.";
    let starts = |magic: &[u8]| start.starts_with(magic);
    let holds = |needle: &[u8]| start.windows(needle.len()).any(|window| window == needle);
    if length == 0 {
        return ("an empty file (0 bytes): a download or copy that never happened", AGAIN);
    }
    if starts(b"PK\x03\x04") {
        if holds(b"data.pkl") || holds(b"archive/") || extension_is(path, &["ckpt", "pt", "pth", "bin"]) {
            return PICKLE;
        }
        return ("a ZIP archive", "Unpack it and choose the model file inside.");
    }
    if matches!(start, [0x80, 2..=5, ..]) || holds(b"ctorch\n_utils") {
        return PICKLE;
    }
    if starts(b"GGUF") {
        return (
            "a GGUF file, which holds weights already quantised for drawing",
            "Training needs the full weights: get the .safetensors version of the model.",
        );
    }
    if starts(b"version https://git-lfs") {
        return (
            "a Git LFS pointer, the note that stands in for a large file",
            "Run `git lfs pull` in that folder, or download the file itself.",
        );
    }
    let picture = starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"GIF8") || starts(b"BM");
    if picture || (starts(b"RIFF") && start.get(8..12) == Some(b"WEBP")) {
        return ("a picture", "Pictures belong in the dataset folder; choose a .safetensors model file here.");
    }
    if starts(b"7z\xbc\xaf\x27\x1c") || starts(b"Rar!") || starts(b"\x1f\x8b") || starts(b"\xfd7zXZ") {
        return ("a compressed archive", "Unpack it and choose the model file inside.");
    }
    if starts(b"\x89HDF") {
        return ("a Keras/HDF5 weight file", "Get the .safetensors version of the model.");
    }
    if extension_is(path, &["onnx"]) {
        return ("an ONNX model, which is made for drawing only", "Get the .safetensors version of the model.");
    }
    let text = String::from_utf8_lossy(&start[..start.len().min(512)]).trim_start().to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<?xml") {
        return (
            "a web page saved in place of the model: the site asked for a log-in or showed an error",
            "Download it again in a browser where you are logged in.",
        );
    }
    if text.starts_with('{') || text.starts_with('[') {
        return (
            "a JSON text file",
            "For a diffusers folder choose the folder itself; else choose the .safetensors file.",
        );
    }
    if extension_is(path, &["ckpt", "pt", "pth", "bin"]) {
        return PICKLE;
    }
    if start.iter().all(|&byte| byte == 0) {
        return ("a file of zeros: room was made for a download that did not happen", AGAIN);
    }
    if !start.contains(&0) && std::str::from_utf8(&start[..start.len().min(64)]).is_ok() {
        return ("a text file, not a model", OTHER_FILE);
    }
    if extension_is(path, &["safetensors", "sft"]) {
        return ("not a readable safetensors file although its name says so: its first bytes are damaged", AGAIN);
    }
    ("not a model file that Lorikeet knows", OTHER_FILE)
}

fn extension_is(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    known.iter().any(|other| extension.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(name: &str, start: &[u8]) -> String {
        sniff(Path::new(name), start, start.len() as u64).what
    }

    #[test]
    fn files_people_take_for_models() {
        let torch_zip = b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\x12\0archive/data.pkl";
        assert!(what("m.ckpt", torch_zip).starts_with("a pickled"));
        assert!(what("m.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9").starts_with("a pickled"));
        assert!(what("pictures.zip", b"PK\x03\x04\x14\0\0\0\x08\0").starts_with("a ZIP"));
        assert!(what("m.gguf", b"GGUF\x03\0\0\0").starts_with("a GGUF"));
        assert!(what("m.safetensors", b"version https://git-lfs.github.com/spec/v1\noid").contains("LFS"));
        assert!(what("m.safetensors", b"\n<!DOCTYPE html><html>").starts_with("a web page"));
        assert!(what("m.safetensors", b"{\"error\": 401}").starts_with("a JSON"));
        assert_eq!(what("a.png", b"\x89PNG\r\n\x1a\n"), "a picture");
        assert_eq!(what("a.webp", b"RIFF\0\0\0\0WEBPVP8 "), "a picture");
        assert!(what("m.safetensors", b"").starts_with("an empty file"));
        assert!(what("m.safetensors", &[0; 64]).starts_with("a file of zeros"));
        assert!(what("m.safetensors", &[7, 200, 3, 255, 255, 9, 0, 0, 1, 1]).starts_with("not a readable"));
        assert!(what("notes.txt", b"buy milk").starts_with("a text"));
    }
}
