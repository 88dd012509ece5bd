//! How much memory a run needs, estimated from the shapes of the model. All of the formula is here, to be calibrated
//! against measurements: the constants below, and nothing else, were chosen by counting what the layers keep.
//!
//! For a level of the UNet with `c` channels and `p` latent positions, per picture of a batch:
//! - a resnet keeps [`RESNET_IN`] `c_in p` + [`RESNET_OUT`] `c p` numbers,
//! - a transformer block keeps [`TRANSFORMER`] `c p`, and its attention [`ATTENTION`] `heads p (p + tokens)`,
//! - the largest convolution unfolds 9 `c p` numbers while it runs.
//!
//! In one segment the sums over all blocks are alive at once. With one segment a block only the largest block is, beside
//! the inputs of the blocks with their skips.

use serde::{Deserialize, Serialize};

use crate::facts::{BaseFacts, UnetShape};

/// Input of a resnet, its norm and its activation.
const RESNET_IN: u64 = 3;
/// Between and after the two convolutions: outputs, time shift, norm, activation, sum.
const RESNET_OUT: u64 = 5;
/// Norms 6, q k v and outputs of two attentions 8, sums 3, gated feed-forward 16 (twice the 4 c of both halves, product).
const TRANSFORMER: u64 = 33;
/// Scores and their softmax.
const ATTENTION: u64 = 2;
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
    let unet = unet_numbers(&base.unet, latents(load.width, load.height, base), base.text_tokens);
    let step = load.batch * number;
    let (inputs, kept) = match segments {
        Segments::One => (0, unet.all),
        Segments::PerBlock => (unet.inputs, unet.largest),
    };
    let text = base.text_layers * base.text_tokens * base.unet.context_width * TEXT_LAYER;
    let autoencoder =
        |width: u32, height: u32| u64::from(width) * u64::from(height) * base.vae_channels * AUTOENCODER * number;
    // Guidance draws with and without the prompt in one batch; nothing is kept for a backward pass, so one block is alive.
    let preview = load.preview.map_or(0, |(width, height, guided)| {
        let blocks = unet_numbers(&base.unet, latents(width, height, base), base.text_tokens);
        let drawing =
            (blocks.largest.plain + blocks.largest.attention + blocks.unfold) * number * (1 + u64::from(guided));
        drawing.max(autoencoder(width, height))
    });
    MemoryEstimate::new(vec![
        ("autoencoder and text encoder", Encoding, (base.vae_params + base.text_params) * number),
        ("encoding a picture", Encoding, autoencoder(load.width, load.height)),
        ("UNet weights", Always, base.unet_params * number),
        (
            "autoencoder weights, for previews",
            Always,
            if load.preview.is_some() { base.vae_params * number } else { 0 },
        ),
        ("text encoder weights", Always, if load.text_encoder { base.text_params * number } else { 0 }),
        ("LoRA, gradients and optimiser", Always, load.trainable_parameters * TRAINED),
        ("saved inputs of blocks", Training, inputs * step),
        ("activations", Training, kept.plain * step),
        ("attention", Training, kept.attention * step),
        ("text encoder activations", Training, if load.text_encoder { text * step } else { 0 }),
        ("working space", Training, unet.unfold * step),
        ("drawing a preview", Previews, preview),
    ])
}

fn latents(width: u32, height: u32, base: &BaseFacts) -> (u64, u64) {
    let factor = base.latent_factor.max(1);
    (u64::from(width.div_ceil(factor)), u64::from(height.div_ceil(factor)))
}

/// Numbers a block keeps for its backward pass, a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kept {
    plain: u64,
    attention: u64,
}

impl Kept {
    fn total(self) -> u64 {
        self.plain + self.attention
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnetNumbers {
    all: Kept,
    largest: Kept,
    /// Hidden states at the start of the blocks, and the skips.
    inputs: u64,
    /// The largest unfolded convolution.
    unfold: u64,
}

impl UnetNumbers {
    fn add(&mut self, block: Kept, input: u64) {
        self.all.plain += block.plain;
        self.all.attention += block.attention;
        if block.total() > self.largest.total() {
            self.largest = block;
        }
        self.inputs += input;
    }
}

/// Counts over the blocks of a UNet2DConditionModel for latents of that width and height.
fn unet_numbers(unet: &UnetShape, (width, height): (u64, u64), tokens: u64) -> UnetNumbers {
    let levels = unet.block_out_channels.len();
    let mut numbers = UnetNumbers::default();
    let channels = |level: usize| unet.block_out_channels[level];
    let positions = |level: usize| width.div_ceil(1 << level) * height.div_ceil(1 << level);
    let depth = |level: usize| unet.transformer_depth.get(level).copied().unwrap_or(0);
    // A resnet, with its transformer blocks.
    let layer = |level: usize, input: u64, depth: u64| {
        let (c, p) = (channels(level), positions(level));
        let heads = unet.heads.get(level).copied().unwrap_or(1);
        Kept {
            plain: (RESNET_IN * input + RESNET_OUT * c) * p + depth * TRANSFORMER * c * p,
            attention: depth * ATTENTION * heads * p * (p + tokens),
        }
    };
    let mut input = unet.block_out_channels.first().copied().unwrap_or(0);
    let mut skips = vec![input];
    for level in 0..levels {
        let (c, p) = (channels(level), positions(level));
        let mut block = Kept::default();
        let entry = input * p;
        let mut outputs = 0;
        for _ in 0..unet.layers_per_block {
            let kept = layer(level, input, depth(level));
            block.plain += kept.plain;
            block.attention += kept.attention;
            numbers.unfold = numbers.unfold.max(9 * input.max(c) * p);
            input = c;
            skips.push(c);
            outputs += c * p;
        }
        if level + 1 < levels {
            skips.push(c);
            outputs += c * positions(level + 1);
        }
        numbers.add(block, entry + outputs);
    }
    if let Some(last) = levels.checked_sub(1) {
        let deepest = unet.transformer_depth.iter().copied().max().unwrap_or(0).min(1).max(depth(last));
        let (first, second) = (layer(last, input, deepest), layer(last, input, 0));
        let block = Kept { plain: first.plain + second.plain, attention: first.attention };
        numbers.add(block, input * positions(last));
    }
    for level in (0..levels).rev() {
        let p = positions(level);
        let entry = input * p;
        let mut block = Kept::default();
        for _ in 0..=unet.layers_per_block {
            let joined = input + skips.pop().unwrap_or(0);
            let kept = layer(level, joined, depth(level));
            block.plain += kept.plain;
            block.attention += kept.attention;
            numbers.unfold = numbers.unfold.max(9 * joined * p);
            input = channels(level);
        }
        numbers.add(block, entry);
    }
    numbers
}
