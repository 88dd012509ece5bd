//! UNet2DConditionModel: ldm against diffusers.

use super::{number, swap_start, swap_start_back};

/// What the numbering of UNet blocks depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnetNumbering {
    /// Resnets at each level of the down path (2 in all Stable Diffusion models).
    pub layers_per_block: usize,
    /// For each up block, from the coarsest, whether it has attention: an upsampler comes after it.
    pub up_attention: Vec<bool>,
}

impl UnetNumbering {
    /// Stable Diffusion 1.x and 2.x.
    pub fn sd1() -> Self {
        Self { layers_per_block: 2, up_attention: vec![false, true, true, true] }
    }

    /// SDXL, whose finest level has no attention.
    pub fn sdxl() -> Self {
        Self { layers_per_block: 2, up_attention: vec![true, true, false] }
    }
}

/// ldm against diffusers, for parts of the UNet that stand outside the blocks.
const UNET_ENDS: [(&str, &str); 7] = [
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
];

/// ldm against diffusers, inside a UNet resnet.
const UNET_RESNET: [(&str, &str); 6] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
];

/// UNet: ldm name to diffusers name. `None` for a name that no rule covers.
pub fn unet_to_diffusers(name: &str, numbering: &UnetNumbering) -> Option<String> {
    if let Some(end) = swap_start(name, &UNET_ENDS) {
        return Some(end);
    }
    let step = numbering.layers_per_block + 1;
    if let Some(rest) = name.strip_prefix("input_blocks.") {
        let (index, rest) = number(rest)?;
        let (slot, rest) = number(rest)?;
        let index = index.checked_sub(1)?;
        let (block, layer) = (index / step, index % step);
        return match slot {
            0 if rest.starts_with("op.") => Some(format!("down_blocks.{block}.downsamplers.0.conv.{}", &rest[3..])),
            0 => Some(format!("down_blocks.{block}.resnets.{layer}.{}", swap_start(rest, &UNET_RESNET)?)),
            1 => Some(format!("down_blocks.{block}.attentions.{layer}.{rest}")),
            _ => None,
        };
    }
    if let Some(rest) = name.strip_prefix("middle_block.") {
        let (slot, rest) = number(rest)?;
        return match slot {
            0 | 2 => Some(format!("mid_block.resnets.{}.{}", slot / 2, swap_start(rest, &UNET_RESNET)?)),
            1 => Some(format!("mid_block.attentions.0.{rest}")),
            _ => None,
        };
    }
    let (index, rest) = number(name.strip_prefix("output_blocks.")?)?;
    let (slot, rest) = number(rest)?;
    let (block, layer) = (index / step, index % step);
    match slot {
        0 => Some(format!("up_blocks.{block}.resnets.{layer}.{}", swap_start(rest, &UNET_RESNET)?)),
        1 | 2 if rest.starts_with("conv.") => Some(format!("up_blocks.{block}.upsamplers.0.{rest}")),
        1 => Some(format!("up_blocks.{block}.attentions.{layer}.{rest}")),
        _ => None,
    }
}

/// UNet: diffusers name to ldm name.
pub fn unet_to_ldm(name: &str, numbering: &UnetNumbering) -> Option<String> {
    if let Some(end) = swap_start_back(name, &UNET_ENDS) {
        return Some(end);
    }
    let step = numbering.layers_per_block + 1;
    if let Some(rest) = name.strip_prefix("mid_block.") {
        let (kind, rest) = rest.split_once('.')?;
        let (layer, rest) = number(rest)?;
        return match kind {
            "resnets" => Some(format!("middle_block.{}.{}", 2 * layer, swap_start_back(rest, &UNET_RESNET)?)),
            "attentions" => Some(format!("middle_block.1.{rest}")),
            _ => None,
        };
    }
    let (down, rest) = match name.strip_prefix("down_blocks.") {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix("up_blocks.")?),
    };
    let (block, rest) = number(rest)?;
    let (kind, rest) = rest.split_once('.')?;
    let (layer, rest) = number(rest)?;
    let (side, first) = if down { ("input_blocks", 1) } else { ("output_blocks", 0) };
    let index = first + block * step + layer;
    match kind {
        "resnets" => Some(format!("{side}.{index}.0.{}", swap_start_back(rest, &UNET_RESNET)?)),
        "attentions" => Some(format!("{side}.{index}.1.{rest}")),
        "downsamplers" if down => {
            let index = first + block * step + numbering.layers_per_block;
            Some(format!("{side}.{index}.0.op.{}", rest.strip_prefix("conv.")?))
        }
        "upsamplers" if !down => {
            let slot = if *numbering.up_attention.get(block)? { 2 } else { 1 };
            Some(format!("{side}.{}.{slot}.{rest}", block * step + numbering.layers_per_block))
        }
        _ => None,
    }
}
