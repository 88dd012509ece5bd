//! What a network keeps, holds and multiplies, counted over its blocks for one picture.

use crate::facts::{BaseFacts, DenoiserShape, FluxShape, UnetShape};

/// Norm (centred input) and SiLU (input, sigmoid, output) before each of two convolutions, which keep nothing.
const RESNET: u64 = 4;
/// Norms and their outputs 8, q k v and output 4, q and output to the text 2, gated feed-forward 16, input of proj_out 1.
const TRANSFORMER: u64 = 31;
/// Two modulated norms and their outputs 8, q k v 3, their norms 4 and rotations 4, output of attention and its projection
/// with gate 3, feed-forward before and after GELU 8, its output with gate 2.
const DOUBLE: u64 = 32;
/// One modulated norm 4, q k v 3, their norms 4 and rotations 4, output 1, feed-forward 8, both side by side 5, gate 2.
const SINGLE: u64 = 31;
/// As `lorikeet-nn` cuts attention where it has no kernel of its own (`card_attention.rs`).
const SCORES_AT_ONCE: u64 = 1 << 24;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Kept for the backward pass by all blocks, and by the largest.
    pub(crate) all: u64,
    pub(crate) largest: u64,
    /// Hidden states between the blocks; the skips are among them.
    pub(crate) outputs: u64,
    /// The largest unfolded convolution.
    pub(crate) unfolded: u64,
    /// Weights of the largest block.
    pub(crate) block_weights: u64,
    /// Multiplications of one forward pass.
    pub(crate) multiplications: u64,
    /// Of the largest attention.
    heads: u64,
    positions: u64,
}

impl Numbers {
    /// For a picture of that size, px.
    pub(crate) fn of(base: &BaseFacts, width: u32, height: u32) -> Numbers {
        let factor = base.latent_factor.max(1);
        let latents = (u64::from(width.div_ceil(factor)), u64::from(height.div_ceil(factor)));
        let text = base.text.iter().map(|text| text.tokens).max().unwrap_or(0);
        match &base.denoiser {
            DenoiserShape::Unet(unet) => of_unet(unet, latents, text),
            DenoiserShape::Flux(flux) => of_flux(flux, latents, text),
        }
    }

    /// Attention scores alive at once in a batch: whole rows, as many as fit.
    pub(crate) fn scores_at_once(&self, batch: u64) -> u64 {
        let row = batch * self.heads * self.positions;
        (row * self.positions).min(SCORES_AT_ONCE.max(row))
    }

    fn block(&mut self, kept: u64, output: u64, weights: u64) {
        self.all += kept;
        self.largest = self.largest.max(kept);
        self.outputs += output;
        self.block_weights = self.block_weights.max(weights);
    }

    fn attention(&mut self, heads: u64, positions: u64) {
        if heads * positions * positions > self.heads * self.positions * self.positions {
            (self.heads, self.positions) = (heads, positions);
        }
    }
}

/// Blocks of a UNet2DConditionModel: a resnet with the transformer behind it.
fn of_unet(unet: &UnetShape, (width, height): (u64, u64), text: u64) -> Numbers {
    let levels = unet.block_out_channels.len();
    let Some(last) = levels.checked_sub(1) else { return Numbers::default() };
    let channels = |level: usize| unet.block_out_channels[level];
    let positions = |level: usize| width.div_ceil(1 << level) * height.div_ceil(1 << level);
    let depth = |level: usize| unet.transformer_depth.get(level).copied().unwrap_or(0);
    let mut numbers = Numbers::default();
    let mut layer = |level: usize, input: u64, depth: u64| {
        let (c, p) = (channels(level), positions(level));
        if depth > 0 {
            numbers.attention(unet.heads.get(level).copied().unwrap_or(1), p);
        }
        // Two convolutions; proj_in and proj_out; then for each block q k v and output twice, and the gated feed-forward.
        let resnet = 9 * (input * c + c * c) + if input == c { 0 } else { input * c };
        let projections = if depth > 0 { 2 * c * c } else { 0 };
        let (to_pixels, to_text) = (18 * c * c, 2 * c * unet.context_width);
        numbers.multiplications +=
            (resnet + projections + depth * to_pixels) * p + depth * (to_text * text + 2 * p * c * (p + text));
        numbers.unfolded = numbers.unfolded.max(9 * input.max(c) * p);
        let kept = (RESNET * (input + c) + depth * TRANSFORMER * c) * p;
        numbers.block(kept, c * p, resnet + projections + depth * (to_pixels + to_text));
    };
    let mut input = channels(0);
    let mut skips = vec![input];
    let (mut between, mut resampled) = (input * positions(0), 0);
    for level in 0..levels {
        for _ in 0..unet.layers_per_block {
            layer(level, input, depth(level));
            input = channels(level);
            skips.push(input);
        }
        if level < last {
            skips.push(input);
            between += input * positions(level + 1);
            resampled += 9 * input * input * positions(level + 1);
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
            resampled += 9 * input * input * positions(level - 1);
        }
    }
    numbers.outputs += between;
    numbers.multiplications += resampled;
    numbers
}

/// Blocks of a FLUX transformer: text and picture apart, then both in one row. A token is 2 x 2 latents.
fn of_flux(flux: &FluxShape, (width, height): (u64, u64), text: u64) -> Numbers {
    let h = flux.hidden;
    let tokens = width.div_ceil(2) * height.div_ceil(2) + text;
    let mut numbers = Numbers::default();
    numbers.attention(flux.heads, tokens);
    // q k v, output and feed-forward; modulations are made once for all tokens.
    let a_token = (4 + 2 * flux.mlp_ratio) * h * h;
    let multiplications = a_token * tokens + 2 * tokens * tokens * h;
    for _ in 0..flux.double_blocks {
        numbers.block(DOUBLE * h * tokens, h * tokens, 2 * (a_token + 6 * h * h));
        numbers.multiplications += multiplications;
    }
    for _ in 0..flux.single_blocks {
        numbers.block(SINGLE * h * tokens, h * tokens, a_token + 3 * h * h);
        numbers.multiplications += multiplications;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    /// Figures that are told for these models: 0.68 to 0.8 T floating-point operations for a pass of SD 1.5 at 512 px, 6 T
    /// for SDXL at 1024 px; a multiplication with its addition is two.
    #[test]
    fn a_forward_pass_has_the_known_size() {
        let tera = |base: &BaseFacts, edge| 2.0 * Numbers::of(base, edge, edge).multiplications as f64 / 1e12;
        let (sd15, sdxl) = (tera(&example::sd15_base(), 512), tera(&example::sdxl_base(), 1024));
        assert!((0.65..0.85).contains(&sd15), "{sd15}");
        assert!((5.0..7.0).contains(&sdxl), "{sdxl}");
        // 12 H^2 for 4608 tokens in 57 blocks, and 2 x 4608^2 H for attention.
        let flux = Numbers::of(&example::flux_dev_base(), 1024, 1024).multiplications;
        assert_eq!(flux, 57 * (12 * 3072 * 3072 * 4608 + 2 * 4608 * 4608 * 3072));
    }

    #[test]
    fn the_weights_of_flux_blocks_add_up_to_the_model() {
        let base = example::flux_dev_base();
        let largest = Numbers::of(&base, 512, 512).block_weights;
        assert_eq!(largest, 36 * 3072 * 3072);
        let blocks = 19 * largest + 38 * 15 * 3072 * 3072;
        assert!((0.97..1.0).contains(&(blocks as f64 / base.denoiser_params as f64)), "{blocks}");
    }

    #[test]
    fn attention_works_on_whole_rows_within_its_limit() {
        let numbers = Numbers { heads: 8, positions: 4096, ..Numbers::default() };
        assert_eq!(numbers.scores_at_once(1), 1 << 24);
        assert_eq!(numbers.scores_at_once(1024), 1024 * 8 * 4096);
        let small = Numbers { heads: 4, positions: 256, ..Numbers::default() };
        assert_eq!(small.scores_at_once(4), 4 * 4 * 256 * 256);
    }
}
