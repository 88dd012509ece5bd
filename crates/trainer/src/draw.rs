//! Drawing: previews of a run, and pictures on request from a base and any number of LoRAs.

use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use image::RgbImage;
use lorikeet_adapters::{Combined, LoraSet};
use lorikeet_checkpoint::{PartFiles, TensorData as Saved, lora, write_atomically, write_safetensors};
use lorikeet_diffusion::{SamplerKind, SamplingPlan, guided};
use lorikeet_models::vae::AutoencoderKl;
use lorikeet_nn::{Context, Deltas, LayerInfo, NnError, Storage};
use lorikeet_protocol::{Event, Sample, Stage};
use lorikeet_recipe::{SampleSettings, Sampler};
use lorikeet_seeded::{Purpose, Stream};

use crate::base::{choose_device, open_model_with, read_back};
use crate::cache::obey;
use crate::facts::machine_facts;
use crate::{Base, Condition, Denoiser, Host, Sizes, TextStates, TrainError};

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
            sampler: match settings.sampler {
                Sampler::Euler => SamplerKind::Euler,
                Sampler::EulerA => SamplerKind::EulerAncestral,
                Sampler::DpmPp2m => SamplerKind::Dpmpp2m,
                Sampler::Ddim => SamplerKind::Ddim,
            },
            seed: settings.seed,
        }
    }
}

/// What a picture was drawn from, for its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrawnFrom {
    pub prompt: String,
    pub negative: String,
    pub base: String,
    /// Names and strengths.
    pub loras: Vec<(String, f32)>,
    /// For previews: optimiser steps done.
    pub step: Option<u64>,
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

/// A PNG with the settings in a text chunk, in the spelling that AUTOMATIC1111 and most viewers read.
///
/// # Errors
/// Never for pictures of a valid size.
pub fn png_bytes(picture: &RgbImage, settings: &DrawSettings, from: &DrawnFrom) -> Result<Vec<u8>, TrainError> {
    let mut text = from.prompt.clone();
    for (name, strength) in &from.loras {
        text.push_str(&format!(" <lora:{name}:{strength}>"));
    }
    if !from.negative.is_empty() {
        text.push_str(&format!("\nNegative prompt: {}", from.negative));
    }
    let sampler = match settings.sampler {
        SamplerKind::Euler => "Euler",
        SamplerKind::EulerAncestral => "Euler a",
        SamplerKind::Dpmpp2m => "DPM++ 2M",
        SamplerKind::Ddim => "DDIM",
    };
    text.push_str(&format!(
        "\nSteps: {}, Sampler: {sampler}, CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}",
        settings.steps,
        settings.cfg,
        settings.seed,
        picture.width(),
        picture.height(),
        from.base,
    ));
    if let Some(step) = from.step {
        text.push_str(&format!(", Training step: {step}"));
    }
    text.push_str(&format!(", Version: {PROGRAM}"));

    let failed = |error: png::EncodingError| TrainError::Request {
        problem: format!("the picture cannot be written as PNG: {error}"),
        todo: "Report this as a bug in Lorikeet",
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // tEXt is Latin-1 only, but some viewers read nothing else.
    if text.is_ascii() {
        encoder.add_text_chunk("parameters".to_owned(), text).map_err(failed)?;
    } else {
        encoder.add_itxt_chunk("parameters".to_owned(), text).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(picture.as_raw()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

pub(crate) const PROGRAM: &str = concat!("lorikeet/", env!("CARGO_PKG_VERSION"));

/// Pictures to draw without a run.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// `demo`, a folder or a file.
    pub base: String,
    /// Parts of the base that lie elsewhere.
    pub parts: PartFiles,
    /// LoRA files with their strengths; all are added up.
    pub loras: Vec<(PathBuf, f32)>,
    /// A picture each.
    pub prompts: Vec<String>,
    pub negative: String,
    /// The same for every prompt.
    pub seed: u64,
    /// px; 0: what the base was trained at.
    pub width: u32,
    pub height: u32,
    pub steps: usize,
    pub cfg: f64,
    /// As in [`DrawSettings`].
    pub guidance: f64,
    pub sampler: SamplerKind,
    /// `auto`, `cpu`, `cuda:0`, ...
    pub device: String,
    pub out_dir: PathBuf,
    /// Where to write the starting noise, as tensor `noise` `[1, c, h, w]` of a safetensors file, for other programs.
    pub noise_out: Option<PathBuf>,
}

/// Draws, and returns the paths of the pictures in the order of the prompts. Files that are there are never replaced.
///
/// # Errors
/// When base or a LoRA cannot be used, when asked to stop, or when the folder cannot be written to.
pub fn sample(request: &SampleRequest, host: &mut dyn Host) -> Result<Vec<PathBuf>, TrainError> {
    if request.prompts.is_empty() {
        return Err(TrainError::Request { problem: "there is no prompt".to_owned(), todo: "Give at least one prompt" });
    }
    let mut base = Base::new(open_model_with(&request.base, &request.parts)?, choose_device(&request.device)?)?;
    base.storage = drawing_storage(&base)?;
    base.text_storage = base.storage;
    for message in &base.model.warnings {
        host.event(Event::Warning { message: message.clone() });
    }
    let asked = |side: u32| if side == 0 { base.model.native_resolution() } else { side };
    let ((width, height), warning) = base.valid_size(asked(request.width), asked(request.height));
    if let Some(message) = warning {
        host.event(Event::Warning { message });
    }
    let settings = DrawSettings {
        width,
        height,
        steps: request.steps,
        cfg: request.cfg,
        guidance: request.guidance,
        sampler: request.sampler,
        seed: request.seed,
    };
    std::fs::create_dir_all(&request.out_dir).map_err(|e| TrainError::io("make the folder", &request.out_dir, e))?;
    if let Some(path) = &request.noise_out {
        let (noise, [c, h, w]) = draw_noise(&base, &settings);
        write_safetensors(path, &[Saved::f32("noise", &[1, c, h, w], &noise)], &Default::default())?;
    }

    host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
    let sets = request.loras.iter().map(|(path, _)| load_lora(&base, path)).collect::<Result<Vec<_>, _>>()?;
    let strengths = || request.loras.iter().map(|(_, strength)| f64::from(*strength));
    let deltas = Combined(
        sets.iter().zip(strengths()).map(|(set, strength)| Box::new(set.deltas(strength)) as Box<dyn Deltas>).collect(),
    );
    let cx = if sets.is_empty() { Context::base() } else { Context::with(&deltas) };
    let texts: Vec<&String> = std::iter::once(&request.negative).chain(&request.prompts).collect();
    let states = {
        let encoders = base.load_text()?;
        texts.iter().map(|text| encoders.encode(&cx, &[text])).collect::<Vec<_>>()
    };
    let (denoiser, vae) = (base.load_denoiser()?, base.load_vae()?);
    let painter = Painter { base: &base, denoiser: &*denoiser, vae: &vae };

    let total = (request.prompts.len() * request.steps) as u64;
    let mut paths = Vec::new();
    for (index, prompt) in request.prompts.iter().enumerate() {
        let mut tell = |done: usize| {
            let done = (index * request.steps + done) as u64;
            host.event(Event::Stage { stage: Stage::Sample, done, total });
            obey(host)
        };
        tell(0)?;
        let adapters = (!sets.is_empty()).then_some(&deltas as &dyn Deltas);
        let picture = painter.draw(adapters, &states[index + 1], &states[0], &settings, &mut tell)?;
        let from = DrawnFrom {
            prompt: prompt.clone(),
            negative: request.negative.clone(),
            base: base.model.name.clone(),
            loras: request.loras.iter().map(|(path, strength)| (stem(path), *strength)).collect(),
            step: None,
        };
        let path = free_path(&request.out_dir, prompt, request.seed);
        let bytes = png_bytes(&picture, &settings, &from)?;
        write_atomically(&path, |out| out.write_all(&bytes))?;
        host.event(Event::Sample(Sample {
            step: 0,
            epoch: 0,
            prompt_index: index,
            prompt: prompt.clone(),
            seed: request.seed,
            path: path.clone(),
        }));
        paths.push(path);
    }
    Ok(paths)
}

/// Everything on the device if it fits beside the rest, else read from the file in every step: slower, and the same numbers.
fn drawing_storage(base: &Base) -> Result<Storage, TrainError> {
    let machine = machine_facts(base.kind, Path::new("."));
    let parts = base.model.family.parts().iter().map(|part| Ok(base.model.part(*part)?.parameters()));
    // One part at a time is loaded, but for the small autoencoder.
    let largest = parts.collect::<Result<Vec<u64>, TrainError>>()?.into_iter().max().unwrap_or(0);
    let fits = largest.saturating_mul(machine.number_bytes()) < machine.memory_bytes / 10 * 6;
    Ok(if fits { Storage::Resident } else { Storage::Streamed })
}

/// A LoRA file as adapters on the layers of this base.
///
/// # Errors
/// When the file is no LoRA or was made for another kind of model.
pub fn load_lora(base: &Base, path: &Path) -> Result<LoraSet, TrainError> {
    let (model, architecture) = (&base.model, &base.architecture);
    let mut layers = architecture.denoiser_layers(model)?;
    layers.extend(architecture.text_targets(model)?);
    let file = lora::read_for(path, model.family, layers.iter().map(|layer| &layer.name))?;
    lora_set(base, &layers, file.modules).map_err(|source| TrainError::Adapter { path: path.to_owned(), source })
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

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `red-apple-flat-style-42.png`, or with a number behind when that is taken.
fn free_path(folder: &Path, prompt: &str, seed: u64) -> PathBuf {
    let words = prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    // File systems allow 255 bytes.
    let name: String = words.take(12).collect::<Vec<_>>().join("-").to_lowercase().chars().take(48).collect();
    let name = if name.is_empty() { "empty".to_owned() } else { name };
    (1u32..)
        .map(|n| folder.join(if n == 1 { format!("{name}-{seed}.png") } else { format!("{name}-{seed}-{n}.png") }))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join(format!("{name}.png")))
}

#[cfg(test)]
mod tests;
