//! Which model a safetensors file holds, told by tensor names and shapes alone.

use crate::family::Family;
use crate::folder::{CHOOSE_BASE, CHOOSE_PLAIN};
use crate::fp8;
use crate::layout::DENOISER_PREFIXES;
use crate::safetensors::SafetensorsFile;

/// What a denoiser is given besides the noisy latent; anything but `Plain` needs other training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenoiserInput {
    Plain,
    Inpainting,
    InstructPix2Pix,
    Depth,
    Upscaler,
    /// Takes the embedding of a picture besides the text.
    Unclip,
    FluxFill,
    FluxControl,
    Other(usize),
}

/// How tensors are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The names of the original training code: ldm, sgm, BFL.
    Original,
    Diffusers,
}

/// What a safetensors file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    Model {
        family: Family,
        input: DenoiserInput,
        layout: Layout,
        /// Prefix of the denoiser's tensor names, e.g. `model.diffusion_model.`; empty when there is none.
        prefix: String,
    },
    Vae {
        latent_channels: usize,
    },
    ClipText {
        width: usize,
    },
    OpenClipText {
        width: usize,
    },
    T5,
    LanguageModel,
    ClipVision,
    Lora {
        family: Option<Family>,
    },
    ControlNet,
    TextualInversion,
    /// Weights in a storage format that training cannot use.
    Quantised {
        format: String,
    },
    Empty,
    Unknown,
}

impl Contents {
    /// What the file is: fits behind "this is".
    pub fn what(&self) -> String {
        match self {
            Self::Model { family, input, layout, prefix } => {
                let alone = prefix.is_empty();
                let part = if alone && *layout == Layout::Diffusers {
                    " (the denoiser alone, in diffusers layout)"
                } else if alone {
                    " (the denoiser alone)"
                } else {
                    ""
                };
                let input = match input {
                    DenoiserInput::Plain => String::new(),
                    DenoiserInput::Inpainting => ", the inpainting variant (9 input channels)".to_owned(),
                    DenoiserInput::InstructPix2Pix => ", the InstructPix2Pix variant (8 input channels)".to_owned(),
                    DenoiserInput::Depth => ", the depth variant (5 input channels)".to_owned(),
                    DenoiserInput::Upscaler => ", the upscaler (7 input channels)".to_owned(),
                    DenoiserInput::Unclip => ", the unCLIP variant (takes a picture's embedding)".to_owned(),
                    DenoiserInput::FluxFill => ", the Fill variant".to_owned(),
                    DenoiserInput::FluxControl => ", a Depth or Canny variant".to_owned(),
                    DenoiserInput::Other(channels) => format!(", a variant with {channels} input channels"),
                };
                format!("a model of the family {family}{input}{part}")
            }
            Self::Vae { latent_channels } => {
                format!("a VAE alone ({latent_channels} latent channels): it turns pictures into latents and back")
            }
            Self::ClipText { width } => format!("a CLIP text encoder alone (width {width})"),
            Self::OpenClipText { width } => format!("an OpenCLIP text encoder alone (width {width})"),
            Self::T5 => "a T5 text encoder alone".to_owned(),
            Self::LanguageModel => {
                "a language model (the text encoder of a newer image model, or a chat model)".to_owned()
            }
            Self::ClipVision => "a CLIP vision encoder".to_owned(),
            Self::Lora { family: Some(family) } => format!("a LoRA for {family}, not a base model"),
            Self::Lora { family: None } => "a LoRA, not a base model".to_owned(),
            Self::ControlNet => "a ControlNet".to_owned(),
            Self::TextualInversion => "a textual-inversion embedding".to_owned(),
            Self::Quantised { format } => format!("a model stored in a quantised form ({format})"),
            Self::Empty => "a safetensors file without any tensor".to_owned(),
            Self::Unknown => "a safetensors file of a kind Lorikeet does not know".to_owned(),
        }
    }

    /// What to do with it, as a sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::Model { family, input: DenoiserInput::Plain, prefix, .. } if family.openable() => {
                if prefix.is_empty() {
                    "Training also needs the VAE and the text encoders: choose a full checkpoint, or those files beside it."
                        .to_owned()
                } else {
                    trains(*family)
                }
            }
            Self::Model { family, .. } if family.openable() => CHOOSE_PLAIN.to_owned(),
            Self::Vae { .. } | Self::ClipText { .. } | Self::OpenClipText { .. } | Self::T5 => {
                format!("It is used beside a denoiser file. {CHOOSE_BASE}")
            }
            Self::Lora { .. } => {
                "A LoRA is used together with its base model, for example by `lorikeet sample`.".to_owned()
            }
            Self::Quantised { .. } => "Get the f16, bf16 or f32 version of the model.".to_owned(),
            Self::Empty => "Save or download it again.".to_owned(),
            _ => CHOOSE_BASE.to_owned(),
        }
    }
}

/// Whether a base of a family that opens can be trained, as a sentence.
pub(crate) fn trains(family: Family) -> String {
    if family.trainable() {
        "It can be trained.".to_owned()
    } else {
        format!(
            "This version of Lorikeet does not train {family} yet: choose a Stable Diffusion 1.x model or the demo base."
        )
    }
}

/// Tells what a file holds.
pub fn detect(file: &SafetensorsFile) -> Contents {
    if file.names().len() == 0 {
        return Contents::Empty;
    }
    if file.names().any(is_lora_key) {
        return Contents::Lora { family: lora_family(file) };
    }
    if let Some(format) = fp8::unusable(file) {
        return Contents::Quantised { format };
    }
    if is_control_net(file) {
        return Contents::ControlNet;
    }
    for prefix in DENOISER_PREFIXES {
        if let Some((family, input, layout)) = denoiser(file, prefix) {
            return Contents::Model { family, input, layout, prefix: prefix.to_owned() };
        }
    }
    alone(file)
}

/// Whether a key is one that only LoRA files have.
pub(crate) fn is_lora_key(key: &str) -> bool {
    const MARKS: [&str; 9] = [
        ".lora_down.",
        ".lora_up.",
        ".lora_A.",
        ".lora_B.",
        ".lora.down.",
        "_lora.down.",
        ".lora_linear_layer.",
        ".hada_w1_",
        ".lokr_w",
    ];
    MARKS.iter().any(|mark| key.contains(mark))
}

/// The family a LoRA was made for, as far as its keys tell.
pub(crate) fn lora_family(file: &SafetensorsFile) -> Option<Family> {
    let any = |marks: &[&str]| file.names().any(|name| marks.iter().any(|mark| name.contains(mark)));
    if any(&["double_blocks", "single_blocks", "single_transformer_blocks"]) {
        return Some(Family::Flux1Dev);
    }
    if any(&["joint_blocks"]) {
        return Some(Family::Sd3);
    }
    let width = file.tensors().find_map(|(name, info)| {
        let down = name.contains("down.") || name.contains("lora_down") || name.contains("lora_A");
        let key_layer = name.contains("attn2_to_k") || name.contains("attn2.to_k");
        if down && key_layer { info.shape.get(1).copied() } else { None }
    });
    match width {
        Some(2048) => Some(Family::Sdxl),
        Some(1024) => Some(Family::Sd2),
        Some(768) => Some(Family::Sd1),
        _ if any(&["lora_te3_", "text_encoder_3."]) => None,
        _ if any(&["lora_te2_", "text_encoder_2."]) => Some(Family::Sdxl),
        // Small models have widths of their own.
        _ => None,
    }
}

fn denoiser(file: &SafetensorsFile, prefix: &str) -> Option<(Family, DenoiserInput, Layout)> {
    let shape = |name: &str| file.shape(&format!("{prefix}{name}"));
    let has = |name: &str| shape(name).is_some();
    let original = |family, input| Some((family, input, Layout::Original));

    if has("double_blocks.0.img_attn.norm.key_norm.scale") || has("double_blocks.0.img_attn.norm.key_norm.weight") {
        if has("double_stream_modulation_img.lin.weight") || has("single_stream_modulation.lin.weight") {
            return original(Family::Flux2, DenoiserInput::Plain);
        }
        if has("nerf_blocks.0.norm.scale") || has("nerf_blocks.0.norm.weight") {
            return original(Family::ChromaRadiance, DenoiserInput::Plain);
        }
        if has("distilled_guidance_layer.in_proj.bias") || has("distilled_guidance_layer.norms.0.scale") {
            return original(Family::Chroma, DenoiserInput::Plain);
        }
        if has("double_blocks.0.img_mlp.gate_proj.weight") {
            return None;
        }
        let guided = has("guidance_in.in_layer.weight");
        let family = if guided { Family::Flux1Dev } else { Family::Flux1Schnell };
        return original(family, flux_input(shape("img_in.weight")?));
    }
    if has("joint_blocks.0.context_block.attn.qkv.weight") {
        return original(Family::Sd3, DenoiserInput::Plain);
    }
    if let Some(caption) = shape("cap_embedder.1.weight") {
        return match caption.first() {
            Some(2304) => original(Family::Lumina2, DenoiserInput::Plain),
            Some(3840) if has("cap_pad_token") => original(Family::ZImage, DenoiserInput::Plain),
            _ => None,
        };
    }
    if has("transformer_blocks.0.attn.add_k_proj.weight") {
        let diffusers = |family, input| Some((family, input, Layout::Diffusers));
        if let Some(embedder) = shape("x_embedder.weight") {
            if has("double_stream_modulation_img.linear.weight") {
                return diffusers(Family::Flux2, DenoiserInput::Plain);
            }
            if has("distilled_guidance_layer.in_proj.weight") {
                return diffusers(Family::Chroma, DenoiserInput::Plain);
            }
            let guided = has("time_text_embed.guidance_embedder.linear_1.weight");
            let family = if guided { Family::Flux1Dev } else { Family::Flux1Schnell };
            return diffusers(family, flux_input(embedder));
        }
        return has("pos_embed.proj.weight").then_some((Family::Sd3, DenoiserInput::Plain, Layout::Diffusers));
    }
    if let Some(conv_in) = shape("input_blocks.0.0.weight") {
        return unet(file, prefix, Layout::Original, conv_in);
    }
    let conv_in = shape("conv_in.weight")?;
    has("down_blocks.0.resnets.0.time_emb_proj.weight").then(|| unet(file, prefix, Layout::Diffusers, conv_in))?
}

fn unet(
    file: &SafetensorsFile,
    prefix: &str,
    layout: Layout,
    conv_in: &[usize],
) -> Option<(Family, DenoiserInput, Layout)> {
    let (attention, labels) = match layout {
        Layout::Original => ("input_blocks.", &["label_emb.0.0.weight"][..]),
        Layout::Diffusers => {
            ("down_blocks.", &["add_embedding.linear_1.weight", "class_embedding.linear_1.weight"][..])
        }
    };
    let start = format!("{prefix}{attention}");
    let find = |end: &str| {
        let mut found = file.tensors().filter(|(name, _)| name.starts_with(&start) && name.ends_with(end));
        found.next().map(|(_, info)| info.shape.as_slice())
    };
    let context = find("transformer_blocks.0.attn2.to_k.weight")?.get(1).copied()?;
    let convolutional = find("proj_in.weight").is_some_and(|shape| shape.len() == 4);
    let mut labels = labels.iter().filter_map(|label| file.shape(&format!("{prefix}{label}")));
    let label = labels.next().and_then(|shape| shape.get(1)).copied();
    let second = find("transformer_blocks.1.attn2.to_k.weight").is_some();
    let deep = find("transformer_blocks.9.attn2.to_k.weight").is_some();
    let family = match (context, label) {
        (_, Some(2560)) | (1280, _) => Family::SdxlRefiner,
        (2048, _) if deep => Family::Sdxl,
        (2048, _) => Family::SdxlPruned,
        (1024, Some(1536 | 2048)) => return Some((Family::Sd2, DenoiserInput::Unclip, layout)),
        (_, None) if context == 768 || convolutional => Family::Sd1,
        // Small models of the layouts of SD2 and SDXL are known by how they are built.
        (_, None) => Family::Sd2,
        (_, Some(_)) if second && !convolutional => Family::Sdxl,
        _ => return None,
    };
    let input = match (conv_in.get(1).copied().unwrap_or(0), family) {
        (4, _) => DenoiserInput::Plain,
        (9, _) => DenoiserInput::Inpainting,
        (8, _) => DenoiserInput::InstructPix2Pix,
        (5, _) => DenoiserInput::Depth,
        (7, _) => DenoiserInput::Upscaler,
        // Small models of these layouts may have latents of another width.
        _ if ![768, 1024, 2048].contains(&context) => DenoiserInput::Plain,
        (channels, _) => DenoiserInput::Other(channels),
    };
    Some((family, input, layout))
}

fn flux_input(embedder: &[usize]) -> DenoiserInput {
    match embedder.get(1).copied().unwrap_or(0) {
        64 => DenoiserInput::Plain,
        384 => DenoiserInput::FluxFill,
        128 => DenoiserInput::FluxControl,
        other => DenoiserInput::Other(other / 4),
    }
}

fn is_control_net(file: &SafetensorsFile) -> bool {
    let marks = [
        "controlnet_cond_embedding.conv_in.weight",
        "control_model.input_blocks.0.0.weight",
        "input_hint_block.0.weight",
        "controlnet_blocks.0.weight",
    ];
    marks.iter().any(|mark| file.info(mark).is_some())
}

/// Files that hold one part, or something that is no image model at all.
fn alone(file: &SafetensorsFile) -> Contents {
    let has_end = |end: &str| file.names().any(|name| name.ends_with(end));
    let find_end = |end: &str| file.tensors().find(|(name, _)| name.ends_with(end)).map(|(_, info)| &info.shape);
    if let Some(shape) = find_end("decoder.conv_in.weight") {
        return Contents::Vae { latent_channels: shape.get(1).copied().unwrap_or(0) };
    }
    if has_end("encoder.block.0.layer.0.SelfAttention.q.weight") {
        return Contents::T5;
    }
    if has_end("vision_model.embeddings.class_embedding") || has_end("visual.class_embedding") {
        return Contents::ClipVision;
    }
    if let Some(shape) = find_end("embeddings.token_embedding.weight") {
        return Contents::ClipText { width: shape.get(1).copied().unwrap_or(0) };
    }
    if let Some(shape) = find_end("token_embedding.weight")
        && has_end("transformer.resblocks.0.ln_1.weight")
    {
        return Contents::OpenClipText { width: shape.get(1).copied().unwrap_or(0) };
    }
    if has_end("layers.0.self_attn.q_proj.weight") && has_end("embed_tokens.weight") {
        return Contents::LanguageModel;
    }
    let few = file.names().len() <= 3;
    if few && file.names().any(|name| matches!(name, "emb_params" | "clip_l" | "clip_g") || name.starts_with('<')) {
        return Contents::TextualInversion;
    }
    Contents::Unknown
}
