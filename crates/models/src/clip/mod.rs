//! CLIP's text encoder (Radford and others 2021), transformers `CLIPTextModel` and `CLIPTextModelWithProjection`: CLIP-L
//! of SD 1.x, SDXL and FLUX, OpenCLIP-H of SD 2.x, OpenCLIP-bigG of SDXL.

mod tokenizer;

use burn::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Int, TensorData};
use lorikeet_nn::{
    Context, LayerInfo, LayerNorm, Linear, Loader, NnError,
    ops::{gelu, quick_gelu},
};
use serde::Deserialize;

use crate::ModelError;
pub use tokenizer::{BOS, ClipTokenizer, EOS, LENGTH, PAD_OPEN_CLIP, TEXT_LENGTH, first_end, join_chunks};

/// The keys of transformers' `config.json` that this program reads.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub max_position_embeddings: usize,
    pub hidden_act: String,
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    #[serde(default = "default_projection")]
    projection_dim: usize,
    #[serde(default)]
    architectures: Vec<String>,
}

fn default_epsilon() -> f64 {
    1e-5
}

/// transformers leaves keys at their default out.
fn default_projection() -> usize {
    512
}

impl ClipConfig {
    /// # Errors
    /// When a key is missing or makes no sense.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_value(json.clone())
            .map_err(|error| ModelError::Config { part: "text encoder", reason: error.to_string() })?;
        if !["quick_gelu", "gelu"].contains(&config.hidden_act.as_str()) {
            let value = config.hidden_act;
            return Err(ModelError::Unsupported { part: "text encoder", field: "hidden_act", value });
        }
        if !config.hidden_size.is_multiple_of(config.num_attention_heads.max(1)) || config.num_attention_heads == 0 {
            let reason = "hidden_size must be a multiple of num_attention_heads".to_owned();
            return Err(ModelError::Config { part: "text encoder", reason });
        }
        Ok(config)
    }

    /// Width of the projection of the pooled state, if there is one. `architectures` decides, not the weights: CLIP-L
    /// files often hold a `text_projection.weight` that neither SDXL nor FLUX uses.
    pub fn projection(&self) -> Option<usize> {
        let projects = self.architectures.iter().any(|name| name == "CLIPTextModelWithProjection");
        projects.then_some(self.projection_dim)
    }

    /// Width of the pooled state.
    pub fn pooled_width(&self) -> usize {
        self.projection().unwrap_or(self.hidden_size)
    }
}

/// Which states [`ClipTextModel::encode`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// As kohya and A1111 count: 1 for the state after the last layer, 2 for the one before.
    pub clip_skip: usize,
    /// Whether the final norm comes after it; SDXL goes without.
    pub final_norm: bool,
}

impl Output {
    /// Both text encoders of SDXL.
    pub const SDXL: Self = Self { clip_skip: 2, final_norm: false };
}

/// Token ids to states that the UNet attends to.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
}

impl ClipTextModel {
    /// # Errors
    /// When a weight is missing or does not fit the configuration.
    pub fn load(config: &ClipConfig, loader: &Loader) -> Result<Self, ModelError> {
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: "text encoder", source })
    }

    fn build(config: &ClipConfig, loader: &Loader) -> Result<Self, NnError> {
        let projection = loader.at("text_projection");
        let loader = loader.at("text_model");
        let embeddings = loader.at("embeddings");
        let width = config.hidden_size;
        Ok(Self {
            token_embedding: embeddings.tensor("token_embedding.weight", [config.vocab_size, width])?,
            position_embedding: embeddings
                .tensor("position_embedding.weight", [config.max_position_embeddings, width])?,
            layers: (0..config.num_hidden_layers)
                .map(|i| EncoderLayer::load(&loader.at("encoder").at("layers").at(i), config))
                .collect::<Result<_, _>>()?,
            final_layer_norm: LayerNorm::load(&loader.at("final_layer_norm"), width, config.layer_norm_eps)?,
            text_projection: match config.projection() {
                Some(outputs) => Some(Linear::load(&projection, width, outputs, false)?),
                None => None,
            },
        })
    }

    /// `ids` `[b, n]` → `[b, n, width]`: the state after all but the last `clip_skip - 1` layers, then the final norm.
    /// `clip_skip` counts as kohya and A1111 do: 1 skips nothing.
    pub fn forward(&self, cx: &Context, ids: Tensor<2, Int>, clip_skip: usize) -> Tensor<3> {
        let (mut x, causal) = self.embed(ids);
        for layer in &self.layers[..self.used(clip_skip)] {
            x = layer.forward(cx, x, &causal);
        }
        self.final_layer_norm.forward(x)
    }

    /// States and pooled state in one pass. `ids` `[b, n]`, `ends` the place of the first end token of each row
    /// ([`first_end`]) → states `[b, n, width]` and pooled `[b, pooled_width]`: the last layer's state at the end token,
    /// after the final norm and the projection, if there is one.
    pub fn encode(&self, cx: &Context, ids: Tensor<2, Int>, ends: &[usize], output: &Output) -> (Tensor<3>, Tensor<2>) {
        let (mut x, causal) = self.embed(ids);
        let used = self.used(output.clip_skip);
        for layer in &self.layers[..used] {
            x = layer.forward(cx, x, &causal);
        }
        let states = x.clone();
        for layer in &self.layers[used..] {
            x = layer.forward(cx, x, &causal);
        }
        let pooled = self.pool(cx, x, ends);
        (if output.final_norm { self.final_layer_norm.forward(states) } else { states }, pooled)
    }

    /// `x` `[b, n, width]` → `[b, pooled_width]`.
    fn pool(&self, cx: &Context, x: Tensor<3>, ends: &[usize]) -> Tensor<2> {
        let [b, n, width] = x.dims();
        let rows: Vec<i64> = ends.iter().enumerate().map(|(row, end)| (row * n + end.min(&(n - 1))) as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [ends.len()]), &x.device().inner());
        let at_end = x.reshape([b * n, width]).select(0, rows).unsqueeze_dim::<3>(1);
        let pooled = self.final_layer_norm.forward(at_end).squeeze_dim::<2>(1);
        match &self.text_projection {
            Some(projection) => projection.forward(cx, pooled),
            None => pooled,
        }
    }

    /// `ids` `[b, n]` → embeddings `[b, n, width]` and the causal bias.
    fn embed(&self, ids: Tensor<2, Int>) -> (Tensor<3>, Tensor<4>) {
        let [b, n] = ids.dims();
        let [_, width] = self.token_embedding.dims();
        let tokens = self.token_embedding.clone().select(0, ids.reshape([b * n])).reshape([b, n, width]);
        let x = tokens + self.position_embedding.clone().narrow(0, 0, n).unsqueeze::<3>();
        let causal = causal_bias(n, &x);
        (x, causal)
    }

    /// How many layers run before the state that `clip_skip` asks for.
    fn used(&self, clip_skip: usize) -> usize {
        self.layers.len().saturating_sub(clip_skip.max(1) - 1)
    }

    /// Every linear layer, in the order of the forward pass.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let layers = self.layers.iter().flat_map(EncoderLayer::layers);
        layers.chain(self.text_projection.as_ref().map(Linear::info)).collect()
    }
}

/// `[1, 1, n, n]`: minus infinity where a token would look ahead.
fn causal_bias(n: usize, like: &Tensor<3>) -> Tensor<4> {
    let values: Vec<f32> = (0..n * n).map(|i| if i % n > i / n { f32::NEG_INFINITY } else { 0.0 }).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), (&like.device().inner(), DType::F32))
}

#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    quick: bool,
}

impl EncoderLayer {
    fn load(loader: &Loader, config: &ClipConfig) -> Result<Self, NnError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let attention = loader.at("self_attn");
        let square = |name| Linear::load(&attention.at(name), width, width, true);
        let norm = |name| LayerNorm::load(&loader.at(name), width, config.layer_norm_eps);
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            q_proj: square("q_proj")?,
            k_proj: square("k_proj")?,
            v_proj: square("v_proj")?,
            out_proj: square("out_proj")?,
            layer_norm2: norm("layer_norm2")?,
            fc1: Linear::load(&loader.at("mlp").at("fc1"), width, inner, true)?,
            fc2: Linear::load(&loader.at("mlp").at("fc2"), inner, width, true)?,
            heads: config.num_attention_heads,
            quick: config.hidden_act == "quick_gelu",
        })
    }

    fn forward(&self, cx: &Context, x: Tensor<3>, causal: &Tensor<4>) -> Tensor<3> {
        let x = self.attention(cx, self.layer_norm1.forward(x.clone()), causal) + x;
        let hidden = self.fc1.forward(cx, self.layer_norm2.forward(x.clone()));
        let hidden = if self.quick { quick_gelu(hidden) } else { gelu(hidden) };
        self.fc2.forward(cx, hidden) + x
    }

    /// Masked attention over at most 77 tokens: small enough to keep its scores.
    fn attention(&self, cx: &Context, x: Tensor<3>, causal: &Tensor<4>) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let head_dim = c / self.heads;
        let split = |layer: &Linear| layer.forward(cx, x.clone()).reshape([b, n, self.heads, head_dim]).swap_dims(1, 2);
        let q = split(&self.q_proj) * (head_dim as f64).powf(-0.5);
        let scores = q.matmul(split(&self.k_proj).swap_dims(2, 3));
        let dtype = scores.dtype();
        let weights = softmax(scores.cast(DType::F32) + causal.clone(), 3).cast(dtype);
        let mixed = weights.matmul(split(&self.v_proj)).swap_dims(1, 2).reshape([b, n, c]);
        self.out_proj.forward(cx, mixed)
    }

    fn layers(&self) -> [LayerInfo; 6] {
        [&self.q_proj, &self.k_proj, &self.v_proj, &self.out_proj, &self.fc1, &self.fc2].map(Linear::info)
    }
}
