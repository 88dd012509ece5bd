//! From a recipe to a plan: resolved, checked and counted, every decision with its reason.

mod costs;
mod dataset;
mod display;
mod loss;
mod prompts;
mod resolve;
mod settings;
mod warnings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use dataset::DatasetSettings;
pub use resolve::settings;
pub use settings::{
    BaseSettings, HuberSchedule, LossKind, LossSettings, Memory, NetworkSettings, Optimiser, PlanSettings, Precision,
    RunSettings, SampleSettings, SampleUnit, Sampler, SaveDtype, SaveSettings, Schedule, TimestepSampling,
    TrainSettings, ValidationSettings, Weighting,
};

use crate::error::RecipeError;
use crate::facts::{BaseFacts, BucketFacts, DatasetFacts, MachineFacts};
use crate::memory::{MemoryEstimate, Placement, Quantise, Segments};
use crate::recipe::Recipe;
use crate::table::auto_steps;
use display::{count, plural};
use resolve::Notes;
use settings::Reader;

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
    /// Bytes of a number in computation; 0 in plans of before this was kept.
    #[serde(default)]
    pub number_bytes: u64,
    /// Those of 2 bytes are f16, not bf16.
    #[serde(default)]
    pub f16: bool,
    /// Processor cores.
    pub cores: u32,
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
    /// Memory of the computer; 0 in plans of before this was kept.
    #[serde(default)]
    pub host_memory_bytes: u64,
    /// What the run may really use before it takes less and slower ways: the limit that is set, else nearly all there is.
    #[serde(default)]
    pub budget_bytes: u64,
    pub segments: Segments,
    pub placement: Placement,
    pub quantise: Quantise,
    /// Of steps and previews, from the number of multiplications: rough, and `None` where no pace is known.
    pub estimated_seconds: Option<u64>,
    /// What the run will write: encoded pictures and captions, saves, previews.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    /// Of `disk_bytes`, encoded pictures and captions, which lie in a folder of their own.
    #[serde(default)]
    pub cache_bytes: u64,
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
    let base = &base.with_t5_tokens(settings.dataset.t5_tokens);
    let folders = settings.dataset.folders();
    if folders.is_empty() && data.images.is_empty() {
        return Err(RecipeError::NoFolder);
    }
    if data.images.is_empty() {
        let detail = data.skipped.first().map_or_else(String::new, |(path, reason)| {
            format!(" ({} skipped, the first: {reason}: {})", plural(data.skipped.len() as u64, "file"), path.display())
        });
        let folder = folders.into_iter().map(|folder| folder.path).collect::<Vec<_>>().join(" and ");
        return Err(RecipeError::NoPictures { folder, detail });
    }

    let buckets = bucket_counts(&settings, data);
    let looks_per_epoch = buckets.iter().map(|bucket| bucket.count).sum();
    let batches_per_epoch =
        buckets.iter().map(|bucket| bucket.count.div_ceil(settings.train.batch.into())).sum::<u64>();
    let steps_per_epoch = batches_per_epoch.div_ceil(settings.train.accumulation.into()).max(1);
    let steps = resolve_steps(&mut settings, data.images.len() as u64, looks_per_epoch, steps_per_epoch, &mut notes);
    let epochs = steps.div_ceil(steps_per_epoch);
    dataset::note_folders(data, &mut notes);
    dataset::note_masks(settings.dataset.masks, data, &mut notes);
    note_trigger(&settings.dataset.trigger, data, &mut notes);
    resolve_outputs(&mut settings, data, steps_per_epoch, steps, &mut notes);

    let targets = || {
        let convolutions = settings.network.convolutions.map(|_| &base.convolution_targets).into_iter().flatten();
        let text = settings.network.text_encoder.then(|| base.text_targets()).into_iter().flatten();
        base.denoiser_targets.iter().chain(convolutions).chain(text)
    };
    let adapted_layers = targets().count() as u64;
    if adapted_layers == 0 {
        return Err(RecipeError::NoTargets { base: base.display_name.clone() });
    }
    let trainable_parameters =
        targets().map(|target| target.trainable(settings.network.size(target.kernel > 1).0.into())).sum();
    notes.decide(
        "Trained numbers",
        count(trainable_parameters),
        format!(
            "rank x (inputs + outputs) of {adapted_layers} layers{}: {:.2} % of the base",
            if settings.network.text_encoder {
                ", the text encoder's among them".to_owned()
            } else {
                format!(" of the {}", base.denoiser.noun())
            },
            100.0 * trainable_parameters as f64 / (base.denoiser_params + base.text_params()).max(1) as f64,
        ),
    );

    let (choice, memory) = costs::choose_memory(&settings, base, &buckets, trainable_parameters, machine, &mut notes);
    let estimated_seconds = costs::time(&settings, base, &buckets, choice, steps, machine, &mut notes);
    let (disk_bytes, cache_bytes) =
        costs::disk(&settings, base, data, &buckets, trainable_parameters, steps, &mut notes);
    let mut plan = Plan {
        base: base.display_name.clone(),
        device: machine.device.clone(),
        number_bytes: machine.number_bytes(base, settings.run.precision),
        f16: machine.f16,
        cores: machine.cores,
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
        host_memory_bytes: machine.host_memory_bytes,
        budget_bytes: costs::budget(&settings, machine),
        segments: choice.segments,
        placement: choice.placement,
        quantise: choice.quantise,
        estimated_seconds,
        disk_bytes,
        disk_free_bytes: machine.disk_free_bytes,
        cache_bytes,
        decisions: notes.decisions,
        warnings: notes.warnings,
        settings,
    };
    warnings::add(&mut plan, base, data, machine);
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

fn note_trigger(trigger: &str, data: &DatasetFacts, notes: &mut Notes<'_>) {
    if trigger.is_empty() {
        return;
    }
    let captions = || data.captions.iter().filter(|caption| !caption.trim().is_empty());
    let having = captions().filter(|caption| caption.to_lowercase().contains(&trigger.to_lowercase())).count();
    let lacking = captions().count() - having;
    let reason = match (having, lacking) {
        (0, 0) => "there are no captions, so it is the caption of every picture".to_owned(),
        (_, 0) => "every caption has it already".to_owned(),
        (_, lacking) => format!("put in front of {} without it", plural(lacking as u64, "caption")),
    };
    notes.decide("Trigger word", trigger.to_owned(), reason);
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
        let rounds = preview_rounds(sample.every_steps, steps);
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

/// Step 0, every so many steps, and the end, which may fall together with one of them.
fn preview_rounds(every_steps: u64, steps: u64) -> u64 {
    if every_steps == 0 { 0 } else { 1 + steps.div_ceil(every_steps) }
}

#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod tests;
