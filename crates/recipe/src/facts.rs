//! What a plan must be told about the base, the pictures and the machine. Plain numbers, so that anyone can fill them in.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::Precision;
use crate::setting::BaseClass;

/// The architecture of a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// UNet2DConditionModel, AutoencoderKL and one CLIP text encoder.
    #[default]
    Sd1,
    /// The same with OpenCLIP's text encoder.
    Sd2,
    /// The same with both text encoders and sizes as further inputs.
    Sdxl,
    /// A transformer that is told its guidance, with CLIP and T5.
    FluxDev,
    /// The same without guidance, made to draw in four steps.
    FluxSchnell,
}

/// Numbers in the denoisers of the built-in bases and of others like them.
const SMALL: u64 = 50_000_000;

impl Family {
    /// Whose defaults hold for a base with that many numbers in its denoiser.
    pub fn class(self, denoiser_params: u64) -> BaseClass {
        match self {
            Family::Sd1 if denoiser_params < SMALL => BaseClass::Demo,
            Family::Sd1 => BaseClass::Sd1,
            Family::Sd2 => BaseClass::Sd2,
            Family::Sdxl => BaseClass::Sdxl,
            Family::FluxDev if denoiser_params < SMALL => BaseClass::DemoFlux,
            Family::FluxDev => BaseClass::FluxDev,
            Family::FluxSchnell => BaseClass::FluxSchnell,
        }
    }
}

/// What a base was trained to predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prediction {
    #[default]
    #[serde(rename = "epsilon")]
    Epsilon,
    /// sqrt(abar) noise - sqrt(1 - abar) picture.
    #[serde(rename = "v")]
    Velocity,
    /// noise - picture, on the straight line between them.
    #[serde(rename = "flow")]
    Flow,
}

impl Prediction {
    /// As in TOML and in `scheduler_config.json` without `_prediction`.
    pub fn id(self) -> &'static str {
        match self {
            Prediction::Epsilon => "epsilon",
            Prediction::Velocity => "v",
            Prediction::Flow => "flow",
        }
    }
}

/// A layer that a LoRA goes on: `[out, in]` for a linear layer (`kernel` 1), `[out, in, kernel, kernel]` for a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    pub outputs: u64,
    pub inputs: u64,
    pub kernel: u64,
}

impl TargetFacts {
    /// Numbers trained on this layer: `lora_down [rank, inputs, kernel, kernel]` and `lora_up [outputs, rank, 1, 1]`.
    pub fn trainable(&self, rank: u64) -> u64 {
        rank * (self.inputs * self.kernel * self.kernel + self.outputs)
    }
}

/// The shape of a UNet, as its diffusers config tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnetShape {
    pub block_out_channels: Vec<u64>,
    pub layers_per_block: u64,
    /// Transformer blocks in each attention of a level on the way down; 0 for a level without attention.
    pub transformer_depth: Vec<u64>,
    /// Attention heads of each level.
    pub heads: Vec<u64>,
    /// Width of the text states.
    pub context_width: u64,
}

/// The shape of a FLUX transformer, as its config tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FluxShape {
    pub hidden: u64,
    pub heads: u64,
    pub double_blocks: u64,
    pub single_blocks: u64,
    /// Width of the feed-forward layers in units of `hidden`.
    pub mlp_ratio: u64,
    /// Width of the text states.
    pub context_width: u64,
    /// Whether it is told a guidance value.
    pub guidance: bool,
}

/// The network that learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenoiserShape {
    Unet(UnetShape),
    Flux(FluxShape),
}

impl DenoiserShape {
    pub fn context_width(&self) -> u64 {
        match self {
            DenoiserShape::Unet(unet) => unet.context_width,
            DenoiserShape::Flux(flux) => flux.context_width,
        }
    }

    /// For people.
    pub fn noun(&self) -> &'static str {
        match self {
            DenoiserShape::Unet(_) => "UNet",
            DenoiserShape::Flux(_) => "transformer",
        }
    }
}

/// A text encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextFacts {
    pub params: u64,
    /// Those of them in matrices of linear layers, which can be packed or streamed.
    pub matrices: u64,
    pub layers: u64,
    pub width: u64,
    /// Of a caption.
    pub tokens: u64,
    /// Empty if it is never trained.
    pub targets: Vec<TargetFacts>,
}

/// The base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseFacts {
    pub family: Family,
    /// For people: `Lorikeet demo base`, `v1-5-pruned.safetensors`.
    pub display_name: String,
    pub path: PathBuf,
    pub prediction: Prediction,
    /// Edge of the squares it learned at, px.
    pub native_resolution: u32,
    /// Pixels to one latent, along an edge.
    pub latent_factor: u32,
    pub latent_channels: u32,
    /// Sides of pictures must be a multiple of this, px: `latent_factor` times the UNet's own halvings.
    pub size_multiple: u32,
    pub denoiser_params: u64,
    /// Those of them in matrices of linear layers, which can be packed or streamed. Convolutions, norms and biases cannot.
    pub denoiser_matrices: u64,
    pub vae_params: u64,
    pub model_file_bytes: u64,
    pub denoiser: DenoiserShape,
    /// Width of the autoencoder at full picture size (its first `block_out_channels`).
    pub vae_channels: u64,
    /// In the order of the model's files.
    pub text: Vec<TextFacts>,
    pub denoiser_targets: Vec<TargetFacts>,
    /// Where convolutions are trained too; empty for a transformer.
    pub convolution_targets: Vec<TargetFacts>,
}

impl BaseFacts {
    /// Whose defaults hold.
    pub fn class(&self) -> BaseClass {
        self.family.class(self.denoiser_params)
    }

    /// Of all text encoders.
    pub fn text_params(&self) -> u64 {
        self.text.iter().map(|text| text.params).sum()
    }

    /// With captions of so many tokens for T5, which is the last text encoder of the families that have it; 0: as it is.
    pub(crate) fn with_t5_tokens(&self, tokens: u32) -> BaseFacts {
        let mut base = self.clone();
        if let (DenoiserShape::Flux(_), Some(t5)) = (&self.denoiser, base.text.last_mut()) {
            t5.tokens = if tokens == 0 { t5.tokens } else { tokens.into() };
        }
        base
    }

    /// Layers of all text encoders that a LoRA may go on.
    pub fn text_targets(&self) -> impl Iterator<Item = &TargetFacts> {
        self.text.iter().flat_map(|text| &text.targets)
    }
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageFacts {
    pub path: PathBuf,
    /// After EXIF rotation, px.
    pub width: u32,
    pub height: u32,
    /// How often an epoch shows it: the folder's repeats times `dataset.repeats`.
    pub repeats: u32,
}

/// A bucket with the number of its pictures in an epoch, repeats counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFacts {
    pub width: u32,
    pub height: u32,
    pub count: u64,
}

/// A folder with the number of its pictures to train on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderFacts {
    pub path: PathBuf,
    pub images: u64,
    /// Pictures in an epoch, repeats counted.
    pub looks: u64,
}

/// The pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Where there are several.
    #[serde(default)]
    pub folders: Vec<FolderFacts>,
    pub images: Vec<ImageFacts>,
    /// As in their files, before the trigger word.
    pub captions: Vec<String>,
    pub validation_images: u64,
    /// Pictures with no caption.
    pub captions_missing: u64,
    /// Pictures with a mask beside them.
    #[serde(default)]
    pub masks: u64,
    /// Files left out, and why.
    pub skipped: Vec<(PathBuf, String)>,
    /// If empty, all pictures count as squares of the resolution.
    pub buckets: Vec<BucketFacts>,
}

/// Of one processor core in f32, from steps of Stable Diffusion 1.5 on two.
const CPU_CORE_FLOPS: f64 = 20e9;

/// The computer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// The device taken: `cpu`, `cuda:0`, `vulkan:0`.
    pub device: String,
    /// Memory of that device: of the card, or for the CPU of the computer.
    pub memory_bytes: u64,
    /// Memory of the computer.
    pub host_memory_bytes: u64,
    /// Free where the run folder will be.
    pub disk_free_bytes: u64,
    /// Free where encoded pictures and captions are kept.
    pub cache_free_bytes: u64,
    /// That folder, for people.
    pub cache_folder: PathBuf,
    pub cores: u32,
    /// Whether the device computes UNets in f16: Vulkan's where they know it, CUDA's that have no bf16.
    #[serde(default)]
    pub f16: bool,
}

impl MachineFacts {
    pub fn is_cpu(&self) -> bool {
        self.device.eq_ignore_ascii_case("cpu")
    }

    /// Numbers multiplied and added in a second, times two, as a LoRA step does them; nothing where it was not measured.
    pub fn flops(&self) -> Option<f64> {
        self.is_cpu().then(|| CPU_CORE_FLOPS * f64::from(self.cores.max(1)))
    }

    /// Bytes of a number in computation: bf16 on CUDA, f16 for UNets on devices that have no bf16 but that, f32 elsewhere.
    pub fn number_bytes(&self, base: &BaseFacts, precision: Precision) -> u64 {
        let half = match base.denoiser {
            _ if !self.f16 => self.device.to_ascii_lowercase().starts_with("cuda"),
            DenoiserShape::Unet(_) => true,
            // The transformer's numbers, and those of T5, go over what f16 holds.
            DenoiserShape::Flux(_) => false,
        };
        if half && precision == Precision::Auto { 2 } else { 4 }
    }
}
