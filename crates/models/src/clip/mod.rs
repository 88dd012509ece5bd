//! CLIP's text encoder (Radford and others 2021), transformers `CLIPTextModel`.

mod tokenizer;

use burn::Tensor;
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{DType, Int, TensorData};
use lorikeet_nn::{Context, LayerInfo, LayerNorm, Linear, Loader, NnError, ops::quick_gelu};
use serde::Deserialize;

use crate::ModelError;
pub use tokenizer::{BOS, ClipTokenizer, EOS, LENGTH};

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
}

fn default_epsilon() -> f64 {
    1e-5
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
}

/// Token ids to states that the UNet attends to.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
}

impl ClipTextModel {
    /// # Errors
    /// When a weight is missing or does not fit the configuration.
    pub fn load(config: &ClipConfig, loader: &Loader) -> Result<Self, ModelError> {
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: "text encoder", source })
    }

    fn build(config: &ClipConfig, loader: &Loader) -> Result<Self, NnError> {
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
        })
    }

    /// `ids` `[b, n]` → `[b, n, width]`: the state after all but the last `clip_skip - 1` layers, then the final norm.
    /// `clip_skip` counts as kohya and A1111 do: 1 skips nothing.
    pub fn forward(&self, cx: &Context, ids: Tensor<2, Int>, clip_skip: usize) -> Tensor<3> {
        let [b, n] = ids.dims();
        let [_, width] = self.token_embedding.dims();
        let tokens = self.token_embedding.clone().select(0, ids.reshape([b * n])).reshape([b, n, width]);
        let mut x = tokens + self.position_embedding.clone().narrow(0, 0, n).unsqueeze::<3>();
        let causal = causal_bias(n, &x);
        let used = self.layers.len().saturating_sub(clip_skip.max(1) - 1);
        for layer in &self.layers[..used] {
            x = layer.forward(cx, x, &causal);
        }
        self.final_layer_norm.forward(x)
    }

    /// Every linear layer, in the order of the forward pass.
    pub fn layers(&self) -> Vec<LayerInfo> {
        self.layers.iter().flat_map(EncoderLayer::layers).collect()
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
