//! What each kind of file is said to be.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::path::Path;

use lorikeet_checkpoint::{Family, inspect, open_base};
use support::{sparse, tiny_folder};

type Tensor = (&'static str, &'static [usize]);

fn write(path: &Path, tensors: &[Tensor]) {
    let tensors: Vec<_> = tensors.iter().map(|(name, shape)| ((*name).to_owned(), "BF16", shape.to_vec())).collect();
    sparse(path, &tensors, &[]);
}

const KEY_NORM: Tensor = ("double_blocks.0.img_attn.norm.key_norm.scale", &[128]);

fn ldm(
    context: usize,
    conv: bool,
    channels: usize,
    label: Option<usize>,
    deep: bool,
) -> Vec<(String, &'static str, Vec<usize>)> {
    let unet = |name: &str, shape: &[usize]| (format!("model.diffusion_model.{name}"), "F16", shape.to_vec());
    let proj: &[usize] = if conv { &[320, 320, 1, 1] } else { &[320, 320] };
    let mut tensors = vec![
        unet("input_blocks.0.0.weight", &[320, channels, 3, 3]),
        unet("input_blocks.4.1.proj_in.weight", proj),
        unet("input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", &[320, context]),
    ];
    if deep {
        tensors.push(unet("input_blocks.7.1.transformer_blocks.9.attn2.to_k.weight", &[320, context]));
    }
    tensors.extend(label.map(|width| unet("label_emb.0.0.weight", &[1280, width])));
    tensors
}

#[test]
fn families_of_single_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let cases: [(&[Tensor], &str); 20] = [
        (&[KEY_NORM, ("img_in.weight", &[3072, 64]), ("guidance_in.in_layer.weight", &[3072, 256])], "FLUX.1 dev"),
        (&[KEY_NORM, ("img_in.weight", &[3072, 64])], "FLUX.1 schnell"),
        (&[KEY_NORM, ("img_in.weight", &[3072, 384]), ("guidance_in.in_layer.weight", &[3072, 256])], "Fill variant"),
        (&[KEY_NORM, ("double_stream_modulation_img.lin.weight", &[9, 6])], "FLUX.2"),
        (&[KEY_NORM, ("distilled_guidance_layer.in_proj.bias", &[5120])], "family Chroma"),
        (&[("joint_blocks.0.context_block.attn.qkv.weight", &[4608, 1536])], "Stable Diffusion 3"),
        (&[("cap_embedder.1.weight", &[2304, 2304])], "Lumina 2"),
        (&[("cap_embedder.1.weight", &[3840, 2560]), ("cap_pad_token", &[1, 3840])], "Z-Image"),
        (
            &[
                ("transformer_blocks.0.attn.add_k_proj.weight", &[9, 9]),
                ("x_embedder.weight", &[3072, 64]),
                ("time_text_embed.guidance_embedder.linear_1.weight", &[9, 9]),
            ],
            "FLUX.1 dev (the denoiser alone, in diffusers layout)",
        ),
        (
            &[
                ("conv_in.weight", &[320, 4, 3, 3]),
                ("down_blocks.0.resnets.0.time_emb_proj.weight", &[320, 1280]),
                ("down_blocks.0.attentions.0.proj_in.weight", &[320, 320, 1, 1]),
                ("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[320, 768]),
            ],
            "Stable Diffusion 1.x (the denoiser alone, in diffusers layout)",
        ),
        (&[("decoder.conv_in.weight", &[512, 16, 3, 3])], "a VAE alone (16 latent channels)"),
        (&[("text_model.embeddings.token_embedding.weight", &[49408, 768])], "CLIP text encoder alone (width 768)"),
        (&[("encoder.block.0.layer.0.SelfAttention.q.weight", &[9, 9])], "a T5 text encoder"),
        (
            &[("model.layers.0.self_attn.q_proj.weight", &[9, 9]), ("model.embed_tokens.weight", &[9, 9])],
            "a language model",
        ),
        (&[("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[4, 9])], "a LoRA"),
        (&[("unet.down_blocks.0.attn2.to_k.lora_A.weight", &[4, 2048])], "a LoRA for SDXL"),
        (&[("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", &[4, 9])], "a LoRA for FLUX.1"),
        (&[("control_model.input_blocks.0.0.weight", &[320, 4, 3, 3])], "a ControlNet"),
        (&[("emb_params", &[4, 768])], "a textual-inversion embedding"),
        (&[("something.else", &[1])], "of a kind Lorikeet does not know"),
    ];
    for (tensors, expected) in cases {
        write(&path, tensors);
        let told = inspect(&path).unwrap();
        assert!(told.what.contains(expected), "{} instead of {expected}", told.what);
        assert!(!told.trainable && told.advice.ends_with('.'), "{told}");
        // Of a family that opens, the error is about what is missing.
        let error = open_base(&path).unwrap_err().to_string();
        let opens = told.family.is_some_and(Family::openable) && told.what.starts_with("a model");
        assert!(error.contains("model.safetensors") && (opens || error.contains(expected)), "{error}");
        assert!(!opens || error.contains("missing") || error.contains("variant"), "{error}");
    }
}

#[test]
fn unets_of_single_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let cases = [
        (ldm(1024, false, 4, None, false), "Stable Diffusion 2.x"),
        (ldm(2048, false, 4, Some(2816), true), "SDXL"),
        (ldm(2048, false, 4, Some(2816), false), "a pruned SDXL"),
        (ldm(1280, false, 4, Some(2560), false), "the SDXL refiner"),
        (ldm(768, true, 9, None, false), "the inpainting variant"),
        (ldm(768, true, 8, None, false), "the InstructPix2Pix variant"),
        (ldm(1024, false, 5, None, false), "the depth variant"),
    ];
    for (tensors, expected) in cases {
        sparse(&path, &tensors, &[]);
        let error = open_base(&path).unwrap_err().to_string();
        assert!(error.contains(expected) || error.contains("the VAE is missing"), "{error}");
        assert!(inspect(&path).unwrap().what.contains(expected));
    }
    // A UNet of the right kind, and nothing else.
    sparse(&path, &ldm(768, true, 4, None, false), &[]);
    let told = inspect(&path).unwrap();
    assert!(!told.trainable && told.advice.contains("the VAE is missing"), "{told}");
}

#[test]
fn quantised_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (mark, expected) in [
        ("x.weight.quant_state.bitsandbytes__nf4", "bitsandbytes 4-bit"),
        ("x.comfy_quant", "ComfyUI quantised layers"),
        ("x.weight_scale_2", "nvfp4"),
        ("x.SCB", "bitsandbytes 8-bit"),
    ] {
        let marked: [Tensor; 2] = [(mark, &[2]), ("img_in.weight", &[3072, 64])];
        write(&path, &marked);
        let told = inspect(&path).unwrap();
        assert!(told.what.contains(expected) && told.advice.contains("f16"), "{told}");
    }
}

#[test]
fn files_of_other_formats_are_an_answer_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in [
        ("old.ckpt", &b"PK\x03\x04\0\0archive/data.pkl"[..], "a pickled PyTorch checkpoint"),
        ("q4.gguf", b"GGUF\x03\0\0\0", "a GGUF file"),
        ("empty.safetensors", b"", "an empty file"),
        ("cat.png", b"\x89PNG\r\n\x1a\n\0\0\0\0", "a picture"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let told = inspect(&path).unwrap();
        assert!(told.what.starts_with(expected) && told.to_string().contains(name), "{told}");
        assert!(open_base(&path).unwrap_err().to_string().contains(expected));
    }
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().unwrap();
    tiny_folder(folder.path());
    let told = inspect(folder.path()).unwrap();
    assert!(told.trainable, "{told}");
    assert_eq!(told.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(), ["text_encoder", "unet", "vae"]);
    std::fs::remove_file(folder.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let told = inspect(folder.path()).unwrap();
    assert!(!told.trainable && told.to_string().contains("vae/diffusion_pytorch_model.safetensors"), "{told}");
}
