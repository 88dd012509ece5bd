//! Black Forest Labs' FLUX.1 transformer, in their own tensor names (github.com/black-forest-labs/flux,
//! `src/flux/model.py` and `src/flux/modules/layers.py`).
//!
//! A multimodal diffusion transformer (Esser and others 2024): the double blocks have weights each for picture and text
//! that meet in one attention; the single blocks treat both as one sequence, attention and MLP side by side (Dehghani
//! and others 2023). q, k and v of a layer are one product, so a LoRA has one A for the three, as kohya's has.

mod blocks;
mod config;
mod rotary;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_nn::{
    Context, LayerInfo, Linear, Loader, NnError,
    ops::silu,
    segmented::{self, Blocks, Side, State},
};

use crate::ModelError;
use blocks::{DoubleBlock, FinalLayer, SingleBlock};
pub use config::FluxConfig;
use rotary::RotaryCache;

/// Width of the sinusoids that time and guidance are told by.
const WAVE: usize = 256;

/// A velocity predictor: latents, noise level, text states and pooled text in, `noise - picture` out.
#[derive(Debug)]
pub struct FluxTransformer {
    time_in: MlpEmbedder,
    vector_in: MlpEmbedder,
    guidance_in: Option<MlpEmbedder>,
    blocks: Vec<Block>,
    rotary: RotaryCache,
    config: FluxConfig,
    device: Device,
    dtype: DType,
}

/// The smallest pieces that a segment may consist of. Between them flow the picture `[b, h / 2, w / 2, hidden]`, whose
/// shape tells every block where a token sits, and the text `[b, 1, m, hidden]`.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few dozen in a model; boxes would only be in the way")]
enum Block {
    In { img_in: Linear, txt_in: Linear },
    Double(DoubleBlock),
    Single(SingleBlock),
    Final(FinalLayer),
}

impl FluxTransformer {
    /// # Errors
    /// When a weight is missing or does not fit the configuration.
    pub fn load(config: &FluxConfig, loader: &Loader) -> Result<Self, ModelError> {
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: "FLUX transformer", source })
    }

    fn build(config: &FluxConfig, loader: &Loader) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let embedder = |name, inputs| MlpEmbedder::load(&loader.at(name), inputs, width);
        let mut blocks = vec![Block::In {
            img_in: Linear::load(&loader.at("img_in"), config.in_channels, width, true)?,
            txt_in: Linear::load(&loader.at("txt_in"), config.context_in_dim, width, true)?,
        }];
        for i in 0..config.depth {
            blocks.push(Block::Double(DoubleBlock::load(&loader.at("double_blocks").at(i), config)?));
        }
        for i in 0..config.depth_single_blocks {
            blocks.push(Block::Single(SingleBlock::load(&loader.at("single_blocks").at(i), config)?));
        }
        blocks.push(Block::Final(FinalLayer::load(&loader.at("final_layer"), config)?));
        Ok(Self {
            time_in: embedder("time_in", WAVE)?,
            vector_in: embedder("vector_in", config.vec_in_dim)?,
            guidance_in: if config.guidance_embed { Some(embedder("guidance_in", WAVE)?) } else { None },
            blocks,
            rotary: RotaryCache::default(),
            config: config.clone(),
            device: loader.device().clone(),
            dtype: loader.dtype(),
        })
    }

    /// `latents` `[b, in_channels / 4, h, w]` with even sides → the same shape, in the dtype of the weights.
    pub fn forward(&self, cx: &Context, latents: Tensor<4>, side: &Side) -> Tensor<4> {
        segmented::forward(self, cx, latents, side)
    }

    /// What all blocks read: the text states and one modulation vector `[b, 1, hidden]`, the sum of what noise level,
    /// guidance and pooled text embed to.
    ///
    /// `sigmas` in [0, 1] of length b, `states` `[b, m, context_in_dim]`, `pooled` `[b, vec_in_dim]`. The guidance is
    /// that of dev, usually 3.5 for drawing and 1 for training (taken for `None`); schnell has no use for it.
    pub fn side(&self, sigmas: &[f32], guidance: Option<f32>, states: Tensor<3>, pooled: Tensor<2>) -> Side {
        let mut vector = self.vector_in.forward(pooled.cast(self.dtype).unsqueeze_dim::<3>(1));
        vector = vector + self.time_in.forward(self.wave(sigmas));
        if let Some(guidance_in) = &self.guidance_in {
            vector = vector + guidance_in.forward(self.wave(&vec![guidance.unwrap_or(1.0); sigmas.len()]));
        }
        vec![states.cast(self.dtype), vector]
    }

    /// `[b, 1, 256]`: cosines, then sines, of a thousand times the number at frequencies from 1 to 1/10000.
    fn wave(&self, numbers: &[f32]) -> Tensor<3> {
        let half = WAVE / 2;
        let mut values = Vec::with_capacity(numbers.len() * WAVE);
        for number in numbers {
            // In f32 as upstream, whose angles of up to 1000 are rounded.
            let angles = (0..half).map(|i| {
                let frequency = (-(10_000f64.ln()) as f32 * i as f32 / half as f32).exp();
                f64::from(1000.0 * number * frequency)
            });
            let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.sin() as f32, a.cos() as f32)).unzip();
            values.extend(cosines.into_iter().chain(sines));
        }
        let data = TensorData::new(values, [numbers.len(), 1, WAVE]);
        Tensor::<3>::from_data(data, (&self.device, DType::F32)).cast(self.dtype)
    }

    pub fn config(&self) -> &FluxConfig {
        &self.config
    }

    /// Every linear layer of the blocks, in the order of the forward pass. The 304 that kohya trains are those with
    /// `_blocks.` in their names.
    pub fn layers(&self) -> Vec<LayerInfo> {
        (0..self.len()).flat_map(|block| self.linears(block)).map(Linear::info).collect()
    }
}

impl Blocks for FluxTransformer {
    fn len(&self) -> usize {
        self.blocks.len()
    }

    fn linears(&self, block: usize) -> Vec<&Linear> {
        match &self.blocks[block] {
            Block::In { img_in, txt_in } => vec![img_in, txt_in],
            Block::Double(block) => block.linears().collect(),
            Block::Single(block) => block.linears().to_vec(),
            Block::Final(layer) => layer.linears().to_vec(),
        }
    }

    fn run(&self, cx: &Context, block: usize, mut state: State, side: &Side) -> State {
        let (states, vector) = (&side[0], &side[1]);
        let text = state.pop();
        match (&self.blocks[block], text, state.pop()) {
            (Block::In { img_in, txt_in }, Some(latents), _) => {
                let picture = img_in.forward(cx, pack(latents.cast(self.dtype)));
                vec![picture, txt_in.forward(cx, states.clone()).unsqueeze_dim(1)]
            }
            (Block::Double(block), Some(text), Some(picture)) => {
                let rotary = self.rotary.get(&self.config, &picture, &text);
                block.forward(cx, picture, text, vector, &rotary).into()
            }
            (Block::Single(block), Some(text), Some(picture)) => {
                let rotary = self.rotary.get(&self.config, &picture, &text);
                block.forward(cx, picture, text, vector, &rotary).into()
            }
            (Block::Final(layer), Some(_), Some(picture)) => vec![unpack(layer.forward(cx, picture, vector))],
            _ => unreachable!("the first block makes two streams of the latents, and all others pass them on"),
        }
    }
}

/// Two layers around a SiLU.
#[derive(Debug)]
struct MlpEmbedder {
    in_layer: Linear,
    out_layer: Linear,
}

impl MlpEmbedder {
    fn load(loader: &Loader, inputs: usize, width: usize) -> Result<Self, NnError> {
        Ok(Self {
            in_layer: Linear::load(&loader.at("in_layer"), inputs, width, true)?,
            out_layer: Linear::load(&loader.at("out_layer"), width, width, true)?,
        })
    }

    /// `x` `[b, 1, inputs]` → `[b, 1, width]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let cx = Context::base();
        self.out_layer.forward(&cx, silu(self.in_layer.forward(&cx, x)))
    }
}

/// `[b, c, h, w]` → `[b, h / 2, w / 2, 4 c]`: patches of 2 x 2, channel first, then row, then column.
fn pack(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let patches = x.reshape([b, c, h / 2, 2, w / 2, 2]).permute([0, 2, 4, 1, 3, 5]);
    patches.reshape([b, h / 2, w / 2, 4 * c])
}

/// The way back from [`pack`].
fn unpack(x: Tensor<4>) -> Tensor<4> {
    let [b, rows, columns, c] = x.dims();
    let patches = x.reshape([b, rows, columns, c / 4, 2, 2]).permute([0, 3, 1, 4, 2, 5]);
    patches.reshape([b, c / 4, 2 * rows, 2 * columns])
}
