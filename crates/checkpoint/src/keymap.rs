//! Rules between the tensor names of single-file checkpoints (ldm) and those of diffusers and transformers.
//!
//! Names here have no component prefix such as `model.diffusion_model.`. Every rule maps both ways.

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

/// ldm against diffusers, inside the attention of an autoencoder.
const VAE_ATTENTION: [(&str, &str); 5] =
    [("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0.")];

/// Names of the same layers in diffusers folders saved before 2023, against those of today.
const VAE_ATTENTION_OLD: [(&str, &str); 4] =
    [("query.", "to_q."), ("key.", "to_k."), ("value.", "to_v."), ("proj_attn.", "to_out.0.")];

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

/// Autoencoder: ldm name to diffusers name. `levels` is the number of resolutions (4 in all SD models); the decoder
/// counts them the other way round.
pub fn vae_to_diffusers(name: &str, levels: usize) -> Option<String> {
    if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.')?;
    if side != "encoder" && side != "decoder" {
        return None;
    }
    if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        return Some(name.to_owned());
    }
    if let Some(rest) = rest.strip_prefix("norm_out.") {
        return Some(format!("{side}.conv_norm_out.{rest}"));
    }
    if let Some(rest) = rest.strip_prefix("mid.") {
        if let Some(rest) = rest.strip_prefix("attn_1.") {
            return Some(format!("{side}.mid_block.attentions.0.{}", swap_start(rest, &VAE_ATTENTION)?));
        }
        let (index, rest) = number(rest.strip_prefix("block_")?)?;
        return Some(format!("{side}.mid_block.resnets.{}.{}", index.checked_sub(1)?, vae_resnet(rest)));
    }
    let (direction, sampler) = if side == "encoder" { ("down", "downsample") } else { ("up", "upsample") };
    let (level, rest) = number(rest.strip_prefix(direction)?.strip_prefix('.')?)?;
    let block = if side == "encoder" { level } else { levels.checked_sub(level + 1)? };
    if let Some(rest) = rest.strip_prefix("block.") {
        let (layer, rest) = number(rest)?;
        return Some(format!("{side}.{direction}_blocks.{block}.resnets.{layer}.{}", vae_resnet(rest)));
    }
    let rest = rest.strip_prefix(sampler)?.strip_prefix('.')?;
    Some(format!("{side}.{direction}_blocks.{block}.{sampler}rs.0.{rest}"))
}

/// Autoencoder: diffusers name to ldm name.
pub fn vae_to_ldm(name: &str, levels: usize) -> Option<String> {
    if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.')?;
    if side != "encoder" && side != "decoder" {
        return None;
    }
    if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        return Some(name.to_owned());
    }
    if let Some(rest) = rest.strip_prefix("conv_norm_out.") {
        return Some(format!("{side}.norm_out.{rest}"));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.attentions.0.") {
        return Some(format!("{side}.mid.attn_1.{}", swap_start_back(rest, &VAE_ATTENTION)?));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.resnets.") {
        let (index, rest) = number(rest)?;
        return Some(format!("{side}.mid.block_{}.{}", index + 1, vae_resnet_back(rest)));
    }
    let (direction, sampler) = if side == "encoder" { ("down", "downsample") } else { ("up", "upsample") };
    let (block, rest) = number(rest.strip_prefix(direction)?.strip_prefix("_blocks.")?)?;
    let level = if side == "encoder" { block } else { levels.checked_sub(block + 1)? };
    if let Some(rest) = rest.strip_prefix("resnets.") {
        let (layer, rest) = number(rest)?;
        return Some(format!("{side}.{direction}.{level}.block.{layer}.{}", vae_resnet_back(rest)));
    }
    let rest = rest.strip_prefix(sampler)?.strip_prefix("rs.0.")?;
    Some(format!("{side}.{direction}.{level}.{sampler}.{rest}"))
}

/// Autoencoder of a diffusers folder: brings the attention names of old folders up to date.
pub fn vae_modern(name: &str) -> String {
    let place = ".mid_block.attentions.0.";
    let renamed = name.split_once(place).and_then(|(side, rest)| {
        let rest = swap_start(rest, &VAE_ATTENTION_OLD)?;
        Some(format!("{side}{place}{rest}"))
    });
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Whether a tensor is a linear layer of the autoencoder's attention, which ldm files hold as a 1x1 convolution.
pub fn vae_is_attention_linear(name: &str) -> bool {
    let inner = name.split_once(".mid_block.attentions.0.").map(|(_, rest)| rest);
    inner.is_some_and(|rest| rest.starts_with("to_") && rest.ends_with(".weight"))
}

/// CLIP text encoder: the name with `text_model.` in front, which old merges and transformers 5 leave out.
/// `None` for entries that hold no weight (`position_ids`, which some programs save as floats, and `logit_scale`).
pub fn clip_to_transformers(name: &str) -> Option<String> {
    if name.ends_with("position_ids") || name == "logit_scale" {
        return None;
    }
    if name.starts_with("text_model.") || name == "text_projection.weight" {
        return Some(name.to_owned());
    }
    Some(format!("text_model.{name}"))
}

/// Whether an entry of a single-file checkpoint belongs to training or to the noise schedule rather than to a part.
pub fn is_ballast(name: &str) -> bool {
    const SCHEDULE: [&str; 7] = ["betas", "alphas_cumprod", "sqrt_", "posterior_", "log_", "logvar", "lvlb_weights"];
    name.starts_with("model_ema.")
        || name.ends_with("position_ids")
        || name.ends_with("logit_scale")
        || (!name.contains('.') && SCHEDULE.iter().any(|start| name.starts_with(start)))
}

fn vae_resnet(rest: &str) -> String {
    rest.replacen("nin_shortcut.", "conv_shortcut.", 1)
}

fn vae_resnet_back(rest: &str) -> String {
    rest.replacen("conv_shortcut.", "nin_shortcut.", 1)
}

/// Splits `12.rest` into 12 and `rest`.
fn number(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once('.')?;
    Some((digits.parse().ok()?, rest))
}

fn swap_start(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}

fn swap_start_back(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(to, from)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}
