//! Drawing with loaded models: what previews and pictures on request have in common.

use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use image::RgbImage;
use lorikeet_adapters::LoraSet;
use lorikeet_checkpoint::lora;
use lorikeet_diffusion::{Prediction, SamplerKind, SamplingPlan, Schedule, Spacing, guided};
use lorikeet_models::vae::AutoencoderKl;
use lorikeet_nn::{Context, Deltas, LayerInfo, NnError};
use lorikeet_protocol::{PictureSettings, StepSpacing};
use lorikeet_recipe::{SampleSettings, Sampler};
use lorikeet_seeded::{Purpose, Stream};

use crate::base::read_back;
use crate::export::{ADAPTER, read_adapter};
use crate::family::recipe_family;
use crate::{Base, Condition, Denoiser, Sizes, TextStates, TrainError};

/// How to draw one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawSettings {
    /// px; see [`Base::valid_size`].
    pub width: u32,
    pub height: u32,
    pub steps: usize,
    /// Classifier-free guidance; at 1 there is none and a step costs half.
    pub cfg: f64,
    /// What FLUX.1 dev is told; 0 for models that take none.
    pub guidance: f64,
    pub sampler: SamplerKind,
    pub seed: u64,
}

impl From<&SampleSettings> for DrawSettings {
    fn from(settings: &SampleSettings) -> Self {
        Self {
            width: settings.width,
            height: settings.height,
            steps: settings.steps as usize,
            cfg: settings.cfg,
            guidance: settings.guidance.unwrap_or(0.0),
            sampler: kind(settings.sampler),
            seed: settings.seed,
        }
    }
}

pub(crate) fn kind(sampler: Sampler) -> SamplerKind {
    match sampler {
        Sampler::Euler => SamplerKind::Euler,
        Sampler::EulerA => SamplerKind::EulerAncestral,
        Sampler::DpmPp2m => SamplerKind::Dpmpp2m,
        Sampler::Ddim => SamplerKind::Ddim,
    }
}

impl DrawSettings {
    /// What is kept with the picture. LoRAs and step are the caller's to tell.
    pub(crate) fn told(&self, base: &Base, prompt: &str, negative: &str) -> PictureSettings {
        let ((width, height), _) = base.valid_size(self.width, self.height);
        PictureSettings {
            prompt: prompt.to_owned(),
            negative: negative.to_owned(),
            base: base.model.name.clone(),
            base_file: base.model.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            family: recipe_family(base.model.family),
            prediction: Some(match base.prediction {
                Prediction::Epsilon => lorikeet_recipe::Prediction::Epsilon,
                Prediction::V => lorikeet_recipe::Prediction::Velocity,
                Prediction::Flow => lorikeet_recipe::Prediction::Flow,
            }),
            loras: Vec::new(),
            seed: self.seed,
            width,
            height,
            steps: u32::try_from(self.steps).unwrap_or(u32::MAX),
            cfg: self.cfg,
            guidance: Some(self.guidance).filter(|guidance| *guidance > 0.0),
            sampler: Some(match self.sampler {
                SamplerKind::Euler => Sampler::Euler,
                SamplerKind::EulerAncestral => Sampler::EulerA,
                SamplerKind::Dpmpp2m => Sampler::DpmPp2m,
                SamplerKind::Ddim => Sampler::Ddim,
            }),
            spacing: match &base.schedule {
                Schedule::Flow(_) => StepSpacing::Flow,
                Schedule::Ddpm(schedule) => match schedule.settings().timestep_spacing {
                    Spacing::Leading => StepSpacing::Leading,
                    Spacing::Linspace => StepSpacing::Linspace,
                    Spacing::Trailing => StepSpacing::Trailing,
                },
            },
            step: None,
            set: 0,
        }
    }
}

/// Draws with models that are loaded already.
#[derive(Clone, Copy)]
pub struct Painter<'a> {
    pub base: &'a Base,
    pub denoiser: &'a dyn Denoiser,
    pub vae: &'a AutoencoderKl,
}

impl Painter<'_> {
    /// `prompt` and `negative`: of one row. `deltas`: adapters on the denoiser. `after_step` gets the
    /// steps done; its error ends the drawing.
    ///
    /// # Errors
    /// When the schedule cannot be sampled in so many steps, the device fails, or `after_step` says so.
    pub fn draw(
        &self,
        deltas: Option<&dyn Deltas>,
        prompt: &TextStates,
        negative: &TextStates,
        settings: &DrawSettings,
        after_step: &mut dyn FnMut(usize) -> Result<(), TrainError>,
    ) -> Result<RgbImage, TrainError> {
        let ((width, height), _) = self.base.valid_size(settings.width, settings.height);
        let shape = self.base.latent_shape(width, height);
        let noise = |stream: &mut Stream| unit_noise(self.base, shape, stream);
        let cx = deltas.map_or_else(Context::base, Context::with);
        let guides = settings.cfg != 1.0;
        let text = match guides {
            true => TextStates::cat(vec![negative.clone(), prompt.clone()]),
            false => prompt.clone(),
        };
        let sizes = vec![Sizes::whole(width, height); if guides { 2 } else { 1 }];
        let condition = Condition { text, sizes, guidance: settings.guidance as f32 };
        let mut done = 0;
        let mut model = |x: Tensor<4>, timestep: f64| -> Result<Tensor<4>, TrainError> {
            if done > 0 {
                after_step(done)?;
            }
            done += 1;
            let x = x.cast(self.base.dtype);
            let timestep = timestep as f32;
            if !guides {
                return Ok(self.denoiser.forward(&cx, x, &[timestep], &condition).cast(DType::F32));
            }
            // Both in one batch, so that the weights are read once.
            let both = Tensor::cat(vec![x.clone(), x], 0);
            let out = self.denoiser.forward(&cx, both, &[timestep; 2], &condition).cast(DType::F32);
            Ok(guided(out.clone().narrow(0, 0, 1), out.narrow(0, 1, 1), settings.cfg))
        };
        let Base { schedule, prediction, .. } = &self.base;
        let plan = SamplingPlan::new(settings.sampler, schedule, *prediction, settings.steps, [shape[1], shape[2]])?;
        let latents = lorikeet_diffusion::sample(
            &plan,
            noise(&mut Stream::new(settings.seed, Purpose::Sample, &[])),
            &mut |step| noise(&mut Stream::new(settings.seed, Purpose::SampleStep, &[step as u64])),
            &mut model,
            &mut |_, _| {},
        )?;
        after_step(settings.steps)?;
        let config = &self.base.vae_config;
        self.picture(self.vae.decode(latents / config.scaling_factor + config.shift()))
    }

    /// `[1, 3, h, w]`, about [-1, 1].
    fn picture(&self, pixels: Tensor<4>) -> Result<RgbImage, TrainError> {
        let [_, _, height, width] = pixels.dims();
        let values = read_back(pixels.permute([0, 2, 3, 1]), "the picture")?;
        let bytes = values.into_iter().map(|v| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        let side = |n: usize| u32::try_from(n).unwrap_or(0);
        RgbImage::from_raw(side(width), side(height), bytes).ok_or_else(|| {
            TrainError::from(NnError::Execution { reason: "the picture has another size than asked for".to_owned() })
        })
    }
}

/// The unit noise that a drawing starts from, `[channels, height, width]` row-major, and its shape.
pub fn draw_noise(base: &Base, settings: &DrawSettings) -> (Vec<f32>, [usize; 3]) {
    let ((width, height), _) = base.valid_size(settings.width, settings.height);
    let shape = base.latent_shape(width, height);
    (Stream::new(settings.seed, Purpose::Sample, &[]).normals(shape.iter().product()), shape)
}

fn unit_noise(base: &Base, [c, h, w]: [usize; 3], stream: &mut Stream) -> Tensor<4> {
    let data = TensorData::new(stream.normals(c * h * w), [1, c, h, w]);
    Tensor::from_data(data, (&base.device, DType::F32))
}

/// A PNG that tells what it was drawn with.
///
/// # Errors
/// Never for pictures of a valid size.
pub(crate) fn png(picture: &RgbImage, settings: &PictureSettings) -> Result<Vec<u8>, TrainError> {
    lorikeet_picture::png_bytes(picture.as_raw(), picture.dimensions(), settings, PROGRAM)
        .map_err(|error| TrainError::Request { problem: error.to_string(), todo: "Report this as a bug in Lorikeet" })
}

pub(crate) const PROGRAM: &str = concat!("lorikeet/", env!("CARGO_PKG_VERSION"));

/// A LoRA file, or the adapters in the folder of a save, on the layers of this base.
///
/// # Errors
/// When it is no LoRA or was made for another kind of model.
pub fn load_lora(base: &Base, path: &Path) -> Result<LoraSet, TrainError> {
    let (model, architecture) = (&base.model, &base.architecture);
    let mut layers = architecture.denoiser_layers(model)?;
    layers.extend(architecture.text_targets(model)?);
    let modules = if path.is_dir() {
        read_adapter(&path.join(ADAPTER))?
    } else {
        lora::read_for(path, model.family, layers.iter().map(|layer| &layer.name))?.modules
    };
    lora_set(base, &layers, modules).map_err(|source| TrainError::Adapter { path: path.to_owned(), source })
}

/// Saved modules as adapters, on some of `layers`.
///
/// # Errors
/// When there is no layer of a module's name or its shapes do not fit.
pub fn lora_set(
    base: &Base,
    layers: &[LayerInfo],
    modules: Vec<lora::LoraModule>,
) -> Result<LoraSet, lorikeet_adapters::AdapterError> {
    let mut set = LoraSet::from_modules(Default::default());
    for module in modules {
        let (down, up) = ((&module.down.shape[..], module.down.values), (&module.up.shape[..], module.up.values));
        set.insert(&module.name, layers, module.alpha, down, up, &base.device)?;
    }
    Ok(set)
}

#[cfg(test)]
pub(crate) mod tests;
