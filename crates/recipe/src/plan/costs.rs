//! What a run takes of memory and disk.

use super::display::{bytes, count, plural};
use super::resolve::Notes;
use super::{Memory, PlanSettings, preview_rounds};
use crate::facts::{BaseFacts, BucketFacts, DatasetFacts, MachineFacts};
use crate::memory::{Load, MemoryEstimate, Segments, estimate};

/// The part of the memory that one segment may fill; the rest is for the system, other programs and the estimate's error.
const FILL: f64 = 0.6;

/// One segment where it fits, unless the recipe says which.
pub(super) fn choose_segments(
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
                "all at once would need about {}, more than 60 % of {}; block by block needs about {} and computes each block twice",
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
pub(super) fn disk(
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
    let made = if settings.save.every == 0 { 1 } else { steps.div_ceil(settings.save.every) };
    let kept = if settings.save.keep == 0 { made } else { made.min(settings.save.keep.into()) };
    let lora = trainable_parameters * settings.save.dtype.bytes();
    let saves = kept * trainable_parameters * 12 + lora;
    let rounds = preview_rounds(settings.sample.every_steps, steps);
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
        format!("{}.safetensors, {}", settings.save.name, bytes(lora)),
        format!("{} numbers in {}", count(trainable_parameters), settings.save.dtype.id()),
    );
    caches + saves + previews
}
