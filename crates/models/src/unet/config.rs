use serde::Deserialize;
use serde_json::Value;

use crate::ModelError;

/// One number for all levels, or one a level.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum PerLevel {
    All(usize),
    Each(Vec<usize>),
}

impl PerLevel {
    pub(crate) fn at(&self, level: usize) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Each(list) => list.get(level).or(list.last()).copied().unwrap_or(1),
        }
    }
}

/// The keys of diffusers' `unet/config.json` that this program reads.
#[derive(Clone, Debug, Deserialize)]
pub struct UNetConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub down_block_types: Vec<String>,
    pub up_block_types: Vec<String>,
    pub layers_per_block: usize,
    pub cross_attention_dim: usize,
    /// The number of heads, in spite of its name (diffusers issue 2011).
    pub(crate) attention_head_dim: PerLevel,
    pub(crate) num_attention_heads: Option<PerLevel>,
    #[serde(default = "one")]
    pub(crate) transformer_layers_per_block: PerLevel,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
    #[serde(default)]
    pub use_linear_projection: bool,
    /// Whether attention is computed in f32 whatever the dtype of the activations (SD 2.1); null in SDXL.
    pub upcast_attention: Option<bool>,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    /// `text_time`: the UNet takes an [`super::Added`] beside the text states (SDXL).
    addition_embed_type: Option<String>,
    /// Width of the sinusoid of each number of [`super::Added::time_ids`].
    pub(crate) addition_time_embed_dim: Option<usize>,
    /// Width of the pooled text state and the six sinusoids together.
    projection_class_embeddings_input_dim: Option<usize>,
    act_fn: Option<String>,
    resnet_time_scale_shift: Option<String>,
    mid_block_type: Option<String>,
    time_embedding_type: Option<String>,
}

/// Keys that would change the network, and that must be absent, null or false: no SD 1.x, 2.x or SDXL sets them, but
/// upscalers, distilled and class-conditional models do.
const UNKNOWN_PARTS: [&str; 10] = [
    "center_input_sample",
    "class_embed_type",
    "cross_attention_norm",
    "dual_cross_attention",
    "encoder_hid_dim",
    "mid_block_only_cross_attention",
    "num_class_embeds",
    "only_cross_attention",
    "reverse_transformer_layers_per_block",
    "time_cond_proj_dim",
];

fn one() -> PerLevel {
    PerLevel::All(1)
}

impl UNetConfig {
    /// # Errors
    /// When a key is missing or asks for something this UNet does not have.
    pub fn from_json(json: &Value) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_value(json.clone())
            .map_err(|error| ModelError::Config { part: "UNet", reason: error.to_string() })?;
        config.check()?;
        match UNKNOWN_PARTS.into_iter().find(|key| !is_unset(&json[key])) {
            Some(field) => Err(ModelError::Unsupported { part: "UNet", field, value: json[field].to_string() }),
            None => Ok(config),
        }
    }

    /// Width of the pooled text state in the [`super::Added`] that the UNet takes, if it takes one.
    pub fn pooled_width(&self) -> Option<usize> {
        let ids = 6 * self.addition_time_embed_dim?;
        self.addition_embed_type.as_ref()?;
        self.projection_class_embeddings_input_dim?.checked_sub(ids)
    }

    fn check(&self) -> Result<(), ModelError> {
        let unsupported =
            |field, value: &str| Err(ModelError::Unsupported { part: "UNet", field, value: value.to_owned() });
        for (field, value, known) in [
            ("act_fn", &self.act_fn, "silu"),
            ("resnet_time_scale_shift", &self.resnet_time_scale_shift, "default"),
            ("mid_block_type", &self.mid_block_type, "UNetMidBlock2DCrossAttn"),
            ("addition_embed_type", &self.addition_embed_type, "text_time"),
            ("time_embedding_type", &self.time_embedding_type, "positional"),
        ] {
            if let Some(value) = value.as_deref().filter(|v| *v != known) {
                return unsupported(field, value);
            }
        }
        for block in self.down_block_types.iter().chain(&self.up_block_types) {
            if !["DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"].contains(&block.as_str()) {
                return unsupported("block types", block);
            }
        }
        let levels = self.block_out_channels.len();
        let reason = if levels == 0 || self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            "block_out_channels, down_block_types and up_block_types must have the same length"
        } else if self.norm_num_groups == 0 || self.block_out_channels.iter().any(|c| c % self.norm_num_groups != 0) {
            "every entry of block_out_channels must be a multiple of norm_num_groups"
        } else if (0..levels).any(|l| self.heads(l) == 0 || !self.block_out_channels[l].is_multiple_of(self.heads(l))) {
            "every entry of block_out_channels must be a multiple of the number of heads"
        } else if self.layers_per_block == 0 {
            "layers_per_block must be at least 1"
        } else if self.addition_embed_type.is_some() && self.pooled_width().is_none() {
            "addition_embed_type text_time needs addition_time_embed_dim, and a projection_class_embeddings_input_dim of \
             at least six times that"
        } else {
            return Ok(());
        };
        Err(ModelError::Config { part: "UNet", reason: reason.to_owned() })
    }

    pub(crate) fn heads(&self, level: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).at(level)
    }

    /// Latents' height and width must be multiples of this.
    pub fn size_multiple(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.iter().all(is_unset),
        _ => false,
    }
}
