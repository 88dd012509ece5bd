//! Finding models where people keep them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::component::Part;
use crate::detect::{Contents, DenoiserInput, detect};
use crate::family::Family;
use crate::folder;
use crate::hub_cache::{home, hub_cache};
use crate::layout;
use crate::safetensors::SafetensorsFile;

/// A base, or a part of one, that [`discover`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, or the diffusers folder.
    pub path: PathBuf,
    /// `None` for a part in a file of its own: it goes with several families.
    pub family: Option<Family>,
    /// What it is: fits behind "this is".
    pub what: String,
    /// The parts that it holds.
    pub parts: Vec<Part>,
    /// Of the file; 0 for a folder.
    pub bytes: u64,
}

/// Folders within folders that are looked at.
const DEPTH: usize = 8;
/// Files and folders looked at in all: a root that is somebody's whole disk must end.
const ENTRIES: usize = 50_000;

/// Lists the bases and parts below some folders, in order of path, from headers alone. Symbolic links are followed, each
/// folder is looked at once, and what cannot be read is passed over.
pub fn discover(roots: &[PathBuf]) -> Vec<Found> {
    let mut search = Search::default();
    roots.iter().for_each(|root| search.folder(root, DEPTH));
    search.found.sort_by(|a, b| a.path.cmp(&b.path));
    search.found
}

/// Model folders of ComfyUI, AUTOMATIC1111 and Forge and the cache of the Hugging Face hub, those that exist: named by
/// the environment, or in the usual places below the home folder.
pub fn usual_roots() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let roots = places(&variable);
    roots.into_iter().filter(|root| root.is_dir()).collect()
}

/// Programs, by the folder they are usually unpacked to below the home folder.
const PROGRAMS: [&str; 9] = [
    "ComfyUI",
    "comfyui",
    "Documents/ComfyUI",
    "ComfyUI_windows_portable/ComfyUI",
    "stable-diffusion-webui",
    "stable-diffusion-webui-forge",
    "stable-diffusion-webui-reForge",
    "StabilityMatrix/Data",
    "AppData/Roaming/StabilityMatrix",
];

fn places(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = home(variable);
    let mut roots = Vec::new();
    for name in ["COMFYUI_PATH", "COMFYUI_HOME", "A1111_HOME", "WEBUI_PATH", "FORGE_HOME"] {
        roots.extend(variable(name).map(|folder| folder.join("models")));
    }
    if let Some(home) = &home {
        roots.extend(PROGRAMS.iter().map(|program| home.join(program).join("models")));
        roots.push(home.join("StabilityMatrix/Data/Models"));
    }
    roots.extend(hub_cache(variable));
    roots
}

/// Where a program looks for LoRAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraFolder {
    /// The folder it lies in, which people know: `ComfyUI`.
    pub program: String,
    pub path: PathBuf,
}

/// The folders for LoRAs below the model folders of programs, those that exist, each once.
pub fn lora_folders(roots: &[PathBuf]) -> Vec<LoraFolder> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for root in roots {
        for name in ["loras", "Lora", "LoRA"] {
            let path = root.join(name);
            // Programs may share a folder, and some systems do not tell the letters' cases apart.
            if path.is_dir() && path.canonicalize().is_ok_and(|real| seen.insert(real)) {
                let program = root.parent().and_then(Path::file_name).unwrap_or(root.as_os_str());
                found.push(LoraFolder { program: program.to_string_lossy().into_owned(), path });
            }
        }
    }
    found
}

/// One file or folder, as [`discover`] sees it: which parts it holds is told even when others are missing.
pub fn find_parts(path: &Path) -> Option<Found> {
    if path.is_dir() { diffusers(path) } else { file(path) }
}

#[derive(Default)]
struct Search {
    found: Vec<Found>,
    /// Folders that were entered, and files that were opened, by their real place.
    seen: BTreeSet<PathBuf>,
    entries: usize,
}

impl Search {
    fn folder(&mut self, folder: &Path, depth: usize) {
        let Ok(real) = folder.canonicalize() else { return };
        if !self.seen.insert(real) {
            return;
        }
        if folder.join("model_index.json").is_file() {
            self.found.extend(diffusers(folder));
            return;
        }
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            self.entries += 1;
            if self.entries > ENTRIES {
                return;
            }
            // `is_dir` and `is_file` follow links; a link that leads nowhere is neither.
            if path.is_dir() {
                let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                if depth > 0 && !hidden {
                    self.folder(&path, depth - 1);
                }
            } else if is_model_file(&path) && path.canonicalize().is_ok_and(|real| self.seen.insert(real)) {
                self.found.extend(file(&path));
            }
        }
    }
}

fn is_model_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    // A shard is no model by itself.
    (name.ends_with(".safetensors") || name.ends_with(".sft")) && !name.contains("-of-0") && path.is_file()
}

fn diffusers(path: &Path) -> Option<Found> {
    let kind = folder::kind(path).ok().filter(|kind| kind.obstacle.is_none())?;
    let family = kind.family?;
    let whole = |part: &Part| folder::weight_files(&path.join(part.folder()), *part).is_ok();
    let parts = family.parts().iter().copied().filter(whole).collect();
    Some(Found { path: path.to_owned(), family: Some(family), what: kind.what, parts, bytes: 0 })
}

fn file(path: &Path) -> Option<Found> {
    let file = Arc::new(SafetensorsFile::open(path).ok()?);
    let contents = detect(&file);
    let (family, parts) = match &contents {
        Contents::Model { family, input: DenoiserInput::Plain, .. } if family.openable() => {
            let files = [Arc::clone(&file)];
            let holds = |part: &Part| layout::find(&files, *family, *part).is_some();
            (Some(*family), family.parts().iter().copied().filter(holds).collect())
        }
        Contents::Vae { .. } => (None, vec![Part::Vae]),
        Contents::ClipText { width: 1280 } | Contents::OpenClipText { width: 1280 } | Contents::T5 => {
            (None, vec![Part::TextEncoder2])
        }
        Contents::ClipText { .. } | Contents::OpenClipText { .. } => (None, vec![Part::TextEncoder]),
        _ => return None,
    };
    Some(Found { path: path.to_owned(), family, what: contents.what(), parts, bytes: file.file_size() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_the_hub_cache_is() {
        let given = |known: &'static [(&str, &str)]| {
            let variable = move |name: &str| known.iter().find(|(key, _)| *key == name).map(|(_, at)| at.into());
            places(&variable)
        };
        let home = given(&[("HOME", "/home/ann")]);
        assert!(home.contains(&"/home/ann/.cache/huggingface/hub".into()));
        assert!(home.contains(&"/home/ann/ComfyUI/models".into()));
        let moved = given(&[("HOME", "/home/ann"), ("HF_HOME", "/big/hf"), ("COMFYUI_PATH", "/apps/comfy")]);
        assert!(moved.contains(&"/big/hf/hub".into()) && moved.contains(&"/apps/comfy/models".into()));
        assert!(!moved.contains(&"/home/ann/.cache/huggingface/hub".into()));
        assert_eq!(given(&[]), Vec::<PathBuf>::new());
    }
}
