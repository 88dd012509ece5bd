//! Pictures on request, from a base and any number of LoRAs, without a run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use image::RgbImage;
use lorikeet_adapters::{Combined, LoraSet};
use lorikeet_checkpoint::{PartFiles, TensorData, write_atomically, write_safetensors};
use lorikeet_models::vae::AutoencoderKl;
use lorikeet_nn::{Context, Deltas, Storage};
use lorikeet_protocol::{BaseParts, DrawRequest, Drawn, Event, LoraUse, Stage, ToDraw, UsedLora};
use lorikeet_recipe::{Precision, SampleSettings};

use crate::base::{choose_device, open_model_with};
use crate::cache::obey;
use crate::draw::{kind, png};
use crate::export::ADAPTER;
use crate::facts::{machine_facts, usual_for};
use crate::{Base, Denoiser, DrawSettings, Host, Painter, TextStates, TrainError, draw_noise, load_lora};

/// Texts whose states are kept. A row of T5's is some megabytes.
const KEPT_TEXTS: usize = 32;

/// Draws, and keeps what it loaded until another base is asked for, so that the next picture begins at once.
#[derive(Default)]
pub struct Easel {
    loaded: Option<Loaded>,
}

/// As [`Easel::draw`], and keeps nothing.
///
/// # Errors
/// As [`Easel::draw`].
pub fn draw(request: &DrawRequest, host: &mut dyn Host) -> Result<Vec<PathBuf>, TrainError> {
    Easel::default().draw(request, host)
}

impl Easel {
    /// Draws, and returns the paths of the pictures in their order. Files that are there are never replaced.
    ///
    /// # Errors
    /// When base or a LoRA cannot be used, when asked to stop, or when the folder cannot be written to.
    pub fn draw(&mut self, request: &DrawRequest, host: &mut dyn Host) -> Result<Vec<PathBuf>, TrainError> {
        if request.pictures.is_empty() {
            let problem = "there is no picture to draw".to_owned();
            return Err(TrainError::Request { problem, todo: "Give at least one prompt" });
        }
        fs::create_dir_all(&request.out_dir).map_err(|e| TrainError::io("make the folder", &request.out_dir, e))?;
        host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
        let key = Key::of(request);
        if self.loaded.as_ref().is_none_or(|loaded| loaded.key != key) {
            // The old one goes before the new one comes.
            self.loaded = None;
            self.loaded = Some(Loaded::open(request, key, host)?);
        }
        let Some(loaded) = &mut self.loaded else { return Ok(Vec::new()) };
        let drawn = loaded.draw(request, host);
        if !matches!(drawn, Ok(_) | Err(TrainError::Stopped)) {
            // What failed may have been the device: the next try begins anew.
            self.loaded = None;
        }
        drawn
    }
}

/// What decides whether the loaded base is the one that is wanted.
#[derive(PartialEq)]
struct Key {
    base: String,
    parts: BaseParts,
    device: String,
    precision: Precision,
    changed: Option<SystemTime>,
}

impl Key {
    fn of(request: &DrawRequest) -> Self {
        Self {
            base: request.base.clone(),
            parts: request.parts.clone(),
            device: request.device.clone(),
            precision: request.precision,
            changed: changed(Path::new(&request.base)),
        }
    }
}

struct Loaded {
    key: Key,
    base: Base,
    usual: SampleSettings,
    models: Option<(Box<dyn Denoiser>, AutoencoderKl)>,
    /// With the time of the file's last change.
    loras: HashMap<PathBuf, (Option<SystemTime>, LoraSet)>,
    /// By text and the LoRAs that change it.
    texts: HashMap<String, TextStates>,
    /// Whether text encoders and denoiser fit into the memory at one time.
    roomy: bool,
}

impl Loaded {
    fn open(request: &DrawRequest, key: Key, host: &mut dyn Host) -> Result<Self, TrainError> {
        let BaseParts { vae, text_encoder, text_encoder_2 } = request.parts.clone();
        let model = open_model_with(&request.base, &PartFiles { vae, text_encoder, text_encoder_2 })?;
        let usual = usual_for(&request.base, &model)?;
        let mut base = Base::new(model, choose_device(&request.device)?)?;
        base.set_precision(request.precision);
        let roomy = choose_storage(&mut base)?;
        for message in &base.model.warnings {
            host.event(Event::Warning { message: message.clone() });
        }
        Ok(Self { key, base, usual, models: None, loras: HashMap::new(), texts: HashMap::new(), roomy })
    }

    fn draw(&mut self, request: &DrawRequest, host: &mut dyn Host) -> Result<Vec<PathBuf>, TrainError> {
        let (settings, mut warnings): (Vec<_>, Vec<_>) =
            request.pictures.iter().map(|picture| self.settings(picture)).unzip();
        warnings.dedup();
        for message in warnings.into_iter().flatten() {
            host.event(Event::Warning { message });
        }
        if let (Some(path), Some(first)) = (&request.noise_out, settings.first()) {
            let (noise, [c, h, w]) = draw_noise(&self.base, first);
            write_safetensors(path, &[TensorData::f32("noise", &[1, c, h, w], &noise)], &Default::default())?;
        }
        self.take_loras(request)?;
        self.take_texts(request, host)?;
        let (denoiser, vae) = match self.models.take() {
            Some(models) => models,
            None => (self.base.load_denoiser()?, self.base.load_vae()?),
        };
        let models = self.models.insert((denoiser, vae));
        let painter = Painter { base: &self.base, denoiser: &*models.0, vae: &models.1 };

        let total: usize = settings.iter().map(|settings| settings.steps).sum();
        let (mut before, mut paths) = (0, Vec::new());
        // Of sweeps: at strength 0 every save draws the same.
        let mut bare: Vec<(&DrawSettings, &str, &str, RgbImage)> = Vec::new();
        for (index, (asked, settings)) in request.pictures.iter().zip(&settings).enumerate() {
            let mut tell = |done: usize| {
                let done = (before + done) as u64;
                host.event(Event::Stage { stage: Stage::Sample, done, total: total as u64 });
                obey(host)
            };
            tell(0)?;
            let key = (settings, asked.prompt.as_str(), asked.negative.as_str());
            let used = || asked.loras.iter().filter(|lora| lora.strength != 0.0);
            let known = bare.iter().find(|(a, b, c, _)| (*a, *b, *c) == key && used().next().is_none());
            let picture = match known {
                Some((.., picture)) => picture.clone(),
                None => {
                    let deltas = combined(&self.loras, asked);
                    let adapters = (!deltas.0.is_empty()).then_some(&deltas as &dyn Deltas);
                    let states = |text: &str| self.texts.get(&text_key(text, asked, &self.loras)).cloned();
                    let (Some(prompt), Some(negative)) = (states(&asked.prompt), states(&asked.negative)) else {
                        let problem = format!("the prompt \"{}\" was not encoded", asked.prompt);
                        return Err(TrainError::Request { problem, todo: "Report this as a bug in Lorikeet" });
                    };
                    painter.draw(adapters, &prompt, &negative, settings, &mut tell)?
                }
            };
            before += settings.steps;
            let mut told = settings.told(&self.base, &asked.prompt, &asked.negative);
            told.loras =
                asked.loras.iter().map(|lora| UsedLora { name: name(lora), strength: lora.strength }).collect();
            told.set = request.set;
            let path = free_path(&request.out_dir, &asked.prompt, asked.seed);
            let bytes = png(&picture, &told)?;
            write_atomically(&path, |out| out.write_all(&bytes))?;
            host.event(Event::Drawn(Drawn { index, settings: told, path: path.clone() }));
            if used().next().is_none() && known.is_none() {
                bare.push((key.0, key.1, key.2, picture));
            }
            paths.push(path);
        }
        Ok(paths)
    }

    /// What was left open is as suits the base. With a warning when the size is another than asked for.
    fn settings(&self, picture: &ToDraw) -> (DrawSettings, Option<String>) {
        let asked = |side: u32| if side == 0 { self.base.model.native_resolution() } else { side };
        let ((width, height), warning) = self.base.valid_size(asked(picture.width), asked(picture.height));
        let usual = &self.usual;
        let settings = DrawSettings {
            width,
            height,
            steps: picture.steps.unwrap_or(usual.steps) as usize,
            cfg: picture.cfg.unwrap_or(usual.cfg),
            // A model that takes none is not told any.
            guidance: usual.guidance.map_or(0.0, |usual| picture.guidance.unwrap_or(usual)),
            sampler: kind(picture.sampler.unwrap_or(usual.sampler)),
            seed: picture.seed,
        };
        (settings, warning)
    }

    /// Loads the LoRAs that are new or have changed, and lets go of those that are no longer wanted.
    fn take_loras(&mut self, request: &DrawRequest) -> Result<(), TrainError> {
        let wanted: Vec<&PathBuf> =
            request.pictures.iter().flat_map(|picture| &picture.loras).map(|lora| &lora.path).collect();
        self.loras.retain(|path, (when, _)| wanted.contains(&path) && *when == lora_changed(path));
        for path in wanted {
            if !self.loras.contains_key(path) {
                let set = load_lora(&self.base, path)?;
                // Another file may have had this name.
                self.texts.retain(|key, _| !key.contains(&path.display().to_string()));
                self.loras.insert(path.clone(), (lora_changed(path), set));
            }
        }
        Ok(())
    }

    /// Encodes what is new of the texts. Text encoders are loaded for it and let go.
    fn take_texts(&mut self, request: &DrawRequest, host: &mut dyn Host) -> Result<(), TrainError> {
        let mut wanted: HashMap<String, (&str, &ToDraw)> = HashMap::new();
        for picture in &request.pictures {
            for text in [&picture.prompt, &picture.negative] {
                wanted.insert(text_key(text, picture, &self.loras), (text, picture));
            }
        }
        if self.texts.len() > KEPT_TEXTS {
            self.texts.retain(|key, _| wanted.contains_key(key));
        }
        wanted.retain(|key, _| !self.texts.contains_key(key));
        if wanted.is_empty() {
            return Ok(());
        }
        if !self.roomy {
            self.models = None;
        }
        let encoders = self.base.load_text()?;
        for (key, (text, picture)) in wanted {
            obey(host)?;
            let deltas = combined(&self.loras, picture);
            let cx = if deltas.0.is_empty() { Context::base() } else { Context::with(&deltas) };
            let states = encoders.encode(&cx, &[text]);
            self.texts.insert(key, states);
        }
        Ok(())
    }
}

/// The adapters of a picture at their strengths; none for a strength of 0.
fn combined<'a>(loras: &'a HashMap<PathBuf, (Option<SystemTime>, LoraSet)>, picture: &ToDraw) -> Combined<'a> {
    let used = picture.loras.iter().filter(|lora| lora.strength != 0.0);
    let sets = used.filter_map(|lora| Some((&loras.get(&lora.path)?.1, f64::from(lora.strength))));
    Combined(sets.map(|(set, strength)| Box::new(set.deltas(strength)) as Box<dyn Deltas>).collect())
}

/// A text, and the LoRAs on the text encoders with their strengths.
fn text_key(text: &str, picture: &ToDraw, loras: &HashMap<PathBuf, (Option<SystemTime>, LoraSet)>) -> String {
    let on_text = |lora: &&LoraUse| {
        let set = loras.get(&lora.path).map(|(_, set)| set);
        lora.strength != 0.0 && set.is_some_and(|set| set.modules.keys().any(|name| name.starts_with("text_encoder")))
    };
    let mut key = String::new();
    for lora in picture.loras.iter().filter(on_text) {
        key.push_str(&format!("{}\0{}\0", lora.path.display(), lora.strength));
    }
    key + "\0" + text
}

/// Everything on the device if it fits beside the rest, else read from the file in every step: slower, and the same
/// numbers. Returns whether all parts fit at one time.
fn choose_storage(base: &mut Base) -> Result<bool, TrainError> {
    let number = base.dtype.size() as u64;
    let machine = machine_facts(base.kind, Path::new("."));
    let parts = base.model.family.parts().iter().map(|part| Ok(base.model.part(*part)?.parameters()));
    let parts = parts.collect::<Result<Vec<u64>, TrainError>>()?;
    let fits = |numbers: u64| numbers.saturating_mul(number) < machine.memory_bytes / 10 * 6;
    // Denoiser and text encoders need not be there together; the autoencoder is small.
    let resident = fits(parts.iter().copied().max().unwrap_or(0));
    base.storage = if resident { Storage::Resident } else { Storage::Streamed };
    base.text_storage = base.storage;
    Ok(fits(parts.iter().sum()))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

fn lora_changed(path: &Path) -> Option<SystemTime> {
    changed(&if path.is_dir() { path.join(ADAPTER) } else { path.to_owned() })
}

/// The name that was given; else that of the file, or of the run with the step of its save.
fn name(lora: &LoraUse) -> String {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_stem).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    if !lora.name.is_empty() {
        return lora.name.clone();
    }
    let own = part(Some(&lora.path));
    match own.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok()).filter(|_| lora.path.is_dir()) {
        Some(step) => format!("{}-step{step}", part(lora.path.parent().and_then(Path::parent))),
        None => own,
    }
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
