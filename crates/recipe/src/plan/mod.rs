//! From a recipe to a plan: resolved, checked and counted, every decision with its reason.

mod display;
mod prompts;
mod resolve;
mod settings;
mod warnings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use resolve::settings;
pub use settings::{
    BaseSettings, DatasetSettings, LossSettings, Memory, NetworkSettings, PlanSettings, RunSettings, SampleSettings,
    SampleUnit, Sampler, SaveDtype, SaveSettings, Schedule, TrainSettings, ValidationSettings,
};

use crate::error::RecipeError;
use crate::facts::{BaseFacts, BucketFacts, DatasetFacts, MachineFacts, TargetFacts};
use crate::memory::{Load, MemoryEstimate, Segments, estimate};
use crate::recipe::Recipe;
use crate::table::auto_steps;
use display::{bytes, count, plural};
use resolve::Notes;
use settings::Reader;

/// The part of the memory that one segment may fill; the rest is for the system, other programs and the estimate's error.
const FILL: f64 = 0.6;

/// Something the plan chose, or that the user should know the effect of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `Steps`, `Scale of the LoRA`.
    pub what: String,
    pub value: String,
    /// A sentence.
    pub reason: String,
}

/// A run as it will be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub settings: PlanSettings,
    /// The base's name, for people.
    pub base: String,
    /// The device taken: `cpu`, `cuda:0`.
    pub device: String,
    /// Pictures to train on.
    pub images: u64,
    pub validation_images: u64,
    /// Pictures in an epoch, repeats counted.
    pub looks_per_epoch: u64,
    pub buckets: Vec<BucketFacts>,
    /// Batches in an epoch: each bucket's pictures by the batch size, rounded up.
    pub batches_per_epoch: u64,
    /// Optimiser steps in an epoch; the last one adds up fewer batches when `accumulation` does not divide them.
    pub steps_per_epoch: u64,
    pub steps: u64,
    /// The last one may be cut short.
    pub epochs: u64,
    /// Layers with a LoRA on them.
    pub adapted_layers: u64,
    pub trainable_parameters: u64,
    pub memory: MemoryEstimate,
    /// Memory of the device.
    pub memory_bytes: u64,
    pub segments: Segments,
    /// What the run will write: encoded pictures and captions, saves, previews.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub decisions: Vec<Decision>,
    pub warnings: Vec<String>,
}

/// Plans a run. Call [`settings`] before looking at the pictures: it tells how to sort them into buckets.
pub fn plan(
    recipe: &Recipe,
    base: &BaseFacts,
    data: &DatasetFacts,
    machine: &MachineFacts,
) -> Result<Plan, RecipeError> {
    let reader = Reader::new(recipe, base.class());
    plan_read(&reader, base, data, machine)
}

fn plan_read(
    reader: &Reader<'_>,
    base: &BaseFacts,
    data: &DatasetFacts,
    machine: &MachineFacts,
) -> Result<Plan, RecipeError> {
    let mut notes = Notes::new(reader);
    let mut settings = resolve::resolve(reader, base, &mut notes)?;
    if settings.dataset.folder.is_empty() && data.images.is_empty() {
        return Err(RecipeError::NoFolder);
    }
    if data.images.is_empty() {
        let detail = data.skipped.first().map_or_else(String::new, |(path, reason)| {
            format!(" ({} skipped, the first: {reason}: {})", plural(data.skipped.len() as u64, "file"), path.display())
        });
        return Err(RecipeError::NoPictures { folder: settings.dataset.folder, detail });
    }

    let buckets = bucket_counts(&settings, data);
    let looks_per_epoch = buckets.iter().map(|bucket| bucket.count).sum();
    let batches_per_epoch =
        buckets.iter().map(|bucket| bucket.count.div_ceil(settings.train.batch.into())).sum::<u64>();
    let steps_per_epoch = batches_per_epoch.div_ceil(settings.train.accumulation.into()).max(1);
    let steps = resolve_steps(&mut settings, data.images.len() as u64, looks_per_epoch, steps_per_epoch, &mut notes);
    let epochs = steps.div_ceil(steps_per_epoch);
    resolve_outputs(&mut settings, data, steps_per_epoch, steps, &mut notes);

    let targets = || {
        let text: &[TargetFacts] = if settings.network.text_encoder { &base.text_targets } else { &[] };
        base.unet_targets.iter().chain(text)
    };
    let adapted_layers = targets().count() as u64;
    if adapted_layers == 0 {
        return Err(RecipeError::NoTargets { base: base.display_name.clone() });
    }
    let trainable_parameters = targets().map(|target| target.trainable(settings.network.rank.into())).sum();
    notes.decide(
        "Trained numbers",
        count(trainable_parameters),
        format!(
            "rank x (inputs + outputs) of {adapted_layers} layers{}: {:.2} % of the base",
            if settings.network.text_encoder { ", the text encoder's among them" } else { " of the UNet" },
            100.0 * trainable_parameters as f64 / (base.unet_params + base.text_params).max(1) as f64,
        ),
    );

    let (segments, memory) = choose_segments(&settings, base, &buckets, trainable_parameters, machine, &mut notes);
    let disk_bytes = disk(&settings, base, data, &buckets, trainable_parameters, steps, &mut notes);
    let mut plan = Plan {
        base: base.display_name.clone(),
        device: machine.device.clone(),
        images: data.images.len() as u64,
        validation_images: data.validation_images,
        looks_per_epoch,
        buckets,
        batches_per_epoch,
        steps_per_epoch,
        steps,
        epochs,
        adapted_layers,
        trainable_parameters,
        memory,
        memory_bytes: machine.memory_bytes,
        segments,
        disk_bytes,
        disk_free_bytes: machine.disk_free_bytes,
        decisions: notes.decisions,
        warnings: notes.warnings,
        settings,
    };
    warnings::add(&mut plan, base, data);
    Ok(plan)
}

/// The buckets as told, else all pictures as squares.
fn bucket_counts(settings: &PlanSettings, data: &DatasetFacts) -> Vec<BucketFacts> {
    let told: BTreeMap<(u32, u32), u64> = data.buckets.iter().fold(BTreeMap::new(), |mut counts, bucket| {
        *counts.entry((bucket.width, bucket.height)).or_default() += bucket.count;
        counts
    });
    if told.values().sum::<u64>() > 0 {
        return told.into_iter().map(|((width, height), count)| BucketFacts { width, height, count }).collect();
    }
    let edge = settings.dataset.resolution;
    let count = data.images.iter().map(|image| u64::from(image.repeats.max(1))).sum();
    vec![BucketFacts { width: edge, height: edge, count }]
}

fn resolve_steps(
    settings: &mut PlanSettings,
    images: u64,
    looks_per_epoch: u64,
    steps_per_epoch: u64,
    notes: &mut Notes<'_>,
) -> u64 {
    let steps = if settings.train.steps > 0 {
        notes.decide("Steps", count(settings.train.steps), notes.why("train.steps"));
        settings.train.steps
    } else {
        let rule = auto_steps(settings.preset, notes.base());
        let together = u64::from(settings.train.batch) * u64::from(settings.train.accumulation);
        let steps = (rule.looks * images).div_ceil(together).clamp(rule.min, rule.max);
        notes.decide(
            "Steps",
            count(steps),
            format!(
                "{} looks at each of {}, {together} at a time, within {} to {} steps: {}",
                rule.looks,
                plural(images, "picture"),
                rule.min,
                rule.max,
                rule.reason
            ),
        );
        steps
    };
    settings.train.steps = steps;
    notes.decide(
        "Epochs",
        count(steps.div_ceil(steps_per_epoch)),
        format!(
            "an epoch shows {} in {}, so each picture is seen about {} times",
            plural(looks_per_epoch, "picture"),
            plural(steps_per_epoch, "step"),
            (steps * looks_per_epoch / steps_per_epoch).div_ceil(images.max(1)),
        ),
    );
    if settings.train.warmup >= steps {
        let shorter = steps / 10;
        notes.warn(format!(
            "train.warmup = {} is not shorter than the run of {}; warm-up is cut to {shorter}",
            settings.train.warmup,
            plural(steps, "step")
        ));
        settings.train.warmup = shorter;
    }
    steps
}

/// Previews, validation and saves, now that pictures and steps are known.
fn resolve_outputs(
    settings: &mut PlanSettings,
    data: &DatasetFacts,
    steps_per_epoch: u64,
    steps: u64,
    notes: &mut Notes<'_>,
) {
    let sample = &mut settings.sample;
    if sample.every == 0 {
        sample.prompts.clear();
        notes.decide("Previews", "none".to_owned(), notes.why("sample.every"));
    } else {
        let unit = if sample.unit == SampleUnit::Epochs { steps_per_epoch } else { 1 };
        sample.every_steps = sample.every.saturating_mul(unit);
        let rounds = 1 + steps.div_ceil(sample.every_steps);
        let reason = if sample.prompts.is_empty() {
            let (prompts, reason) = prompts::choose(settings.preset, &settings.dataset.trigger, &data.captions);
            sample.prompts = prompts;
            reason
        } else {
            "the prompts are yours".to_owned()
        };
        notes.decide(
            "Previews",
            format!(
                "{} at step 0, every {} and at the end: {}",
                plural(sample.prompts.len() as u64, "picture"),
                plural(sample.every_steps, "step"),
                plural(rounds * sample.prompts.len() as u64, "picture"),
            ),
            reason,
        );
    }
    if settings.validation.every > 0 && data.validation_images == 0 {
        settings.validation.every = 0;
        notes.decide(
            "Validation",
            "off".to_owned(),
            "no pictures are held out; dataset.validation_folder or dataset.validation_split would do it".to_owned(),
        );
    } else if settings.validation.every > 0 {
        notes.decide(
            "Validation",
            format!(
                "{}, every {}",
                plural(data.validation_images, "picture"),
                plural(settings.validation.every, "step")
            ),
            "the same noise each time, so that the losses can be compared".to_owned(),
        );
    } else {
        notes.decide("Validation", "off".to_owned(), notes.why("validation.every"));
    }
}

fn choose_segments(
    settings: &PlanSettings,
    base: &BaseFacts,
    buckets: &[BucketFacts],
    trainable_parameters: u64,
    machine: &MachineFacts,
    notes: &mut Notes<'_>,
) -> (Segments, MemoryEstimate) {
    let edge = settings.dataset.resolution;
    let largest = buckets.iter().max_by_key(|bucket| u64::from(bucket.width) * u64::from(bucket.height));
    let load = Load {
        width: largest.map_or(edge, |bucket| bucket.width),
        height: largest.map_or(edge, |bucket| bucket.height),
        batch: settings.train.batch.into(),
        trainable_parameters,
        text_encoder: settings.network.text_encoder,
        preview: (settings.sample.every > 0).then_some((
            settings.sample.width,
            settings.sample.height,
            settings.sample.cfg > 1.0,
        )),
        number_bytes: machine.number_bytes(),
    };
    let one = estimate(base, &load, Segments::One);
    let per_block = estimate(base, &load, Segments::PerBlock);
    let limit = (machine.memory_bytes as f64 * FILL) as u64;
    let (segments, reason) = match settings.train.memory {
        Memory::Fast => (Segments::One, notes.why("train.memory")),
        Memory::Low => (Segments::PerBlock, notes.why("train.memory")),
        Memory::Auto if one.peak_bytes <= limit => (
            Segments::One,
            format!(
                "about {} fits in 60 % of {}, so nothing need be computed twice",
                bytes(one.peak_bytes),
                bytes(machine.memory_bytes)
            ),
        ),
        Memory::Auto => (
            Segments::PerBlock,
            format!(
                "all at once would need about {}, more than 60 % of {}; block by block needs about {} and takes about a third longer",
                bytes(one.peak_bytes),
                bytes(machine.memory_bytes),
                bytes(per_block.peak_bytes)
            ),
        ),
    };
    let (value, memory) = match segments {
        Segments::One => ("all at once", one),
        Segments::PerBlock => ("block by block", per_block),
    };
    notes.decide("Backward pass", value.to_owned(), reason);
    (segments, memory)
}

/// What the run writes: encoded pictures (mean and variance, f32, a second time if mirrored), encoded captions, LoRA
/// files with their optimiser state (three f32 for each number), previews at about 2 bytes a pixel.
fn disk(
    settings: &PlanSettings,
    base: &BaseFacts,
    data: &DatasetFacts,
    buckets: &[BucketFacts],
    trainable_parameters: u64,
    steps: u64,
    notes: &mut Notes<'_>,
) -> u64 {
    let looks: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let pixels: u64 = buckets.iter().map(|b| u64::from(b.width) * u64::from(b.height) * b.count).sum();
    let images = data.images.len() as u64 + data.validation_images;
    let latents = pixels * images / looks.max(1) / u64::from(base.latent_factor).pow(2).max(1);
    let mirrored = 1 + u64::from(settings.dataset.flip);
    let captions = if settings.network.text_encoder { 0 } else { images + settings.sample.prompts.len() as u64 + 2 };
    let caches = latents * u64::from(base.latent_channels) * 2 * 4 * mirrored
        + captions * base.text_tokens * base.unet.context_width * 4;
    let made =
        steps.checked_div(settings.save.every).map_or(1, |saves| saves + u64::from(steps % settings.save.every != 0));
    let kept = if settings.save.keep == 0 { made } else { made.min(settings.save.keep.into()) };
    let lora = trainable_parameters * settings.save.dtype.bytes();
    let saves = kept * trainable_parameters * 12 + lora;
    let rounds = steps.checked_div(settings.sample.every_steps).map_or(0, |rounds| rounds + 2);
    let previews = rounds
        * settings.sample.prompts.len() as u64
        * u64::from(settings.sample.width)
        * u64::from(settings.sample.height)
        * 2;
    notes.decide(
        "Disk",
        bytes(caches + saves + previews),
        format!(
            "encoded pictures and captions {}, {} {}, previews {}",
            bytes(caches),
            plural(kept, "save"),
            bytes(saves),
            bytes(previews)
        ),
    );
    notes.decide(
        "LoRA file",
        bytes(lora),
        format!("{}.safetensors in {:?}", settings.save.name, settings.save.dtype).to_lowercase(),
    );
    caches + saves + previews
}

#[cfg(test)]
mod tests;
