//! Configurations with the keys of diffusers and transformers: what the weights tell, and for single-file checkpoints,
//! which carry none, the rest from the family.

use serde_json::{Map, Value, json};

use crate::base::Prediction;
use crate::component::{Component, Part};
use crate::family::Family;

/// Heads at every level of the Stable Diffusion 1.x UNet. The weights do not tell.
const SD1_HEADS: usize = 8;
/// Width of one head of the SD2 and SDXL UNets and of every CLIP text encoder.
const HEAD: usize = 64;

/// What the shapes of the weights tell. A key is left out where the weights lack the tensor that would tell it.
pub(crate) fn measured(weights: &Component, family: Family) -> Map<String, Value> {
    let pairs = match weights.part() {
        Part::Unet => unet(weights),
        Part::Transformer => transformer(weights),
        Part::Vae => vae(weights),
        Part::TextEncoder2 if family.is_flux1() => t5(weights),
        Part::TextEncoder | Part::TextEncoder2 => clip(weights),
    };
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The whole configuration of a part of a single-file checkpoint. `None` when the weights lack something that every
/// such part has.
pub(crate) fn synthesised(weights: &Component, family: Family, prediction: Prediction) -> Option<Value> {
    let measured = measured(weights, family);
    let needed: &[&str] = match weights.part() {
        Part::Unet => &["block_out_channels", "cross_attention_dim", "in_channels", "out_channels"],
        Part::Transformer => &["in_channels", "num_layers", "num_attention_heads", "joint_attention_dim"],
        Part::Vae => &["block_out_channels", "in_channels", "latent_channels", "out_channels"],
        Part::TextEncoder2 if family.is_flux1() => &["d_model", "d_ff", "num_heads", "num_layers"],
        Part::TextEncoder | Part::TextEncoder2 => &["hidden_size", "intermediate_size", "max_position_embeddings"],
    };
    if needed.iter().any(|key| !measured.contains_key(*key)) {
        return None;
    }
    let mut config = match weights.part() {
        Part::Unet => unet_rest(weights, family, prediction),
        Part::Transformer => transformer_rest(weights),
        Part::Vae => vae_rest(weights, family, &measured),
        Part::TextEncoder2 if family.is_flux1() => t5_rest(),
        Part::TextEncoder | Part::TextEncoder2 => clip_rest(weights.part(), family, &measured),
    };
    config.as_object_mut()?.extend(measured);
    Some(config)
}

type Pairs = Vec<(&'static str, Option<Value>)>;

/// `UNet2DConditionModel`.
fn unet(weights: &Component) -> Pairs {
    let size = |name: &str, axis: usize| size(weights, name, axis);
    let widths = unet_widths(weights);
    // Small models may attend in the middle only.
    let context = weights.names().find(|name| name.ends_with(".attn2.to_k.weight")).and_then(|name| size(name, 1));
    vec![
        ("block_out_channels", some_list(widths)),
        ("cross_attention_dim", context.map(Value::from)),
        ("in_channels", size("conv_in.weight", 1).map(Value::from)),
        ("out_channels", size("conv_out.weight", 0).map(Value::from)),
        ("projection_class_embeddings_input_dim", size("add_embedding.linear_1.weight", 1).map(Value::from)),
    ]
}

fn unet_rest(weights: &Component, family: Family, prediction: Prediction) -> Value {
    let widths = unet_widths(weights);
    let levels = widths.len();
    let down = |level| if attends(weights, level) { "CrossAttnDownBlock2D" } else { "DownBlock2D" };
    let up = |level| if attends(weights, level) { "CrossAttnUpBlock2D" } else { "UpBlock2D" };
    let depth = |level| {
        let block = |k| format!("down_blocks.{level}.attentions.0.transformer_blocks.{k}.norm1.weight");
        count(|k| weights.shape(&block(k)).is_some()).max(1)
    };
    let layers = count(|j| weights.shape(&format!("down_blocks.0.resnets.{j}.conv1.weight")).is_some());
    let linear = family != Family::Sd1;
    let heads = |width: &usize| (width / HEAD).max(1);
    let (sample_size, added) = match (family, prediction) {
        (Family::Sdxl, _) => (128, true),
        (Family::Sd2, Prediction::V) => (96, false),
        _ => (64, false),
    };
    let depths: Vec<usize> = (0..levels).map(depth).collect();
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "addition_embed_type": null,
        "attention_head_dim": SD1_HEADS,
        "center_input_sample": false,
        "class_embed_type": null,
        "down_block_types": (0..levels).map(down).collect::<Vec<_>>(),
        "downsample_padding": 1,
        "dual_cross_attention": false,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "layers_per_block": layers,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "only_cross_attention": false,
        "sample_size": sample_size,
        "transformer_layers_per_block": 1,
        "up_block_types": (0..levels).rev().map(up).collect::<Vec<_>>(),
        // SD 2.1 overflows in f16 without it; SD 2.0 loses nothing by it.
        "upcast_attention": family == Family::Sd2,
        "use_linear_projection": linear,
    });
    if linear {
        config["attention_head_dim"] = widths.iter().map(heads).collect::<Vec<_>>().into();
    }
    if depths.iter().any(|&depth| depth != 1) {
        config["transformer_layers_per_block"] = depths.into();
    }
    if added {
        config["addition_embed_type"] = "text_time".into();
        config["addition_time_embed_dim"] = 256.into();
    }
    config
}

fn unet_widths(weights: &Component) -> Vec<usize> {
    let conv = |level: usize| format!("down_blocks.{level}.resnets.0.conv1.weight");
    (0..).map_while(|level| size(weights, &conv(level), 0)).collect()
}

fn attends(weights: &Component, level: usize) -> bool {
    weights.shape(&format!("down_blocks.{level}.attentions.0.norm.weight")).is_some()
}

/// `FluxTransformer2DModel`, measured under BFL names.
fn transformer(weights: &Component) -> Pairs {
    let size = |name: &str, axis: usize| size(weights, name, axis);
    let blocks = |kind: &str, layer: &str| {
        let blocks = count(|i| weights.shape(&format!("{kind}.{i}.{layer}")).is_some());
        Some(blocks).filter(|blocks| *blocks > 0)
    };
    let head = size("double_blocks.0.img_attn.norm.query_norm.scale", 0);
    let heads = size("img_in.weight", 0).zip(head).map(|(hidden, head)| hidden / head.max(1));
    vec![
        ("in_channels", size("img_in.weight", 1).map(Value::from)),
        ("num_layers", blocks("double_blocks", "img_attn.qkv.weight").map(Value::from)),
        ("num_single_layers", blocks("single_blocks", "linear1.weight").map(Value::from)),
        ("attention_head_dim", head.map(Value::from)),
        ("num_attention_heads", heads.map(Value::from)),
        ("joint_attention_dim", size("txt_in.weight", 1).map(Value::from)),
        ("pooled_projection_dim", size("vector_in.in_layer.weight", 1).map(Value::from)),
    ]
}

fn transformer_rest(weights: &Component) -> Value {
    json!({
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "num_single_layers": 0,
        "axes_dims_rope": [16, 56, 56],
        "guidance_embeds": weights.shape("guidance_in.in_layer.weight").is_some(),
    })
}

/// `AutoencoderKL`.
fn vae(weights: &Component) -> Pairs {
    let size = |name: &str, axis: usize| size(weights, name, axis);
    let widths = (0..).map_while(|i| size(&format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"), 0)).collect();
    vec![
        ("block_out_channels", some_list(widths)),
        ("in_channels", size("encoder.conv_in.weight", 1).map(Value::from)),
        ("latent_channels", size("decoder.conv_in.weight", 1).map(Value::from)),
        ("out_channels", size("decoder.conv_out.weight", 0).map(Value::from)),
    ]
}

fn vae_rest(weights: &Component, family: Family, measured: &Map<String, Value>) -> Value {
    let levels = measured["block_out_channels"].as_array().map_or(0, Vec::len);
    let layers = count(|j| weights.shape(&format!("encoder.down_blocks.0.resnets.{j}.conv1.weight")).is_some());
    let (scaling, shift) = match family {
        Family::Sdxl => (0.13025, None),
        Family::Flux1Dev | Family::Flux1Schnell => (0.3611, Some(0.1159)),
        _ => (0.18215, None),
    };
    json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "force_upcast": true,
        "layers_per_block": layers,
        "norm_num_groups": 32,
        "sample_size": if family == Family::Sd1 || family == Family::Sd2 { 512 } else { 1024 },
        "scaling_factor": scaling,
        "shift_factor": shift,
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "use_post_quant_conv": weights.shape("post_quant_conv.weight").is_some(),
        "use_quant_conv": weights.shape("quant_conv.weight").is_some(),
    })
}

/// `CLIPTextModel` and `CLIPTextModelWithProjection`.
fn clip(weights: &Component) -> Pairs {
    let size = |name: &str, axis: usize| size(weights, &format!("text_model.{name}"), axis);
    let layers = count(|i| size(&format!("encoder.layers.{i}.mlp.fc1.weight"), 0).is_some());
    vec![
        ("hidden_size", size("embeddings.token_embedding.weight", 1).map(Value::from)),
        ("intermediate_size", size("encoder.layers.0.mlp.fc1.weight", 0).map(Value::from)),
        ("max_position_embeddings", size("embeddings.position_embedding.weight", 0).map(Value::from)),
        ("num_hidden_layers", Some(layers).filter(|layers| *layers > 0).map(Value::from)),
        ("vocab_size", size("embeddings.token_embedding.weight", 0).map(Value::from)),
        ("projection_dim", weights.shape("text_projection.weight").and_then(|s| s.first()).map(|&n| n.into())),
    ]
}

fn clip_rest(part: Part, family: Family, measured: &Map<String, Value>) -> Value {
    let projected = (family, part) == (Family::Sdxl, Part::TextEncoder2);
    // OpenAI's CLIP-L has the quick form of GELU, the OpenCLIP models the exact one.
    let open_clip = family == Family::Sd2 || projected;
    let width = measured["hidden_size"].as_u64().unwrap_or(0);
    json!({
        "architectures": [if projected { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }],
        "attention_dropout": 0.0,
        "bos_token_id": 49406,
        "dropout": 0.0,
        "eos_token_id": 49407,
        "hidden_act": if open_clip { "gelu" } else { "quick_gelu" },
        "layer_norm_eps": 1e-5,
        "model_type": "clip_text_model",
        "num_attention_heads": (width / HEAD as u64).max(1),
        "pad_token_id": if open_clip { 0 } else { 49407 },
        "projection_dim": width,
    })
}

/// `T5EncoderModel`, version 1.1.
fn t5(weights: &Component) -> Pairs {
    let size = |name: &str, axis: usize| size(weights, name, axis);
    let first = |layer: &str| format!("encoder.block.0.layer.{layer}");
    let heads = size(&first("0.SelfAttention.relative_attention_bias.weight"), 1);
    let head = size(&first("0.SelfAttention.q.weight"), 0).zip(heads).map(|(all, heads)| all / heads.max(1));
    let layers = count(|i| size(&format!("encoder.block.{i}.layer.0.SelfAttention.q.weight"), 0).is_some());
    vec![
        ("d_model", size("shared.weight", 1).map(Value::from)),
        ("d_ff", size(&first("1.DenseReluDense.wi_0.weight"), 0).map(Value::from)),
        ("d_kv", head.map(Value::from)),
        ("num_heads", heads.map(Value::from)),
        ("num_layers", Some(layers).filter(|layers| *layers > 0).map(Value::from)),
        (
            "relative_attention_num_buckets",
            size(&first("0.SelfAttention.relative_attention_bias.weight"), 0).map(Value::from),
        ),
        ("vocab_size", size("shared.weight", 0).map(Value::from)),
    ]
}

fn t5_rest() -> Value {
    json!({
        "architectures": ["T5EncoderModel"],
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": false,
        "layer_norm_epsilon": 1e-6,
        "model_type": "t5",
        "pad_token_id": 0,
        "relative_attention_max_distance": 128,
    })
}

/// The noise schedule of a family.
pub(crate) fn scheduler(family: Family, prediction: Prediction, zero_snr: bool) -> Value {
    if family.is_flux1() {
        let dev = family == Family::Flux1Dev;
        return json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 4096,
            "max_shift": 1.15,
            "num_train_timesteps": 1000,
            "shift": if dev { 3.0 } else { 1.0 },
            "use_dynamic_shifting": dev,
        });
    }
    json!({
        "_class_name": "DDIMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction.scheduler_name(),
        "rescale_betas_zero_snr": zero_snr,
        "set_alpha_to_one": false,
        "steps_offset": 1,
        // Only trailing spacing starts drawing at the last timestep, which is pure noise then (Lin and others 2023, 3.4).
        "timestep_spacing": if zero_snr { "trailing" } else { "leading" },
        "trained_betas": null,
    })
}

fn size(weights: &Component, name: &str, axis: usize) -> Option<usize> {
    weights.shape(name).and_then(|shape| shape.get(axis)).copied()
}

fn some_list(list: Vec<usize>) -> Option<Value> {
    (!list.is_empty()).then(|| list.into())
}

fn count(present: impl Fn(usize) -> bool) -> usize {
    (0..).take_while(|&i| present(i)).count()
}
