//! diffusers `AutoencoderKL`: pictures to latents and back (Rombach and others 2022).

mod config;

use burn::Tensor;
use burn::tensor::DType;
use lorikeet_nn::{
    Context, Conv2d, ConvGeometry, GroupNorm, Linear, Loader, NnError,
    ops::{sdpa, upsample_nearest_2x},
};

use crate::ModelError;
use crate::resnet::{ResnetBlock, ResnetConfig};
pub use config::VaeConfig;

const EPSILON: f64 = 1e-6;

/// The encoder alone is enough to cache latents, the decoder alone to draw.
#[derive(Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    config: VaeConfig,
    dtype: DType,
}

/// A Gaussian for every latent number, `[b, latent_channels, h / 8, w / 8]` each. `logvar` is clamped to [-30, 20].
#[derive(Clone, Debug)]
pub struct Moments {
    pub mean: Tensor<4>,
    pub logvar: Tensor<4>,
}

impl AutoencoderKl {
    /// # Errors
    /// When a weight is missing or does not fit the configuration.
    pub fn load(config: &VaeConfig, loader: &Loader) -> Result<Self, ModelError> {
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: "autoencoder", source })
    }

    fn build(config: &VaeConfig, loader: &Loader) -> Result<Self, NnError> {
        let latent = config.latent_channels;
        let conv1x1 = |name, channels| Conv2d::load_same(&loader.at(name), channels, channels, 1);
        Ok(Self {
            encoder: Encoder::load(&loader.at("encoder"), config)?,
            decoder: Decoder::load(&loader.at("decoder"), config)?,
            quant_conv: if config.use_quant_conv { Some(conv1x1("quant_conv", 2 * latent)?) } else { None },
            post_quant_conv: if config.use_post_quant_conv { Some(conv1x1("post_quant_conv", latent)?) } else { None },
            config: config.clone(),
            dtype: loader.dtype(),
        })
    }

    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// `pixels` `[b, 3, h, w]` in [-1, 1]; sides multiples of [`VaeConfig::factor`].
    pub fn encode(&self, pixels: Tensor<4>) -> Moments {
        let mut x = self.encoder.forward(pixels.cast(self.dtype));
        if let Some(conv) = &self.quant_conv {
            x = conv.forward(&Context::base(), x);
        }
        let channels = self.config.latent_channels;
        let x = x.cast(DType::F32);
        Moments { mean: x.clone().narrow(1, 0, channels), logvar: x.narrow(1, channels, channels).clamp(-30.0, 20.0) }
    }

    /// `latents` `[b, latent_channels, h, w]` without scaling → `[b, 3, 8 h, 8 w]`, about [-1, 1].
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let mut x = latents.cast(self.dtype);
        if let Some(conv) = &self.post_quant_conv {
            x = conv.forward(&Context::base(), x);
        }
        self.decoder.forward(x).cast(DType::F32)
    }
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    levels: Vec<(Vec<ResnetBlock>, Option<Conv2d>)>,
    mid: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(loader: &Loader, config: &VaeConfig) -> Result<Self, NnError> {
        let channels = &config.block_out_channels;
        let mut width = channels[0];
        let mut levels = Vec::new();
        for (level, &outputs) in channels.iter().enumerate() {
            let at = loader.at("down_blocks").at(level);
            let mut resnets = Vec::new();
            for j in 0..config.layers_per_block {
                resnets.push(resnet(&at.at("resnets").at(j), width, outputs, config)?);
                width = outputs;
            }
            // Padding is not symmetric, so it is done before.
            let geometry = ConvGeometry { stride: 2, padding: 0 };
            let down = match level + 1 < channels.len() {
                true => Some(Conv2d::load(&at.at("downsamplers").at(0).at("conv"), width, width, 3, geometry)?),
                false => None,
            };
            levels.push((resnets, down));
        }
        Ok(Self {
            conv_in: Conv2d::load_same(&loader.at("conv_in"), config.in_channels, channels[0], 3)?,
            levels,
            mid: MidBlock::load(&loader.at("mid_block"), width, config)?,
            conv_norm_out: GroupNorm::load(&loader.at("conv_norm_out"), width, config.norm_num_groups, EPSILON)?,
            conv_out: Conv2d::load_same(&loader.at("conv_out"), width, 2 * config.latent_channels, 3)?,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let cx = &Context::base();
        let mut x = self.conv_in.forward(cx, x);
        for (resnets, down) in &self.levels {
            for resnet in resnets {
                x = resnet.forward(cx, x, None);
            }
            if let Some(conv) = down {
                // One column on the right and one row at the bottom.
                x = conv.forward(cx, x.pad((0, 1, 0, 1), 0.0));
            }
        }
        let x = self.mid.forward(cx, x);
        self.conv_out.forward(cx, self.conv_norm_out.forward_silu(x))
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid: MidBlock,
    levels: Vec<(Vec<ResnetBlock>, Option<Conv2d>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(loader: &Loader, config: &VaeConfig) -> Result<Self, NnError> {
        let channels = &config.block_out_channels;
        let mut width = channels[channels.len() - 1];
        let conv_in = Conv2d::load_same(&loader.at("conv_in"), config.latent_channels, width, 3)?;
        let mid = MidBlock::load(&loader.at("mid_block"), width, config)?;
        let mut levels = Vec::new();
        for (i, &outputs) in channels.iter().rev().enumerate() {
            let at = loader.at("up_blocks").at(i);
            let mut resnets = Vec::new();
            for j in 0..=config.layers_per_block {
                resnets.push(resnet(&at.at("resnets").at(j), width, outputs, config)?);
                width = outputs;
            }
            let up = match i + 1 < channels.len() {
                true => Some(Conv2d::load_same(&at.at("upsamplers").at(0).at("conv"), width, width, 3)?),
                false => None,
            };
            levels.push((resnets, up));
        }
        Ok(Self {
            conv_in,
            mid,
            levels,
            conv_norm_out: GroupNorm::load(&loader.at("conv_norm_out"), width, config.norm_num_groups, EPSILON)?,
            conv_out: Conv2d::load_same(&loader.at("conv_out"), width, config.out_channels, 3)?,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let cx = &Context::base();
        let mut x = self.mid.forward(cx, self.conv_in.forward(cx, x));
        for (resnets, up) in &self.levels {
            for resnet in resnets {
                x = resnet.forward(cx, x, None);
            }
            if let Some(conv) = up {
                x = conv.forward(cx, upsample_nearest_2x(x));
            }
        }
        self.conv_out.forward(cx, self.conv_norm_out.forward_silu(x))
    }
}

#[derive(Debug)]
struct MidBlock {
    first: ResnetBlock,
    attention: Option<PixelAttention>,
    second: ResnetBlock,
}

impl MidBlock {
    fn load(loader: &Loader, width: usize, config: &VaeConfig) -> Result<Self, NnError> {
        Ok(Self {
            first: resnet(&loader.at("resnets").at(0), width, width, config)?,
            attention: match config.mid_block_add_attention {
                true => Some(PixelAttention::load(&loader.at("attentions").at(0), width, config)?),
                false => None,
            },
            second: resnet(&loader.at("resnets").at(1), width, width, config)?,
        })
    }

    fn forward(&self, cx: &Context, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.first.forward(cx, x, None);
        if let Some(attention) = &self.attention {
            x = attention.forward(cx, x);
        }
        self.second.forward(cx, x, None)
    }
}

/// Single-head attention between all positions.
#[derive(Debug)]
struct PixelAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl PixelAttention {
    fn load(loader: &Loader, width: usize, config: &VaeConfig) -> Result<Self, NnError> {
        let linear = |loader: Loader| Linear::load(&loader, width, width, true);
        Ok(Self {
            group_norm: GroupNorm::load(&loader.at("group_norm"), width, config.norm_num_groups, EPSILON)?,
            to_q: linear(loader.at("to_q"))?,
            to_k: linear(loader.at("to_k"))?,
            to_v: linear(loader.at("to_v"))?,
            to_out: linear(loader.at("to_out").at(0))?,
        })
    }

    fn forward(&self, cx: &Context, x: Tensor<4>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let tokens = self.group_norm.forward(x.clone()).reshape([b, c, h * w]).swap_dims(1, 2);
        let head = |layer: &Linear| layer.forward(cx, tokens.clone()).reshape([b, 1, h * w, c]);
        let mixed = sdpa(head(&self.to_q), head(&self.to_k), head(&self.to_v)).reshape([b, h * w, c]);
        self.to_out.forward(cx, mixed).swap_dims(1, 2).reshape([b, c, h, w]) + x
    }
}

fn resnet(loader: &Loader, inputs: usize, outputs: usize, config: &VaeConfig) -> Result<ResnetBlock, NnError> {
    let groups = config.norm_num_groups;
    ResnetBlock::load(loader, &ResnetConfig { inputs, outputs, time: None, groups, epsilon: EPSILON })
}
