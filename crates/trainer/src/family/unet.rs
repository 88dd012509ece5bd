//! What the families with a UNet share.

use lorikeet_checkpoint::{BaseModel, Component, Part};
use lorikeet_models::clip::{ClipConfig, LENGTH};
use lorikeet_models::unet::{Added, UNet2DConditionModel, UNetConfig};
use lorikeet_nn::segmented::{Blocks, Side, State};
use lorikeet_nn::{Context, LayerInfo, LayerKind, Linear};
use lorikeet_recipe::{DenoiserShape, TextFacts, UnetShape};
use serde_json::Value;

use super::{Condition, Denoiser, Sizes, TextStates, matrices, target_facts};
use crate::base::Weights;
use crate::{Base, TrainError};

pub(super) struct UNet(pub(super) UNet2DConditionModel);

/// Layers are named `unet.` and the diffusers path.
pub(super) fn load(config: &UNetConfig, base: &Base) -> Result<UNet, TrainError> {
    let weights = Weights(base.model.part(Part::Unet)?);
    Ok(UNet(UNet2DConditionModel::load(config, &base.loader(&weights, Part::Unet))?))
}

impl Blocks for UNet {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn linears(&self, block: usize) -> Vec<&Linear> {
        self.0.linears(block)
    }

    fn run(&self, cx: &Context, block: usize, state: State, side: &Side) -> State {
        self.0.run(cx, block, state, side)
    }
}

impl Denoiser for UNet {
    fn side(&self, timesteps: &[f32], condition: &Condition) -> Side {
        let TextStates { states, pooled } = condition.text.clone();
        let time_ids = condition.sizes.iter().map(Sizes::time_ids).collect();
        let added = pooled.map(|pooled| Added { pooled, time_ids });
        self.0.side(timesteps, states, added.as_ref())
    }

    fn side_of_text(&self) -> Vec<bool> {
        // The pooled state is part of what the timesteps become.
        vec![true, self.0.config().pooled_width().is_some()]
    }

    fn targets(&self) -> Vec<LayerInfo> {
        lorikeet_adapters::transformer_targets(&self.0.layers())
    }

    fn convolution_targets(&self) -> Vec<LayerInfo> {
        lorikeet_adapters::convolution_targets(&self.0.layers())
    }
}

pub(super) fn shape(config: &UNetConfig, json: &Value) -> DenoiserShape {
    DenoiserShape::Unet(unet_shape(config, json))
}

fn unet_shape(config: &UNetConfig, json: &Value) -> UnetShape {
    let levels = config.block_out_channels.len();
    let per_level = |value: &Value, level: usize, default: u64| match value {
        Value::Array(list) => list.get(level).or(list.last()).and_then(Value::as_u64).unwrap_or(default),
        other => other.as_u64().unwrap_or(default),
    };
    let heads = if json["num_attention_heads"].is_null() { "attention_head_dim" } else { "num_attention_heads" };
    let depth = |level| per_level(&json["transformer_layers_per_block"], level, 1);
    // A level that attends on one way only counts as if on both, so that memory is not estimated too low.
    let attends = |level: usize| {
        let ways = [&config.down_block_types[level], &config.up_block_types[levels - 1 - level]];
        ways.into_iter().any(|kind| kind.starts_with("CrossAttn"))
    };
    UnetShape {
        block_out_channels: config.block_out_channels.iter().map(|&channels| channels as u64).collect(),
        layers_per_block: config.layers_per_block as u64,
        transformer_depth: (0..levels).map(|level| if attends(level) { depth(level) } else { 0 }).collect(),
        heads: (0..levels).map(|level| per_level(&json[heads], level, 8)).collect(),
        context_width: config.cross_attention_dim as u64,
    }
}

/// Every layer of the UNet that asks its context for a delta, by name.
pub(super) fn layers_in(model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
    let weights = model.part(Part::Unet)?;
    let linear_projection = model.config(Part::Unet)?["use_linear_projection"].as_bool().unwrap_or(false);
    Ok(layers(
        weights,
        "unet",
        |path| !path.starts_with("time_embedding.") && !path.starts_with("add_embedding."),
        |path| {
            // Files store either shape for these two; the configuration decides what the layer is.
            if path.ends_with(".proj_in") || path.ends_with(".proj_out") { Some(!linear_projection) } else { None }
        },
    ))
}

/// Every linear layer of a CLIP text encoder, by name, from the file's header.
pub(super) fn clip_layers(model: &BaseModel, part: Part) -> Result<Vec<LayerInfo>, TrainError> {
    let inside = |path: &str| path.contains(".self_attn.") || path.contains(".mlp.");
    Ok(layers(model.part(part)?, part.folder(), inside, |_| None))
}

/// A CLIP text encoder for the plan.
pub(super) fn clip_facts(model: &BaseModel, part: Part, clip: &ClipConfig) -> Result<TextFacts, TrainError> {
    let layers = clip_layers(model, part)?;
    Ok(TextFacts {
        params: model.part(part)?.parameters(),
        matrices: matrices(&layers),
        layers: clip.num_hidden_layers as u64,
        width: clip.hidden_size as u64,
        tokens: LENGTH as u64,
        targets: target_facts(&layers),
    })
}

/// `is_conv` tells for a path whether the layer is a convolution; `None`: as its shape says.
pub(super) fn layers(
    weights: &Component,
    component: &str,
    wanted: impl Fn(&str) -> bool,
    is_conv: impl Fn(&str) -> Option<bool>,
) -> Vec<LayerInfo> {
    let layer = |name: &str| {
        let path = name.strip_suffix(".weight").filter(|path| wanted(path))?;
        let (inputs, outputs, stored_kernel) = match *weights.shape(name)? {
            [outputs, inputs] => (inputs, outputs, None),
            [outputs, inputs, height, width] if height == width => (inputs, outputs, Some(height)),
            _ => return None,
        };
        let kind = match is_conv(path).unwrap_or(stored_kernel.is_some()) {
            true => LayerKind::Conv2d { inputs, outputs, kernel: stored_kernel.unwrap_or(1) },
            false => LayerKind::Linear { inputs, outputs },
        };
        Some(LayerInfo { name: format!("{component}.{path}"), kind })
    };
    weights.names().filter_map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_in_the_header_are_those_of_the_loaded_model() {
        let base = crate::testing::demo();
        let json = base.model.config(Part::Unet).unwrap();
        let mut layers = load(&UNetConfig::from_json(json).unwrap(), &base).unwrap().0.layers();
        layers.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(layers_in(&base.model).unwrap(), layers);
    }

    #[test]
    fn the_shape_of_a_unet_is_read_from_its_configuration() {
        let json = serde_json::json!({
            "in_channels": 4, "out_channels": 4, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
            "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
            "cross_attention_dim": 768, "attention_head_dim": 8, "norm_num_groups": 32, "norm_eps": 1e-5,
            "flip_sin_to_cos": true, "freq_shift": 0,
        });
        let read = |json: &Value| unet_shape(&UNetConfig::from_json(json).unwrap(), json);
        let expected = UnetShape {
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_depth: vec![1, 1, 1, 0],
            heads: vec![8; 4],
            context_width: 768,
        };
        assert_eq!(read(&json), expected);
        let mut other = json.clone();
        other["attention_head_dim"] = serde_json::json!([5, 10, 20, 20]);
        other["down_block_types"][0] = "DownBlock2D".into();
        assert_eq!(read(&other), UnetShape { heads: vec![5, 10, 20, 20], ..expected });
    }
}
