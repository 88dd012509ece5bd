//! Small files made by code.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses some of these; a failed set-up is a failed test"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::lora::{Array, LoraModule};
use lorikeet_checkpoint::{TensorData, write_safetensors};
use serde_json::json;

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Columns of each line of a key list.
pub(crate) fn key_list(name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(repository("tests/fixtures/keys").join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Reads `320x4x3x3`.
pub(crate) fn dims(text: &str) -> Vec<usize> {
    text.split('x').map(|size| size.parse().unwrap()).collect()
}

/// A safetensors file with a real header and a hole for data: files of many gigabytes take no room and no time.
pub(crate) fn sparse(path: &Path, tensors: &[(String, &str, Vec<usize>)], metadata: &[(&str, &str)]) {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let entries: BTreeMap<_, _> = metadata.iter().copied().collect();
        header.insert("__metadata__".into(), json!(entries));
    }
    let mut begin = 0;
    for (name, dtype, shape) in tensors {
        let bytes = match *dtype {
            "F32" => 4,
            "F16" | "BF16" => 2,
            "I64" => 8,
            _ => 1,
        };
        let end = begin + shape.iter().product::<usize>() * bytes;
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
        begin = end;
    }
    let text = serde_json::Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len((8 + text.len() + begin) as u64).unwrap();
}

/// A safetensors file with this header text and this many zero bytes behind it.
pub(crate) fn with_header(path: &Path, header: &str, data: usize) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    std::fs::write(path, bytes).unwrap();
}

/// Numbers that differ from tensor to tensor and from place to place, and are exact in f16.
pub(crate) fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed: usize = name.bytes().map(usize::from).sum();
    (0..count).map(|i| ((seed * 31 + i * 7) % 2001) as f32 / 1024.0 - 1.0).collect()
}

/// A tensor of [`numbers`].
pub(crate) fn tensor(name: &str, shape: &[usize]) -> TensorData<'static> {
    TensorData::f32(name, shape, &numbers(name, shape.iter().product()))
}

/// A diffusers folder with the smallest tensors that opening looks at.
pub(crate) fn tiny_folder(root: &Path) {
    let write = |part: &str, stem: &str, config: serde_json::Value, tensors: &[(&str, &[usize])]| {
        let folder = root.join(part);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let tensors: Vec<_> = tensors.iter().map(|(name, shape)| tensor(name, shape)).collect();
        write_safetensors(folder.join(format!("{stem}.safetensors")), &tensors, &BTreeMap::new()).unwrap();
    };
    let unet = json!({"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768, "in_channels": 4,
        "out_channels": 4, "sample_size": 64});
    write(
        "unet",
        "diffusion_pytorch_model",
        unet,
        &[
            ("conv_in.weight", &[2, 4, 3, 3]),
            ("time_embedding.linear_1.weight", &[4, 2]),
            ("conv_out.weight", &[4, 2, 3, 3]),
        ],
    );
    let vae = json!({"_class_name": "AutoencoderKL", "block_out_channels": [2, 2, 2, 2]});
    write(
        "vae",
        "diffusion_pytorch_model",
        vae,
        &[
            ("encoder.conv_in.weight", &[2, 3, 3, 3]),
            ("decoder.conv_in.weight", &[2, 4, 3, 3]),
            ("encoder.mid_block.attentions.0.query.weight", &[2, 2, 1, 1]),
            ("encoder.mid_block.attentions.0.proj_attn.bias", &[2]),
            ("decoder.mid_block.attentions.0.to_k.weight", &[2, 2]),
        ],
    );
    let text = json!({"architectures": ["CLIPTextModel"]});
    write(
        "text_encoder",
        "model",
        text,
        &[
            ("text_model.embeddings.token_embedding.weight", &[5, 2]),
            ("text_model.embeddings.position_ids", &[1, 3]),
            ("text_model.final_layer_norm.bias", &[2]),
        ],
    );
    std::fs::create_dir_all(root.join("scheduler")).unwrap();
    let scheduler = json!({"_class_name": "PNDMScheduler", "prediction_type": "v_prediction"});
    std::fs::write(root.join("scheduler/scheduler_config.json"), scheduler.to_string()).unwrap();
    let index = json!({"_class_name": "StableDiffusionPipeline"});
    std::fs::write(root.join("model_index.json"), index.to_string()).unwrap();
}

/// The tensors of a full Stable Diffusion 1.5 checkpoint with ldm names.
pub(crate) fn sd15_tensors() -> Vec<(String, &'static str, Vec<usize>)> {
    let mut tensors = Vec::new();
    for line in key_list("unet_sd15.tsv") {
        tensors.push((format!("model.diffusion_model.{}", line[0]), "F16", dims(&line[2])));
    }
    for line in key_list("vae_sd_4ch.tsv") {
        tensors.push((format!("first_stage_model.{}", line[0]), "F16", dims(&line[2])));
    }
    for line in key_list("clip_l.tsv") {
        tensors.push((format!("cond_stage_model.transformer.{}", line[0]), "F16", dims(&line[1])));
    }
    let position_ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
    tensors.push((position_ids.to_owned(), "I64", vec![1, 77]));
    tensors.push(("model_ema.decay".to_owned(), "F32", vec![]));
    tensors.push(("model_ema.diffusion_modelinput_blocks00weight".to_owned(), "F32", vec![320, 4, 3, 3]));
    tensors.push(("alphas_cumprod".to_owned(), "F32", vec![1000]));
    tensors
}

type Stored = (String, &'static str, Vec<usize>);

fn listed(list: &str, prefix: &str, name: usize, shape: usize, dtype: &'static str) -> Vec<Stored> {
    let line = |line: Vec<String>| {
        let shape = if line[shape] == "scalar" { Vec::new() } else { dims(&line[shape]) };
        (format!("{prefix}{}", line[name]), dtype, shape)
    };
    key_list(list).into_iter().map(line).collect()
}

/// The tensors of a full Stable Diffusion 2.x checkpoint.
pub(crate) fn sd2_tensors() -> Vec<Stored> {
    let mut tensors = listed("unet_sd2.tsv", "model.diffusion_model.", 0, 2, "F16");
    tensors.extend(listed("vae_sd_4ch.tsv", "first_stage_model.", 0, 2, "F16"));
    tensors.extend(listed("openclip_H.tsv", "cond_stage_model.model.", 0, 2, "F16"));
    tensors
}

/// The tensors of a full SDXL checkpoint.
pub(crate) fn sdxl_tensors() -> Vec<Stored> {
    let mut tensors = listed("unet_sdxl.tsv", "model.diffusion_model.", 0, 2, "F16");
    tensors.extend(listed("vae_sd_4ch.tsv", "first_stage_model.", 0, 2, "F16"));
    tensors.extend(listed("clip_l.tsv", "conditioner.embedders.0.transformer.", 0, 1, "F16"));
    tensors.extend(listed("openclip_bigG.tsv", "conditioner.embedders.1.model.", 0, 2, "F16"));
    tensors
}

/// The FLUX.1 dev transformer under BFL names.
pub(crate) fn flux_tensors(prefix: &str) -> Vec<Stored> {
    listed("flux_dev.tsv", prefix, 0, 2, "BF16")
}

/// The FLUX.1 dev transformer as diffusers splits it.
pub(crate) fn flux_diffusers_tensors() -> Vec<Stored> {
    let mut tensors = Vec::new();
    for line in key_list("flux_dev.tsv") {
        let names: Vec<&str> = line[1].split(',').collect();
        let mut shape = dims(&line[2]);
        let (rows, width) = (shape[0], 3072);
        for (i, name) in names.iter().enumerate() {
            shape[0] = match names.len() {
                1 => rows,
                4 if i == 3 => rows - 3 * width,
                _ => width,
            };
            tensors.push(((*name).to_owned(), "BF16", shape.clone()));
        }
    }
    tensors
}

/// `ae.safetensors`, `clip_l.safetensors` and `t5xxl_fp16.safetensors`, under prefixes.
pub(crate) fn flux_parts(vae: &str, clip: &str, t5: &str) -> [Vec<Stored>; 3] {
    [
        listed("vae_flux_16ch.tsv", vae, 0, 2, "F32"),
        listed("clip_l.tsv", clip, 0, 1, "F16"),
        listed("t5xxl_encoder.tsv", t5, 0, 1, "F16"),
    ]
}

/// Narrows a shape so that files of real layout stay small: sizes over 9 become a 160th.
pub(crate) fn shrunk(tensors: &[Stored]) -> Vec<TensorData<'static>> {
    let shrink = |size: usize| if size > 9 { size.div_ceil(160) } else { size };
    // Query, key and value in one tensor stay three of a kind.
    let narrow = |(name, _, shape): &Stored| {
        let mut shape: Vec<usize> = shape.iter().map(|&size| shrink(size)).collect();
        if name.contains("in_proj") {
            shape[0] = 3 * shape[0].div_ceil(3);
        }
        tensor(name, &shape)
    };
    tensors.iter().map(narrow).collect()
}

/// A LoRA module of [`numbers`].
pub(crate) fn lora_module(name: &str, rank: usize, alpha: f32, down: &[usize], up: &[usize]) -> LoraModule {
    let array = |shape: &[usize], salt: &str| Array {
        shape: shape.to_vec(),
        // Thirds are exact in no float type: rounding shows.
        values: numbers(&format!("{name}{salt}"), shape.iter().product()).iter().map(|v| v / 3.0).collect(),
    };
    LoraModule { name: name.to_owned(), rank, alpha, down: array(down, "down"), up: array(up, "up") }
}
