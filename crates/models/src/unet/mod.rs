//! diffusers `UNet2DConditionModel` in the Stable Diffusion 1.x, 2.x and SDXL layouts.
//!
//! Ronneberger and others 2015 with the attention of Rombach and others 2022; names and order as in diffusers 0.42
//! `models/unets/unet_2d_condition.py` and `unet_2d_blocks.py`.

mod config;
mod transformer;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_nn::{
    Context, Conv2d, ConvGeometry, GroupNorm, LayerInfo, Linear, Loader, NnError,
    ops::{silu, upsample_nearest},
    segmented::{self, Blocks, Side, State},
};

use crate::ModelError;
use crate::resnet::{ResnetBlock, ResnetConfig};
pub use config::UNetConfig;
use transformer::{Transformer, TransformerConfig};

/// A noise predictor: latents, timestep and text in, noise or velocity out.
#[derive(Debug)]
pub struct UNet2DConditionModel {
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    blocks: Vec<Block>,
    config: UNetConfig,
    device: Device,
    dtype: DType,
}

/// What SDXL is told beside the text states, a row for each picture (Podell and others 2023, section 2.2).
#[derive(Clone, Debug)]
pub struct Added {
    /// `[b, p]`, p being [`UNetConfig::pooled_width`].
    pub pooled: Tensor<2>,
    /// px: height and width before scaling, top and left of the crop, height and width of the target.
    pub time_ids: Vec<[f32; 6]>,
}

/// The smallest pieces that a segment may consist of.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few dozen in a model; boxes would only be in the way")]
enum Block {
    /// Its output is the first skip.
    ConvIn(Conv2d),
    /// A residual block with an optional transformer; its output is kept as a skip.
    Down(ResnetBlock, Option<Transformer>),
    Downsample(Conv2d),
    Mid(ResnetBlock, Transformer, ResnetBlock),
    /// Takes the latest skip.
    Up(ResnetBlock, Option<Transformer>),
    Upsample(Conv2d),
    Out(GroupNorm, Conv2d),
}

impl UNet2DConditionModel {
    /// # Errors
    /// When a weight is missing or does not fit the configuration.
    pub fn load(config: &UNetConfig, loader: &Loader) -> Result<Self, ModelError> {
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: "UNet", source })
    }

    fn build(config: &UNetConfig, loader: &Loader) -> Result<Self, NnError> {
        let channels = &config.block_out_channels;
        let levels = channels.len();
        let time_width = 4 * channels[0];
        let resnet = |loader: Loader, inputs, outputs| {
            let config = ResnetConfig {
                inputs,
                outputs,
                time: Some(time_width),
                groups: config.norm_num_groups,
                epsilon: config.norm_eps,
            };
            ResnetBlock::load(&loader, &config)
        };
        let transformer = |loader: Loader, level: usize| {
            let config = TransformerConfig {
                channels: channels[level],
                heads: config.heads(level),
                text_width: config.cross_attention_dim,
                depth: config.transformer_layers_per_block.at(level),
                groups: config.norm_num_groups,
                linear_projection: config.use_linear_projection,
                upcast: config.upcast_attention == Some(true),
            };
            Transformer::load(&loader, &config)
        };

        let mut blocks =
            vec![Block::ConvIn(Conv2d::load_same(&loader.at("conv_in"), config.in_channels, channels[0], 3)?)];
        let mut skips = vec![channels[0]];
        let mut width = channels[0];
        for (level, kind) in config.down_block_types.iter().enumerate() {
            let at = loader.at("down_blocks").at(level);
            for j in 0..config.layers_per_block {
                let attention = match kind.starts_with("CrossAttn") {
                    true => Some(transformer(at.at("attentions").at(j), level)?),
                    false => None,
                };
                blocks.push(Block::Down(resnet(at.at("resnets").at(j), width, channels[level])?, attention));
                width = channels[level];
                skips.push(width);
            }
            if level + 1 < levels {
                let at = at.at("downsamplers").at(0).at("conv");
                let conv = Conv2d::load(&at, width, width, 3, ConvGeometry { stride: 2, padding: 1 })?;
                blocks.push(Block::Downsample(conv));
                skips.push(width);
            }
        }
        let mid = loader.at("mid_block");
        blocks.push(Block::Mid(
            resnet(mid.at("resnets").at(0), width, width)?,
            transformer(mid.at("attentions").at(0), levels - 1)?,
            resnet(mid.at("resnets").at(1), width, width)?,
        ));
        for (i, kind) in config.up_block_types.iter().enumerate() {
            let level = levels - 1 - i;
            let at = loader.at("up_blocks").at(i);
            for j in 0..=config.layers_per_block {
                let attention = match kind.starts_with("CrossAttn") {
                    true => Some(transformer(at.at("attentions").at(j), level)?),
                    false => None,
                };
                let inputs = width + skips.pop().unwrap_or(0);
                blocks.push(Block::Up(resnet(at.at("resnets").at(j), inputs, channels[level])?, attention));
                width = channels[level];
            }
            if level > 0 {
                let at = at.at("upsamplers").at(0).at("conv");
                blocks.push(Block::Upsample(Conv2d::load_same(&at, width, width, 3)?));
            }
        }
        blocks.push(Block::Out(
            GroupNorm::load(&loader.at("conv_norm_out"), width, config.norm_num_groups, config.norm_eps)?,
            Conv2d::load_same(&loader.at("conv_out"), width, config.out_channels, 3)?,
        ));
        Ok(Self {
            time_embedding: TimestepEmbedding::load(&loader.at("time_embedding"), channels[0], time_width)?,
            add_embedding: match (config.pooled_width(), config.addition_time_embed_dim) {
                (Some(pooled), Some(id)) => {
                    Some(TimestepEmbedding::load(&loader.at("add_embedding"), pooled + 6 * id, time_width)?)
                }
                _ => None,
            },
            blocks,
            config: config.clone(),
            device: loader.device().clone(),
            dtype: loader.dtype(),
        })
    }

    /// `latents` `[b, c, h, w]`, `timesteps` of length b in [0, 1000), `text` `[b, n, d]` → `[b, c, h, w]`. `added` as in
    /// [`Self::side`].
    pub fn forward(
        &self,
        cx: &Context,
        latents: Tensor<4>,
        timesteps: &[f32],
        text: Tensor<3>,
        added: Option<&Added>,
    ) -> Tensor<4> {
        segmented::forward(self, cx, latents, &self.side(timesteps, text, added))
    }

    /// What all blocks read: the text states and the timesteps' embedding `[b, 1, 4 c]`.
    ///
    /// `added` belongs to a UNet whose configuration has a [`UNetConfig::pooled_width`]. Others ignore it; without it
    /// such a UNet runs on the timestep alone, which it was never trained on, so callers look at the configuration.
    ///
    /// All of it can be differentiated: with `text` and `pooled` under autodiff, the gradients that
    /// [`segmented::backward`] gave for the two side inputs flow on into them.
    pub fn side(&self, timesteps: &[f32], text: Tensor<3>, added: Option<&Added>) -> Side {
        let mut time = self.time_embedding.forward(self.waves(timesteps, self.config.block_out_channels[0]));
        if let (Some(embedding), Some(added), Some(width)) =
            (&self.add_embedding, added, self.config.addition_time_embed_dim)
        {
            let [b, pooled] = added.pooled.dims();
            let ids = self.waves(added.time_ids.as_flattened(), width).reshape([b, 1, 6 * width]);
            let pooled = added.pooled.clone().cast(self.dtype).reshape([b, 1, pooled]);
            time = time + embedding.forward(Tensor::cat(vec![pooled, ids], 2));
        }
        vec![text, time]
    }

    /// Sinusoids `[values, 1, width]`.
    fn waves(&self, values: &[f32], width: usize) -> Tensor<3> {
        Tensor::<3>::from_data(sinusoid(values, width, &self.config), (&self.device, DType::F32)).cast(self.dtype)
    }

    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Every linear layer and convolution of the blocks, in the order of the forward pass.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let mut layers = Vec::new();
        for block in &self.blocks {
            match block {
                Block::ConvIn(conv) | Block::Downsample(conv) | Block::Upsample(conv) | Block::Out(_, conv) => {
                    layers.push(conv.info());
                }
                Block::Down(resnet, transformer) | Block::Up(resnet, transformer) => {
                    layers.extend(resnet.layers());
                    layers.extend(transformer.iter().flat_map(Transformer::layers));
                }
                Block::Mid(first, transformer, second) => {
                    layers.extend(first.layers().chain(transformer.layers()).chain(second.layers()));
                }
            }
        }
        layers
    }
}

impl Blocks for UNet2DConditionModel {
    fn len(&self) -> usize {
        self.blocks.len()
    }

    fn linears(&self, block: usize) -> Vec<&Linear> {
        match &self.blocks[block] {
            Block::Down(resnet, transformer) | Block::Up(resnet, transformer) => {
                linears_of(resnet, transformer.as_ref())
            }
            Block::Mid(first, transformer, second) => {
                [linears_of(first, Some(transformer)), linears_of(second, None)].concat()
            }
            Block::ConvIn(_) | Block::Downsample(_) | Block::Upsample(_) | Block::Out(..) => Vec::new(),
        }
    }

    fn run(&self, cx: &Context, block: usize, mut state: State, side: &Side) -> State {
        let (text, time) = (&side[0], Some(&side[1]));
        let through = |resnet: &ResnetBlock, transformer: Option<&Transformer>, x: Tensor<4>| {
            let x = resnet.forward(cx, x, time);
            match transformer {
                Some(transformer) => transformer.forward(cx, x, text),
                None => x,
            }
        };
        let keep = |state: &mut State, x: Tensor<4>| {
            state[0] = x.clone();
            state.push(x);
        };
        let x = state[0].clone();
        match &self.blocks[block] {
            Block::ConvIn(conv) => {
                let x = conv.forward(cx, x);
                keep(&mut state, x);
            }
            Block::Down(resnet, transformer) => {
                let x = through(resnet, transformer.as_ref(), x);
                keep(&mut state, x);
            }
            Block::Downsample(conv) => {
                let x = conv.forward(cx, x);
                keep(&mut state, x);
            }
            Block::Mid(first, transformer, second) => {
                state[0] = second.forward(cx, through(first, Some(transformer), x), time);
            }
            Block::Up(resnet, transformer) => {
                let skip = state.pop();
                let x = Tensor::cat(std::iter::once(x).chain(skip).collect(), 1);
                state[0] = through(resnet, transformer.as_ref(), x);
            }
            Block::Upsample(conv) => {
                // The next skip has the size to come back to; for odd sizes that is not the double.
                let [_, _, h, w] = state[state.len() - 1].dims();
                state[0] = conv.forward(cx, upsample_nearest(x, [h, w]));
            }
            Block::Out(norm, conv) => state[0] = conv.forward(cx, norm.forward_silu(x)),
        }
        state
    }
}

fn linears_of<'a>(resnet: &'a ResnetBlock, transformer: Option<&'a Transformer>) -> Vec<&'a Linear> {
    resnet.linears().chain(transformer.into_iter().flat_map(Transformer::linears)).collect()
}

/// diffusers `TimestepEmbedding`. It runs before the blocks, out of reach of adapters.
#[derive(Debug)]
struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    fn load(loader: &Loader, inputs: usize, outputs: usize) -> Result<Self, NnError> {
        Ok(Self {
            linear_1: Linear::load(&loader.at("linear_1"), inputs, outputs, true)?,
            linear_2: Linear::load(&loader.at("linear_2"), outputs, outputs, true)?,
        })
    }

    /// `[b, 1, inputs]` → `[b, 1, outputs]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let cx = Context::base();
        self.linear_2.forward(&cx, silu(self.linear_1.forward(&cx, x)))
    }
}

/// `[b, 1, width]`: sines and cosines of the timestep at frequencies from 1 to 1/10000 (Vaswani and others 2017; order
/// and `freq_shift` as in diffusers `get_timestep_embedding`).
fn sinusoid(timesteps: &[f32], width: usize, config: &UNetConfig) -> TensorData {
    let half = width / 2;
    let mut values = Vec::with_capacity(timesteps.len() * width);
    for t in timesteps {
        let angles = (0..half).map(|i| {
            let exponent = -(10_000f64.ln()) * i as f64 / (half as f64 - config.freq_shift);
            f64::from(*t) * exponent.exp()
        });
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.sin() as f32, a.cos() as f32)).unzip();
        let (first, second) = if config.flip_sin_to_cos { (cosines, sines) } else { (sines, cosines) };
        values.extend(first.into_iter().chain(second));
        values.resize(values.len() + width % 2, 0.0);
    }
    TensorData::new(values, [timesteps.len(), 1, width])
}
