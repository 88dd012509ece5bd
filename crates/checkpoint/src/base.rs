//! Opening a base model: a diffusers folder or a single-file checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::component::{Component, Part};
use crate::configs;
use crate::detect::{Contents, DenoiserInput, Layout, detect};
use crate::error::CheckpointError;
use crate::family::Family;
use crate::folder;
use crate::keymap::{self, UnetNumbering};
use crate::safetensors::SafetensorsFile;

/// What the denoiser was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity, `sqrt(abar) noise - sqrt(1 - abar) latent`.
    V,
}

impl Prediction {
    /// `epsilon` or `v`, as recipes and `modelspec.prediction_type` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v",
        }
    }

    /// `epsilon` or `v_prediction`, as diffusers scheduler configurations have it.
    pub fn scheduler_name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v_prediction",
        }
    }
}

/// An opened base model of the Stable Diffusion 1.x layout.
#[derive(Debug, Clone)]
pub struct BaseModel {
    pub family: Family,
    /// The file or folder that was opened.
    pub path: PathBuf,
    /// Name to show: that of the folder, or of the file without its ending.
    pub name: String,
    pub parts: BTreeMap<Part, Component>,
    /// Configuration of each part with the keys of diffusers and transformers.
    pub configs: BTreeMap<Part, Value>,
    /// Scheduler configuration with the keys of diffusers.
    pub scheduler: Value,
    pub prediction: Prediction,
    /// Things worth saying that do not stop the work.
    pub warnings: Vec<String>,
}

impl BaseModel {
    /// A part. All three are present in a model that [`open_base`] returned.
    pub fn part(&self, part: Part) -> Result<&Component, CheckpointError> {
        self.parts.get(&part).ok_or_else(|| missing_part(&self.path, part))
    }

    /// Configuration of a part.
    pub fn config(&self, part: Part) -> Result<&Value, CheckpointError> {
        self.configs.get(&part).ok_or_else(|| missing_part(&self.path, part))
    }

    /// Picture pixels on a side of one latent pixel: 8 in all Stable Diffusion models.
    pub fn latent_factor(&self) -> u32 {
        let levels = self.configs.get(&Part::Vae).and_then(|config| config["block_out_channels"].as_array());
        1 << levels.map_or(3, |levels| levels.len().clamp(1, 16) - 1)
    }

    /// Picture pixels on a side that the model was trained at.
    pub fn native_resolution(&self) -> u32 {
        let size = self.configs.get(&Part::Unet).and_then(|config| config["sample_size"].as_u64());
        size.and_then(|size| u32::try_from(size).ok()).unwrap_or(64).saturating_mul(self.latent_factor())
    }

    /// Size of all weights as stored, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.parts.values().map(Component::stored_bytes).sum()
    }
}

/// Opens a base model for training or drawing. Succeeds only for the Stable Diffusion 1.x layout; for anything else
/// the error says what the file or folder is and what to do.
pub fn open_base(path: impl AsRef<Path>) -> Result<BaseModel, CheckpointError> {
    let path = path.as_ref();
    let facts = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?;
    if facts.is_dir() {
        return folder::open(path);
    }
    if path.file_name().is_some_and(|name| name == "model_index.json") {
        return folder::open(path.parent().unwrap_or(Path::new(".")));
    }
    open_single_file(path)
}

fn open_single_file(path: &Path) -> Result<BaseModel, CheckpointError> {
    let file = Arc::new(SafetensorsFile::open(path)?);
    let contents = detect(&file);
    let prefix = match &contents {
        Contents::Model { family: Family::Sd1, input: DenoiserInput::Plain, layout: Layout::Original, prefix } => {
            prefix
        }
        _ => return Err(unsupported(path, &contents)),
    };
    let parts = split(&file, prefix);
    for part in Part::ALL {
        if parts.get(&part).is_none_or(Component::is_empty) {
            return Err(missing_part(path, part));
        }
    }
    let prediction = single_file_prediction(&file);
    let mut configs = BTreeMap::new();
    for (part, weights) in &parts {
        configs.insert(*part, single_file_config(path, *part, weights)?);
    }
    Ok(BaseModel {
        family: Family::Sd1,
        path: path.to_owned(),
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        parts,
        configs,
        scheduler: configs::scheduler(prediction.scheduler_name()),
        prediction,
        warnings: Vec::new(),
    })
}

/// Sorts the tensors of a single-file checkpoint into parts; what belongs to none (EMA copies, schedules) is dropped.
pub(crate) fn split(file: &Arc<SafetensorsFile>, unet_prefix: &str) -> BTreeMap<Part, Component> {
    let mut unet = Component::new(Part::Unet, file.path());
    let mut vae = Component::new(Part::Vae, file.path());
    let mut text = Component::new(Part::TextEncoder, file.path());
    let numbering = UnetNumbering::sd1();
    let levels = vae_levels(file, VAE_PREFIX);
    for key in file.names().filter(|key| !keymap::is_ballast(key)) {
        if let Some(rest) = key.strip_prefix(VAE_PREFIX) {
            if let Some(name) = keymap::vae_to_diffusers(rest, levels) {
                let squeeze = keymap::vae_is_attention_linear(&name);
                vae.insert(name, file, key, squeeze);
            }
        } else if let Some(rest) = key.strip_prefix(CLIP_PREFIX) {
            if let Some(name) = keymap::clip_to_transformers(rest) {
                text.insert(name, file, key, false);
            }
        } else if let Some(rest) = key.strip_prefix(unet_prefix)
            && let Some(name) = keymap::unet_to_diffusers(rest, &numbering)
        {
            unet.insert(name, file, key, false);
        }
    }
    BTreeMap::from([(Part::Unet, unet), (Part::Vae, vae), (Part::TextEncoder, text)])
}

const VAE_PREFIX: &str = "first_stage_model.";
const CLIP_PREFIX: &str = "cond_stage_model.transformer.";

fn vae_levels(file: &SafetensorsFile, prefix: &str) -> usize {
    let level = |i: usize| file.info(&format!("{prefix}decoder.up.{i}.block.0.conv1.weight")).is_some();
    (0..).take_while(|&i| level(i)).count()
}

fn single_file_config(path: &Path, part: Part, weights: &Component) -> Result<Value, CheckpointError> {
    let config = match part {
        Part::Unet => configs::unet(weights),
        Part::Vae => configs::vae(weights),
        Part::TextEncoder => configs::text_encoder(weights),
    };
    config.ok_or_else(|| CheckpointError::Unsupported {
        path: path.to_owned(),
        what: format!("a checkpoint whose {part} lacks layers that every Stable Diffusion 1.x model has"),
        advice: "The file is incomplete; fetch it again.".to_owned(),
    })
}

/// Velocity-trained files say so in their metadata or with an empty tensor named `v_pred`.
fn single_file_prediction(file: &SafetensorsFile) -> Prediction {
    let stated = file.metadata().get("modelspec.prediction_type").map(String::as_str);
    if file.info("v_pred").is_some() || matches!(stated, Some("v" | "v_prediction")) {
        Prediction::V
    } else {
        Prediction::Epsilon
    }
}

pub(crate) fn unsupported(path: &Path, contents: &Contents) -> CheckpointError {
    CheckpointError::Unsupported { path: path.to_owned(), what: contents.what(), advice: contents.advice() }
}

fn missing_part(path: &Path, part: Part) -> CheckpointError {
    let prefix = match part {
        Part::Unet => "model.diffusion_model.",
        Part::Vae => VAE_PREFIX,
        Part::TextEncoder => CLIP_PREFIX,
    };
    CheckpointError::MissingPart {
        path: path.to_owned(),
        part,
        expected: format!("tensors named '{prefix}...'"),
        advice: "Choose a checkpoint that holds all parts, or a diffusers folder.".to_owned(),
    }
}
