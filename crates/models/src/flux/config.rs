use lorikeet_nn::WeightSource;
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

    /// From the shapes of a checkpoint in Black Forest Labs' layout, which carries no configuration.
    ///
    /// # Errors
    /// When a tensor that tells a size is missing, or heads are of another size than 128.
    pub fn from_weights(source: &dyn WeightSource) -> Result<Self, ModelError> {
        let size = |name: &str, axis: usize| {
            let shape = source.shape(name);
            let missing = || config_error(format!("the weights have no tensor `{name}`, which tells a size"));
            shape.and_then(|shape| shape.get(axis).copied()).ok_or_else(missing)
        };
        let count = |kind: &str, tensor: &str| {
            (0..).take_while(|i| source.shape(&format!("{kind}.{i}.{tensor}")).is_some()).count()
        };
        let head_dim = ["scale", "weight"]
            .iter()
            .find_map(|kind| size(&format!("double_blocks.0.img_attn.norm.key_norm.{kind}"), 0).ok())
            .ok_or_else(|| config_error("the weights have no `double_blocks.0.img_attn.norm.key_norm`".to_owned()))?;
        if head_dim != AXES_OF_128.iter().sum::<usize>() {
            return Err(ModelError::Unsupported { part: PART, field: "size of a head", value: head_dim.to_string() });
        }
        let hidden_size = size("img_in.weight", 0)?;
        let config = Self {
            in_channels: size("img_in.weight", 1)?,
            hidden_size,
            num_heads: hidden_size / head_dim,
            depth: count("double_blocks", "img_attn.qkv.weight"),
            depth_single_blocks: count("single_blocks", "linear1.weight"),
            context_in_dim: size("txt_in.weight", 1)?,
            vec_in_dim: size("vector_in.in_layer.weight", 1)?,
            axes_dim: AXES_OF_128,
            guidance_embed: source.shape("guidance_in.in_layer.weight").is_some(),
        };
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

    /// Shapes of FLUX.1 with heads of some size.
    struct Shapes {
        guidance: bool,
        head_dim: usize,
    }

    impl WeightSource for Shapes {
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            let block = |kind: &str| name.strip_prefix(kind)?.split('.').nth(1)?.parse::<usize>().ok();
            match name {
                "img_in.weight" => Some(vec![3072, 64]),
                "txt_in.weight" => Some(vec![3072, 4096]),
                "vector_in.in_layer.weight" => Some(vec![3072, 768]),
                "guidance_in.in_layer.weight" => self.guidance.then(|| vec![3072, 256]),
                "double_blocks.0.img_attn.norm.key_norm.scale" => Some(vec![self.head_dim]),
                _ if name.ends_with("img_attn.qkv.weight") && block("double_blocks")? < 19 => Some(vec![9216, 3072]),
                _ if name.ends_with("linear1.weight") && block("single_blocks")? < 38 => Some(vec![21504, 3072]),
                _ => None,
            }
        }

        fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
            Err(format!("{name} has no values here"))
        }
    }

    #[test]
    fn weights_tell_the_same_as_the_configuration_beside_them() {
        for guidance in [true, false] {
            let json = serde_json::json!({
                "attention_head_dim": 128, "guidance_embeds": guidance, "in_channels": 64, "joint_attention_dim": 4096,
                "num_attention_heads": 24, "num_layers": 19, "num_single_layers": 38, "patch_size": 1,
                "pooled_projection_dim": 768, "axes_dims_rope": [16, 56, 56],
            });
            let told = FluxConfig::from_json(&json).unwrap();
            assert_eq!(FluxConfig::from_weights(&Shapes { guidance, head_dim: 128 }).unwrap(), told);
            assert_eq!(told.hidden_size, 3072);
        }
    }

    #[test]
    fn heads_whose_split_is_unknown_are_refused() {
        let error = FluxConfig::from_weights(&Shapes { guidance: true, head_dim: 64 }).unwrap_err().to_string();
        assert!(error.contains("size of a head") && error.contains("64"), "{error}");
    }
}
