//! An opened base model on a device. Weights are read only when a part is loaded, and dropped with it.

use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{DType, Device, Int, TensorData};
use lorikeet_checkpoint::{BaseModel, CheckpointError, Component, Part, open_base};
use lorikeet_diffusion::{NoiseSchedule, Prediction};
use lorikeet_models::clip::{ClipConfig, ClipTextModel, ClipTokenizer, LENGTH};
use lorikeet_models::unet::{UNet2DConditionModel, UNetConfig};
use lorikeet_models::vae::{AutoencoderKl, VaeConfig};
use lorikeet_nn::{Context, DeviceKind, Loader, NnError, WeightSource, device};

use crate::TrainError;

/// A base model with its configurations read, on a device.
pub struct Base {
    pub model: BaseModel,
    pub kind: DeviceKind,
    pub device: Device,
    /// Of activations and frozen weights.
    pub dtype: DType,
    pub schedule: NoiseSchedule,
    pub prediction: Prediction,
    pub unet_config: UNetConfig,
    pub vae_config: VaeConfig,
    pub clip_config: ClipConfig,
}

impl Base {
    /// `path`: `demo`, a diffusers folder, or a `.safetensors` file. Reads headers and configurations only.
    ///
    /// # Errors
    /// When it is no model of this kind, its parts do not fit together, or the device cannot be opened.
    pub fn open(path: &str, kind: DeviceKind) -> Result<Self, TrainError> {
        Self::new(open_model(path)?, kind)
    }

    /// # Errors
    /// As [`Self::open`].
    pub fn new(model: BaseModel, kind: DeviceKind) -> Result<Self, TrainError> {
        let unet_config = UNetConfig::from_json(model.config(Part::Unet)?)?;
        let vae_config = VaeConfig::from_json(model.config(Part::Vae)?)?;
        let clip_config = ClipConfig::from_json(model.config(Part::TextEncoder)?)?;
        check(&model.path, &unet_config, &vae_config, &clip_config)?;
        let device = device::open(kind)?;
        Ok(Self {
            dtype: device::compute_dtype(kind, &device),
            schedule: NoiseSchedule::from_config(&model.scheduler)?,
            prediction: match model.prediction {
                lorikeet_checkpoint::Prediction::Epsilon => Prediction::Epsilon,
                lorikeet_checkpoint::Prediction::V => Prediction::V,
                lorikeet_checkpoint::Prediction::Flow => return Err(not_trainable(&model)),
            },
            model,
            kind,
            device,
            unet_config,
            vae_config,
            clip_config,
        })
    }

    /// As the recipe says, whatever the model's own files say.
    pub fn set_prediction(&mut self, prediction: lorikeet_recipe::Prediction) {
        self.prediction = match prediction {
            lorikeet_recipe::Prediction::Epsilon => Prediction::Epsilon,
            lorikeet_recipe::Prediction::Velocity => Prediction::V,
        };
    }

    /// Layers are named `unet.` and the diffusers path.
    ///
    /// # Errors
    /// When weights are missing, unreadable or do not fit the configuration.
    pub fn load_unet(&self) -> Result<UNet2DConditionModel, TrainError> {
        let weights = Weights(self.model.part(Part::Unet)?);
        Ok(UNet2DConditionModel::load(&self.unet_config, &Loader::new(&weights, "unet", &self.device, self.dtype))?)
    }

    /// # Errors
    /// As [`Self::load_unet`].
    pub fn load_vae(&self) -> Result<AutoencoderKl, TrainError> {
        let weights = Weights(self.model.part(Part::Vae)?);
        // The autoencoder of SD1.x overflows in f16 and loses detail in bf16; it runs seldom.
        Ok(AutoencoderKl::load(&self.vae_config, &Loader::new(&weights, "vae", &self.device, DType::F32))?)
    }

    /// Layers are named `text_encoder.` and the transformers path.
    ///
    /// # Errors
    /// As [`Self::load_unet`].
    pub fn load_text(&self) -> Result<TextEncoder, TrainError> {
        let weights = Weights(self.model.part(Part::TextEncoder)?);
        let loader = Loader::new(&weights, "text_encoder", &self.device, self.dtype);
        Ok(TextEncoder {
            model: ClipTextModel::load(&self.clip_config, &loader)?,
            tokenizer: ClipTokenizer::embedded()?,
            device: self.device.clone(),
        })
    }

    /// Sides of pictures must be a multiple of this, px.
    pub fn size_multiple(&self) -> usize {
        self.vae_config.factor() * self.unet_config.size_multiple()
    }

    /// Shape of the latents of a picture, `[channels, height, width]`.
    pub fn latent_shape(&self, width: u32, height: u32) -> [usize; 3] {
        let factor = self.vae_config.factor();
        [self.vae_config.latent_channels, height as usize / factor, width as usize / factor]
    }

    /// The sides rounded down to what the model can draw, at least the smallest, and a warning if that changed them.
    pub fn valid_size(&self, width: u32, height: u32) -> ((u32, u32), Option<String>) {
        let multiple = u32::try_from(self.size_multiple()).unwrap_or(8);
        let valid = |side: u32| (side - side % multiple).max(multiple);
        let size = (valid(width), valid(height));
        let warning = (size != (width, height)).then(|| {
            format!(
                "{width} x {height} px is drawn as {} x {}: sides must be multiples of {multiple} px for this base",
                size.0, size.1
            )
        });
        (size, warning)
    }
}

/// CLIP's text encoder with its tokenizer.
pub struct TextEncoder {
    pub model: ClipTextModel,
    pub tokenizer: ClipTokenizer,
    device: Device,
}

impl TextEncoder {
    /// Token ids `[b, 77]`.
    pub fn ids<S: AsRef<str>>(&self, captions: &[S]) -> Tensor<2, Int> {
        let ids: Vec<i32> = captions
            .iter()
            .flat_map(|caption| self.tokenizer.encode(caption.as_ref()))
            .map(|id| i32::try_from(id).unwrap_or(0))
            .collect();
        Tensor::from_data(TensorData::new(ids, [captions.len(), LENGTH]), &self.device)
    }

    /// States `[b, 77, width]` in the dtype of computation.
    pub fn states<S: AsRef<str>>(&self, cx: &Context, captions: &[S]) -> Tensor<3> {
        self.model.forward(cx, self.ids(captions), CLIP_SKIP)
    }
}

/// All layers of the text encoder, as SD1.x was trained.
pub(crate) const CLIP_SKIP: usize = 1;

/// All numbers of a tensor in f32, row-major. `what` completes "reading ... back".
pub(crate) fn read_back<const D: usize>(tensor: Tensor<D>, what: &str) -> Result<Vec<f32>, TrainError> {
    let data = tensor.cast(DType::F32).into_data();
    data.try_into_vec::<f32>()
        .map_err(|error| TrainError::from(NnError::Execution { reason: format!("reading {what} back: {error:?}") }))
}

/// A part of a checkpoint as the models read it.
struct Weights<'a>(&'a Component);

impl WeightSource for Weights<'_> {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name).map(<[usize]>::to_vec)
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        self.0.f32(name).map_err(|error| error.to_string())
    }
}

fn check(path: &Path, unet: &UNetConfig, vae: &VaeConfig, clip: &ClipConfig) -> Result<(), TrainError> {
    let mismatch = |problem: String| Err(TrainError::Mismatch { path: path.to_owned(), problem });
    if unet.in_channels != vae.latent_channels || unet.out_channels != vae.latent_channels {
        return mismatch(format!(
            "the UNet takes {} latent channels and gives {}, the autoencoder has {}",
            unet.in_channels, unet.out_channels, vae.latent_channels
        ));
    }
    if unet.cross_attention_dim != clip.hidden_size {
        return mismatch(format!(
            "the UNet reads text states of width {}, the text encoder gives {}",
            unet.cross_attention_dim, clip.hidden_size
        ));
    }
    if clip.max_position_embeddings < LENGTH || clip.vocab_size < 49_408 {
        return mismatch(format!(
            "the text encoder knows {} tokens at {} places, where CLIP's tokenizer makes 49408 at {LENGTH}",
            clip.vocab_size, clip.max_position_embeddings
        ));
    }
    Ok(())
}

/// Opens a base by what stands in a recipe: `demo`, a folder or a file.
///
/// # Errors
/// When nothing usable is there; the message says what it is instead.
pub fn open_model(path: &str) -> Result<BaseModel, TrainError> {
    if path.trim() == "demo" {
        let mut model = open_base(demo_base_folder()?)?;
        model.name = "Lorikeet demo base".to_owned();
        return Ok(model);
    }
    let model = open_base(path)?;
    if model.family.trainable() { Ok(model) } else { Err(not_trainable(&model)) }
}

fn not_trainable(model: &BaseModel) -> TrainError {
    let advice =
        "This version of Lorikeet does not train it yet: choose a Stable Diffusion 1.x model or the demo base.";
    TrainError::from(CheckpointError::Unsupported {
        path: model.path.clone(),
        what: format!("a model of the family {}", model.family),
        advice: advice.to_owned(),
    })
}

/// Where the demo base lies: under `LORIKEET_ASSETS`, beside the program, or in the source tree it was built from.
///
/// # Errors
/// When it is in none of them.
pub fn demo_base_folder() -> Result<PathBuf, TrainError> {
    let mut places = Vec::new();
    places.extend(std::env::var_os("LORIKEET_ASSETS").map(PathBuf::from));
    if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(folder.join("assets"));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets"));
    let folders: Vec<PathBuf> = places.into_iter().map(|place| place.join("demo-base")).collect();
    let looked = || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    match folders.iter().find(|folder| folder.join("model_index.json").is_file()) {
        Some(folder) => Ok(folder.canonicalize().unwrap_or_else(|_| folder.clone())),
        None => Err(TrainError::NoDemoBase { looked: looked() }),
    }
}

/// The device a recipe or command line asks for; `auto` is the fastest kind that works.
///
/// # Errors
/// When there is no device of that name.
pub fn choose_device(text: &str) -> Result<DeviceKind, TrainError> {
    match text.trim() {
        "" | "auto" => {
            let usable = device::list().into_iter().find(|info| info.unusable.is_none());
            Ok(usable.map_or(DeviceKind::Cpu, |info| info.kind))
        }
        name => Ok(name.parse::<DeviceKind>()?),
    }
}
