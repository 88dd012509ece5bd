//! What a plan must know about base, pictures and machine, read from headers and configurations: no weight is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use burn::tensor::DType;
use lorikeet_checkpoint::{BaseModel, Component, Part, PartFiles};
use lorikeet_dataset::{
    BucketRules, Bucketing, CaptionRules, Dataset, Folder, Placement, ScanOptions, scan, scan_folders, split_validation,
};
use lorikeet_models::vae::VaeConfig;
use lorikeet_nn::{DeviceKind, device as devices};
use lorikeet_recipe::{
    BaseFacts, BucketFacts, DatasetFacts, FolderFacts, ImageFacts, MachineFacts, Plan, PlanSettings, Prediction,
    Recipe, SampleSettings, plan, settings,
};
use sysinfo::{Disks, System};

use crate::base::{choose_device, open_model_with, part_files};
use crate::cache::cache_folder;
use crate::error::TrainError;
use crate::family::{architecture, matrices, recipe_family, target_facts};

/// Plans a run without loading any weight.
///
/// # Errors
/// When base, pictures, device or recipe cannot be used.
pub fn probe(recipe: &Recipe) -> Result<Plan, TrainError> {
    let base = base_facts(&recipe_model(recipe)?)?;
    let resolved = settings(recipe, &base)?;
    plan_for(recipe, &base, &pictures(&resolved)?)
}

/// As [`probe`], for pictures that were found before: some may have been left out since.
///
/// # Errors
/// When device or recipe cannot be used.
pub fn plan_for(recipe: &Recipe, base: &BaseFacts, pictures: &Pictures) -> Result<Plan, TrainError> {
    let resolved = settings(recipe, base)?;
    let device = choose_device(&resolved.run.device)?;
    // Opened here so that a missing driver is told before anything is trained.
    lorikeet_nn::device::open(device)?;
    let machine = machine_facts(device, Path::new(&resolved.save.folder));
    Ok(plan(recipe, base, &dataset_facts(pictures), &machine)?)
}

/// The base of a recipe.
pub(crate) fn recipe_model(recipe: &Recipe) -> Result<BaseModel, TrainError> {
    open_model_with(&text(recipe, "base.path"), &part_files(recipe))
}

/// How a base is drawn with when nothing else is asked for.
///
/// # Errors
/// When the base cannot be used.
pub fn usual_drawing(base: &str, parts: &PartFiles) -> Result<SampleSettings, TrainError> {
    usual_for(base, &open_model_with(base, parts)?)
}

/// As [`usual_drawing`], of an opened base.
pub(crate) fn usual_for(base: &str, model: &BaseModel) -> Result<SampleSettings, TrainError> {
    let mut recipe = Recipe::default();
    recipe.set("base.path", lorikeet_recipe::Value::Text(base.to_owned()))?;
    Ok(settings(&recipe, &base_facts(model)?)?.sample)
}

fn text(recipe: &Recipe, id: &str) -> String {
    match recipe.get(id) {
        lorikeet_recipe::Value::Text(text) => text,
        other => other.to_string(),
    }
}

/// # Errors
/// When a configuration lacks something every such model has.
pub fn base_facts(model: &BaseModel) -> Result<BaseFacts, TrainError> {
    let architecture = architecture(model)?;
    let vae = VaeConfig::from_json(model.config(Part::Vae)?)?;
    let parameters = |part| model.part(part).map(Component::parameters);
    let factor = u32::try_from(vae.factor()).unwrap_or(8);
    Ok(BaseFacts {
        family: recipe_family(model.family),
        display_name: model.name.clone(),
        path: model.path.clone(),
        prediction: match model.prediction {
            lorikeet_checkpoint::Prediction::Epsilon => Prediction::Epsilon,
            lorikeet_checkpoint::Prediction::V => Prediction::Velocity,
            lorikeet_checkpoint::Prediction::Flow => Prediction::Flow,
        },
        native_resolution: model.native_resolution(),
        latent_factor: factor,
        latent_channels: u32::try_from(vae.latent_channels).unwrap_or(4),
        size_multiple: factor * u32::try_from(architecture.size_multiple()).unwrap_or(8),
        denoiser_params: parameters(architecture.denoiser())?,
        denoiser_matrices: matrices(&architecture.denoiser_layers(model)?),
        vae_params: parameters(Part::Vae)?,
        model_file_bytes: model.stored_bytes(),
        denoiser: architecture.shape(),
        vae_channels: vae.block_out_channels[0] as u64,
        text: architecture.text_facts(model)?,
        denoiser_targets: target_facts(&architecture.denoiser_targets(model)?),
        convolution_targets: target_facts(&architecture.convolution_targets(model)?),
    })
}

/// The pictures of a run, sorted into buckets.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    pub train: Dataset,
    /// Where each of `train.images` lies in its bucket.
    pub train_placements: Vec<Placement>,
    /// Held out; may be empty.
    pub validation: Dataset,
    pub validation_placements: Vec<Placement>,
    pub captions: CaptionRules,
}

/// Finds the pictures a recipe asks for. Reads headers only.
///
/// # Errors
/// When the folder is missing or holds no usable picture. With no folder chosen the result is empty, and the plan says so.
pub fn pictures(settings: &PlanSettings) -> Result<Pictures, TrainError> {
    let data = &settings.dataset;
    let folders: Vec<Folder> = data
        .folders()
        .into_iter()
        .map(|folder| Folder { path: folder.path.into(), repeats: folder.repeats.max(1) })
        .collect();
    if folders.is_empty() {
        return Ok(Pictures::default());
    }
    let all = scan_folders(&folders, "")?;
    let (train, validation) = if data.validation_folder.is_empty() {
        split_validation(&all, data.validation_split, settings.train.seed)
    } else {
        (all, scan(Path::new(&data.validation_folder), &ScanOptions::default())?)
    };
    let rules = BucketRules {
        width: data.resolution,
        height: data.resolution,
        step: data.bucket_step,
        min: data.bucket_min,
        max: data.bucket_max,
        no_upscale: data.no_upscale,
        enabled: data.buckets,
    };
    let bucketing = Bucketing::new(&rules);
    let place = |dataset: &Dataset| -> Vec<Placement> {
        dataset.images.iter().map(|picture| bucketing.assign(picture.width, picture.height)).collect()
    };
    Ok(Pictures {
        train_placements: place(&train),
        validation_placements: place(&validation),
        train,
        validation,
        captions: CaptionRules {
            trigger: data.trigger.clone(),
            shuffle: data.shuffle_tags,
            keep_tokens: data.keep_tokens as usize,
            dropout: data.caption_dropout,
        },
    })
}

impl Pictures {
    /// Every caption as it is trained on without shuffling, once, and the empty one when captions are dropped.
    pub fn all_captions(&self) -> Vec<String> {
        let images = self.train.images.iter().chain(&self.validation.images);
        let with_trigger = |picture: &lorikeet_dataset::Picture| {
            lorikeet_dataset::captions::with_trigger(&picture.caption, &self.captions.trigger)
        };
        let empty = (self.captions.dropout > 0.0).then(String::new);
        images.map(with_trigger).chain(empty).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

pub fn dataset_facts(pictures: &Pictures) -> DatasetFacts {
    let images = &pictures.train.images;
    let facts = |picture: &lorikeet_dataset::Picture| ImageFacts {
        path: picture.path.clone(),
        width: picture.width,
        height: picture.height,
        repeats: picture.repeats,
    };
    let bucket = |(picture, placement): (&lorikeet_dataset::Picture, &Placement)| BucketFacts {
        width: placement.bucket.0,
        height: placement.bucket.1,
        count: picture.repeats.into(),
    };
    let folder = |path: &Path| {
        let own = || images.iter().filter(|picture| pictures.train.folder_of(&picture.path) == path);
        let looks = own().map(|picture| u64::from(picture.repeats)).sum();
        FolderFacts { path: path.to_owned(), images: own().count() as u64, looks }
    };
    let several = !pictures.train.more_folders.is_empty();
    DatasetFacts {
        folders: if several { pictures.train.folders().map(folder).collect() } else { Vec::new() },
        images: images.iter().map(facts).collect(),
        captions: images.iter().map(|picture| picture.caption.clone()).collect(),
        validation_images: pictures.validation.images.len() as u64,
        captions_missing: pictures.train.captions_missing() as u64,
        masks: images.iter().filter(|picture| picture.mask.is_some()).count() as u64,
        skipped: pictures.train.skipped.iter().map(|left| (left.path.clone(), left.reason.clone())).collect(),
        // The plan adds up buckets of one size.
        buckets: images.iter().zip(&pictures.train_placements).map(bucket).collect(),
    }
}

/// `output`: where run folders will be; it need not exist yet.
pub fn machine_facts(device: DeviceKind, output: &Path) -> MachineFacts {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    MachineFacts {
        device: device.to_string(),
        memory_bytes: match device {
            DeviceKind::Cpu | DeviceKind::Vulkan(_) => None,
            DeviceKind::Cuda(index) => cuda_memory(index),
        }
        .unwrap_or_else(main_memory),
        host_memory_bytes: main_memory(),
        disk_free_bytes: disk_free(output),
        cache_free_bytes: disk_free(&cache_folder()),
        cache_folder: cache_folder(),
        cores: u32::try_from(cores).unwrap_or(1),
        f16: computes_in_f16(device),
    }
}

/// Kept, as plans are made often and looking for devices takes time.
fn computes_in_f16(device: DeviceKind) -> bool {
    static KNOWN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let f16 = || match device {
        DeviceKind::Cpu => false,
        // Asked without opening it, which would take some of its memory from the run.
        DeviceKind::Cuda(index) => nvidia_smi(index, "compute_cap").is_some_and(|told| before_bf16(&told)),
        DeviceKind::Vulkan(_) => {
            devices::open(device).is_ok_and(|open| devices::compute_dtype(device, &open) == DType::F16)
        }
    };
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner).entry(device.to_string()).or_insert_with(f16)
}

/// Of a compute capability: `7.5`. Tensor cores take bf16 from 8.0 on.
fn before_bf16(capability: &str) -> bool {
    capability.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 8)
}

/// Of the computer, or of the container this program runs in.
fn main_memory() -> u64 {
    // Where the system does not tell, a small computer is assumed.
    let Ok(mut system) = System::new() else { return 8 << 30 };
    system.refresh_memory();
    let total = system.total_memory();
    system.cgroup_limits().map_or(total, |limits| limits.total_memory.min(total))
}

/// The tensor library tells what is in use, not what there is; the driver's own tool does.
fn cuda_memory(index: usize) -> Option<u64> {
    let mebibytes: u64 = nvidia_smi(index, "memory.total")?.parse().ok()?;
    Some(mebibytes << 20)
}

fn nvidia_smi(index: usize, what: &str) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args([&format!("--query-gpu={what}"), "--format=csv,noheader,nounits", "-i", &index.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn disk_free(path: &Path) -> u64 {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // A folder that will be made lies on the disk of the nearest one that is there.
    let existing: PathBuf =
        absolute.ancestors().find_map(|folder| folder.canonicalize().ok()).unwrap_or(absolute.clone());
    // Where the system does not tell, that must not stop a run.
    let Ok(disks) = Disks::new_with_refreshed_list() else { return u64::MAX };
    let holding = disks.iter().filter(|disk| existing.starts_with(disk.mount_point()));
    let nearest = holding.max_by_key(|disk| disk.mount_point().components().count());
    nearest.map_or(u64::MAX, sysinfo::Disk::available_space)
}

#[cfg(test)]
mod tests;
