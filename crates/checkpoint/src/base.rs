//! Opening a base model: a diffusers folder, a single-file checkpoint, or a denoiser with its parts in other files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::checks;
use crate::component::{Component, Part};
use crate::configs;
use crate::detect::{Contents, DenoiserInput, detect};
use crate::error::CheckpointError;
use crate::family::Family;
use crate::folder;
use crate::hub_cache::cached;
use crate::layout;
use crate::parts::{self, PartFiles};
use crate::safetensors::SafetensorsFile;

/// What the denoiser was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity, `sqrt(abar) noise - sqrt(1 - abar) latent`.
    V,
    /// The direction of a straight path, `noise - latent` (rectified flow: FLUX).
    Flow,
}

impl Prediction {
    /// `epsilon`, `v` or `flow`, as recipes and `modelspec.prediction_type` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v",
            Self::Flow => "flow",
        }
    }

    /// `epsilon`, `v_prediction` or `flow_prediction`, as diffusers scheduler configurations have it.
    pub fn scheduler_name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v_prediction",
            Self::Flow => "flow_prediction",
        }
    }
}

/// An opened base model.
#[derive(Debug, Clone)]
pub struct BaseModel {
    pub family: Family,
    /// The file or folder that was opened.
    pub path: PathBuf,
    /// Name to show: that of the folder, or of the file without its ending.
    pub name: String,
    /// All parts of the family, see [`Family::parts`].
    pub parts: BTreeMap<Part, Component>,
    /// Configuration of each part with the keys of diffusers and transformers.
    pub configs: BTreeMap<Part, Value>,
    /// Scheduler configuration with the keys of diffusers.
    pub scheduler: Value,
    pub prediction: Prediction,
    /// Whether the noise schedule ends in pure noise (zero terminal SNR).
    pub zero_snr: bool,
    /// Things worth saying that do not stop the work.
    pub warnings: Vec<String>,
}

impl BaseModel {
    /// A part. All parts of the family are present in a model that [`open_base`] returned.
    pub fn part(&self, part: Part) -> Result<&Component, CheckpointError> {
        self.parts.get(&part).ok_or_else(|| parts::missing(&self.path, self.family, part))
    }

    /// Configuration of a part.
    pub fn config(&self, part: Part) -> Result<&Value, CheckpointError> {
        self.configs.get(&part).ok_or_else(|| parts::missing(&self.path, self.family, part))
    }

    /// The part that removes noise.
    pub fn denoiser(&self) -> Part {
        if self.family.is_flux1() { Part::Transformer } else { Part::Unet }
    }

    /// Picture pixels on a side of one latent pixel: 8 in all released models.
    pub fn latent_factor(&self) -> u32 {
        let levels = self.configs.get(&Part::Vae).and_then(|config| config["block_out_channels"].as_array());
        1 << levels.map_or(3, |levels| levels.len().clamp(1, 16) - 1)
    }

    /// Picture pixels on a side that the model was trained at.
    pub fn native_resolution(&self) -> u32 {
        let default = if self.family.is_flux1() || self.family == Family::Sdxl { 128 } else { 64 };
        let size = self.configs.get(&self.denoiser()).and_then(|config| config["sample_size"].as_u64());
        let size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(default);
        size.saturating_mul(self.latent_factor())
    }

    /// Size of all weights as stored, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.parts.values().map(Component::stored_bytes).sum()
    }
}

/// Opens a base model whose parts are all in one file or folder. Headers and configurations are read, and a few small
/// tensors that tell what headers do not.
///
/// # Errors
/// For anything but Stable Diffusion 1.x and 2.x, SDXL and FLUX.1 dev and schnell; the message says what the file or
/// folder is and what to do. Also when a part is missing or damaged, or parts do not belong together.
pub fn open_base(path: impl AsRef<Path>) -> Result<BaseModel, CheckpointError> {
    open_base_with(path, &PartFiles::default())
}

/// As [`open_base`], with some parts from other files or folders: those given replace what `path` holds. A `path` that is
/// nowhere and a name on the hub is looked for in the hub's cache.
///
/// # Errors
/// As [`open_base`], and when a file is not the part that it is given for.
pub fn open_base_with(path: impl AsRef<Path>, files: &PartFiles) -> Result<BaseModel, CheckpointError> {
    let path = &cached(path.as_ref());
    let facts = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?;
    let opened = if facts.is_dir() {
        folder::open(path, files)?
    } else if path.file_name().is_some_and(|name| name == "model_index.json") {
        folder::open(path.parent().unwrap_or(Path::new(".")), files)?
    } else {
        open_single_file(path, files)?
    };
    finish(opened, files)
}

/// What was found at the path of a base, before it is known to be whole.
pub(crate) struct Opened {
    pub(crate) family: Family,
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    /// Parts with the configurations beside them, where there are any.
    pub(crate) parts: BTreeMap<Part, (Component, Option<Value>)>,
    pub(crate) scheduler: Option<Value>,
    /// What files say of the prediction, and of zero terminal SNR.
    pub(crate) stated: (Option<Prediction>, bool),
    pub(crate) warnings: Vec<String>,
}

fn finish(mut opened: Opened, files: &PartFiles) -> Result<BaseModel, CheckpointError> {
    let family = opened.family;
    for part in Part::ALL {
        if let Some(file) = files.get(part) {
            opened.parts.insert(part, parts::open(file, family, part)?);
        }
    }
    // A part that is absent is told before one that is damaged: a bare denoiser is no damaged checkpoint.
    if let Some(part) = family.parts().iter().find(|part| !opened.parts.contains_key(part)) {
        return Err(parts::missing(&opened.path, family, *part));
    }
    let mut components = BTreeMap::new();
    let mut given = BTreeMap::new();
    for (part, (component, config)) in opened.parts {
        checks::part(&component, family)?;
        given.insert(part, config);
        components.insert(part, component);
    }
    checks::fit(&components, family)?;
    let stated = opened.scheduler.as_ref().map(|scheduler| folder::prediction(&opened.path, scheduler)).transpose()?;
    // A scheduler that does not say is one of diffusers' early days, which knew epsilon only.
    let stated = stated.map(|stated| stated.unwrap_or(Prediction::Epsilon));
    let prediction = match (family, opened.stated.0.or(stated)) {
        (Family::Flux1Dev | Family::Flux1Schnell, _) => Prediction::Flow,
        (_, Some(prediction)) => prediction,
        (Family::Sd2, None) => sd2_prediction(&components)?,
        _ => Prediction::Epsilon,
    };
    let zero_snr = match &opened.scheduler {
        Some(scheduler) => scheduler["rescale_betas_zero_snr"].as_bool().unwrap_or(false),
        None => opened.stated.1,
    };
    let mut configs = BTreeMap::new();
    for (part, weights) in &components {
        let config = given.remove(part).flatten().or_else(|| configs::synthesised(weights, family, prediction));
        let incomplete = || CheckpointError::Unsupported {
            path: weights.place().to_owned(),
            what: format!("a {part} that lacks layers which every {family} model has"),
            advice: "The file is incomplete; fetch it again.".to_owned(),
        };
        configs.insert(*part, config.ok_or_else(incomplete)?);
    }
    Ok(BaseModel {
        family,
        path: opened.path,
        name: opened.name,
        parts: components,
        configs,
        scheduler: opened.scheduler.unwrap_or_else(|| configs::scheduler(family, prediction, zero_snr)),
        prediction,
        zero_snr,
        warnings: opened.warnings,
    })
}

fn open_single_file(path: &Path, files: &PartFiles) -> Result<Opened, CheckpointError> {
    let file = Arc::new(SafetensorsFile::open(path)?);
    let contents = detect(&file);
    let Contents::Model { family, input: DenoiserInput::Plain, .. } = contents else {
        return Err(unsupported(path, &contents));
    };
    if !family.openable() {
        return Err(unsupported(path, &contents));
    }
    let stored = [Arc::clone(&file)];
    let mut parts = BTreeMap::new();
    for &part in family.parts().iter().filter(|part| files.get(**part).is_none()) {
        if let Some(place) = layout::find(&stored, family, part) {
            parts.insert(part, (layout::read(&stored, family, part, &place, path)?, None));
        }
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut warnings = Vec::new();
    if family.is_flux1() && name.to_lowercase().contains("kontext") {
        warnings.push(
            "The name says Kontext, the editing variant of FLUX.1, whose weights look like those of dev: Lorikeet \
             trains it from text to picture only."
                .to_owned(),
        );
    }
    let stated = (single_file_prediction(&file)?, file.info("ztsnr").is_some());
    Ok(Opened { family, path: path.to_owned(), name, parts, scheduler: None, stated, warnings })
}

/// Velocity-trained files say so in their metadata or with a small tensor named `v_pred` (ComfyUI
/// `comfy/supported_models.py`).
fn single_file_prediction(file: &SafetensorsFile) -> Result<Option<Prediction>, CheckpointError> {
    let has = |name: &str| file.info(name).is_some();
    if has("edm_vpred.sigma_max") || (has("edm_mean") && has("edm_std")) {
        return Err(CheckpointError::Unsupported {
            path: file.path().to_owned(),
            what: "an SDXL model that was trained with EDM noise levels (such as Playground 2.5)".to_owned(),
            advice: "Lorikeet trains models of the usual noise schedule; choose another SDXL checkpoint.".to_owned(),
        });
    }
    let stated = file.metadata().get("modelspec.prediction_type").map(String::as_str);
    Ok(match stated {
        _ if has("v_pred") => Some(Prediction::V),
        Some("v" | "v_prediction") => Some(Prediction::V),
        Some("epsilon") => Some(Prediction::Epsilon),
        _ => None,
    })
}

/// Whether an SD2 model is the 768 pixel one that predicts velocity: the spread of one bias tells the two released
/// models and what was made from them apart (ComfyUI `comfy/supported_models.py`, `SD20.model_type`).
fn sd2_prediction(parts: &BTreeMap<Part, Component>) -> Result<Prediction, CheckpointError> {
    const BIAS: &str = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
    const VELOCITY_SPREAD: f64 = 0.09;
    let Some(unet) = parts.get(&Part::Unet).filter(|unet| unet.shape(BIAS).is_some()) else {
        return Ok(Prediction::Epsilon);
    };
    let values = unet.f32(BIAS)?;
    let count = values.len() as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    let spread = (squares / (count - 1.0).max(1.0)).sqrt();
    Ok(if spread > VELOCITY_SPREAD { Prediction::V } else { Prediction::Epsilon })
}

pub(crate) fn unsupported(path: &Path, contents: &Contents) -> CheckpointError {
    CheckpointError::Unsupported { path: path.to_owned(), what: contents.what(), advice: contents.advice() }
}
