//! Parts of a model in files of their own, and where people keep them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::checks;
use crate::component::{Component, Part};
use crate::detect::detect;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::folder;
use crate::layout;
use crate::safetensors::SafetensorsFile;

/// Files or folders that hold single parts: a `.safetensors` file of any layout, also a whole checkpoint; the part's
/// folder out of a diffusers folder; or a whole diffusers folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartFiles {
    pub vae: Option<PathBuf>,
    pub text_encoder: Option<PathBuf>,
    pub text_encoder_2: Option<PathBuf>,
}

impl PartFiles {
    /// With each part that is not given here and that `folder` has none of, from another model's folder.
    pub fn or_shared(mut self, folder: &Path, other: &Path) -> Self {
        let places = [
            (&mut self.vae, Part::Vae),
            (&mut self.text_encoder, Part::TextEncoder),
            (&mut self.text_encoder_2, Part::TextEncoder2),
        ];
        for (place, part) in places {
            let own = folder.join(part.folder()).is_dir();
            let shared = Some(other.join(part.folder())).filter(|shared| !own && shared.is_dir());
            *place = place.take().or(shared);
        }
        self
    }

    /// What is given for a part.
    pub fn get(&self, part: Part) -> Option<&Path> {
        match part {
            Part::Vae => self.vae.as_deref(),
            Part::TextEncoder => self.text_encoder.as_deref(),
            Part::TextEncoder2 => self.text_encoder_2.as_deref(),
            Part::Unet | Part::Transformer => None,
        }
    }
}

/// Opens a part from a file or folder of its own, with the configuration beside it if there is one.
pub(crate) fn open(path: &Path, family: Family, part: Part) -> Result<(Component, Option<Value>), CheckpointError> {
    let facts = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?;
    if facts.is_dir() {
        let inner = path.join(part.folder());
        return folder::open_part(if inner.is_dir() { &inner } else { path }, family, part);
    }
    let files = [Arc::new(SafetensorsFile::open(path)?)];
    let Some(place) = layout::find(&files, family, part) else {
        let what = detect(&files[0]).what();
        let expected = usual(family, part).description();
        return Err(CheckpointError::WrongPart { path: path.to_owned(), what, part, family, expected });
    };
    let component = layout::read(&files, family, part, &place, path)?;
    checks::part(&component, family)?;
    Ok((component, None))
}

/// The error for a part that is nowhere.
pub(crate) fn missing(path: &Path, family: Family, part: Part) -> CheckpointError {
    let usual = usual(family, part);
    let advice = match part {
        Part::Unet | Part::Transformer => "The file is incomplete; fetch it again.".to_owned(),
        _ => format!(
            "{family} also needs {}: choose that file as the {part}. ComfyUI keeps it in models/{}, Forge in models/{}; \
             on the hub it is in {}.",
            usual.description(),
            usual.comfy,
            usual.forge,
            usual.hub
        ),
    };
    CheckpointError::MissingPart { path: path.to_owned(), part, expected: usual.file.to_owned(), advice }
}

/// Which file a part usually is, and where to get it, as a sentence.
pub fn where_to_get(family: Family, part: Part) -> String {
    let usual = usual(family, part);
    format!(
        "{}. ComfyUI keeps it in models/{}, Forge in models/{}; on the hub it is in {}",
        usual.description(),
        usual.comfy,
        usual.forge,
        usual.hub
    )
}

/// Repository and file on the hub that a part can be fetched from.
pub fn hub_file(family: Family, part: Part) -> Option<(&'static str, &'static str)> {
    const TEXT_ENCODERS: &str = "comfyanonymous/flux_text_encoders";
    const SDXL: &str = "stabilityai/stable-diffusion-xl-base-1.0";
    Some(match (part, family) {
        (Part::Vae, Family::Flux1Dev | Family::Flux1Schnell) => ("black-forest-labs/FLUX.1-schnell", "ae.safetensors"),
        (Part::Vae, Family::Sdxl) => ("stabilityai/sdxl-vae", "sdxl_vae.safetensors"),
        (Part::Vae, Family::Sd1 | Family::Sd2) => {
            ("stabilityai/sd-vae-ft-mse-original", "vae-ft-mse-840000-ema-pruned.safetensors")
        }
        // The same CLIP-L in all of them, in a file without its half for pictures.
        (Part::TextEncoder, Family::Flux1Dev | Family::Flux1Schnell | Family::Sdxl | Family::Sd1) => {
            (TEXT_ENCODERS, "clip_l.safetensors")
        }
        (Part::TextEncoder2, Family::Flux1Dev | Family::Flux1Schnell) => (TEXT_ENCODERS, "t5xxl_fp16.safetensors"),
        (Part::TextEncoder2, Family::Sdxl) => (SDXL, "text_encoder_2/model.fp16.safetensors"),
        _ => return None,
    })
}

/// How a part is usually called and where it is kept.
struct Usual {
    what: &'static str,
    file: &'static str,
    /// Folders below `models/` of ComfyUI and of Forge.
    comfy: &'static str,
    forge: &'static str,
    /// Repository of the Hugging Face hub.
    hub: &'static str,
}

impl Usual {
    fn description(&self) -> String {
        format!("{} ({})", self.what, self.file)
    }
}

fn usual(family: Family, part: Part) -> Usual {
    const TEXT: (&str, &str) = ("text_encoders (or models/clip)", "text_encoder");
    let text = |what, file, hub| Usual { what, file, comfy: TEXT.0, forge: TEXT.1, hub };
    let vae = |what, file, hub| Usual { what, file, comfy: "vae", forge: "VAE", hub };
    const FLUX_TEXT: &str = "comfyanonymous/flux_text_encoders";
    const SDXL: &str = "stabilityai/stable-diffusion-xl-base-1.0";
    match (part, family) {
        (Part::Unet, _) => Usual {
            what: "the UNet",
            file: "unet/diffusion_pytorch_model.safetensors",
            comfy: "diffusion_models (or models/unet)",
            forge: "Stable-diffusion",
            hub: "the model's own repository",
        },
        (Part::Transformer, _) => Usual {
            what: "the transformer",
            file: "flux1-dev.safetensors",
            comfy: "diffusion_models (or models/unet)",
            forge: "Stable-diffusion",
            hub: "black-forest-labs/FLUX.1-dev",
        },
        (Part::Vae, Family::Flux1Dev | Family::Flux1Schnell) => {
            vae("the autoencoder of FLUX.1", "ae.safetensors", "black-forest-labs/FLUX.1-schnell")
        }
        (Part::Vae, Family::Sdxl) => vae("the VAE of SDXL", "sdxl_vae.safetensors", "stabilityai/sdxl-vae"),
        (Part::Vae, _) => vae(
            "the VAE of Stable Diffusion 1.x and 2.x",
            "vae-ft-mse-840000-ema-pruned.safetensors",
            "stabilityai/sd-vae-ft-mse-original",
        ),
        (Part::TextEncoder, Family::Flux1Dev | Family::Flux1Schnell) => {
            text("the text encoder CLIP-L", "clip_l.safetensors", FLUX_TEXT)
        }
        (Part::TextEncoder, Family::Sdxl) => text("the text encoder CLIP-L", "clip_l.safetensors", SDXL),
        (Part::TextEncoder, Family::Sd2) => text(
            "the text encoder OpenCLIP-H",
            "text_encoder/model.safetensors",
            "any SD 2.x folder in diffusers layout",
        ),
        (Part::TextEncoder, _) => {
            text("the text encoder CLIP-L", "clip_l.safetensors", "openai/clip-vit-large-patch14")
        }
        (Part::TextEncoder2, Family::Flux1Dev | Family::Flux1Schnell) => {
            text("the text encoder T5-XXL", "t5xxl_fp16.safetensors", FLUX_TEXT)
        }
        (Part::TextEncoder2, _) => text("the text encoder OpenCLIP-bigG", "clip_g.safetensors", SDXL),
    }
}
