//! Saved adapters in a run folder, and LoRA files for other programs made from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lorikeet_adapters::LoraSet;
use lorikeet_checkpoint::lora::{self, Array, LoraModule};
use lorikeet_checkpoint::{
    Dtype, FlowFacts, SafetensorsFile, TensorData, TrainingFacts, file_hashes, write_atomically,
};
use lorikeet_checkpoint::{Prediction, write_safetensors};
use lorikeet_dataset::{bucket_info, dataset_dirs, tag_frequency};
use lorikeet_nn::LayerKind;
use lorikeet_protocol::{ExportDtype, ExportNames, ExportRequest};
use lorikeet_recipe::{Optimiser, Plan, SaveDtype, Schedule, Segments, TimestepSampling};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::base::read_back;
use crate::draw::PROGRAM;
use crate::family::{file_family, recipe_family};
use crate::{Base, Pictures, TrainError, cache_folder, thumbnail};

/// In the folder of each save.
pub(crate) const ADAPTER: &str = "adapter.safetensors";
/// In a run folder.
const PLAN: &str = "plan.json";
const FACTS: &str = "facts.json";

/// What an export tells that the plan does not: gathered when a run starts, so that exporting needs neither base nor
/// pictures. Saved as `facts.json` in the run folder. No paths, only names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    pub family: lorikeet_recipe::Family,
    /// File or folder name of the base.
    pub base_name: String,
    /// For each folder name, how many pictures have each tag.
    pub tag_frequency: BTreeMap<String, BTreeMap<String, u64>>,
    /// For each folder name, repeats and number of pictures.
    pub dataset_dirs: BTreeMap<String, Folder>,
    pub mean_aspect_error: f64,
    /// Seconds since 1970, UTC.
    pub started_at: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub n_repeats: u64,
    pub img_count: u64,
}

impl RunFacts {
    /// `started_at`: seconds since 1970, UTC.
    pub fn gather(base: &Base, pictures: &Pictures, started_at: f64) -> Self {
        let trigger = &pictures.captions.trigger;
        let buckets = bucket_info(&pictures.train, &pictures.train_placements);
        let parsed = |value| serde_json::from_value(value).unwrap_or_default();
        Self {
            family: recipe_family(base.model.family),
            base_name: base.model.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            tag_frequency: parsed(tag_frequency(&pictures.train, trigger)),
            dataset_dirs: serde_json::from_value(dataset_dirs(&pictures.train)).unwrap_or_default(),
            mean_aspect_error: buckets["mean_img_ar_error"].as_f64().unwrap_or(0.0),
            started_at,
        }
    }

    /// # Errors
    /// When the run folder cannot be written to.
    pub fn save(&self, run_dir: &Path) -> Result<(), TrainError> {
        let text = json!(self);
        Ok(write_atomically(&run_dir.join(FACTS), |out| write!(out, "{text:#}"))?)
    }

    /// Empty when the file is missing or damaged: an export without them is still a good LoRA.
    fn load(run_dir: &Path) -> Self {
        let text = fs::read_to_string(run_dir.join(FACTS)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Name, rank and alpha of a module, in the metadata of a save.
#[derive(Debug, Serialize, Deserialize)]
struct ModuleFacts {
    name: String,
    rank: usize,
    alpha: f32,
}

/// Saves adapters for resuming: `<name>.a` `[rank, in]` (`[rank, in, k, k]` for a convolution), `<name>.b` `[out, rank]`,
/// f32, and in the metadata `modules` a JSON list of `{name, rank, alpha}`.
///
/// # Errors
/// When the file cannot be written; an earlier one is unchanged.
pub fn write_adapter(path: &Path, modules: &[LoraModule]) -> Result<(), TrainError> {
    let mut tensors = Vec::with_capacity(2 * modules.len());
    for module in modules {
        tensors.push(TensorData::f32(format!("{}.a", module.name), &module.down.shape, &module.down.values));
        let outputs = module.up.shape.first().copied().unwrap_or(0);
        tensors.push(TensorData::f32(format!("{}.b", module.name), &[outputs, module.rank], &module.up.values));
    }
    let facts = |module: &LoraModule| ModuleFacts { name: module.name.clone(), rank: module.rank, alpha: module.alpha };
    let facts: Vec<ModuleFacts> = modules.iter().map(facts).collect();
    let metadata = BTreeMap::from([("modules".to_owned(), json!(facts).to_string())]);
    write_safetensors(path, &tensors, &metadata)?;
    Ok(())
}

/// What [`write_adapter`] saved.
///
/// # Errors
/// When the file is missing, damaged or something else.
pub fn read_adapter(path: &Path) -> Result<Vec<LoraModule>, TrainError> {
    let file = SafetensorsFile::open(path)?;
    let damaged = |problem: &str| TrainError::run_file(path, format!("is no adapter of a run: {problem}"));
    let listed = file.metadata().get("modules").ok_or_else(|| damaged("its metadata has no list of modules"))?;
    let listed: Vec<ModuleFacts> =
        serde_json::from_str(listed).map_err(|error| damaged(&format!("the list of modules is damaged ({error})")))?;
    listed
        .into_iter()
        .map(|ModuleFacts { name, rank, alpha }| {
            let array = |part: &str| -> Result<Array, TrainError> {
                let tensor = format!("{name}.{part}");
                let values = file.f32(&tensor)?;
                Ok(Array { shape: file.shape(&tensor).unwrap_or_default().to_vec(), values })
            };
            let (down, mut up) = (array("a")?, array("b")?);
            if down.shape.first() != Some(&rank) || up.shape.get(1) != Some(&rank) {
                return Err(damaged(&format!("the matrices of '{name}' do not have rank {rank}")));
            }
            if down.shape.len() == 4 {
                up.shape.extend([1, 1]);
            }
            Ok(LoraModule { name, rank, alpha, down, up })
        })
        .collect()
}

/// Adapters read back from the device, by name.
///
/// # Errors
/// When the device fails.
pub fn to_modules(set: &LoraSet) -> Result<Vec<LoraModule>, TrainError> {
    set.modules
        .iter()
        .map(|(name, module)| {
            let rank = module.rank();
            let [outputs, _] = module.b.dims();
            let (down, up) = match module.kind {
                LayerKind::Linear { inputs, .. } => (vec![rank, inputs], vec![outputs, rank]),
                LayerKind::Conv2d { inputs, kernel, .. } => {
                    (vec![rank, inputs, kernel, kernel], vec![outputs, rank, 1, 1])
                }
            };
            Ok(LoraModule {
                name: name.clone(),
                rank,
                alpha: module.alpha,
                down: Array { shape: down, values: read_back(module.a.clone(), "the adapters")? },
                up: Array { shape: up, values: read_back(module.b.clone(), "the adapters")? },
            })
        })
        .collect()
}

/// The saves of a run that have adapters: step and folder, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn saves(run_dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let folder = run_dir.join("checkpoints");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && run_dir.is_dir() => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::io("read the run folder", &folder, error)),
    };
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(ADAPTER).is_file())
        .filter_map(|path| Some((step(&path)?, path)))
        .collect();
    found.sort();
    Ok(found)
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    pub path: PathBuf,
    /// Adapted layers.
    pub modules: usize,
}

/// Writes the adapters of a save as a LoRA file.
///
/// # Errors
/// When there is no such save, it is damaged, or the file cannot be written.
pub fn export(request: &ExportRequest) -> Result<Exported, TrainError> {
    let ExportRequest { run_dir, step, to, dtype, names, about, thumbnail } = request;
    let saves = saves(run_dir)?;
    let Some((last, _)) = saves.last() else { return Err(TrainError::NoSave { run_dir: run_dir.to_owned() }) };
    let wanted = step.unwrap_or(*last);
    let Some((_, save)) = saves.iter().find(|(step, _)| *step == wanted) else {
        let have = saves.iter().map(|(step, _)| step.to_string()).collect::<Vec<_>>().join(", ");
        return Err(TrainError::NoSuchSave { run_dir: run_dir.to_owned(), step: wanted, have });
    };
    let plan_path = run_dir.join(PLAN);
    let text = fs::read_to_string(&plan_path).map_err(|e| TrainError::io("read", &plan_path, e))?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|error| TrainError::run_file(&plan_path, format!("is damaged ({error})")))?;
    let adapter = save.join(ADAPTER);
    let modules = read_adapter(&adapter)?;
    let path = file_name(to, &plan.settings.save.name);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| TrainError::io("make the folder", folder, e))?;
    }
    let finished_at = fs::metadata(&adapter).and_then(|facts| facts.modified()).ok();
    let finished_at = finished_at.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut facts = training_facts(&plan, &RunFacts::load(run_dir), wanted);
    facts.finished_at = finished_at.map_or(facts.started_at, |time| time.as_secs_f64());
    facts.output_name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if !about.title.is_empty() {
        facts.title.clone_from(&about.title);
    }
    facts.author.clone_from(&about.author);
    facts.description.clone_from(&about.description);
    facts.license.clone_from(&about.license);
    facts.usage_hint.clone_from(&about.usage_hint);
    facts.tags.clone_from(&about.tags);
    let dtype = match dtype {
        ExportDtype::F16 => Dtype::F16,
        ExportDtype::Bf16 => Dtype::Bf16,
        ExportDtype::F32 => Dtype::F32,
    };
    let write = match names {
        ExportNames::Kohya => lora::write,
        ExportNames::Diffusers => lora::write_peft,
    };
    let mut metadata = lora::metadata(&facts);
    metadata.extend(crate::loss::metadata(&plan.settings));
    if let Some(picture) = thumbnail {
        metadata.insert("modelspec.thumbnail".to_owned(), thumbnail::data_url(picture)?);
    }
    write(&path, facts.family, &modules, dtype, &metadata)?;
    if let Some(picture) = thumbnail {
        thumbnail::put_beside(&path, picture)?;
    }
    Ok(Exported { path, modules: modules.len() })
}

/// Writes adapters that could not be saved as a LoRA file where there is room for it: in the run folder, else in the cache
/// or in the folder for temporary files. `None` when there is room nowhere.
pub(crate) fn rescue(run_dir: &Path, plan: &Plan, modules: &[LoraModule], step: u64) -> Option<PathBuf> {
    let run = run_dir.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{run}-step{step}");
    let facts = TrainingFacts { output_name: name.clone(), ..training_facts(plan, &RunFacts::load(run_dir), step) };
    let dtype = match plan.settings.save.dtype {
        SaveDtype::F16 => Dtype::F16,
        SaveDtype::Bf16 => Dtype::Bf16,
        SaveDtype::F32 => Dtype::F32,
    };
    [run_dir.to_owned(), cache_folder(), std::env::temp_dir()]
        .into_iter()
        .map(|folder| folder.join(format!("{name}.safetensors")))
        .find(|path| lora::write(path, facts.family, modules, dtype, &lora::metadata(&facts)).is_ok())
}

fn file_name(to: &Path, name: &str) -> PathBuf {
    if to.is_dir() {
        return to.join(format!("{name}.safetensors"));
    }
    if to.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        return to.to_owned();
    }
    // Added rather than replaced: `v1.5` is a name, not a name with an ending.
    let mut with_ending = to.as_os_str().to_owned();
    with_ending.push(".safetensors");
    with_ending.into()
}

fn training_facts(plan: &Plan, run: &RunFacts, step: u64) -> TrainingFacts {
    let settings = &plan.settings;
    let train = &settings.train;
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let base_file = Path::new(&settings.base.path);
    TrainingFacts {
        output_name: String::new(),
        family: file_family(run.family),
        base_name: if run.base_name.is_empty() { plan.base.clone() } else { run.base_name.clone() },
        // A base that was deleted or moved since costs its hashes, not the export.
        base_hashes: base_file.is_file().then(|| file_hashes(base_file).ok()).flatten(),
        prediction: match settings.loss.prediction {
            lorikeet_recipe::Prediction::Epsilon => Some(Prediction::Epsilon),
            lorikeet_recipe::Prediction::Velocity => Some(Prediction::V),
            lorikeet_recipe::Prediction::Flow => Some(Prediction::Flow),
        },
        rank: settings.network.rank as usize,
        alpha: settings.network.alpha as f32,
        convolutions: settings.network.convolutions.map(|(rank, alpha)| (rank as usize, alpha as f32)),
        dropout: Some(settings.network.dropout).filter(|dropout| *dropout > 0.0),
        resolution: (settings.dataset.resolution, settings.dataset.resolution),
        clip_skip: None,
        train_images: count(plan.looks_per_epoch),
        validation_images: count(plan.validation_images),
        batches_per_epoch: count(plan.batches_per_epoch),
        epochs: count(plan.epochs),
        epoch: count(step.div_ceil(plan.steps_per_epoch.max(1))),
        max_steps: count(plan.steps),
        steps: count(step),
        batch: train.batch as usize,
        accumulation: train.accumulation as usize,
        learning_rate: train.learning_rate,
        text_encoder_lr: settings.network.text_encoder.then_some(train.text_encoder_lr),
        optimizer: format!(
            "{}(weight_decay={},betas=({}, {}),eps={})",
            if train.optimiser == Optimiser::AdamW8Bit { "AdamW8bit" } else { "AdamW" },
            train.weight_decay,
            train.beta1,
            train.beta2,
            train.epsilon
        ),
        schedule: match train.schedule {
            Schedule::Constant if train.warmup > 0 => "constant_with_warmup",
            Schedule::Constant => "constant",
            Schedule::Cosine => "cosine",
            Schedule::Linear => "linear",
        }
        .to_owned(),
        warmup_steps: count(train.warmup),
        seed: train.seed,
        mixed_precision: match (plan.device.split(':').next(), plan.number_bytes) {
            (Some("cuda"), 0 | 2) if !plan.f16 => "bf16",
            (Some("cuda" | "vulkan"), 2) => "fp16",
            _ => "no",
        }
        .to_owned(),
        segmented: plan.segments == Segments::PerBlock,
        flow: (settings.loss.prediction == lorikeet_recipe::Prediction::Flow).then_some(FlowFacts {
            timestep_sampling: match settings.loss.timestep_sampling {
                TimestepSampling::Uniform => "uniform",
                TimestepSampling::Sigmoid => "sigmoid",
                TimestepSampling::Shift => "shift",
                TimestepSampling::FluxShift => "flux_shift",
            },
            sigmoid_scale: settings.loss.sigmoid_scale,
            shift: settings.loss.flow_shift,
            guidance: settings.loss.guidance,
        }),
        noise_offset: Some(settings.loss.noise_offset).filter(|offset| *offset > 0.0),
        min_snr_gamma: settings.loss.min_snr_gamma,
        clip_norm: train.clip_norm.unwrap_or(0.0),
        caption_dropout: settings.dataset.caption_dropout,
        flip: settings.dataset.flip,
        shuffle_tags: settings.dataset.shuffle_tags,
        keep_tokens: settings.dataset.keep_tokens as usize,
        started_at: run.started_at,
        finished_at: run.started_at,
        tag_frequency: run.tag_frequency.clone(),
        dataset_dirs: run.dataset_dirs.iter().map(|(name, f)| (name.clone(), (f.n_repeats, f.img_count))).collect(),
        buckets: match settings.dataset.buckets {
            true => plan.buckets.iter().map(|bucket| (bucket.width, bucket.height, bucket.count)).collect(),
            false => Vec::new(),
        },
        mean_aspect_error: run.mean_aspect_error,
        comment: String::new(),
        title: settings.save.name.clone(),
        trigger: settings.dataset.trigger.clone(),
        program: PROGRAM.to_owned(),
        ..TrainingFacts::default()
    }
}

#[cfg(test)]
mod tests;
