//! Diffusers folders: `unet/`, `vae/`, `text_encoder/`, `scheduler/`, each with a configuration and weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::base::{BaseModel, Prediction};
use crate::component::{Component, Part};
use crate::configs;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::keymap;
use crate::safetensors::SafetensorsFile;

/// What a diffusers folder is, told by its configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) family: Option<Family>,
    /// Fits behind "this is".
    pub(crate) what: String,
    /// `None` when it can be trained.
    pub(crate) obstacle: Option<String>,
}

pub(crate) fn open(path: &Path) -> Result<BaseModel, CheckpointError> {
    let kind = kind(path)?;
    if let Some(advice) = kind.obstacle {
        return Err(CheckpointError::Unsupported { path: path.to_owned(), what: kind.what, advice });
    }
    let mut parts = BTreeMap::new();
    let mut configs = BTreeMap::new();
    for part in Part::ALL {
        configs.insert(part, part_config(path, part)?);
        parts.insert(part, open_part(path, part)?);
    }
    let mut warnings = Vec::new();
    let scheduler = scheduler(path, &mut warnings)?;
    let prediction = prediction(path, &scheduler)?;
    Ok(BaseModel {
        family: Family::Sd1,
        path: path.to_owned(),
        name: folder_name(path),
        parts,
        configs,
        scheduler,
        prediction,
        warnings,
    })
}

/// Reads `model_index.json` and the configuration of the denoiser.
pub(crate) fn kind(path: &Path) -> Result<Kind, CheckpointError> {
    const TRAINS_SD1: &str = "This version of Lorikeet trains Stable Diffusion 1.x only. \
        Choose a Stable Diffusion 1.x checkpoint, a diffusers folder of one, or the demo base.";
    let other = |what: String, family| Kind { family, what, obstacle: Some(TRAINS_SD1.to_owned()) };
    let index = path.join("model_index.json");
    let class = if index.is_file() {
        read_json(&index)?["_class_name"].as_str().unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    let denoiser = path.join("transformer").join("config.json");
    if denoiser.is_file() {
        let config = read_json(&denoiser)?;
        let family = transformer_family(config["_class_name"].as_str().unwrap_or_default(), &config);
        let what = family.map_or_else(
            || format!("a diffusers folder of a model Lorikeet does not know ({class})"),
            |family| format!("a diffusers folder of the family {family}"),
        );
        return Ok(other(what, family));
    }
    let config = path.join(Part::Unet.folder()).join("config.json");
    if !config.is_file() {
        return Err(no_unet(path, index.is_file()));
    }
    let config = read_json(&config)?;
    let context = config["cross_attention_dim"].as_u64().unwrap_or(0);
    let family =
        match context {
            _ if config["addition_embed_type"].as_str() == Some("text_time") || class.contains("XL") => {
                if context == 1280 { Family::SdxlRefiner } else { Family::Sdxl }
            }
            2048 => Family::Sdxl,
            1024 => Family::Sd2,
            _ => Family::Sd1,
        };
    if family != Family::Sd1 {
        return Ok(other(format!("a diffusers folder of the family {family}"), Some(family)));
    }
    let (input, output) = (config["in_channels"].as_u64(), config["out_channels"].as_u64());
    if !config["class_embed_type"].is_null() || input != output {
        let what = match input {
            Some(9) => "the inpainting variant (9 input channels)",
            Some(8) => "the InstructPix2Pix variant (8 input channels)",
            Some(5) => "the depth variant (5 input channels)",
            Some(7) => "an upscaler (7 input channels)",
            _ => "a variant with other inputs",
        };
        return Ok(Kind {
            family: Some(family),
            what: format!("a diffusers folder of {family}, {what}"),
            obstacle: Some(
                "Lorikeet trains the plain text-to-image variant: choose the model this one was made from.".to_owned(),
            ),
        });
    }
    if !class.is_empty() && !class.starts_with("StableDiffusion") && class != "LatentConsistencyModelPipeline" {
        return Ok(other(format!("a diffusers folder of a kind Lorikeet does not know ({class})"), None));
    }
    Ok(Kind { family: Some(family), what: format!("a diffusers folder of the {family} layout"), obstacle: None })
}

fn transformer_family(class: &str, config: &Value) -> Option<Family> {
    Some(match class {
        "FluxTransformer2DModel" if config["guidance_embeds"].as_bool() == Some(false) => Family::Flux1Schnell,
        "FluxTransformer2DModel" => Family::Flux1Dev,
        "Flux2Transformer2DModel" => Family::Flux2,
        "ChromaTransformer2DModel" => Family::Chroma,
        "SD3Transformer2DModel" => Family::Sd3,
        "Lumina2Transformer2DModel" => Family::Lumina2,
        "ZImageTransformer2DModel" => Family::ZImage,
        _ => return None,
    })
}

/// Opens the weights of a part: one file, one file of a variant such as fp16, or shards.
pub(crate) fn open_part(root: &Path, part: Part) -> Result<Component, CheckpointError> {
    let folder = root.join(part.folder());
    let mut component = Component::new(part, &folder);
    for file in weight_files(root, part)? {
        let file = Arc::new(SafetensorsFile::open(&file)?);
        for key in file.names() {
            let name = match part {
                Part::Unet => Some(key.to_owned()),
                Part::Vae => Some(keymap::vae_modern(key)),
                Part::TextEncoder => keymap::clip_to_transformers(key),
            };
            if let Some(name) = name {
                let squeeze = part == Part::Vae && keymap::vae_is_attention_linear(&name);
                component.insert(name, &file, key, squeeze);
            }
        }
    }
    let needed: &[&str] = match part {
        Part::Unet => &["conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight"],
        Part::Vae => &["encoder.conv_in.weight", "decoder.conv_in.weight"],
        Part::TextEncoder => &["text_model.embeddings.token_embedding.weight"],
    };
    match needed.iter().find(|name| component.shape(name).is_none()) {
        Some(name) => Err(CheckpointError::MissingTensor { path: folder, tensor: (*name).to_owned() }),
        None => Ok(component),
    }
}

/// The weight files of a part.
pub(crate) fn weight_files(root: &Path, part: Part) -> Result<Vec<PathBuf>, CheckpointError> {
    let (folder, stem) = (root.join(part.folder()), part.file_stem());
    let single = folder.join(format!("{stem}.safetensors"));
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join(format!("{stem}.safetensors.index.json"));
    if index.is_file() {
        return shards(&index);
    }
    let names = file_names(&folder);
    // Half precision first: that is what training computes in, and the file is half the size.
    let rank = |name: &str| match name {
        _ if name.contains("non_ema") => 4,
        _ if name.contains(".fp16") => 0,
        _ if name.contains(".bf16") => 1,
        _ if name.contains(".fp32") => 2,
        _ => 3,
    };
    let whole = |name: &&String| {
        name.starts_with(&format!("{stem}.")) && name.ends_with(".safetensors") && !name.contains("-of-")
    };
    if let Some(name) = names.iter().filter(whole).min_by_key(|name| rank(name)) {
        return Ok(vec![folder.join(name)]);
    }
    let variant = |name: &&String| name.starts_with(&format!("{stem}.safetensors.index.")) && name.ends_with(".json");
    if let Some(name) = names.iter().filter(variant).min_by_key(|name| rank(name)) {
        return shards(&folder.join(name));
    }
    let pickled = names.iter().find(|name| name.ends_with(".bin") || name.ends_with(".ckpt"));
    let advice = match pickled {
        Some(name) => format!(
            "The folder holds '{name}', a pickled file, which can run any program hidden in it; get the .safetensors one."
        ),
        None => "Download the whole model folder again.".to_owned(),
    };
    let expected = format!("{}/{stem}.safetensors", part.folder());
    Err(CheckpointError::MissingPart { path: root.to_owned(), part, expected, advice })
}

/// The files that an index of shards names.
fn shards(index: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let wrong = |problem: String| CheckpointError::Config { path: index.to_owned(), problem };
    let content = read_json(index)?;
    let map = content["weight_map"].as_object();
    let map = map.ok_or_else(|| wrong("it has no 'weight_map'. Fetch the file again.".to_owned()))?;
    let mut files = BTreeSet::new();
    for (tensor, file) in map {
        let file = file.as_str().unwrap_or_default();
        // A shard lies beside its index; anything else could reach out of the model folder.
        if file.is_empty() || Path::new(file).file_name().is_none_or(|name| name != file) {
            return Err(wrong(format!("it puts tensor '{tensor}' into '{file}', which is not a file beside it.")));
        }
        files.insert(file);
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    let files: Vec<PathBuf> = files.into_iter().map(|file| folder.join(file)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(file) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            Err(wrong(format!("it names the shard '{name}', which is missing. Download the whole model folder again.")))
        }
        None => Ok(files),
    }
}

fn part_config(root: &Path, part: Part) -> Result<Value, CheckpointError> {
    let path = root.join(part.folder()).join("config.json");
    if path.is_file() {
        return read_json(&path);
    }
    Err(CheckpointError::MissingPart {
        path: root.to_owned(),
        part,
        expected: format!("{}/config.json", part.folder()),
        advice: "Download the whole model folder again.".to_owned(),
    })
}

fn scheduler(root: &Path, warnings: &mut Vec<String>) -> Result<Value, CheckpointError> {
    let path = root.join("scheduler").join("scheduler_config.json");
    if path.is_file() {
        return read_json(&path);
    }
    warnings.push(
        "scheduler/scheduler_config.json is missing: the noise schedule of Stable Diffusion 1.5 (epsilon prediction) is \
         assumed. If previews of the base look wrong, set the prediction to v."
            .to_owned(),
    );
    Ok(configs::scheduler("epsilon"))
}

fn prediction(root: &Path, scheduler: &Value) -> Result<Prediction, CheckpointError> {
    match scheduler["prediction_type"].as_str() {
        None | Some("epsilon") => Ok(Prediction::Epsilon),
        Some("v_prediction" | "v") => Ok(Prediction::V),
        Some(other) => Err(CheckpointError::Config {
            path: root.join("scheduler").join("scheduler_config.json"),
            problem: format!("its prediction_type is '{other}'; Lorikeet knows 'epsilon' and 'v_prediction'."),
        }),
    }
}

pub(crate) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read(path).map_err(|e| CheckpointError::read(path, e))?;
    serde_json::from_slice(&text).map_err(|e| CheckpointError::Config {
        path: path.to_owned(),
        problem: format!("it is not valid JSON: {e}. Fetch the file again."),
    })
}

/// The answer for a folder without `unet/config.json`.
fn no_unet(path: &Path, has_index: bool) -> CheckpointError {
    let present = |part: Part| path.join(part.folder()).is_dir();
    if has_index || Part::ALL.into_iter().any(present) {
        let part = Part::Unet;
        let file = if present(part) { "config.json".to_owned() } else { format!("{}.safetensors", part.file_stem()) };
        return CheckpointError::MissingPart {
            path: path.to_owned(),
            part,
            expected: format!("{}/{file}", part.folder()),
            advice: "Download the whole model folder again.".to_owned(),
        };
    }
    let names = file_names(path);
    let advice = match names.iter().find(|name| name.ends_with(".safetensors")) {
        Some(name) => format!("It holds '{name}': choose that file instead."),
        None => {
            "A diffusers folder holds unet/, vae/ and text_encoder/; choose the folder right above them.".to_owned()
        }
    };
    CheckpointError::Unsupported { path: path.to_owned(), what: "a folder without a model in it".to_owned(), advice }
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
