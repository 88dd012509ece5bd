//! Models by their name on the Hugging Face hub, where they are in its cache already.

use std::fs;
use std::path::{Path, PathBuf};

/// The value of an environment variable, if it is set and not empty.
type Variable<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Where the hub's programs keep what they fetched.
pub fn hub_cache(variable: Variable<'_>) -> Option<PathBuf> {
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named.or_else(|| Some(hub_home(variable)?.join("hub")))
}

/// Where the hub's programs keep everything of theirs.
pub fn hub_home(variable: Variable<'_>) -> Option<PathBuf> {
    let caches = || variable("XDG_CACHE_HOME").or_else(|| Some(home(variable)?.join(".cache")));
    variable("HF_HOME").or_else(|| Some(caches()?.join("huggingface")))
}

pub(crate) fn home(variable: Variable<'_>) -> Option<PathBuf> {
    variable("HOME").or_else(|| variable("USERPROFILE"))
}

/// Whether a path could be meant as a name on the hub: `owner/name`, perhaps with `@revision`. Paths that start at a root
/// or at a folder by its sign (`./`, `../`, `~/`), or that end as model files do, could not.
pub fn looks_like_hub_name(path: &Path) -> bool {
    let Some((owner, name)) = path.to_str().and_then(|text| text.split_once('/')) else { return false };
    let plain = |half: &str| {
        let allowed = half.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        allowed && !half.is_empty() && !half.starts_with('.') && !half.ends_with('.')
    };
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let ending = Path::new(name).extension().map(|end| end.to_string_lossy().to_lowercase());
    let model_file =
        ending.is_some_and(|end| ["safetensors", "sft", "ckpt", "gguf", "pt", "bin"].contains(&end.as_str()));
    plain(owner) && plain(name) && plain(revision) && !model_file
}

/// The path itself where there is something; else, for a name on the hub, what the cache holds under it: the folder of a
/// model in diffusers layout, or a single model file.
pub fn cached(path: &Path) -> PathBuf {
    if path.exists() || !looks_like_hub_name(path) {
        return path.to_owned();
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    hub_cache(&variable).and_then(|cache| in_cache(&cache, path)).unwrap_or_else(|| path.to_owned())
}

fn in_cache(cache: &Path, name: &Path) -> Option<PathBuf> {
    let (owner, name) = name.to_str()?.split_once('/')?;
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let folder = cache.join(format!("models--{owner}--{name}"));
    let commit = fs::read_to_string(folder.join("refs").join(revision)).unwrap_or_else(|_| revision.to_owned());
    let commit = commit.trim();
    // One that leads elsewhere is no commit.
    let snapshot = folder.join("snapshots").join(Path::new(commit).file_name().filter(|name| *name == commit)?);
    if snapshot.join("model_index.json").is_file() {
        return Some(snapshot);
    }
    let files = fs::read_dir(&snapshot).ok()?.flatten().map(|entry| entry.path());
    let mut models = files.filter(|file| file.extension().is_some_and(|end| end == "safetensors") && file.is_file());
    // Of several, whoever wants one says which.
    let only = models.next()?;
    models.next().is_none().then_some(only)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        for name in ["ann/birds", "ann/birds-1.0", "ann/birds@v1"] {
            assert!(looks_like_hub_name(Path::new(name)), "{name}");
        }
        for path in [
            "demo",
            "./birds",
            "../birds",
            "/ann/birds",
            "a/b/c",
            "models/birds.safetensors",
            "~/birds",
            "ann/",
            "C:\\a",
        ] {
            assert!(!looks_like_hub_name(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_name_is_found_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let (folder, commit) = (cache.path().join("models--ann--birds"), "0123456789012345678901234567890123456789");
        let find = |name: &str| in_cache(cache.path(), Path::new(name));
        assert_eq!(find("ann/birds"), None);
        let snapshot = folder.join("snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(folder.join("refs")).unwrap();
        fs::write(folder.join("refs/main"), commit).unwrap();
        assert_eq!(find("ann/birds"), None, "nothing in it");
        fs::write(snapshot.join("a.safetensors"), "").unwrap();
        assert_eq!(find("ann/birds"), Some(snapshot.join("a.safetensors")));
        fs::write(snapshot.join("b.safetensors"), "").unwrap();
        assert_eq!(find("ann/birds"), None, "which of the two?");
        fs::write(snapshot.join("model_index.json"), "{}").unwrap();
        assert_eq!(find("ann/birds"), Some(snapshot.clone()));
        assert_eq!(find(&format!("ann/birds@{commit}")), Some(snapshot));
        fs::write(folder.join("refs/main"), "../../..").unwrap();
        assert_eq!(find("ann/birds"), None);
    }
}
