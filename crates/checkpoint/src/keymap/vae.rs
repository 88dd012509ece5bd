//! AutoencoderKL: ldm (also the BFL autoencoder) against diffusers.

use super::{number, swap_start, swap_start_back};

/// ldm against diffusers, inside the attention of an autoencoder.
const VAE_ATTENTION: [(&str, &str); 5] =
    [("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0.")];

/// Names of the same layers in diffusers folders saved before 2023, against those of today.
const VAE_ATTENTION_OLD: [(&str, &str); 4] =
    [("query.", "to_q."), ("key.", "to_k."), ("value.", "to_v."), ("proj_attn.", "to_out.0.")];

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

fn vae_resnet(rest: &str) -> String {
    rest.replacen("nin_shortcut.", "conv_shortcut.", 1)
}

fn vae_resnet_back(rest: &str) -> String {
    rest.replacen("conv_shortcut.", "nin_shortcut.", 1)
}
