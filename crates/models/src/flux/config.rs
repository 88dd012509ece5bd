use serde_json::Value;

use crate::ModelError;

/// Size of a FLUX.1 transformer. MLPs are 4 times as wide as the stream and q, k, v have biases, in every FLUX.1.
#[derive(Clone, Debug, PartialEq)]
pub struct FluxConfig {
    /// Numbers in a 2 x 2 patch of latents: 64.
    pub in_channels: usize,
    /// Width of the streams: 3072.
    pub hidden_size: usize,
    pub num_heads: usize,
    /// Blocks with a stream each for picture and text: 19.
    pub depth: usize,
    /// Blocks with one stream for both: 38.
    pub depth_single_blocks: usize,
    /// Width of the text states: 4096.
    pub context_in_dim: usize,
    /// Width of the pooled embedding: 768.
    pub vec_in_dim: usize,
    /// Numbers of a head that turn with sequence index, row and column; together the size of a head.
    pub axes_dim: [usize; 3],
    /// FLUX.1 dev takes the guidance as an input, schnell does not.
    pub guidance_embed: bool,
}

/// Base of the rotary frequencies.
pub(super) const THETA: f64 = 10_000.0;

/// The only split of a head that FLUX.1 was released with; it leaves no trace in the weights.
const AXES_OF_128: [usize; 3] = [16, 56, 56];

impl FluxConfig {
    /// From diffusers' `transformer/config.json`.
    ///
    /// # Errors
    /// When a key is missing or makes no sense.
    pub fn from_json(json: &Value) -> Result<Self, ModelError> {
        let number = |key: &'static str| {
            let missing = || config_error(format!("`{key}` is missing or no number"));
            json[key].as_u64().map(|n| n as usize).ok_or_else(missing)
        };
        let heads = number("num_attention_heads")?;
        let axes: Option<Vec<usize>> = match &json["axes_dims_rope"] {
            // Configurations older than the key have the split of the released models.
            Value::Null => Some(AXES_OF_128.to_vec()),
            axes => axes.as_array().map(|a| a.iter().filter_map(Value::as_u64).map(|n| n as usize).collect()),
        };
        let axes_dim = axes
            .and_then(|a| a.try_into().ok())
            .ok_or_else(|| config_error("`axes_dims_rope` must be three numbers".to_owned()))?;
        if let Some(patch) = json["patch_size"].as_u64().filter(|p| *p != 1) {
            return Err(ModelError::Unsupported { part: PART, field: "patch_size", value: patch.to_string() });
        }
        let config = Self {
            in_channels: number("in_channels")?,
            hidden_size: heads * number("attention_head_dim")?,
            num_heads: heads,
            depth: number("num_layers")?,
            depth_single_blocks: number("num_single_layers")?,
            context_in_dim: number("joint_attention_dim")?,
            vec_in_dim: number("pooled_projection_dim")?,
            axes_dim,
            guidance_embed: json["guidance_embeds"].as_bool().unwrap_or(false),
        };
        if let Some(out) = json["out_channels"].as_u64().filter(|n| *n as usize != config.in_channels) {
            return Err(ModelError::Unsupported { part: PART, field: "out_channels", value: out.to_string() });
        }
        config.checked()
    }

    fn checked(self) -> Result<Self, ModelError> {
        let head_dim: usize = self.axes_dim.iter().sum();
        let reason = if self.num_heads == 0 || self.depth == 0 || self.depth_single_blocks == 0 {
            "there must be at least one head, one double block and one single block"
        } else if head_dim * self.num_heads != self.hidden_size || self.axes_dim.iter().any(|n| n % 2 != 0) {
            "the three even parts of `axes_dims_rope` must add up to the size of a head"
        } else if self.in_channels == 0 || !self.in_channels.is_multiple_of(4) {
            "`in_channels` must be a multiple of 4, the pixels of a patch"
        } else {
            return Ok(self);
        };
        Err(config_error(reason.to_owned()))
    }

    pub(super) fn mlp_size(&self) -> usize {
        4 * self.hidden_size
    }

    /// Latents' height and width must be multiples of this.
    pub fn size_multiple(&self) -> usize {
        2
    }
}

const PART: &str = "FLUX transformer";

fn config_error(reason: String) -> ModelError {
    ModelError::Config { part: PART, reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn heads_must_be_the_sum_of_their_turning_parts() {
        let mut json = serde_json::json!({
            "attention_head_dim": 128, "guidance_embeds": true, "in_channels": 64, "joint_attention_dim": 4096,
            "num_attention_heads": 24, "num_layers": 19, "num_single_layers": 38, "patch_size": 1,
            "pooled_projection_dim": 768, "axes_dims_rope": [16, 56, 56],
        });
        assert_eq!(FluxConfig::from_json(&json).unwrap().hidden_size, 3072);
        json["axes_dims_rope"] = serde_json::json!([16, 56, 54]);
        let error = FluxConfig::from_json(&json).unwrap_err().to_string();
        assert!(error.contains("axes_dims_rope"), "{error}");
    }
}
