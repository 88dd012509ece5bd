//! What a run takes of memory and disk.

use super::display::{bytes, count, duration, plural};
use super::resolve::Notes;
use super::{Memory, Optimiser, PlanSettings, preview_rounds};
use crate::facts::{BaseFacts, BucketFacts, DatasetFacts, MachineFacts};
use crate::memory::{Load, MemoryChoice, MemoryEstimate, Placement, Quantise, Segments, estimate, exact_bytes};
use crate::numbers::Numbers;
use crate::setting::BaseClass;

/// The part of the computer's memory that a run may fill; the rest is for the system, other programs and the estimate's
/// error.
const FILL: f64 = 0.6;
/// The same of a card, which has little else to do.
const FILL_CARD: f64 = 0.8;

/// The part of the memory that a run may really use before it takes smaller ways: more than is planned with, as the
/// estimate may be wrong, but not all.
const BUDGET: f64 = 0.9;

/// Bytes, see [`super::Plan::budget_bytes`].
pub(super) fn budget(settings: &PlanSettings, machine: &MachineFacts) -> u64 {
    settings.train.memory_limit.unwrap_or((machine.memory_bytes as f64 * BUDGET) as u64)
}

/// The fastest way that fits, among those the recipe allows; the smallest if none does.
pub(super) fn choose_memory(
    settings: &PlanSettings,
    base: &BaseFacts,
    buckets: &[BucketFacts],
    trainable_parameters: u64,
    machine: &MachineFacts,
    notes: &mut Notes<'_>,
) -> (MemoryChoice, MemoryEstimate) {
    let load = load(settings, base, buckets, trainable_parameters, machine);
    let host_room = (machine.host_memory_bytes as f64 * FILL) as u64;
    let fill = if machine.is_cpu() { FILL } else { FILL_CARD };
    let limit = settings.train.memory_limit.unwrap_or((machine.memory_bytes as f64 * fill) as u64);
    let mut ways: Vec<(MemoryChoice, MemoryEstimate)> =
        allowed(settings, machine).into_iter().map(|choice| (choice, estimate(base, &load, choice))).collect();
    // What the recipe asks for is done, with a warning; what the plan chooses must fit.
    if settings.train.weights.is_none() {
        ways.retain(|(_, memory)| memory.host_bytes <= host_room);
    }
    ways.sort_by(|(a, _), (b, _)| slowdown(*a).total_cmp(&slowdown(*b)));
    let smallest = || (0..ways.len()).min_by_key(|&at| ways[at].1.needed_bytes);
    let fits = ways.iter().position(|(choice, memory)| memory.room(*choice) <= limit);
    let at = fits.or_else(smallest).unwrap_or(0);
    let (choice, memory) = ways[at].clone();
    let room = match settings.train.memory_limit {
        Some(limit) => format!("the limit of {}", bytes(limit)),
        None => format!("{:.0} % of {}", fill * 100.0, bytes(machine.memory_bytes)),
    };
    let needed = bytes(memory.room(choice));

    if (host_room..=machine.host_memory_bytes).contains(&memory.host_bytes) {
        notes.warn(format!(
            "memory.weights = host takes {} of the computer's memory, which has {} for all programs: set base.quantise to int8, or memory.weights to stream",
            bytes(memory.host_bytes),
            bytes(machine.host_memory_bytes)
        ));
    }
    let streams = choice.placement != Placement::Resident;
    let reason = match (settings.train.memory, choice.segments) {
        (Memory::Fast, Segments::PerBlock) if streams => "weights come block by block, so the rest must too".to_owned(),
        (Memory::Fast | Memory::Low, _) => notes.why("train.memory"),
        (Memory::Auto, Segments::One) => format!("about {needed} fits in {room}, so nothing need be computed twice"),
        (Memory::Auto, Segments::PerBlock) => {
            let all_at_once = MemoryChoice { segments: Segments::One, ..choice };
            let whole = estimate(base, &load, all_at_once);
            format!(
                "all at once would need about {}, more than {room}; block by block needs about {needed} and computes each block twice",
                bytes(whole.room(all_at_once)),
            )
        }
    };
    let value = match choice.segments {
        Segments::One => "all at once",
        Segments::PerBlock => "block by block",
    };
    notes.decide("Backward pass", value.to_owned(), reason);
    if BaseClass::PACKABLE.contains(&base.class()) {
        note_weights(settings, base, &load, choice, &room, notes);
    }
    (choice, memory)
}

fn note_weights(
    settings: &PlanSettings,
    base: &BaseFacts,
    load: &Load,
    choice: MemoryChoice,
    room: &str,
    notes: &mut Notes<'_>,
) {
    let bits = match choice.quantise {
        Quantise::None if choice.placement == Placement::Resident => (8.0 * exact_bytes(base, load)).round() as u64,
        Quantise::None => 8 * load.number_bytes,
        Quantise::Int8 => 8,
        Quantise::Int4 => 4,
    };
    let place = match choice.placement {
        Placement::Resident if load.mapped && choice.quantise == Quantise::None => "in their file, mapped into memory",
        Placement::Resident => "on the device",
        Placement::Host => "brought in block by block from the computer's memory",
        Placement::Stream => "brought in block by block from their file",
    };
    let asked = settings.base.quantise.filter(|bits| *bits != Quantise::None);
    if let (Placement::Stream, Some(bits)) = (choice.placement, asked) {
        notes.warn(format!(
            "base.quantise = {} has no effect: weights that are brought in from their file are exact",
            bits.id()
        ));
    }
    let reason = match (settings.base.quantise, settings.train.weights) {
        (Some(_), Some(_)) => notes.why("base.quantise"),
        _ => {
            let plain = MemoryChoice { placement: Placement::Resident, quantise: Quantise::None, ..choice };
            let plain_bytes = bytes(estimate(base, load, plain).room(plain));
            if choice == plain {
                format!("exact weights fit in {room}")
            } else {
                let cost = 100.0 * (slowdown(choice) / slowdown(plain) - 1.0);
                format!(
                    "exact weights on the device would need about {plain_bytes}, more than {room}; this is about {cost:.0} % slower, the least among the ways that fit"
                )
            }
        }
    };
    let error = match choice.quantise {
        Quantise::None => "",
        Quantise::Int8 => {
            ". 8 bits change weights by about 0.7 %; what that does to this base's answers is measured before the first step"
        }
        Quantise::Int4 => {
            ". 4 bits change weights by about 9 %; what that does to this base's answers is measured before the first step"
        }
    };
    notes.decide("Frozen weights", format!("{bits} bit, {place}"), format!("{}{error}", reason.trim_end_matches('.')));
}

fn allowed(settings: &PlanSettings, machine: &MachineFacts) -> Vec<MemoryChoice> {
    let segments: &[Segments] = match settings.train.memory {
        Memory::Fast => &[Segments::One],
        Memory::Low => &[Segments::PerBlock],
        Memory::Auto => &[Segments::One, Segments::PerBlock],
    };
    let placements = match settings.train.weights {
        // The computer's memory is the device's.
        Some(Placement::Host) if machine.is_cpu() => vec![Placement::Resident],
        Some(one) => vec![one],
        None if machine.is_cpu() => vec![Placement::Resident, Placement::Stream],
        None => vec![Placement::Resident, Placement::Host, Placement::Stream],
    };
    let bits = settings.base.quantise.map_or(vec![Quantise::None, Quantise::Int8, Quantise::Int4], |one| vec![one]);
    let mut all = Vec::new();
    for &placement in &placements {
        for &segments in segments {
            // A graph over all blocks would hold all their weights: streaming goes block by block, whatever is asked.
            let segments = match (placement, segments) {
                (Placement::Host | Placement::Stream, _) if settings.train.weights.is_some() => Segments::PerBlock,
                (Placement::Host | Placement::Stream, Segments::One) => continue,
                _ => segments,
            };
            // What is streamed lies in its file as it is.
            let bits = match placement {
                Placement::Stream => &[Quantise::None][..],
                // Exact weights from their file take little longer than 4 bits from memory.
                Placement::Host if bits.len() > 1 => &[Quantise::None, Quantise::Int8],
                _ => &bits,
            };
            all.extend(bits.iter().map(|&quantise| MemoryChoice { segments, placement, quantise }));
        }
    }
    all
}

/// Times a step takes beside one that keeps all: a third pass beside two; unpacking; waiting for weights. The first is
/// counted, the others are guesses that only set the order.
fn slowdown(choice: MemoryChoice) -> f64 {
    let segments = if choice.segments == Segments::PerBlock { 1.5 } else { 1.0 };
    let bits = match choice.quantise {
        Quantise::None => 1.0,
        Quantise::Int8 => 1.1,
        Quantise::Int4 => 1.15,
    };
    let placement = match (choice.placement, choice.quantise) {
        (Placement::Resident, _) => 1.0,
        // Fewer bits travel faster.
        (Placement::Host, Quantise::None) => 1.15,
        (Placement::Host, Quantise::Int8 | Quantise::Int4) => 1.08,
        (Placement::Stream, _) => 1.3,
    };
    segments * bits * placement
}

fn load(
    settings: &PlanSettings,
    base: &BaseFacts,
    buckets: &[BucketFacts],
    trainable_parameters: u64,
    machine: &MachineFacts,
) -> Load {
    let edge = settings.dataset.resolution;
    let largest = buckets.iter().max_by_key(|bucket| u64::from(bucket.width) * u64::from(bucket.height));
    let sample = &settings.sample;
    Load {
        width: largest.map_or(edge, |bucket| bucket.width),
        height: largest.map_or(edge, |bucket| bucket.height),
        batch: settings.train.batch.into(),
        trainable_parameters,
        eight_bit: settings.train.optimiser == Optimiser::AdamW8Bit,
        text_encoder: settings.network.text_encoder,
        quantise_text: settings.base.quantise_text,
        preview: (sample.every > 0).then_some((sample.width, sample.height, sample.cfg > 1.0)),
        number_bytes: machine.number_bytes(base, settings.run.precision),
        mapped: machine.is_cpu(),
    }
}

/// Multiplications of the adapters for each of the layers they are on: of rank r for `r (inputs + outputs)` numbers beside
/// `inputs outputs`.
fn adapter_share(settings: &PlanSettings, base: &BaseFacts) -> f64 {
    let network = &settings.network;
    let convolutions = network.convolutions.map_or(0, |(rank, _)| u64::from(rank));
    let linear = base.denoiser_targets.iter().map(|target| (target, u64::from(network.rank)));
    let adapted = linear.chain(base.convolution_targets.iter().map(|target| (target, convolutions)));
    let (adapters, layers) = adapted.fold((0, 0), |(adapters, layers), (target, rank)| {
        let weights = target.inputs * target.outputs * target.kernel * target.kernel;
        (adapters + target.trainable(rank), layers + weights)
    });
    adapters as f64 / layers.max(1) as f64
}

/// Seconds of steps and previews, if the pace of the device is known. Encoding and saving are not counted.
pub(super) fn time(
    settings: &PlanSettings,
    base: &BaseFacts,
    buckets: &[BucketFacts],
    choice: MemoryChoice,
    steps: u64,
    machine: &MachineFacts,
    notes: &mut Notes<'_>,
) -> Option<u64> {
    let flops = machine.flops()?;
    // A multiplication and an addition.
    let forward = |width, height| 2.0 * Numbers::of(base, width, height).multiplications as f64;
    let looks: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let a_look = buckets.iter().map(|b| b.count as f64 * forward(b.width, b.height)).sum::<f64>() / looks.max(1) as f64;
    // Forward, and gradients of the activations alone: frozen weights have none. The factor knows of the third pass.
    // Adapters have gradients of their own besides.
    let passes = 2.0 + 3.0 * adapter_share(settings, base);
    let pictures = f64::from(settings.train.batch) * f64::from(settings.train.accumulation);
    let step = passes * a_look * pictures * slowdown(choice);
    let sample = &settings.sample;
    let pictures = preview_rounds(sample.every_steps, steps) * sample.prompts.len() as u64;
    let passes = if sample.cfg > 1.0 { 2.0 } else { 1.0 };
    let preview = passes * f64::from(sample.steps) * forward(sample.width, sample.height);
    let seconds = ((steps as f64 * step + pictures as f64 * preview) / flops).ceil() as u64;
    notes.decide(
        "Time",
        duration(seconds),
        format!(
            "a step has about {:.2} T multiplications and additions, {} do about {:.0} G in a second; the first steps will tell better",
            step / 1e12,
            plural(machine.cores.into(), "core"),
            flops / 1e9
        ),
    );
    Some(seconds)
}

/// What the run writes: encoded pictures (mean and variance, f32, a second time if mirrored), encoded captions, LoRA
/// files with their optimiser state (three f32 for each number, one with 8-bit averages), previews at about 2 bytes a pixel.
/// Returns all, and the encoded pictures and captions of it.
pub(super) fn disk(
    settings: &PlanSettings,
    base: &BaseFacts,
    data: &DatasetFacts,
    buckets: &[BucketFacts],
    trainable_parameters: u64,
    steps: u64,
    notes: &mut Notes<'_>,
) -> (u64, u64) {
    let looks: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let pixels: u64 = buckets.iter().map(|b| u64::from(b.width) * u64::from(b.height) * b.count).sum();
    let images = data.images.len() as u64 + data.validation_images;
    let latents = pixels * images / looks.max(1) / u64::from(base.latent_factor).pow(2).max(1);
    let rows = u64::from(settings.dataset.caption_rows);
    let mirrored = 1 + u64::from(settings.dataset.flip);
    let captions = if settings.network.text_encoder { 0 } else { images + settings.sample.prompts.len() as u64 + 2 };
    let caches = latents * u64::from(base.latent_channels) * 2 * 4 * mirrored
        + captions * base.text.iter().map(|text| text.tokens * text.width).sum::<u64>() * 4 * rows;
    let made = if settings.save.every == 0 { 1 } else { steps.div_ceil(settings.save.every) };
    let kept = if settings.save.keep == 0 { made } else { made.min(settings.save.keep.into()) };
    let lora = trainable_parameters * settings.save.dtype.bytes();
    let per_number = if settings.train.optimiser == Optimiser::AdamW8Bit { 6 } else { 12 };
    let saves = kept * trainable_parameters * per_number + lora;
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
    (caches + saves + previews, caches)
}
