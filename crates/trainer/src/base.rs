//! An opened base model on a device. Weights are read only when a part is loaded, and dropped with it.

use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{DType, Device};
use lorikeet_checkpoint::{BaseModel, Component, Dtype, Mapped, Part, PartFiles, open_base_with};
use lorikeet_diffusion::{Prediction, Schedule};
use lorikeet_models::vae::{AutoencoderKl, VaeConfig};
use lorikeet_nn::{Bits, DeviceKind, Loader, NnError, RawFormat, RawPiece, RawTensor, Storage, WeightSource, device};
use lorikeet_recipe::{LossSettings, Placement, Precision, Quantise, Recipe, built_in};

use crate::TrainError;
use crate::family::{Architecture, CaptionLength, Denoiser, TextEncoders, architecture};

/// A base model with its configurations read, on a device.
pub struct Base {
    pub model: BaseModel,
    pub kind: DeviceKind,
    pub device: Device,
    /// Of activations and frozen weights.
    pub dtype: DType,
    /// How large frozen matrices of the denoiser are kept, and those of the text encoders.
    pub storage: Storage,
    pub text_storage: Storage,
    pub caption: CaptionLength,
    pub schedule: Schedule,
    pub prediction: Prediction,
    pub architecture: Box<dyn Architecture>,
    pub vae_config: VaeConfig,
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
        let architecture = architecture(&model)?;
        let vae_config = VaeConfig::from_json(model.config(Part::Vae)?)?;
        let (takes, gives) = (architecture.latent_channels(), vae_config.latent_channels);
        if takes != gives {
            let problem = format!("the denoiser takes {takes} latent channels, the autoencoder has {gives}");
            return Err(TrainError::Mismatch { path: model.path, problem });
        }
        let device = device::open(kind)?;
        Ok(Self {
            dtype: match device::compute_dtype(kind, &device) {
                // The transformer's numbers, and those of T5, go over what f16 holds.
                DType::F16 if model.family.is_flux1() => DType::F32,
                dtype => dtype,
            },
            storage: Storage::Resident,
            text_storage: Storage::Resident,
            caption: CaptionLength::default(),
            schedule: Schedule::from_config(&model.scheduler)?,
            prediction: match model.prediction {
                lorikeet_checkpoint::Prediction::Epsilon => Prediction::Epsilon,
                lorikeet_checkpoint::Prediction::V => Prediction::V,
                lorikeet_checkpoint::Prediction::Flow => Prediction::Flow,
            },
            model,
            kind,
            device,
            architecture,
            vae_config,
        })
    }

    /// Prediction and schedule as the recipe says, whatever the model's own files say.
    ///
    /// # Errors
    /// When the schedule cannot be read in this way.
    pub fn set_loss(&mut self, loss: &LossSettings) -> Result<(), TrainError> {
        if let Some(zero) = loss.zero_terminal_snr {
            self.model.scheduler["rescale_betas_zero_snr"] = zero.into();
            self.schedule = Schedule::from_config(&self.model.scheduler)?;
        }
        self.prediction = match loss.prediction {
            lorikeet_recipe::Prediction::Epsilon => Prediction::Epsilon,
            lorikeet_recipe::Prediction::Velocity => Prediction::V,
            lorikeet_recipe::Prediction::Flow => Prediction::Flow,
        };
        Ok(())
    }

    /// As the recipe says, before anything is loaded.
    pub fn set_precision(&mut self, precision: Precision) {
        if precision == Precision::F32 {
            self.dtype = DType::F32;
        }
    }

    /// As the plan says, so that the run fits. `text`: of the text encoders, if they are kept otherwise.
    pub fn set_storage(&mut self, placement: Placement, quantise: Quantise, text: Option<Quantise>) {
        self.storage = storage(placement, quantise);
        self.text_storage = text.map_or(self.storage, |text| storage(Placement::Resident, text));
    }

    /// Layers are named by the part's folder and the path of their tensors.
    pub(crate) fn loader<'a>(&'a self, weights: &'a Weights<'a>, part: Part) -> Loader<'a> {
        let storage = match part {
            Part::TextEncoder | Part::TextEncoder2 => self.text_storage,
            _ => self.storage,
        };
        let dtype = match (part, self.dtype) {
            // That of SDXL is known to go over what f16 holds.
            (Part::Vae, DType::F16) => DType::F32,
            (_, dtype) => dtype,
        };
        Loader::new(weights, part.folder(), &self.device, dtype).with_storage(storage)
    }

    /// # Errors
    /// When weights are missing, unreadable or do not fit the configuration.
    pub fn load_denoiser(&self) -> Result<Box<dyn Denoiser>, TrainError> {
        self.located(self.architecture.denoiser(), self.architecture.load_denoiser(self))
    }

    /// # Errors
    /// As [`Self::load_denoiser`].
    pub fn load_vae(&self) -> Result<AutoencoderKl, TrainError> {
        let weights = Weights(self.model.part(Part::Vae)?);
        // The autoencoder of SD1.x overflows in f16 and loses detail in bf16; it runs seldom.
        let loaded = AutoencoderKl::load(&self.vae_config, &Loader::new(&weights, "vae", &self.device, DType::F32));
        self.located(Part::Vae, loaded.map_err(TrainError::from))
    }

    /// # Errors
    /// As [`Self::load_denoiser`].
    pub fn load_text(&self) -> Result<Box<dyn TextEncoders>, TrainError> {
        self.located(Part::TextEncoder, self.architecture.load_text(self))
    }

    /// # Errors
    /// When a file that steps read was written to since it was opened.
    pub(crate) fn unchanged(&self) -> Result<(), TrainError> {
        Ok(self.model.part(self.architecture.denoiser())?.unchanged()?)
    }

    /// An error of a model tells tensors by name; people want to know in which file.
    fn located<T>(&self, part: Part, loaded: Result<T, TrainError>) -> Result<T, TrainError> {
        loaded.map_err(|error| match (error, self.model.part(part)) {
            (TrainError::Model(source), Ok(weights)) => {
                // Which of several text encoders it is, the error itself says.
                let several = part == Part::TextEncoder && self.model.part(Part::TextEncoder2).is_ok();
                let place = if several { &self.model.path } else { weights.place() };
                TrainError::Weights { place: place.to_owned(), source }
            }
            (error, _) => error,
        })
    }

    /// Sides of pictures must be a multiple of this, px.
    pub fn size_multiple(&self) -> usize {
        self.vae_config.factor() * self.architecture.size_multiple()
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

fn storage(placement: Placement, quantise: Quantise) -> Storage {
    match (placement, quantise) {
        (Placement::Stream, _) => Storage::Streamed,
        (Placement::Host, Quantise::None) => Storage::Host(Bits::Computed),
        (Placement::Host, Quantise::Int8) => Storage::Host(Bits::Int8 { block: Some(128) }),
        (Placement::Host, Quantise::Int4) => Storage::Host(Bits::Int4 { block: 64 }),
        (Placement::Resident, Quantise::None) => Storage::Resident,
        (Placement::Resident, Quantise::Int8) => Storage::Int8 { block: Some(128) },
        (Placement::Resident, Quantise::Int4) => Storage::Int4 { block: 64 },
    }
}

/// All numbers of a tensor in f32, row-major. `what` completes "reading ... back".
pub(crate) fn read_back<const D: usize>(tensor: Tensor<D>, what: &str) -> Result<Vec<f32>, TrainError> {
    let data = tensor.cast(DType::F32).into_data();
    data.try_into_vec::<f32>()
        .map_err(|error| TrainError::from(NnError::Execution { reason: format!("reading {what} back: {error:?}") }))
}

/// A part of a checkpoint as the models read it.
pub(crate) struct Weights<'a>(pub(crate) &'a Component);

impl WeightSource for Weights<'_> {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name).map(<[usize]>::to_vec)
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        self.0.f32(name).map_err(|error| error.to_string())
    }

    fn raw(&self, name: &str) -> Option<RawTensor> {
        let (dtype, pieces) = self.0.mapped(name)?;
        let format = match dtype {
            Dtype::F32 => RawFormat::F32,
            Dtype::F16 => RawFormat::F16,
            Dtype::Bf16 => RawFormat::Bf16,
            Dtype::F8E4M3 => RawFormat::F8E4M3,
            Dtype::F8E5M2 => RawFormat::F8E5M2,
            _ => return None,
        };
        let piece = |rows: Mapped| RawPiece { owner: rows.file, range: rows.range, scale: rows.scale };
        Some(RawTensor { format, pieces: pieces.into_iter().map(piece).collect() })
    }

    fn copied(&self, name: &str) {
        self.0.let_go(name);
    }
}

/// Opens a base by what stands in a recipe: the name of a built-in one, a folder or a file.
///
/// # Errors
/// When nothing usable is there; the message says what it is instead.
pub fn open_model(path: &str) -> Result<BaseModel, TrainError> {
    open_model_with(path, &PartFiles::default())
}

/// As [`open_model`], with some parts from files of their own.
///
/// # Errors
/// As [`open_model`].
pub(crate) fn open_model_with(path: &str, parts: &PartFiles) -> Result<BaseModel, TrainError> {
    if let Some(base) = built_in(path) {
        let folder = asset_folder(base.folder)?;
        let parts = match base.shares {
            Some(shared) => parts.clone().or_shared(&folder, &asset_folder(shared)?),
            None => parts.clone(),
        };
        let mut model = open_base_with(folder, &parts)?;
        model.name = base.title.to_owned();
        return Ok(model);
    }
    Ok(open_base_with(path, parts)?)
}

/// The parts that a recipe takes from files of their own.
pub(crate) fn part_files(recipe: &Recipe) -> PartFiles {
    let file = |id| match recipe.get(id) {
        lorikeet_recipe::Value::Text(path) if !path.trim().is_empty() => Some(PathBuf::from(path)),
        _ => None,
    };
    PartFiles {
        vae: file("base.vae"),
        text_encoder: file("base.text_encoder"),
        text_encoder_2: file("base.text_encoder_2"),
    }
}

/// Where the folder of a built-in base lies: under `LORIKEET_ASSETS`, beside the program, or in the source tree it was built from.
///
/// # Errors
/// When it is in none of them.
pub fn asset_folder(name: &str) -> Result<PathBuf, TrainError> {
    let mut places = Vec::new();
    places.extend(std::env::var_os("LORIKEET_ASSETS").map(PathBuf::from));
    if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(folder.join("assets"));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets"));
    let folders: Vec<PathBuf> = places.into_iter().map(|place| place.join(name)).collect();
    let looked = || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    match folders.iter().find(|folder| folder.join("model_index.json").is_file()) {
        Some(folder) => Ok(folder.canonicalize().unwrap_or_else(|_| folder.clone())),
        None => Err(TrainError::NoDemoBase { name: name.to_owned(), looked: looked() }),
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
