//! How much memory a run needs, estimated from the shapes of the model. [`crate::numbers`] counts what our layers keep
//! under autodiff and what they work on; here it becomes bytes, and bytes become a peak.
//!
//! - Activations: what the blocks of one segment keep for the backward pass. In one segment that is the sum over all
//!   blocks, otherwise the largest block, beside the outputs of all of them, which are also the skips.
//! - Attention keeps no scores but works on [`SCORES`] copies of a few rows of them.
//! - A 3 x 3 convolution works on its input unfolded, 9 numbers for one.
//! - Only matrices of linear layers are packed or streamed; a card holds those of the blocks at work.
//! - Weight files are mapped, and pages let go of that were copied. On the CPU exact matrices are multiplied tile by tile out of
//!   their file, whose pages the system takes back when it needs them: resident means that there is room for them, streamed that they
//!   are read again in each step.
//! - Where a card computes in f32, exact matrices of a file in 16 bits stay in 16.

use serde::{Deserialize, Serialize};

use crate::facts::{BaseFacts, DenoiserShape};
use crate::numbers::Numbers;

/// Probabilities, their gradient, the scores' gradient, and a transposed copy.
const SCORES: u64 = 4;
/// Master and the two averages of AdamW, f32 each; the same with averages in 8 bits; a gradient, which lasts a step.
const TRAINED: u64 = 12;
const TRAINED_8_BIT: u64 = 6;
const GRADIENT: u64 = 4;
/// A layer of the text encoder: norms, q k v, output, feed-forward of 4 widths twice, sums.
const TEXT_LAYER: u64 = 18;
/// Numbers for each channel and pixel at full size while the autoencoder works, unfolded convolution included.
const AUTOENCODER: u64 = 14;
/// The autoencoder always computes in f32.
const AUTOENCODER_BYTES: u64 = 4;
/// Blocks on the device while weights are streamed: the one at work and the next.
const STREAMED_BLOCKS: u64 = 2;

/// How the backward pass is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segments {
    /// All at once: everything is kept, nothing is computed twice.
    One,
    /// Block by block: only one block is kept at a time, each is computed twice.
    PerBlock,
}

/// Where the frozen weights of the network that learns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On the device all the time.
    Resident,
    /// In the computer's memory, brought to a card block by block, in every pass.
    Host,
    /// In their file, brought to the device block by block, in every pass.
    Stream,
}

/// In how many bits frozen weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantise {
    /// As many as in computation.
    None,
    Int8,
    Int4,
}

impl Quantise {
    /// Of so many weights, with one 16-bit scale for each 128 (8 bit) or 64 (4 bit).
    pub fn weight_bytes(self, weights: u64, number_bytes: u64) -> u64 {
        match self {
            Quantise::None => weights * number_bytes,
            Quantise::Int8 => weights + weights / 64,
            Quantise::Int4 => weights / 2 + weights / 32,
        }
    }

    /// As in recipes.
    pub fn id(self) -> &'static str {
        match self {
            Quantise::None => "none",
            Quantise::Int8 => "int8",
            Quantise::Int4 => "int4",
        }
    }
}

/// How a run fits into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryChoice {
    pub segments: Segments,
    pub placement: Placement,
    pub quantise: Quantise,
}

/// When a part takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryStage {
    /// Before training, while pictures are encoded.
    Encoding,
    /// Before training, while captions are encoded.
    Captions,
    /// From the first step to the end.
    Always,
    /// During a step.
    Training,
    /// While previews are drawn.
    Previews,
    /// As long as the system has room for it.
    Mapped,
    /// In the computer's memory, where the device is a card.
    Host,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// For people.
    pub name: String,
    pub stage: MemoryStage,
    pub bytes: u64,
}

/// An estimate, not a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryEstimate {
    pub parts: Vec<MemoryPart>,
    /// The most at any time, as a task manager shows it: with mapped files.
    pub peak_bytes: u64,
    /// The most that must be there: without what the system can take back.
    pub needed_bytes: u64,
    /// Of the computer's memory beside the device's.
    #[serde(default)]
    pub host_bytes: u64,
}

impl MemoryEstimate {
    /// What must have room for a way to be as fast as it can: pages of a file too, unless it is to be read again and again.
    pub(crate) fn room(&self, choice: MemoryChoice) -> u64 {
        if choice.placement == Placement::Resident { self.peak_bytes } else { self.needed_bytes }
    }

    fn new(parts: Vec<(&str, MemoryStage, u64)>) -> MemoryEstimate {
        let parts: Vec<MemoryPart> = parts
            .into_iter()
            .filter(|(_, _, bytes)| *bytes > 0)
            .map(|(name, stage, bytes)| MemoryPart { name: name.to_owned(), stage, bytes })
            .collect();
        let sum = |stage| parts.iter().filter(|part| part.stage == stage).map(|part| part.bytes).sum::<u64>();
        let running = sum(MemoryStage::Always) + sum(MemoryStage::Training).max(sum(MemoryStage::Previews));
        let before = sum(MemoryStage::Encoding).max(sum(MemoryStage::Captions));
        let needed_bytes = running.max(before);
        let peak_bytes = (running + sum(MemoryStage::Mapped)).max(before);
        let host_bytes = sum(MemoryStage::Host);
        MemoryEstimate { parts, peak_bytes, needed_bytes, host_bytes }
    }
}

/// What the estimate depends on besides the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Size of the largest bucket, px.
    pub width: u32,
    pub height: u32,
    pub batch: u64,
    pub trainable_parameters: u64,
    /// Whether the optimiser's averages are kept in 8 bits.
    pub eight_bit: bool,
    pub text_encoder: bool,
    /// How text encoders are kept; `None`: as the base is.
    pub quantise_text: Option<Quantise>,
    /// Size of a preview, px, and whether it is drawn with guidance; `None`: no previews.
    pub preview: Option<(u32, u32, bool)>,
    /// Bytes of a number in computation.
    pub number_bytes: u64,
    /// Whether weight files are mapped into the same memory: on the CPU.
    pub mapped: bool,
}

/// Of a number in the base's files, on average.
fn stored_bytes(base: &BaseFacts) -> f64 {
    base.model_file_bytes as f64 / (base.denoiser_params + base.vae_params + base.text_params()).max(1) as f64
}

/// Of a number of a matrix that is resident and exact.
pub(crate) fn exact_bytes(base: &BaseFacts, load: &Load) -> f64 {
    let stored = stored_bytes(base);
    match load.mapped {
        true => stored,
        // The file's own 16 bits, not much blurred by parts that are kept otherwise.
        false if (1.9..2.1).contains(&stored) => load.number_bytes.min(2) as f64,
        false => load.number_bytes as f64,
    }
}

/// The memory a run needs on its device.
pub fn estimate(base: &BaseFacts, load: &Load, choice: MemoryChoice) -> MemoryEstimate {
    use MemoryStage::{Always, Captions, Encoding, Host, Mapped, Previews, Training};
    let number = load.number_bytes;
    let blocks = Numbers::of(base, load.width, load.height);
    let step = load.batch * number;
    let (inputs, kept) = match choice.segments {
        Segments::One => (0, blocks.all),
        Segments::PerBlock => (blocks.outputs, blocks.largest),
    };
    // Of matrices, and all others; `a_block`: those of one block.
    let weights = |matrices: u64, params: u64, a_block: u64, quantise: Quantise, placement: Placement| {
        let kept = match (placement, load.mapped) {
            // In the file's pages, counted below.
            (Placement::Resident, true) if quantise == Quantise::None => 0,
            (Placement::Stream, true) => 0,
            (Placement::Resident, false) if quantise == Quantise::None => {
                (matrices as f64 * exact_bytes(base, load)) as u64
            }
            // On the CPU the computer's memory is the device's.
            (Placement::Resident, _) | (Placement::Host, true) => quantise.weight_bytes(matrices, number),
            (Placement::Host | Placement::Stream, false) => {
                quantise.weight_bytes((STREAMED_BLOCKS * a_block).min(matrices), number)
            }
        };
        kept + params.saturating_sub(matrices) * number
    };
    let network =
        weights(base.denoiser_matrices, base.denoiser_params, blocks.block_weights, choice.quantise, choice.placement);
    let encoder = |text: &crate::facts::TextFacts| {
        let (quantise, placement) = match load.quantise_text {
            Some(quantise) => (quantise, Placement::Resident),
            None => (choice.quantise, choice.placement),
        };
        weights(text.matrices, text.params, text.matrices / text.layers.max(1), quantise, placement)
    };
    // Text encoders are gone before the network comes, unless they learn.
    let mut host = 0;
    if choice.placement == Placement::Host && !load.mapped {
        let kept = |matrices| choice.quantise.weight_bytes(matrices, number);
        let text =
            if load.quantise_text.is_some() { 0 } else { base.text.iter().map(|text| kept(text.matrices)).sum() };
        let network = kept(base.denoiser_matrices);
        host = if load.text_encoder { network + text } else { network.max(text) };
    }
    let trained = base.text.iter().filter(|text| load.text_encoder && !text.targets.is_empty());
    let text_kept: u64 = trained.map(|text| text.layers * text.tokens * text.width * TEXT_LAYER).sum();
    let autoencoder = |width: u32, height: u32| {
        u64::from(width) * u64::from(height) * base.vae_channels * AUTOENCODER * AUTOENCODER_BYTES
    };
    // Guidance draws with and without the prompt in one batch. Nothing waits for a backward pass but the skips, and a
    // block lets go of about half before it ends.
    let preview = load.preview.map_or(0, |(width, height, guided)| {
        let blocks = Numbers::of(base, width, height);
        let outputs = if matches!(base.denoiser, DenoiserShape::Unet(_)) { blocks.outputs } else { 0 };
        let drawing = (outputs + blocks.largest / 2 + blocks.unfolded) * (1 + u64::from(guided)) * number;
        drawing.max(autoencoder(width, height))
    });
    let decoder = if load.preview.is_some() { base.vae_params * AUTOENCODER_BYTES } else { 0 };
    let per_number = if load.eight_bit { TRAINED_8_BIT } else { TRAINED };
    let pages = load.mapped && choice.placement != Placement::Host && choice.quantise == Quantise::None;
    MemoryEstimate::new(vec![
        ("autoencoder", Encoding, base.vae_params * AUTOENCODER_BYTES),
        ("encoding a picture", Encoding, autoencoder(load.width, load.height)),
        ("text encoders", Captions, base.text.iter().map(encoder).sum()),
        (
            match base.denoiser {
                DenoiserShape::Unet(_) => "UNet weights",
                DenoiserShape::Flux(_) => "transformer weights",
            },
            Always,
            network,
        ),
        ("text encoder weights", Always, if load.text_encoder { base.text.iter().map(encoder).sum() } else { 0 }),
        ("LoRA and optimiser", Always, load.trainable_parameters * per_number),
        ("gradients of the LoRA", Training, load.trainable_parameters * GRADIENT),
        ("outputs of blocks", Training, inputs * step),
        ("activations", Training, kept * step),
        ("text encoder activations", Training, text_kept * step),
        ("attention at work", Training, SCORES * blocks.scores_at_once(load.batch) * number),
        ("convolution at work", Training, blocks.unfolded * step),
        ("autoencoder weights, for previews", Previews, decoder),
        ("drawing a preview", Previews, preview),
        (
            "pages of the model's file",
            Mapped,
            if pages { (base.denoiser_matrices as f64 * stored_bytes(base)) as u64 } else { 0 },
        ),
        ("weights in the computer's memory", Host, host),
    ])
}

#[cfg(test)]
mod tests;
