//! Diffusers-style configurations for single-file checkpoints, which carry none: sizes are read off the weights, and
//! the rest are the values of Stable Diffusion 1.5.

use serde_json::{Value, json};

use crate::component::Component;

/// Heads at every level of the Stable Diffusion 1.x UNet. The weights do not tell.
const HEADS: usize = 8;
/// Width of one head of every CLIP text encoder.
const CLIP_HEAD: usize = 64;
/// Latent pixels on a side that Stable Diffusion 1.x was trained at.
const SAMPLE_SIZE: usize = 64;

/// `UNet2DConditionModel`.
pub(crate) fn unet(weights: &Component) -> Option<Value> {
    let size = |name: &str, axis: usize| weights.shape(name).and_then(|shape| shape.get(axis)).copied();
    let levels = count(|i| weights.shape(&format!("down_blocks.{i}.resnets.0.conv1.weight")).is_some());
    let widths: Option<Vec<usize>> =
        (0..levels).map(|i| size(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0)).collect();
    let attention = |i: usize| weights.shape(&format!("down_blocks.{i}.attentions.0.norm.weight")).is_some();
    let down: Vec<&str> =
        (0..levels).map(|i| if attention(i) { "CrossAttnDownBlock2D" } else { "DownBlock2D" }).collect();
    let up: Vec<&str> =
        (0..levels).rev().map(|i| if attention(i) { "CrossAttnUpBlock2D" } else { "UpBlock2D" }).collect();
    let context = (0..levels)
        .filter(|&i| attention(i))
        .find_map(|i| size(&format!("down_blocks.{i}.attentions.0.transformer_blocks.0.attn2.to_k.weight"), 1))?;
    let layers = count(|j| weights.shape(&format!("down_blocks.0.resnets.{j}.conv1.weight")).is_some());
    Some(json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": HEADS,
        "block_out_channels": widths?,
        "center_input_sample": false,
        "cross_attention_dim": context,
        "down_block_types": down,
        "downsample_padding": 1,
        "dual_cross_attention": false,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "in_channels": size("conv_in.weight", 1)?,
        "layers_per_block": layers,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "only_cross_attention": false,
        "out_channels": size("conv_out.weight", 0)?,
        "sample_size": SAMPLE_SIZE,
        "transformer_layers_per_block": 1,
        "up_block_types": up,
        "upcast_attention": false,
        "use_linear_projection": false,
    }))
}

/// `AutoencoderKL`.
pub(crate) fn vae(weights: &Component) -> Option<Value> {
    let size = |name: &str, axis: usize| weights.shape(name).and_then(|shape| shape.get(axis)).copied();
    let conv = |i: usize, j: usize| format!("encoder.down_blocks.{i}.resnets.{j}.conv1.weight");
    let levels = count(|i| weights.shape(&conv(i, 0)).is_some());
    let widths: Option<Vec<usize>> = (0..levels).map(|i| size(&conv(i, 0), 0)).collect();
    Some(json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": widths?,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "in_channels": size("encoder.conv_in.weight", 1)?,
        "latent_channels": size("decoder.conv_in.weight", 1)?,
        "layers_per_block": count(|j| weights.shape(&conv(0, j)).is_some()),
        "norm_num_groups": 32,
        "out_channels": size("decoder.conv_out.weight", 0)?,
        "sample_size": 512,
        "scaling_factor": 0.18215,
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "use_post_quant_conv": weights.shape("post_quant_conv.weight").is_some(),
        "use_quant_conv": weights.shape("quant_conv.weight").is_some(),
    }))
}

/// `CLIPTextModel`.
pub(crate) fn text_encoder(weights: &Component) -> Option<Value> {
    let shape = |name: &str| weights.shape(&format!("text_model.{name}"));
    let [vocabulary, width] = *shape("embeddings.token_embedding.weight")? else { return None };
    Some(json!({
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 49406,
        "dropout": 0.0,
        "eos_token_id": 49407,
        "hidden_act": "quick_gelu",
        "hidden_size": width,
        "intermediate_size": *shape("encoder.layers.0.mlp.fc1.weight")?.first()?,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": *shape("embeddings.position_embedding.weight")?.first()?,
        "model_type": "clip_text_model",
        "num_attention_heads": (width / CLIP_HEAD).max(1),
        "num_hidden_layers": count(|i| shape(&format!("encoder.layers.{i}.mlp.fc1.weight")).is_some()),
        "pad_token_id": 49407,
        "projection_dim": width,
        "vocab_size": vocabulary,
    }))
}

/// The noise schedule of Stable Diffusion 1.x. `prediction` is `epsilon` or `v_prediction`.
pub(crate) fn scheduler(prediction: &str) -> Value {
    json!({
        "_class_name": "DDIMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "rescale_betas_zero_snr": false,
        "set_alpha_to_one": false,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": null,
    })
}

fn count(present: impl Fn(usize) -> bool) -> usize {
    (0..).take_while(|&i| present(i)).count()
}
