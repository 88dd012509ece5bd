//! Spatial transformer: self-attention, cross-attention to the text, gated feed-forward.

use burn::Tensor;
use burn::tensor::DType;
use lorikeet_nn::{
    Context, Conv2d, GroupNorm, LayerInfo, LayerNorm, Linear, Loader, NnError,
    ops::{geglu, sdpa},
};

/// diffusers `Transformer2DModel` over a feature map.
#[derive(Debug)]
pub(crate) struct Transformer {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

pub(crate) struct TransformerConfig {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    pub(crate) text_width: usize,
    pub(crate) depth: usize,
    pub(crate) groups: usize,
    pub(crate) linear_projection: bool,
    /// Attention in f32, whatever the dtype of the activations.
    pub(crate) upcast: bool,
}

/// Before the first and after the last block: a 1x1 convolution in SD1, a linear layer in SD2 and SDXL.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "two in a transformer; boxes would only be in the way")]
enum Projection {
    Conv(Conv2d),
    Linear(Linear),
}

impl Projection {
    fn load(loader: &Loader, channels: usize, linear: bool) -> Result<Self, NnError> {
        Ok(match linear {
            true => Self::Linear(Linear::load(loader, channels, channels, true)?),
            false => Self::Conv(Conv2d::load_same(loader, channels, channels, 1)?),
        })
    }

    fn info(&self) -> LayerInfo {
        match self {
            Self::Conv(layer) => layer.info(),
            Self::Linear(layer) => layer.info(),
        }
    }

    fn linear(&self) -> Option<&Linear> {
        match self {
            Self::Conv(_) => None,
            Self::Linear(layer) => Some(layer),
        }
    }
}

impl Transformer {
    pub(crate) fn load(loader: &Loader, config: &TransformerConfig) -> Result<Self, NnError> {
        let &TransformerConfig { channels, depth, groups, linear_projection, .. } = config;
        Ok(Self {
            norm: GroupNorm::load(&loader.at("norm"), channels, groups, 1e-6)?,
            proj_in: Projection::load(&loader.at("proj_in"), channels, linear_projection)?,
            blocks: (0..depth)
                .map(|i| TransformerBlock::load(&loader.at("transformer_blocks").at(i), config))
                .collect::<Result<_, _>>()?,
            proj_out: Projection::load(&loader.at("proj_out"), channels, linear_projection)?,
        })
    }

    /// `x` `[b, c, h, w]`, `text` `[b, n, text_width]` → `[b, c, h, w]`.
    pub(crate) fn forward(&self, cx: &Context, x: Tensor<4>, text: &Tensor<3>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let to_tokens = |x: Tensor<4>| x.reshape([b, c, h * w]).swap_dims(1, 2);
        let to_map = |x: Tensor<3>| x.swap_dims(1, 2).reshape([b, c, h, w]);
        let normal = self.norm.forward(x.clone());
        let mut tokens = match &self.proj_in {
            Projection::Conv(layer) => to_tokens(layer.forward(cx, normal)),
            Projection::Linear(layer) => layer.forward(cx, to_tokens(normal)),
        };
        for block in &self.blocks {
            tokens = block.forward(cx, tokens, text);
        }
        let out = match &self.proj_out {
            Projection::Conv(layer) => layer.forward(cx, to_map(tokens)),
            Projection::Linear(layer) => to_map(layer.forward(cx, tokens)),
        };
        out + x
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = LayerInfo> {
        let blocks = self.blocks.iter().flat_map(TransformerBlock::linears).map(Linear::info);
        std::iter::once(self.proj_in.info()).chain(blocks).chain(std::iter::once(self.proj_out.info()))
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let blocks = self.blocks.iter().flat_map(TransformerBlock::linears);
        self.proj_in.linear().into_iter().chain(blocks).chain(self.proj_out.linear())
    }
}

/// diffusers `BasicTransformerBlock`.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    fn load(loader: &Loader, config: &TransformerConfig) -> Result<Self, NnError> {
        let &TransformerConfig { channels, text_width, .. } = config;
        let norm = |name| LayerNorm::load(&loader.at(name), channels, 1e-5);
        let ff = loader.at("ff").at("net");
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&loader.at("attn1"), channels, config)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&loader.at("attn2"), text_width, config)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&ff.at(0).at("proj"), channels, 8 * channels, true)?,
            ff_out: Linear::load(&ff.at(2), 4 * channels, channels, true)?,
        })
    }

    fn forward(&self, cx: &Context, x: Tensor<3>, text: &Tensor<3>) -> Tensor<3> {
        let normal = self.norm1.forward(x.clone());
        let x = self.attn1.forward(cx, normal.clone(), normal) + x;
        let x = self.attn2.forward(cx, self.norm2.forward(x.clone()), text.clone()) + x;
        let hidden = geglu(self.ff_in.forward(cx, self.norm3.forward(x.clone())));
        self.ff_out.forward(cx, hidden) + x
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.attn1.linears().into_iter().chain(self.attn2.linears()).chain([&self.ff_in, &self.ff_out])
    }
}

/// Multi-head attention without bias in q, k and v.
#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    upcast: bool,
}

impl Attention {
    fn load(loader: &Loader, context: usize, config: &TransformerConfig) -> Result<Self, NnError> {
        let &TransformerConfig { channels, heads, upcast, .. } = config;
        Ok(Self {
            to_q: Linear::load(&loader.at("to_q"), channels, channels, false)?,
            to_k: Linear::load(&loader.at("to_k"), context, channels, false)?,
            to_v: Linear::load(&loader.at("to_v"), context, channels, false)?,
            to_out: Linear::load(&loader.at("to_out").at(0), channels, channels, true)?,
            heads,
            upcast,
        })
    }

    /// `x` `[b, n, c]`, `context` `[b, m, d]` → `[b, n, c]`.
    fn forward(&self, cx: &Context, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let split = |x: Tensor<3>| {
            let [b, n, c] = x.dims();
            x.reshape([b, n, self.heads, c / self.heads]).swap_dims(1, 2)
        };
        let q = split(self.to_q.forward(cx, x));
        let k = split(self.to_k.forward(cx, context.clone()));
        let v = split(self.to_v.forward(cx, context));
        let dtype = q.dtype();
        let mixed = match self.upcast {
            true => sdpa(q.cast(DType::F32), k.cast(DType::F32), v.cast(DType::F32)).cast(dtype),
            false => sdpa(q, k, v),
        };
        let mixed = mixed.swap_dims(1, 2).reshape([b, n, c]);
        self.to_out.forward(cx, mixed)
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.to_q, &self.to_k, &self.to_v, &self.to_out]
    }
}
