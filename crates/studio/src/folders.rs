//! The folders of pictures: added, removed, and shown more or less often.

use std::path::{Path, PathBuf};

use lorikeet_dataset::Folder;
use lorikeet_recipe::PictureFolder;

use crate::app::StudioApp;
use crate::draft::{Draft, Load};
use crate::kit::Tone;
use crate::texts;

/// What is done to the list of folders. Numbers are places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FolderChange {
    Add(PathBuf),
    Remove(usize),
    Path(usize, PathBuf),
    Repeats(usize, u32),
}

impl Draft {
    /// As a scan takes them.
    pub(crate) fn folders(&self) -> Vec<Folder> {
        let folder = |folder: PictureFolder| Folder { path: folder.path.into(), repeats: folder.repeats };
        self.recipe.folders().into_iter().map(folder).collect()
    }

    /// Whether only numbers of repeats were changed since the folders were looked through.
    pub(crate) fn repeats_changed(&self) -> bool {
        self.folders() != self.scanned && paths(&self.folders()) == paths(&self.scanned)
    }
}

pub(crate) fn paths(folders: &[Folder]) -> Vec<&Path> {
    folders.iter().map(|folder| folder.path.as_path()).collect()
}

/// Of a folder, for people; of two with one name the folder above tells them apart.
pub(crate) fn name(folder: &Path, all: &[&Path]) -> String {
    let own = folder.file_name();
    let last =
        |path: &Path| path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
    let same = all.iter().filter(|other| other.file_name() == own).count() > 1;
    match folder.parent().and_then(Path::file_name).filter(|_| same) {
        Some(above) => format!("{}/{}", above.to_string_lossy(), last(folder)),
        None => last(folder),
    }
}

impl StudioApp {
    pub(crate) fn change_folders(&mut self, change: FolderChange) {
        let mut folders = self.draft.recipe.folders();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        match change {
            FolderChange::Add(path) => return self.add_folder(path),
            FolderChange::Remove(index) if index < folders.len() => _ = folders.remove(index),
            FolderChange::Path(index, path) if index < folders.len() => folders[index].path = text(path),
            FolderChange::Repeats(index, repeats) if index < folders.len() => folders[index].repeats = repeats,
            _ => return,
        }
        self.set_folders(&folders);
    }

    /// Beside those there are. What an example brought, or what holds no picture, makes room.
    pub(crate) fn add_folder(&mut self, path: PathBuf) {
        let mut folders = self.draft.recipe.folders();
        let useless = folders.len() == 1 && matches!(self.draft.data, Load::Failed(_));
        if folders.is_empty() || useless || self.draft.example.is_some() {
            return self.use_folder(path);
        }
        if folders.iter().any(|folder| Path::new(&folder.path) == path) {
            self.toasts.add(Tone::Info, texts::dataset::in_list_already(path.display()));
            return self.refresh();
        }
        folders.push(PictureFolder { path: path.to_string_lossy().into_owned(), repeats: 1 });
        self.set_folders(&folders);
    }

    pub(crate) fn set_folders(&mut self, folders: &[PictureFolder]) {
        if let Err(error) = self.draft.recipe.set_folders(folders) {
            self.toasts.add(Tone::Error, crate::pages::sentence(&error.to_string()));
            return;
        }
        self.draft.touch();
        // An example with other folders is none any more, but for how often it is shown.
        if !self.draft.repeats_changed() {
            self.draft.example = None;
            self.rescan();
        }
    }
}
