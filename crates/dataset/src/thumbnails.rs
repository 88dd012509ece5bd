//! Small versions of pictures for the screen, kept on disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::UNIX_EPOCH,
};

use image::{ExtendedColorType, ImageEncoder as _, codecs::png};

use crate::{
    error::DatasetError,
    pixels::{Pixels, decode, decode_bytes},
};

/// The picture within `edge` x `edge` pixels, never enlarged.
pub fn thumbnail(path: &Path, edge: u32) -> Result<Pixels, DatasetError> {
    let pixels = decode(path)?;
    let longest = pixels.width.max(pixels.height);
    let edge = edge.max(1);
    if longest <= edge {
        return Ok(pixels);
    }
    let scaled = |side: u32| ((u64::from(side) * u64::from(edge) + u64::from(longest) / 2) / u64::from(longest)).max(1);
    let (width, height) = (scaled(pixels.width) as u32, scaled(pixels.height) as u32);
    Ok(pixels.resized(width, height))
}

/// Thumbnails with a folder that remembers them. Threads and programs may share it.
#[derive(Clone, Debug)]
pub struct Thumbnails {
    folder: PathBuf,
}

impl Thumbnails {
    /// `folder` is made when first needed. Without it thumbnails still work, only slower.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// As [`thumbnail`], from the cache where it holds this version of the file.
    pub fn get(&self, path: &Path, edge: u32) -> Result<Pixels, DatasetError> {
        let Some(kept) = self.kept_at(path, edge) else {
            return thumbnail(path, edge);
        };
        if let Ok(bytes) = fs::read(&kept)
            && let Ok(pixels) = decode_bytes(&bytes)
            && pixels.width.max(pixels.height) <= edge.max(1)
        {
            return Ok(pixels);
        }
        let pixels = thumbnail(path, edge)?;
        // A full or read-only disk costs time at the next look, nothing else.
        self.keep(&kept, &pixels).ok();
        Ok(pixels)
    }

    /// Where the thumbnail of this version of the file lies. `None` when the file cannot be looked at.
    fn kept_at(&self, path: &Path, edge: u32) -> Option<PathBuf> {
        let facts = fs::metadata(path).ok()?;
        let modified = facts.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let full = std::path::absolute(path).ok()?;
        let mut key = blake3::Hasher::new_derive_key("lorikeet thumbnail 1");
        key.update(&facts.len().to_le_bytes());
        key.update(&modified.as_nanos().to_le_bytes());
        key.update(&edge.to_le_bytes());
        key.update(full.as_os_str().as_encoded_bytes());
        Some(self.folder.join(format!("{}.png", key.finalize().to_hex())))
    }

    fn keep(&self, at: &Path, pixels: &Pixels) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = at.with_extension(format!("{}-{unique}.part", std::process::id()));
        let mut bytes = Vec::new();
        let encoder =
            png::PngEncoder::new_with_quality(&mut bytes, png::CompressionType::Fast, png::FilterType::Adaptive);
        encoder
            .write_image(&pixels.rgb, pixels.width, pixels.height, ExtendedColorType::Rgb8)
            .map_err(io::Error::other)?;
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, at));
        if written.is_err() {
            fs::remove_file(&part).ok();
        }
        written
    }
}
