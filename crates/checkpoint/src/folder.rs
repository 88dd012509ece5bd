//! Diffusers folders: `unet/` or `transformer/`, `vae/`, `text_encoder/`, `scheduler/`, each with a configuration and
//! weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::base::{Opened, Prediction};
use crate::checks;
use crate::component::{Component, Part};
use crate::error::CheckpointError;
use crate::family::Family;
use crate::layout::{self, Naming, Place};
use crate::parts::PartFiles;
use crate::safetensors::SafetensorsFile;

/// What a diffusers folder is, told by its configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) family: Option<Family>,
    /// Fits behind "this is".
    pub(crate) what: String,
    /// `None` when it can be opened.
    pub(crate) obstacle: Option<String>,
}

/// Opens the parts of a folder, but for those that come from elsewhere.
pub(crate) fn open(path: &Path, files: &PartFiles) -> Result<Opened, CheckpointError> {
    let kind = kind(path)?;
    let family = match (kind.obstacle, kind.family) {
        (None, Some(family)) => family,
        (advice, _) => {
            let advice = advice.unwrap_or_default();
            return Err(CheckpointError::Unsupported { path: path.to_owned(), what: kind.what, advice });
        }
    };
    let mut parts = BTreeMap::new();
    for &part in family.parts().iter().filter(|part| files.get(**part).is_none()) {
        let folder = path.join(part.folder());
        if !folder.join("config.json").is_file() {
            return Err(CheckpointError::MissingPart {
                path: path.to_owned(),
                part,
                expected: format!("{}/config.json", part.folder()),
                advice: "Download the whole model folder again.".to_owned(),
            });
        }
        parts.insert(part, open_part(&folder, family, part)?);
    }
    let mut warnings = Vec::new();
    let scheduler = scheduler(path, family, &mut warnings)?;
    let name = folder_name(path);
    Ok(Opened { family, path: path.to_owned(), name, parts, scheduler, stated: (None, false), warnings })
}

/// Reads `model_index.json` and the configuration of the denoiser.
pub(crate) fn kind(path: &Path) -> Result<Kind, CheckpointError> {
    let other = |what: String, family: Option<Family>| Kind { family, what, obstacle: Some(CHOOSE_BASE.to_owned()) };
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
        let Some(family) = family else {
            return Ok(other(format!("a diffusers folder of a model Lorikeet does not know ({class})"), None));
        };
        let what = format!("a diffusers folder of the family {family}");
        let variant = match config["in_channels"].as_u64() {
            Some(384) if family.is_flux1() => "the Fill variant",
            Some(128) if family.is_flux1() => "a Depth or Canny variant",
            _ if class.contains("Kontext") => "the Kontext variant, which edits pictures",
            _ if !family.openable() => return Ok(other(what, Some(family))),
            _ => return Ok(Kind { family: Some(family), what, obstacle: None }),
        };
        let obstacle = Some(CHOOSE_PLAIN.to_owned());
        return Ok(Kind { family: Some(family), what: format!("{what}, {variant}"), obstacle });
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
    if !family.openable() {
        return Ok(other(format!("a diffusers folder of the family {family}"), Some(family)));
    }
    if family == Family::Sdxl && pruned(&config) {
        let family = Family::SdxlPruned;
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
            obstacle: Some(CHOOSE_PLAIN.to_owned()),
        });
    }
    if !class.is_empty() && !class.starts_with("StableDiffusion") && class != "LatentConsistencyModelPipeline" {
        return Ok(other(format!("a diffusers folder of a kind Lorikeet does not know ({class})"), None));
    }
    Ok(Kind { family: Some(family), what: format!("a diffusers folder of the {family} layout"), obstacle: None })
}

pub(crate) const CHOOSE_BASE: &str = "Choose a checkpoint or diffusers folder of Stable Diffusion 1.x or 2.x, SDXL, or \
    FLUX.1 dev or schnell, or the demo base.";
pub(crate) const CHOOSE_PLAIN: &str =
    "Lorikeet trains the plain text-to-image variant: choose the model this one was made from.";

/// Whether a full-size SDXL configuration has fewer blocks than SDXL.
fn pruned(config: &Value) -> bool {
    let full = config["cross_attention_dim"].as_u64() == Some(2048);
    let depths = &config["transformer_layers_per_block"];
    full && !depths.is_null() && *depths != serde_json::json!([1, 2, 10]) && *depths != serde_json::json!([0, 2, 10])
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

/// Opens a part in a folder of its own: one file, one file of a variant such as fp16, or shards; and the configuration
/// beside it, if there is one.
pub(crate) fn open_part(
    folder: &Path,
    family: Family,
    part: Part,
) -> Result<(Component, Option<Value>), CheckpointError> {
    let files = weight_files(folder, part)?;
    let files: Vec<_> =
        files.into_iter().map(|file| SafetensorsFile::open(file).map(Arc::new)).collect::<Result<_, _>>()?;
    // Without a sign of another naming it is what every diffusers folder has; what is missing is told by name.
    let naming =
        if matches!(part, Part::TextEncoder | Part::TextEncoder2) { Naming::Transformers } else { Naming::Diffusers };
    let place = layout::find(&files, family, part).unwrap_or(Place { prefix: "", naming });
    let component = layout::read(&files, family, part, &place, folder)?;
    checks::part(&component, family)?;
    let path = folder.join("config.json");
    let config = if path.is_file() { Some(read_json(&path)?) } else { None };
    if let Some(config) = &config {
        checks::config(&path, config, &component, family)?;
    }
    Ok((component, config))
}

/// The weight files of a part in its folder.
pub(crate) fn weight_files(folder: &Path, part: Part) -> Result<Vec<PathBuf>, CheckpointError> {
    let stem = part.file_stem();
    let single = folder.join(format!("{stem}.safetensors"));
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join(format!("{stem}.safetensors.index.json"));
    if index.is_file() {
        return shards(&index);
    }
    let names = file_names(folder);
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
    let expected = format!("{}/{stem}.safetensors", folder_name(folder));
    Err(CheckpointError::MissingPart { path: folder.to_owned(), part, expected, advice })
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

fn scheduler(root: &Path, family: Family, warnings: &mut Vec<String>) -> Result<Option<Value>, CheckpointError> {
    let path = root.join("scheduler").join("scheduler_config.json");
    if path.is_file() {
        return read_json(&path).map(Some);
    }
    let assumed = match family {
        Family::Flux1Dev | Family::Flux1Schnell => {
            format!("the noise schedule of {family} is assumed.")
        }
        Family::Sd2 => {
            "the noise schedule of Stable Diffusion 2.x is assumed, and the prediction told from the weights. \
            If previews of the base look wrong, set the prediction."
                .to_owned()
        }
        _ => format!(
            "the noise schedule of {family} (epsilon prediction) is assumed. If previews of the base look wrong, set the \
             prediction to v."
        ),
    };
    warnings.push(format!("scheduler/scheduler_config.json is missing: {assumed}"));
    Ok(None)
}

/// What a scheduler configuration says of the prediction.
pub(crate) fn prediction(root: &Path, scheduler: &Value) -> Result<Option<Prediction>, CheckpointError> {
    match scheduler["prediction_type"].as_str() {
        None => Ok(None),
        Some("epsilon") => Ok(Some(Prediction::Epsilon)),
        Some("v_prediction" | "v") => Ok(Some(Prediction::V)),
        Some("flow_prediction") => Ok(Some(Prediction::Flow)),
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
