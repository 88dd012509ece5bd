//! Several folders of pictures as one dataset.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::DatasetError,
    scan::{Dataset, ScanOptions, scan_one},
};

/// A folder of pictures, and how often an epoch shows each of them, times the number of its `10_name` folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Folder {
    pub path: PathBuf,
    pub repeats: u32,
}

/// Lists the pictures of all folders, one folder after the other. A picture belongs to the innermost of the folders it lies
/// in, so that a subfolder can be given repeats of its own; a folder that is named twice counts once.
///
/// # Errors
/// When one of the folders cannot be used.
pub fn scan_folders(folders: &[Folder], default_caption: &str) -> Result<Dataset, DatasetError> {
    let real = |folder: &Folder| fs::canonicalize(&folder.path).unwrap_or_else(|_| folder.path.clone());
    let all: Vec<PathBuf> = folders.iter().map(real).collect();
    let (mut whole, mut seen) = (Dataset::default(), HashSet::new());
    for (index, folder) in folders.iter().enumerate() {
        if !seen.insert(&all[index]) {
            whole.warnings.push(format!("the folder is named twice and counts once: {}", folder.path.display()));
            continue;
        }
        let options = ScanOptions { repeats: folder.repeats, default_caption: default_caption.to_owned() };
        let apart: HashSet<&Path> = all.iter().filter(|path| **path != all[index]).map(PathBuf::as_path).collect();
        let part = scan_one(&folder.path, &options, &apart)?;
        if seen.len() == 1 {
            whole.folder = part.folder;
        } else {
            whole.more_folders.push(part.folder);
        }
        whole.images.extend(part.images);
        whole.skipped.extend(part.skipped);
        whole.warnings.extend(part.warnings);
    }
    Ok(whole)
}

impl Dataset {
    /// All folders, in the order they were named.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.folder.as_path()).chain(self.more_folders.iter().map(PathBuf::as_path))
    }

    /// The folder that a picture belongs to.
    pub fn folder_of(&self, picture: &Path) -> &Path {
        innermost(self.folders(), picture)
    }

    /// The picture's path within its folder.
    pub fn within<'a>(&self, picture: &'a Path) -> &'a Path {
        picture.strip_prefix(self.folder_of(picture)).unwrap_or(picture)
    }

    /// The same folders without pictures.
    pub(crate) fn emptied(&self) -> Self {
        Self { folder: self.folder.clone(), more_folders: self.more_folders.clone(), ..Self::default() }
    }
}

/// Of the folders that hold the picture the innermost, else the first.
pub(crate) fn innermost<'a>(folders: impl Iterator<Item = &'a Path>, picture: &Path) -> &'a Path {
    let mut folders = folders.peekable();
    let first = folders.peek().copied().unwrap_or(Path::new(""));
    let holding = folders.filter(|folder| picture.starts_with(folder));
    holding.max_by_key(|folder| folder.components().count()).unwrap_or(first)
}
