//! Bases of every family that opens, in every layout people have them in.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(not(windows))] // Files with holes need their full size there.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use lorikeet_checkpoint::{
    BaseModel, CheckpointError, Family, Part, PartFiles, Prediction, TensorData, open_base, open_base_with,
    write_safetensors,
};
use serde_json::json;
use support::{
    dims, flux_diffusers_tensors, flux_parts, flux_tensors, key_list, numbers, sd2_tensors, sdxl_tensors, shrunk,
    sparse,
};

fn refusal(result: Result<BaseModel, CheckpointError>) -> String {
    result.unwrap_err().to_string()
}

fn parameters(base: &BaseModel, part: Part) -> u64 {
    base.part(part).unwrap().parameters()
}

/// Every name and shape of a key list, and no other.
fn holds(base: &BaseModel, part: Part, list: &str, name: usize, shape: usize) {
    let component = base.part(part).unwrap();
    let lines = key_list(list);
    assert_eq!(component.names().len(), lines.len(), "{list}");
    for line in lines {
        assert_eq!(component.shape(&line[name]), Some(&dims(&line[shape])[..]), "{}", line[name]);
    }
}

#[test]
fn sd2_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v2-1.safetensors");
    sparse(&path, &sd2_tensors(), &[]);
    let base = open_base(&path).unwrap();
    // All zero: no spread, so epsilon.
    assert_eq!((base.family, base.prediction, base.native_resolution()), (Family::Sd2, Prediction::Epsilon, 512));
    holds(&base, Part::Unet, "unet_sd2.tsv", 1, 2);
    holds(&base, Part::Vae, "vae_sd_4ch.tsv", 1, 3);
    assert_eq!(parameters(&base, Part::Unet), 865_910_724);
    let text = base.part(Part::TextEncoder).unwrap();
    assert_eq!(text.names().len(), 16 * 23 + 4, "23 layers and no projection");
    let query = "text_model.encoder.layers.22.self_attn.q_proj.weight";
    assert_eq!(text.shape(query), Some(&[1024, 1024][..]));
    let config = base.config(Part::TextEncoder).unwrap();
    assert_eq!((&config["num_hidden_layers"], &config["num_attention_heads"]), (&json!(23), &json!(16)));
    assert_eq!(config["hidden_act"], "gelu");
    let unet = base.config(Part::Unet).unwrap();
    assert_eq!((&unet["attention_head_dim"], &unet["use_linear_projection"]), (&json!([5, 10, 20, 20]), &json!(true)));
    sparse(&path, &sd2_tensors(), &[("modelspec.prediction_type", "v")]);
    let base = open_base(&path).unwrap();
    assert_eq!((base.prediction, base.native_resolution()), (Prediction::V, 768));
}

#[test]
fn the_spread_of_a_bias_tells_the_prediction_of_sd2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
    for (spread, expected) in [(0.2, Prediction::V), (0.05, Prediction::Epsilon)] {
        let mut tensors = shrunk(&sd2_tensors());
        let bias = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        let values: Vec<f32> = (0..bias.shape[0]).map(|i| if i % 2 == 0 { spread } else { -spread }).collect();
        *bias = TensorData::f32(name, &bias.shape.clone(), &values);
        write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        assert_eq!(open_base(&path).unwrap().prediction, expected);
    }
}

#[test]
fn sdxl_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sd_xl_base_1.0.safetensors");
    sparse(&path, &sdxl_tensors(), &[]);
    let base = open_base(&path).unwrap();
    assert_eq!((base.family, base.prediction, base.zero_snr), (Family::Sdxl, Prediction::Epsilon, false));
    assert_eq!((base.latent_factor(), base.native_resolution()), (8, 1024));
    holds(&base, Part::Unet, "unet_sdxl.tsv", 1, 2);
    holds(&base, Part::TextEncoder, "clip_l.tsv", 0, 1);
    assert_eq!(parameters(&base, Part::Unet), 2_567_463_684);
    // The published total counts the logit scale, which the encoder does not use.
    assert_eq!(parameters(&base, Part::TextEncoder2), 694_659_841 - 1);
    let unet = base.config(Part::Unet).unwrap();
    assert_eq!(unet["transformer_layers_per_block"], json!([1, 2, 10]));
    assert_eq!(unet["attention_head_dim"], json!([5, 10, 20]));
    assert_eq!(unet["addition_embed_type"], "text_time");
    assert_eq!(unet["projection_class_embeddings_input_dim"], 2816);
    assert_eq!(unet["down_block_types"], json!(["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]));
    assert_eq!(base.config(Part::Vae).unwrap()["scaling_factor"], 0.13025);
    let second = base.config(Part::TextEncoder2).unwrap();
    assert_eq!((&second["num_attention_heads"], &second["projection_dim"]), (&json!(20), &json!(1280)));

    let mut tensors = sdxl_tensors();
    tensors.push(("v_pred".to_owned(), "F32", vec![]));
    tensors.push(("ztsnr".to_owned(), "F32", vec![]));
    sparse(&path, &tensors, &[]);
    let base = open_base(&path).unwrap();
    assert_eq!((base.prediction, base.zero_snr), (Prediction::V, true));
    assert_eq!(base.scheduler["rescale_betas_zero_snr"], true);
    assert_eq!(base.scheduler["timestep_spacing"], "trailing");
    tensors.push(("edm_mean".to_owned(), "F32", vec![4]));
    tensors.push(("edm_std".to_owned(), "F32", vec![4]));
    sparse(&path, &tensors, &[]);
    assert!(refusal(open_base(&path)).contains("EDM"));
}

#[test]
fn values_of_openclip_are_split_and_turned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let tensors = shrunk(&sdxl_tensors());
    let stored = |name: &str| {
        let name = format!("conditioner.embedders.1.model.{name}");
        let found = tensors.iter().find(|tensor| tensor.name == name).unwrap();
        (numbers(&name, found.shape.iter().product()), found.shape.clone())
    };
    // Query, key and value are thirds: 3840 shrinks to 24, a third of which is 8.
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let base = open_base(&path).unwrap();
    assert_eq!(base.family, Family::Sdxl);
    let text = base.part(Part::TextEncoder2).unwrap();
    for (i, part) in ["q", "k", "v"].into_iter().enumerate() {
        for kind in ["weight", "bias"] {
            let (values, _) = stored(&format!("transformer.resblocks.3.attn.in_proj_{kind}"));
            let third = values.len() / 3;
            let name = format!("text_model.encoder.layers.3.self_attn.{part}_proj.{kind}");
            assert_eq!(text.f32(&name).unwrap(), values[i * third..(i + 1) * third], "{name}");
            assert_eq!(text.raw(&name).unwrap().2.len(), 4 * third);
        }
    }
    let (values, shape) = stored("text_projection");
    let turned = text.f32("text_projection.weight").unwrap();
    let (rows, columns) = (shape[0], shape[1]);
    assert!((0..rows * columns).all(|i| turned[(i % columns) * rows + i / columns] == values[i]));
}

/// Separate files of FLUX in a folder, the transformer under `name`.
fn flux_files(folder: &Path) -> PartFiles {
    let [vae, clip, t5] = flux_parts("", "", "");
    let files = ["ae.safetensors", "clip_l.safetensors", "t5xxl_fp16.safetensors"].map(|name| folder.join(name));
    for (file, tensors) in files.iter().zip([vae, clip, t5]) {
        sparse(file, &tensors, &[]);
    }
    let [vae, text_encoder, text_encoder_2] = files.map(Some);
    PartFiles { vae, text_encoder, text_encoder_2 }
}

fn is_flux_dev(base: &BaseModel) {
    assert_eq!((base.family, base.prediction), (Family::Flux1Dev, Prediction::Flow));
    assert_eq!((base.denoiser(), base.native_resolution()), (Part::Transformer, 1024));
    holds(base, Part::Transformer, "flux_dev.tsv", 0, 2);
    holds(base, Part::Vae, "vae_flux_16ch.tsv", 1, 3);
    holds(base, Part::TextEncoder, "clip_l.tsv", 0, 1);
    holds(base, Part::TextEncoder2, "t5xxl_encoder.tsv", 0, 1);
    let totals = [
        (Part::Transformer, 11_901_408_320),
        (Part::Vae, 83_819_683),
        (Part::TextEncoder, 123_060_480),
        (Part::TextEncoder2, 4_762_310_656),
    ];
    for (part, total) in totals {
        assert_eq!(parameters(base, part), total, "{part}");
    }
    let config = base.config(Part::Transformer).unwrap();
    assert_eq!((&config["num_layers"], &config["num_single_layers"]), (&json!(19), &json!(38)));
    assert_eq!((&config["num_attention_heads"], &config["attention_head_dim"]), (&json!(24), &json!(128)));
    assert_eq!(config["guidance_embeds"], true);
    let vae = base.config(Part::Vae).unwrap();
    assert_eq!((&vae["scaling_factor"], &vae["shift_factor"]), (&json!(0.3611), &json!(0.1159)));
    assert_eq!((&vae["latent_channels"], &vae["use_quant_conv"]), (&json!(16), &json!(false)));
    let t5 = base.config(Part::TextEncoder2).unwrap();
    assert_eq!((&t5["num_heads"], &t5["d_kv"], &t5["d_ff"]), (&json!(64), &json!(64), &json!(10240)));
    assert_eq!(base.scheduler["use_dynamic_shifting"], true);
}

#[test]
fn flux_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let files = flux_files(folder.path());
    let path = folder.path().join("flux1-dev.safetensors");
    sparse(&path, &flux_tensors(""), &[]);
    is_flux_dev(&open_base_with(&path, &files).unwrap());
    sparse(&path, &flux_diffusers_tensors(), &[]);
    is_flux_dev(&open_base_with(&path, &files).unwrap());
    // ComfyUI's single file, with norms in its newer spelling.
    let mut tensors = flux_tensors("model.diffusion_model.");
    tensors.iter_mut().for_each(|(name, ..)| *name = name.replace("_norm.scale", "_norm.weight"));
    let [vae, clip, t5] = flux_parts("vae.", "text_encoders.clip_l.transformer.", "text_encoders.t5xxl.transformer.");
    tensors.extend(vae.into_iter().chain(clip).chain(t5));
    sparse(&path, &tensors, &[]);
    is_flux_dev(&open_base(&path).unwrap());
    // Without guidance it is schnell.
    let kept: Vec<_> = tensors.iter().filter(|(name, ..)| !name.contains("guidance_in")).cloned().collect();
    sparse(&path, &kept, &[]);
    let base = open_base(&path).unwrap();
    assert_eq!((base.family, parameters(&base, Part::Transformer)), (Family::Flux1Schnell, 11_891_178_560));
    assert_eq!(base.scheduler["use_dynamic_shifting"], false);
}

#[test]
fn values_of_split_flux_layers_are_joined() {
    // Two blocks at the smallest size at which the rules for splits hold: 4 wide, MLP 16.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let size = |n: usize| match n {
        3072 => 4,
        9216 => 12,
        12288 => 16,
        15360 => 20,
        18432 => 24,
        21504 => 28,
        6144 => 8,
        4096 => 6,
        768 => 6,
        other => other.min(64),
    };
    let kept = |(name, ..): &&(String, &str, Vec<usize>)| {
        let number = name.split('.').nth(1).and_then(|n| n.parse::<usize>().ok());
        !name.contains("transformer_blocks") || number.is_some_and(|n| n < 2)
    };
    let tensors: Vec<_> = flux_diffusers_tensors()
        .iter()
        .filter(kept)
        .map(|(name, _, shape)| support::tensor(name, &shape.iter().map(|&n| size(n)).collect::<Vec<_>>()))
        .collect();
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let files = flux_files(folder.path());
    // The text encoders are of another width than the small transformer.
    let message = refusal(open_base_with(&path, &files));
    assert!(message.contains("does not fit") && message.contains("768"), "{message}");

    let small = |list: &str, name: &str, sizes: &dyn Fn(usize) -> usize| {
        let tensors: Vec<_> = key_list(list)
            .iter()
            .map(|line| support::tensor(&line[0], &dims(&line[1]).into_iter().map(sizes).collect::<Vec<_>>()))
            .collect();
        let path = folder.path().join(name);
        write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        Some(path)
    };
    let files = PartFiles {
        text_encoder: small("clip_l.tsv", "clip.safetensors", &|n| if n == 768 { 6 } else { n.min(8) }),
        text_encoder_2: small("t5xxl_encoder.tsv", "t5.safetensors", &|n| if n == 4096 { 6 } else { n.min(8) }),
        ..files
    };
    let base = open_base_with(&path, &files).unwrap();
    let weights = base.part(Part::Transformer).unwrap();
    let joined = |names: &[&str], counts: &[usize]| -> Vec<f32> {
        names.iter().zip(counts).flat_map(|(name, count)| numbers(name, *count)).collect()
    };
    let block = "transformer_blocks.1.attn";
    let names = ["q", "k", "v"].map(|part| format!("{block}.to_{part}.weight"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(weights.f32("double_blocks.1.img_attn.qkv.weight").unwrap(), joined(&names, &[16, 16, 16]));
    let block = "single_transformer_blocks.0";
    let names = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"].map(|part| format!("{block}.{part}.bias"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected = joined(&names, &[4, 4, 4, 16]);
    assert_eq!(weights.f32("single_blocks.0.linear1.bias").unwrap(), expected);
    let (_, shape, bytes) = weights.raw("single_blocks.0.linear1.bias").unwrap();
    assert_eq!((shape, bytes.len()), (vec![28], 4 * 28));
    let mut halves = numbers("norm_out.linear.weight", 32);
    halves.rotate_left(16);
    assert_eq!(weights.f32("final_layer.adaLN_modulation.1.weight").unwrap(), halves);

    // One of the splits is gone.
    let kept: Vec<_> =
        tensors.into_iter().filter(|tensor| tensor.name != "transformer_blocks.1.attn.to_k.bias").collect();
    write_safetensors(&path, &kept, &BTreeMap::new()).unwrap();
    assert!(refusal(open_base_with(&path, &files)).contains("transformer_blocks.1.attn.to_k.bias"));
}

#[test]
fn parts_that_are_missing_or_wrong_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = flux_files(folder.path());
    let path = folder.path().join("flux1-dev.safetensors");
    sparse(&path, &flux_tensors(""), &[]);
    for (part, name, place) in [
        (Part::Vae, "ae.safetensors", "models/vae"),
        (Part::TextEncoder, "clip_l.safetensors", "models/text_encoders"),
        (Part::TextEncoder2, "t5xxl_fp16.safetensors", "models/text_encoder"),
    ] {
        let mut some = files.clone();
        match part {
            Part::Vae => some.vae = None,
            Part::TextEncoder => some.text_encoder = None,
            _ => some.text_encoder_2 = None,
        }
        let message = refusal(open_base_with(&path, &some));
        assert!(message.contains(name) && message.contains(place) && message.contains("flux1-dev"), "{message}");
    }
    let swapped = PartFiles { text_encoder: files.text_encoder_2.clone(), ..files.clone() };
    let message = refusal(open_base_with(&path, &swapped));
    assert!(message.contains("a T5 text encoder alone") && message.contains("CLIP-L"), "{message}");
    let sd = folder.path().join("sd-vae.safetensors");
    let tensors: Vec<_> =
        key_list("vae_sd_4ch.tsv").iter().map(|line| (line[0].clone(), "F16", dims(&line[2]))).collect();
    sparse(&sd, &tensors, &[]);
    let message = refusal(open_base_with(&path, &PartFiles { vae: Some(sd), ..files.clone() }));
    assert!(message.contains("has 4 latent channels") && message.contains("takes 16"), "{message}");
    let kontext = folder.path().join("flux1-kontext-dev.safetensors");
    sparse(&kontext, &flux_tensors(""), &[]);
    assert!(open_base_with(&kontext, &files).unwrap().warnings[0].contains("Kontext"));
}

#[test]
fn a_part_from_elsewhere_replaces_the_one_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xl.safetensors");
    sparse(&path, &sdxl_tensors(), &[]);
    let vae = folder.path().join("sdxl_vae.safetensors");
    let tensors: Vec<_> =
        key_list("vae_sd_4ch.tsv").iter().map(|line| (line[1].clone(), "F32", dims(&line[3]))).collect();
    sparse(&vae, &tensors, &[]);
    let base = open_base_with(&path, &PartFiles { vae: Some(vae.clone()), ..PartFiles::default() }).unwrap();
    assert_eq!(base.part(Part::Vae).unwrap().place(), vae);
    assert_eq!(base.part(Part::Unet).unwrap().place(), path);
    holds(&base, Part::Vae, "vae_sd_4ch.tsv", 1, 3);
}
