//! Which files of a repository are fetched: those that Lorikeet reads, and the small ones other programs want beside them.

use crate::error::HubError;
use crate::listing::{RemoteFile, Repository};

/// Files to fetch, and what of it is the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// In the order they are fetched: what makes the folder a model comes last, so that half a model is none.
    pub files: Vec<RemoteFile>,
    /// The file that is the model; none: the folder is.
    pub model: Option<String>,
}

impl Selection {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

const INDEX: &str = "model_index.json";
/// Folders of a model in diffusers layout whose weights are read.
const WEIGHTS: [&str; 5] = ["unet", "transformer", "vae", "text_encoder", "text_encoder_2"];
/// Folders of small files.
const SMALL: [&str; 3] = ["scheduler", "tokenizer", "tokenizer_2"];
/// A configuration or vocabulary is smaller; anything else does not belong there.
const LARGEST_SMALL: u64 = 32 << 20;
/// In the order they are preferred: half precision is what training computes in, at half the size.
const VARIANTS: [&str; 4] = ["fp16", "bf16", "", "fp32"];

/// Chooses the files named, or else those of a model in diffusers layout, or else the only model file.
///
/// # Errors
/// When a name is not there, when there is no model, or more than one.
pub fn choose(repository: &Repository, named: &[String]) -> Result<Selection, HubError> {
    let id = || repository.name.id();
    let named: Vec<&str> = named.iter().map(String::as_str).chain(repository.name.file()).collect();
    if !named.is_empty() {
        return by_name(repository, &named);
    }
    if repository.files.iter().any(|file| file.path == INDEX) {
        return diffusers(repository);
    }
    let models = single_files(repository);
    match models.as_slice() {
        [] => {
            let pickled = repository
                .files
                .iter()
                .any(|file| [".bin", ".ckpt", ".pt", ".pth"].iter().any(|ending| file.path.ends_with(ending)));
            let problem = if pickled {
                "its weights are pickled files, which can run any program hidden in them. Look for a .safetensors version"
            } else {
                "there is neither a model in diffusers layout nor a .safetensors file in it"
            };
            Err(HubError::Nothing { id: id(), problem: problem.to_owned() })
        }
        [only] => Ok(Selection { files: vec![(*only).clone()], model: Some(only.path.clone()) }),
        several => {
            let files = several.iter().map(|file| (file.path.clone(), file.size)).collect();
            Err(HubError::Several { id: id(), files })
        }
    }
}

fn single_files(repository: &Repository) -> Vec<&RemoteFile> {
    let whole = |file: &&RemoteFile| file.path.ends_with(".safetensors") && !file.path.contains("-of-");
    repository.files.iter().filter(whole).collect()
}

fn by_name(repository: &Repository, named: &[&str]) -> Result<Selection, HubError> {
    let mut files = Vec::new();
    for name in named {
        let Some(file) = repository.files.iter().find(|file| file.path == **name) else {
            let mut known: Vec<String> = single_files(repository).iter().map(|file| file.path.clone()).collect();
            known.truncate(12);
            return Err(HubError::NoSuchFile { id: repository.name.id(), file: (*name).to_owned(), known });
        };
        if !files.contains(file) {
            files.push(file.clone());
        }
    }
    let model = files.iter().find(|file| file.path.ends_with(".safetensors")).map(|file| file.path.clone());
    Ok(Selection { files, model })
}

fn diffusers(repository: &Repository) -> Result<Selection, HubError> {
    let mut files: Vec<RemoteFile> = Vec::new();
    let mut weights = Vec::new();
    for file in &repository.files {
        match file.path.split_once('/') {
            None if file.path == INDEX => files.push(file.clone()),
            Some((folder, name)) if !name.contains('/') && file.size <= LARGEST_SMALL => {
                let wanted = if WEIGHTS.contains(&folder) { name == "config.json" } else { SMALL.contains(&folder) };
                let readable = [".json", ".txt", ".model"].iter().any(|ending| name.ends_with(ending));
                if wanted && readable {
                    files.push(file.clone());
                }
            }
            _ => {}
        }
    }
    for folder in WEIGHTS {
        let inside: Vec<_> = repository
            .files
            .iter()
            .filter_map(|file| Some((file.path.strip_prefix(folder)?.strip_prefix('/')?, file)))
            .filter(|(name, _)| !name.contains('/'))
            .collect();
        // A folder without a configuration is none of the model's.
        if !inside.iter().any(|(name, _)| *name == "config.json") {
            continue;
        }
        match VARIANTS.iter().find_map(|variant| variant_of(&inside, variant)) {
            Some(mut chosen) => weights.append(&mut chosen),
            None => {
                let problem = format!("its folder {folder} has no .safetensors file. Look for a version that has");
                return Err(HubError::Nothing { id: repository.name.id(), problem });
            }
        }
    }
    if weights.is_empty() {
        let problem = "none of the folders of Stable Diffusion or FLUX is in it".to_owned();
        return Err(HubError::Nothing { id: repository.name.id(), problem });
    }
    // The folder counts as a model once its index is there.
    files.sort_by_key(|file| (file.path == INDEX, file.path.clone()));
    weights.append(&mut files);
    Ok(Selection { files: weights, model: None })
}

/// One whole file, or shards with their index, of a precision; the empty one names none.
fn variant_of(inside: &[(&str, &RemoteFile)], variant: &str) -> Option<Vec<RemoteFile>> {
    let dotted = if variant.is_empty() { String::new() } else { format!(".{variant}") };
    for stem in ["diffusion_pytorch_model", "model"] {
        let of = |wanted: &str| inside.iter().find(|(name, _)| *name == wanted).map(|(_, file)| (*file).clone());
        if let Some(whole) = of(&format!("{stem}{dotted}.safetensors")) {
            return Some(vec![whole]);
        }
        let Some(index) = of(&format!("{stem}.safetensors.index{dotted}.json")) else { continue };
        // `model-00001-of-00002.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors` are both in use.
        let is_shard = |name: &str| {
            let rest = name.strip_prefix(stem)?.strip_suffix(".safetensors")?;
            let (before, after) = rest.split_once("-of-")?;
            let (before, _) = before.rsplit_once('-')?;
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            Some(format!("{before}{after}") == dotted)
        };
        let mut shards: Vec<RemoteFile> =
            inside.iter().filter(|(name, _)| is_shard(name) == Some(true)).map(|(_, file)| (*file).clone()).collect();
        if !shards.is_empty() {
            shards.push(index);
            return Some(shards);
        }
    }
    None
}

#[cfg(test)]
#[path = "choose_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
