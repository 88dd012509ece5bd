//! T5 v1.1's encoder (Raffel and others 2020), transformers `T5EncoderModel`.

mod tokenizer;

use burn::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Int, TensorData};
use lorikeet_nn::{
    Context, LayerInfo, Linear, Loader, NnError,
    ops::{gelu_tanh, rms_norm},
};
use serde::Deserialize;

use crate::ModelError;
pub use tokenizer::{END, PAD, T5Tokenizer};

const PART: &str = "T5 text encoder";

/// The keys of transformers' `config.json` that this program reads.
#[derive(Clone, Debug, Deserialize)]
pub struct T5Config {
    pub vocab_size: usize,
    /// Width of the states.
    pub d_model: usize,
    /// Numbers in a head; heads need not add up to the width.
    pub d_kv: usize,
    pub d_ff: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub feed_forward_proj: String,
    #[serde(default = "default_buckets")]
    pub relative_attention_num_buckets: usize,
    #[serde(default = "default_distance")]
    pub relative_attention_max_distance: usize,
    #[serde(default = "default_epsilon")]
    pub layer_norm_epsilon: f64,
}

fn default_buckets() -> usize {
    32
}

fn default_distance() -> usize {
    128
}

fn default_epsilon() -> f64 {
    1e-6
}

impl T5Config {
    /// # Errors
    /// When a key is missing or asks for another kind of T5 than v1.1.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_value(json.clone())
            .map_err(|error| ModelError::Config { part: PART, reason: error.to_string() })?;
        if config.feed_forward_proj != "gated-gelu" {
            let value = config.feed_forward_proj;
            return Err(ModelError::Unsupported { part: PART, field: "feed_forward_proj", value });
        }
        let exact = config.relative_attention_num_buckets / 4;
        if config.num_heads == 0 || config.d_kv == 0 || exact == 0 || config.relative_attention_max_distance <= exact {
            let reason = "num_heads and d_kv must be at least 1, relative_attention_num_buckets at least 4 and \
                          relative_attention_max_distance above a quarter of it";
            return Err(ModelError::Config { part: PART, reason: reason.to_owned() });
        }
        Ok(config)
    }
}

/// Token ids to states.
///
/// The sums that run through the layers stay in f32: T5-XXL's reach tens of thousands, where bf16 counts in hundreds.
/// f16 weights are refused, because products inside the feed-forward layers go beyond 65,504 (transformers keeps `wo` in
/// f32 for that).
#[derive(Debug)]
pub struct T5EncoderModel {
    embedding: Tensor<2>,
    /// `[buckets, heads]`: what the first block adds to scores, and all others with it.
    relative_attention_bias: Tensor<2>,
    blocks: Vec<Block>,
    final_layer_norm: Tensor<1>,
    config: T5Config,
    dtype: DType,
}

impl T5EncoderModel {
    /// # Errors
    /// When a weight is missing or does not fit the configuration, and when the loader gives f16.
    pub fn load(config: &T5Config, loader: &Loader) -> Result<Self, ModelError> {
        if loader.dtype() == DType::F16 {
            let reason = "it overflows in f16; load it in bf16 or f32".to_owned();
            return Err(ModelError::Config { part: PART, reason });
        }
        Self::build(config, loader).map_err(|source| ModelError::Weights { part: PART, source })
    }

    fn build(config: &T5Config, loader: &Loader) -> Result<Self, NnError> {
        let embedding = |name| loader.tensor(name, [config.vocab_size, config.d_model]);
        let encoder = loader.at("encoder");
        let blocks = encoder.at("block");
        let bias = blocks.at(0).at("layer").at(0).at("SelfAttention").at("relative_attention_bias");
        Ok(Self {
            // The same table has two names, and files keep one of them or both.
            embedding: embedding("shared.weight").or_else(|error| match error {
                NnError::MissingTensor { .. } => embedding("encoder.embed_tokens.weight").map_err(|_| error),
                error => Err(error),
            })?,
            relative_attention_bias: bias
                .tensor("weight", [config.relative_attention_num_buckets, config.num_heads])?,
            blocks: (0..config.num_layers)
                .map(|i| Block::load(&blocks.at(i).at("layer"), config))
                .collect::<Result<_, _>>()?,
            final_layer_norm: encoder.at("final_layer_norm").tensor("weight", [config.d_model])?,
            config: config.clone(),
            dtype: loader.dtype(),
        })
    }

    /// `ids` `[b, n]` → `[b, n, d_model]`. `mask` `[b, n]` is true at tokens that may be attended to, at least one a
    /// text; FLUX has none, so that its padding is attended to.
    pub fn forward(&self, cx: &Context, ids: Tensor<2, Int>, mask: Option<Tensor<2, Bool>>) -> Tensor<3> {
        let [b, n] = ids.dims();
        let tokens = self.embedding.clone().select(0, ids.reshape([b * n])).cast(DType::F32);
        let mut bias = self.position_bias(n);
        if let Some(mask) = mask {
            let closed = mask.bool_not().reshape([b, 1, 1, n]).expand([b, self.config.num_heads, n, n]);
            bias = bias.expand([b, self.config.num_heads, n, n]).mask_fill(closed, f64::NEG_INFINITY);
        }
        let mut x = tokens.reshape([b, n, self.config.d_model]);
        for block in &self.blocks {
            x = block.forward(cx, x, &bias, self.dtype);
        }
        rms_norm(x, self.final_layer_norm.clone(), self.config.layer_norm_epsilon).cast(self.dtype)
    }

    /// `[1, heads, n, n]`, f32: by how far the key is from the query, and on which side.
    fn position_bias(&self, n: usize) -> Tensor<4> {
        let T5Config { num_heads, relative_attention_num_buckets, relative_attention_max_distance, .. } = self.config;
        let buckets: Vec<i64> = (0..n * n)
            .map(|i| (i % n) as i64 - (i / n) as i64)
            .map(|distance| bucket(distance, relative_attention_num_buckets, relative_attention_max_distance) as i64)
            .collect();
        let buckets = Tensor::<1, Int>::from_data(TensorData::new(buckets, [n * n]), &self.embedding.device());
        let values = self.relative_attention_bias.clone().cast(DType::F32).select(0, buckets);
        values.reshape([1, n, n, num_heads]).permute([0, 3, 1, 2])
    }

    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Every linear layer, in the order of the forward pass.
    pub fn layers(&self) -> Vec<LayerInfo> {
        self.blocks.iter().flat_map(Block::layers).collect()
    }
}

/// Half of the buckets for keys before the query (and itself), half for those after it. Of a half, the first half is
/// one for each distance, the second grows by powers up to `max_distance`, and the last takes all beyond.
fn bucket(distance: i64, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    let side = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    if distance < exact {
        return side + distance;
    }
    let ratio = |n: usize| (n as f64 / exact as f64).ln();
    let power = ratio(distance) / ratio(max_distance) * (half - exact) as f64;
    side + (exact + power as usize).min(half - 1)
}

/// Attention, then feed-forward; each with a norm before it and around it a sum.
#[derive(Debug)]
struct Block {
    attention_norm: Tensor<1>,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    ff_norm: Tensor<1>,
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
    heads: usize,
    epsilon: f64,
}

impl Block {
    fn load(loader: &Loader, config: &T5Config) -> Result<Self, NnError> {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let [attention, ff] = [loader.at(0), loader.at(1)];
        let norm = |loader: &Loader| loader.at("layer_norm").tensor("weight", [width]);
        let linear = |part: &Loader, folder: &str, name: &str, inputs, outputs| {
            Linear::load(&part.at(folder).at(name), inputs, outputs, false)
        };
        Ok(Self {
            attention_norm: norm(&attention)?,
            q: linear(&attention, "SelfAttention", "q", width, inner)?,
            k: linear(&attention, "SelfAttention", "k", width, inner)?,
            v: linear(&attention, "SelfAttention", "v", width, inner)?,
            o: linear(&attention, "SelfAttention", "o", inner, width)?,
            ff_norm: norm(&ff)?,
            wi_0: linear(&ff, "DenseReluDense", "wi_0", width, config.d_ff)?,
            wi_1: linear(&ff, "DenseReluDense", "wi_1", width, config.d_ff)?,
            wo: linear(&ff, "DenseReluDense", "wo", config.d_ff, width)?,
            heads: config.num_heads,
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// `x` `[b, n, width]` in f32, `bias` `[b or 1, heads, n, n]` in f32; the products are in `dtype`.
    fn forward(&self, cx: &Context, x: Tensor<3>, bias: &Tensor<4>, dtype: DType) -> Tensor<3> {
        let normal = rms_norm(x.clone(), self.attention_norm.clone(), self.epsilon).cast(dtype);
        let x = x + self.attention(cx, normal, bias).cast(DType::F32);
        let normal = rms_norm(x.clone(), self.ff_norm.clone(), self.epsilon).cast(dtype);
        let hidden = gelu_tanh(self.wi_0.forward(cx, normal.clone())) * self.wi_1.forward(cx, normal);
        x + self.wo.forward(cx, hidden).cast(DType::F32)
    }

    /// Without the usual division by the root of the head's size, so scores are large: they are made in f32.
    fn attention(&self, cx: &Context, x: Tensor<3>, bias: &Tensor<4>) -> Tensor<3> {
        let [b, n, _] = x.dims();
        let split = |layer: &Linear| {
            let y = layer.forward(cx, x.clone());
            let inner = y.dims()[2];
            y.reshape([b, n, self.heads, inner / self.heads]).swap_dims(1, 2)
        };
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let scores = q.cast(DType::F32).matmul(k.cast(DType::F32).swap_dims(2, 3)) + bias.clone();
        let mixed = softmax(scores, 3).cast(v.dtype()).matmul(v).swap_dims(1, 2);
        let [.., heads, size] = mixed.dims();
        self.o.forward(cx, mixed.reshape([b, n, heads * size]))
    }

    fn layers(&self) -> [LayerInfo; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.wi_0, &self.wi_1, &self.wo].map(Linear::info)
    }
}
