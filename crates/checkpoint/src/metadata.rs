//! The metadata that image programs, model sites and managers read from a LoRA file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::Prediction;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::write::{TensorData, header, hex};

/// Part of a file that the old short hash covers.
const LEGACY_WINDOW: std::ops::Range<usize> = 0x10_0000..0x11_0000;

/// What is told about a training run. Paths never go in: only names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingFacts {
    /// Name of the LoRA: what one types in `<lora:name:1>`.
    pub output_name: String,
    pub family: Family,
    /// File or folder name of the base model.
    pub base_name: String,
    /// Hashes of the base, when it is a single file.
    pub base_hashes: Option<FileHashes>,
    /// `None` is epsilon. FLUX has flow and no other.
    pub prediction: Option<Prediction>,
    pub rank: usize,
    pub alpha: f32,
    /// Rank and alpha of the 3x3 convolutions, where they were trained.
    pub convolutions: Option<(usize, f32)>,
    pub dropout: Option<f64>,
    /// Training resolution: width and height in pixels.
    pub resolution: (u32, u32),
    pub clip_skip: Option<u32>,
    /// Pictures, each counted as often as it is repeated.
    pub train_images: usize,
    pub validation_images: usize,
    pub batches_per_epoch: usize,
    /// Epochs that were planned, and those done at this save.
    pub epochs: usize,
    pub epoch: usize,
    /// Steps that were planned, and those done at this save.
    pub max_steps: usize,
    pub steps: usize,
    pub batch: usize,
    pub accumulation: usize,
    pub learning_rate: f64,
    /// `None` when the text encoder was not trained.
    pub text_encoder_lr: Option<f64>,
    /// Such as `AdamW(weight_decay=0.01,betas=(0.9, 0.999))`.
    pub optimizer: String,
    /// Such as `cosine`.
    pub schedule: String,
    pub warmup_steps: usize,
    pub seed: u64,
    /// `no`, `bf16` or `fp16`.
    pub mixed_precision: String,
    pub segmented: bool,
    /// FLUX only.
    pub flow: Option<FlowFacts>,
    pub noise_offset: Option<f64>,
    pub min_snr_gamma: Option<f64>,
    pub clip_norm: f64,
    pub caption_dropout: f64,
    pub flip: bool,
    pub shuffle_tags: bool,
    pub keep_tokens: usize,
    /// Seconds since 1970, UTC.
    pub started_at: f64,
    pub finished_at: f64,
    /// For each dataset folder name, how many pictures have each tag.
    pub tag_frequency: BTreeMap<String, BTreeMap<String, u64>>,
    /// For each dataset folder name, repeats and number of pictures.
    pub dataset_dirs: BTreeMap<String, (u64, u64)>,
    /// Width, height and number of pictures of each bucket; empty when buckets are off.
    pub buckets: Vec<(u32, u32, u64)>,
    /// Mean difference between a picture's aspect ratio and its bucket's.
    pub mean_aspect_error: f64,
    pub comment: String,
    /// Title to show; the output name when empty.
    pub title: String,
    pub author: String,
    pub description: String,
    pub trigger: String,
    pub usage_hint: String,
    pub license: String,
    pub tags: Vec<String>,
    /// Program and version, such as `lorikeet/0.1.0`.
    pub program: String,
}

/// How FLUX was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowFacts {
    /// `uniform`, `sigmoid`, `shift` or `flux_shift`.
    pub timestep_sampling: &'static str,
    pub sigmoid_scale: f64,
    pub shift: f64,
    /// What the model was told.
    pub guidance: Option<f64>,
}

impl TrainingFacts {
    /// The entries, all as text in the spelling of Python's `str`, which readers expect.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        let mut put = |key: &str, value: String| {
            entries.insert(key.to_owned(), value);
        };
        self.training(&mut put);
        self.dataset(&mut put);
        self.modelspec(&mut put);
        entries
    }

    fn training(&self, put: &mut impl FnMut(&str, String)) {
        let names = Names::of(self.family, self.prediction == Some(Prediction::V));
        let base = self.base_hashes.as_ref();
        let trained_text = self.text_encoder_lr.is_some();
        put("ss_output_name", self.output_name.clone());
        put("ss_network_module", names.network.to_owned());
        put("ss_network_dim", self.rank.to_string());
        put("ss_network_alpha", python_float(self.alpha.into()));
        put("ss_network_dropout", optional(self.dropout));
        put(
            "ss_network_args",
            self.convolutions.map_or_else(
                || "{}".to_owned(),
                |(rank, alpha)| format!(r#"{{"conv_dim": "{rank}", "conv_alpha": "{}"}}"#, python_float(alpha.into())),
            ),
        );
        put("ss_base_model_version", names.version.to_owned());
        put("ss_v2", python_bool(self.family == Family::Sd2));
        put("ss_sd_model_name", base_name(&self.base_name));
        put("ss_sd_model_hash", base.map_or_else(none, |hashes| hashes.auto_v1.clone()));
        put("ss_new_sd_model_hash", base.map_or_else(none, |hashes| hashes.sha256.clone()));
        put("ss_clip_skip", self.clip_skip.map_or_else(none, |skip| skip.to_string()));
        put("ss_num_epochs", self.epochs.to_string());
        put("ss_epoch", self.epoch.to_string());
        put("ss_steps", self.steps.to_string());
        put("ss_max_train_steps", self.max_steps.to_string());
        put("ss_learning_rate", python_float(self.learning_rate));
        put("ss_unet_lr", python_float(self.learning_rate));
        put("ss_text_encoder_lr", optional(self.text_encoder_lr.filter(|_| trained_text)));
        put("ss_optimizer", self.optimizer.clone());
        put("ss_lr_scheduler", self.schedule.clone());
        put("ss_lr_warmup_steps", self.warmup_steps.to_string());
        put("ss_seed", self.seed.to_string());
        put("ss_mixed_precision", self.mixed_precision.clone());
        put("ss_gradient_checkpointing", python_bool(self.segmented));
        put("ss_gradient_accumulation_steps", self.accumulation.to_string());
        if let Some(flow) = &self.flow {
            put("ss_model_type", "flux".to_owned());
            put("ss_timestep_sampling", flow.timestep_sampling.to_owned());
            put("ss_sigmoid_scale", python_float(flow.sigmoid_scale));
            put("ss_discrete_flow_shift", python_float(flow.shift));
            put("ss_guidance_scale", optional(flow.guidance));
            put("ss_model_prediction_type", "raw".to_owned());
            put("ss_weighting_scheme", "none".to_owned());
            put("ss_apply_t5_attn_mask", python_bool(false));
        }
        put("ss_noise_offset", optional(self.noise_offset));
        put("ss_min_snr_gamma", optional(self.min_snr_gamma));
        put("ss_max_grad_norm", python_float(self.clip_norm));
        put("ss_caption_dropout_rate", python_float(self.caption_dropout));
        put("ss_training_started_at", python_float(self.started_at));
        put("ss_training_finished_at", python_float(self.finished_at));
        put("ss_training_comment", if self.comment.is_empty() { none() } else { self.comment.clone() });
    }

    fn dataset(&self, put: &mut impl FnMut(&str, String)) {
        let (width, height) = self.resolution;
        put("ss_resolution", format!("({width}, {height})"));
        put("ss_num_train_images", self.train_images.to_string());
        put("ss_num_validation_images", self.validation_images.to_string());
        put("ss_num_reg_images", "0".to_owned());
        put("ss_num_batches_per_epoch", self.batches_per_epoch.to_string());
        put("ss_batch_size_per_device", self.batch.to_string());
        put("ss_total_batch_size", self.batch.to_string());
        put("ss_flip_aug", python_bool(self.flip));
        put("ss_shuffle_caption", python_bool(self.shuffle_tags));
        put("ss_keep_tokens", self.keep_tokens.to_string());
        put("ss_enable_bucket", python_bool(!self.buckets.is_empty()));
        put("ss_tag_frequency", json!(self.tag_frequency).to_string());
        let folders: serde_json::Map<String, Value> = self
            .dataset_dirs
            .iter()
            .map(|(name, (repeats, images))| (base_name(name), json!({"n_repeats": repeats, "img_count": images})))
            .collect();
        put("ss_dataset_dirs", Value::Object(folders).to_string());
        let buckets: serde_json::Map<String, Value> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(i, (width, height, count))| (i.to_string(), json!({"resolution": [width, height], "count": count})))
            .collect();
        let info = json!({"buckets": buckets, "mean_img_ar_error": self.mean_aspect_error});
        put("ss_bucket_info", if self.buckets.is_empty() { "null".to_owned() } else { info.to_string() });
    }

    fn modelspec(&self, put: &mut impl FnMut(&str, String)) {
        let (width, height) = self.resolution;
        put("modelspec.sai_model_spec", "1.0.1".to_owned());
        let names = Names::of(self.family, self.prediction == Some(Prediction::V));
        put("modelspec.architecture", names.architecture.to_owned());
        put("modelspec.implementation", names.implementation.to_owned());
        put("modelspec.title", if self.title.is_empty() { &self.output_name } else { &self.title }.clone());
        put("modelspec.resolution", format!("{width}x{height}"));
        put("modelspec.date", utc_date(self.finished_at));
        // The specification knows epsilon and v only.
        if !self.family.is_flux1() {
            put("modelspec.prediction_type", self.prediction.unwrap_or(Prediction::Epsilon).name().to_owned());
        }
        let mut put_some = |key: &str, value: &str| {
            if !value.is_empty() {
                put(key, value.to_owned());
            }
        };
        put_some("modelspec.implementation_version", &self.program);
        put_some("modelspec.author", &self.author);
        put_some("modelspec.description", &self.description);
        put_some("modelspec.license", &self.license);
        put_some("modelspec.trigger_phrase", &self.trigger);
        put_some("modelspec.usage_hint", &self.usage_hint);
        put_some("modelspec.tags", &self.tags.join(", "));
        let skip = self.clip_skip.map(|skip| skip.to_string()).unwrap_or_default();
        put_some("modelspec.encoder_layer", &skip);
    }
}

/// What a family is called in metadata.
struct Names {
    /// `ss_base_model_version` of sd-scripts.
    version: &'static str,
    /// `ss_network_module` of sd-scripts.
    network: &'static str,
    /// Of modelspec 1.0.1.
    architecture: &'static str,
    implementation: &'static str,
}

impl Names {
    fn of(family: Family, velocity: bool) -> Self {
        let (version, architecture) = match (family, velocity) {
            (Family::Sd2, false) => ("sd_v2", "stable-diffusion-v2-512/lora"),
            (Family::Sd2, true) => ("sd_v2_v", "stable-diffusion-v2-768-v/lora"),
            (Family::Sdxl, _) => ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
            (Family::Flux1Dev, _) => ("flux1", "flux-1-dev/lora"),
            (Family::Flux1Schnell, _) => ("flux1", "flux-1-schnell/lora"),
            (_, true) => ("sd_v1_v", "stable-diffusion-v1/lora"),
            (_, false) => ("sd_v1", "stable-diffusion-v1/lora"),
        };
        let implementation = match family {
            Family::Sdxl => "https://github.com/Stability-AI/generative-models",
            Family::Flux1Dev | Family::Flux1Schnell => "https://github.com/black-forest-labs/flux",
            _ => "diffusers",
        };
        let network = if family.is_flux1() { "networks.lora_flux" } else { "networks.lora" };
        Self { version, network, architecture, implementation }
    }
}

/// Hashes by which programs know a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHashes {
    /// First 8 hex digits of the SHA-256 of bytes 0x100000 to 0x110000.
    pub auto_v1: String,
    /// SHA-256 of the whole file, 64 lower-case hex digits.
    pub sha256: String,
}

/// Hashes a whole file (a 4 GB checkpoint takes some ten seconds).
pub fn file_hashes(path: impl AsRef<Path>) -> Result<FileHashes, CheckpointError> {
    let path = path.as_ref();
    let fail = |e| CheckpointError::read(path, e);
    let mut file = File::open(path).map_err(fail)?;
    let (mut whole, mut window) = (Sha256::new(), Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let count = file.read(&mut buffer).map_err(fail)?;
        if count == 0 {
            break;
        }
        whole.update(&buffer[..count]);
        let inside = |edge: usize| edge.clamp(position, position + count) - position;
        window.update(&buffer[inside(LEGACY_WINDOW.start)..inside(LEGACY_WINDOW.end)]);
        position += count;
    }
    Ok(FileHashes { auto_v1: short(&window.finalize()), sha256: hex(&whole.finalize()) })
}

/// `sshs_legacy_hash`: that of the file as it would be with only the `ss_*` entries in its header.
pub(crate) fn legacy_hash(
    path: &Path,
    order: &[&TensorData<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<String, CheckpointError> {
    let kept = metadata.iter().filter(|(key, _)| key.starts_with("ss_")).map(|(k, v)| (k.clone(), v.clone())).collect();
    let header = header(path, order, &kept)?;
    let size = (header.len() as u64).to_le_bytes();
    let mut hash = Sha256::new();
    let mut position = 0;
    for piece in [&size[..], &header[..]].into_iter().chain(order.iter().map(|tensor| &*tensor.bytes)) {
        let inside = |edge: usize| edge.clamp(position, position + piece.len()) - position;
        hash.update(&piece[inside(LEGACY_WINDOW.start)..inside(LEGACY_WINDOW.end)]);
        position += piece.len();
    }
    Ok(short(&hash.finalize()))
}

fn short(hash: &[u8]) -> String {
    hex(&hash[..4])
}

fn none() -> String {
    "None".to_owned()
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(none, python_float)
}

fn python_bool(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

/// The last part of a path: file names tell nothing about a person's folders.
fn base_name(name: &str) -> String {
    name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// Shortest digits that read back as the same number, in Python's notation: `0.0001`, `1e-05`, `8.0`, `1e+16`.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific.to_lowercase() };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) && value != 0.0 => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => {
            let plain = value.to_string();
            if plain.contains('.') { plain } else { format!("{plain}.0") }
        }
    }
}

/// ISO 8601 in UTC. Days are turned into a calendar date with years that start in March, so that the leap day is last.
fn utc_date(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as i64;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_python_prints_them() {
        let cases =
            [(8.0, "8.0"), (1e-4, "0.0001"), (1e-5, "1e-05"), (2.5e-7, "2.5e-07"), (0.0, "0.0"), (1e16, "1e+16")];
        for (value, text) in cases {
            assert_eq!(python_float(value), text);
        }
        assert_eq!(python_float(1_790_000_000.25), "1790000000.25");
    }

    #[test]
    fn dates_over_leap_days() {
        // Check values: `date -u -d @N +%FT%TZ`.
        assert_eq!(utc_date(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(utc_date(951_827_696.0), "2000-02-29T12:34:56Z");
        assert_eq!(utc_date(1_709_251_199.9), "2024-02-29T23:59:59Z");
        assert_eq!(utc_date(1_790_000_000.0), "2026-09-21T14:13:20Z");
    }

    #[test]
    fn only_names_of_paths_are_told() {
        assert_eq!(base_name("/home/ann/models/v1-5.safetensors"), "v1-5.safetensors");
        assert_eq!(base_name("C:\\models\\base\\"), "base");
        assert_eq!(base_name("plain"), "plain");
    }
}
