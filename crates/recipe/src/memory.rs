//! How much memory a run needs, estimated from the shapes of the model. All of the formula is here, to be calibrated
//! against measurements: the constants were chosen by counting what our layers keep under autodiff.
//!
//! A block is a resnet with the transformer behind it. On a level of the UNet with `c` channels, `p` latent positions and
//! `h` heads, for each picture of a batch:
//! - a resnet keeps [`RESNET`] `(c_in + c) p` numbers for its backward pass,
//! - a transformer block keeps [`TRANSFORMER`] `c p`; its attention keeps no scores but works on [`SCORES`] times
//!   `h p p` of them, at most [`SCORES_AT_ONCE`] for a whole batch,
//! - a 3 x 3 convolution works on its input unfolded, `9 c_in p`.
//!
//! In one segment the sums over all blocks are alive at once. With one segment a block only the largest block is, beside
//! the outputs of all blocks, which are also the skips.

use serde::{Deserialize, Serialize};

use crate::facts::{BaseFacts, UnetShape};

/// Norm (centred input) and SiLU (input, sigmoid, output) before each of two convolutions, which keep nothing.
const RESNET: u64 = 4;
/// Norms and their outputs 8, q k v and output 4, q and output to the text 2, gated feed-forward 16, input of proj_out 1.
const TRANSFORMER: u64 = 31;
/// Probabilities, their gradient, the scores' gradient, and a transposed copy.
const SCORES: u64 = 4;
/// As `lorikeet-nn` cuts the backward pass of attention.
const SCORES_AT_ONCE: u64 = 1 << 24;
/// Master, gradient and the two averages of AdamW, f32 each.
const TRAINED: u64 = 16;
/// A layer of the text encoder: norms, q k v, output, feed-forward of 4 widths twice, sums.
const TEXT_LAYER: u64 = 18;
/// Numbers for each channel and pixel at full size while the autoencoder works, unfolded convolution included.
const AUTOENCODER: u64 = 14;

/// How the backward pass is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segments {
    /// All at once: everything is kept, nothing is computed twice.
    One,
    /// Block by block: only one block is kept at a time, each is computed twice.
    PerBlock,
}

/// When a part takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryStage {
    /// Before training, while pictures and captions are encoded.
    Encoding,
    /// From the first step to the end.
    Always,
    /// During a step.
    Training,
    /// While previews are drawn.
    Previews,
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
    /// The most needed at any time.
    pub peak_bytes: u64,
}

impl MemoryEstimate {
    fn new(parts: Vec<(&str, MemoryStage, u64)>) -> MemoryEstimate {
        let parts: Vec<MemoryPart> = parts
            .into_iter()
            .filter(|(_, _, bytes)| *bytes > 0)
            .map(|(name, stage, bytes)| MemoryPart { name: name.to_owned(), stage, bytes })
            .collect();
        let sum = |stage| parts.iter().filter(|part| part.stage == stage).map(|part| part.bytes).sum::<u64>();
        let running = sum(MemoryStage::Always) + sum(MemoryStage::Training).max(sum(MemoryStage::Previews));
        let peak_bytes = running.max(sum(MemoryStage::Encoding));
        MemoryEstimate { parts, peak_bytes }
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
    pub text_encoder: bool,
    /// Size of a preview, px, and whether it is drawn with guidance; `None`: no previews.
    pub preview: Option<(u32, u32, bool)>,
    /// Bytes of a number in computation.
    pub number_bytes: u64,
}

/// The memory a run needs on its device.
pub fn estimate(base: &BaseFacts, load: &Load, segments: Segments) -> MemoryEstimate {
    use MemoryStage::{Always, Encoding, Previews, Training};
    let number = load.number_bytes;
    let unet = unet_numbers(&base.unet, latents(load.width, load.height, base));
    let step = load.batch * number;
    let (inputs, kept) = match segments {
        Segments::One => (0, unet.all),
        Segments::PerBlock => (unet.outputs, unet.largest),
    };
    let text = base.text_layers * base.text_tokens * base.unet.context_width * TEXT_LAYER;
    let autoencoder =
        |width: u32, height: u32| u64::from(width) * u64::from(height) * base.vae_channels * AUTOENCODER * number;
    // Guidance draws with and without the prompt in one batch. Nothing waits for a backward pass but the skips, and a
    // block lets go of about half before it ends.
    let preview = load.preview.map_or(0, |(width, height, guided)| {
        let blocks = unet_numbers(&base.unet, latents(width, height, base));
        let drawing = (blocks.outputs + blocks.largest / 2 + blocks.unfolded) * (1 + u64::from(guided)) * number;
        drawing.max(autoencoder(width, height))
    });
    let weights_if = |on: bool, params: u64| if on { params * number } else { 0 };
    MemoryEstimate::new(vec![
        ("autoencoder and text encoder", Encoding, (base.vae_params + base.text_params) * number),
        ("encoding a picture", Encoding, autoencoder(load.width, load.height)),
        ("UNet weights", Always, base.unet_params * number),
        ("autoencoder weights, for previews", Always, weights_if(load.preview.is_some(), base.vae_params)),
        ("text encoder weights", Always, weights_if(load.text_encoder, base.text_params)),
        ("LoRA, gradients and optimiser", Always, load.trainable_parameters * TRAINED),
        ("outputs of blocks", Training, inputs * step),
        ("activations", Training, kept * step),
        ("text encoder activations", Training, if load.text_encoder { text * step } else { 0 }),
        ("attention at work", Training, SCORES * unet.scores_at_once(load.batch) * number),
        ("convolution at work", Training, unet.unfolded * step),
        ("drawing a preview", Previews, preview),
    ])
}

fn latents(width: u32, height: u32, base: &BaseFacts) -> (u64, u64) {
    let factor = base.latent_factor.max(1);
    (u64::from(width.div_ceil(factor)), u64::from(height.div_ceil(factor)))
}

/// Counts for one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnetNumbers {
    /// Kept for the backward pass by all blocks, and by the largest.
    all: u64,
    largest: u64,
    /// Hidden states between the blocks; the skips are among them.
    outputs: u64,
    /// The largest unfolded convolution.
    unfolded: u64,
    /// Of the largest attention.
    heads: u64,
    positions: u64,
}

impl UnetNumbers {
    fn block(&mut self, kept: u64, output: u64, unfolded: u64) {
        self.all += kept;
        self.largest = self.largest.max(kept);
        self.outputs += output;
        self.unfolded = self.unfolded.max(unfolded);
    }

    /// Attention scores alive at once in a batch: whole rows, as many as fit.
    fn scores_at_once(&self, batch: u64) -> u64 {
        let row = batch * self.heads * self.positions;
        (row * self.positions).min(SCORES_AT_ONCE.max(row))
    }
}

/// Counts over the blocks of a UNet2DConditionModel for latents of that width and height.
fn unet_numbers(unet: &UnetShape, (width, height): (u64, u64)) -> UnetNumbers {
    let levels = unet.block_out_channels.len();
    let Some(last) = levels.checked_sub(1) else { return UnetNumbers::default() };
    let channels = |level: usize| unet.block_out_channels[level];
    let positions = |level: usize| width.div_ceil(1 << level) * height.div_ceil(1 << level);
    let depth = |level: usize| unet.transformer_depth.get(level).copied().unwrap_or(0);
    let mut numbers = UnetNumbers::default();
    let mut layer = |level: usize, input: u64, depth: u64| {
        let (c, p) = (channels(level), positions(level));
        let heads = unet.heads.get(level).copied().unwrap_or(1);
        if depth > 0 && heads * p * p > numbers.heads * numbers.positions * numbers.positions {
            (numbers.heads, numbers.positions) = (heads, p);
        }
        numbers.block((RESNET * (input + c) + depth * TRANSFORMER * c) * p, c * p, 9 * input.max(c) * p);
    };
    let mut input = channels(0);
    let mut skips = vec![input];
    let mut between = input * positions(0);
    for level in 0..levels {
        for _ in 0..unet.layers_per_block {
            layer(level, input, depth(level));
            input = channels(level);
            skips.push(input);
        }
        if level < last {
            skips.push(input);
            between += input * positions(level + 1);
        }
    }
    // SD 1.x has a transformer in the middle though its last level has none.
    let middle = depth(last).max(unet.transformer_depth.iter().copied().max().unwrap_or(0).min(1));
    layer(last, input, middle);
    layer(last, input, 0);
    for level in (0..levels).rev() {
        for _ in 0..=unet.layers_per_block {
            layer(level, input + skips.pop().unwrap_or(0), depth(level));
            input = channels(level);
        }
        if level > 0 {
            between += input * positions(level - 1);
        }
    }
    numbers.outputs += between;
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    /// One level of 2 channels on 4 x 4 latents: one resnet down, two in the middle, two up.
    fn tiny() -> (BaseFacts, Load) {
        let mut base = example::demo_base();
        (base.unet_params, base.text_params, base.vae_params, base.vae_channels) = (100, 10, 1, 0);
        base.unet.block_out_channels = vec![2];
        base.unet.transformer_depth = vec![0];
        let load = Load {
            width: 32,
            height: 32,
            batch: 3,
            trainable_parameters: 5,
            text_encoder: false,
            preview: None,
            number_bytes: 4,
        };
        (base, load)
    }

    fn bytes(estimate: &MemoryEstimate, name: &str) -> u64 {
        estimate.parts.iter().find(|part| part.name == name).map_or(0, |part| part.bytes)
    }

    #[test]
    fn one_segment_keeps_the_sum_over_the_blocks() {
        let (base, load) = tiny();
        let estimate = estimate(&base, &load, Segments::One);
        // Down and middle: 3 resnets of 4 (2 + 2) 16 = 256. Up: 2 resnets with a skip, 4 (4 + 2) 16 = 384. 3 pictures, f32.
        assert_eq!(bytes(&estimate, "activations"), (3 * 256 + 2 * 384) * 3 * 4);
        assert_eq!(bytes(&estimate, "outputs of blocks"), 0);
        assert_eq!(bytes(&estimate, "convolution at work"), 9 * 4 * 16 * 3 * 4);
        assert_eq!(bytes(&estimate, "UNet weights"), 400);
        assert_eq!(bytes(&estimate, "LoRA, gradients and optimiser"), 80);
        assert_eq!(estimate.peak_bytes, 400 + 80 + 18_432 + 6_912);
    }

    #[test]
    fn one_segment_a_block_keeps_the_largest_and_all_outputs() {
        let (base, load) = tiny();
        let estimate = estimate(&base, &load, Segments::PerBlock);
        assert_eq!(bytes(&estimate, "activations"), 384 * 3 * 4);
        // conv_in and five resnets.
        assert_eq!(bytes(&estimate, "outputs of blocks"), 6 * 2 * 16 * 3 * 4);
    }

    #[test]
    fn attention_works_on_whole_rows_within_its_limit() {
        let numbers = UnetNumbers { heads: 8, positions: 4096, ..UnetNumbers::default() };
        assert_eq!(numbers.scores_at_once(1), 1 << 24);
        assert_eq!(numbers.scores_at_once(1024), 1024 * 8 * 4096);
        let small = UnetNumbers { heads: 4, positions: 256, ..UnetNumbers::default() };
        assert_eq!(small.scores_at_once(4), 4 * 4 * 256 * 256);
    }

    #[test]
    fn previews_and_steps_do_not_add_up() {
        let (base, load) = tiny();
        let without = estimate(&base, &load, Segments::One).peak_bytes;
        let with = estimate(&base, &Load { preview: Some((32, 32, true)), ..load }, Segments::One).peak_bytes;
        assert_eq!(with, without + 4, "a small preview costs only the autoencoder's one weight");
    }

    #[test]
    fn a_training_text_encoder_stays_loaded() {
        let (base, load) = tiny();
        let estimate = estimate(&base, &Load { text_encoder: true, ..load }, Segments::One);
        assert_eq!(bytes(&estimate, "text encoder weights"), 40);
        assert!(bytes(&estimate, "text encoder activations") > 0);
    }
}
