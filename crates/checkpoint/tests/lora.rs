//! LoRA files: every naming in, kohya naming out.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use lorikeet_checkpoint::lora::{self, LoraModule};
use lorikeet_checkpoint::{
    Dtype, Family, FileHashes, Prediction, SafetensorsFile, TensorData, TrainingFacts, file_hashes, from_f32, inspect,
    to_f32, write_safetensors,
};
use sha2::{Digest, Sha256};
use support::{key_list, lora_module as module, numbers, tensor};

/// A rank 2 LoRA on all 192 and 72 layers of SD1.5, narrowed.
fn full_lora(alpha: f32) -> Vec<LoraModule> {
    let mut modules = Vec::new();
    for line in key_list("lora_unet_sd15.tsv").iter().filter(|line| line[5] == "0") {
        let name = lora::dotted_layer_name(&line[0]).unwrap();
        let (out, input): (usize, usize) = (line[3].parse().unwrap(), line[4].parse().unwrap());
        let (out, input) = (out / 160, input / 160 + 1);
        modules.push(match line[2].as_str() {
            "conv1" => module(&name, 2, alpha, &[2, input, 1, 1], &[out, 2, 1, 1]),
            _ => module(&name, 2, alpha, &[2, input], &[out, 2]),
        });
    }
    for line in key_list("lora_te_clip_l.tsv") {
        let name = lora::dotted_layer_name(&format!("lora_te_{}", line[0])).unwrap();
        modules.push(module(&name, 2, alpha, &[2, 3], &[4, 2]));
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    modules
}

fn rounded(modules: &[LoraModule], dtype: Dtype) -> Vec<LoraModule> {
    let round = |values: &[f32]| to_f32(dtype, &from_f32(dtype, values).unwrap()).unwrap();
    let mut modules = modules.to_vec();
    for module in &mut modules {
        module.down.values = round(&module.down.values);
        module.up.values = round(&module.up.values);
    }
    modules
}

fn save(path: &Path, tensors: &[TensorData<'_>]) {
    write_safetensors(path, tensors, &BTreeMap::new()).unwrap();
}

fn refusal(path: &Path) -> String {
    lora::read(path).unwrap_err().to_string()
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let modules = full_lora(1.5);
    assert_eq!(modules.len(), 192 + 72);
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let path = folder.path().join(format!("Löwe und Bär 獅子 {dtype}.safetensors"));
        lora::write(&path, Family::Sd1, &modules, dtype, &BTreeMap::new()).unwrap();
        let loaded = lora::read(&path).unwrap();
        assert!(loaded.modules == rounded(&modules, dtype), "{dtype}");
        // Saving what was loaded gives the same bytes.
        let again = folder.path().join("again.safetensors");
        lora::write(&again, Family::Sd1, &loaded.modules, dtype, &BTreeMap::new()).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(), "{dtype}");
    }
}

#[test]
fn keys_are_those_of_sd_scripts_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    lora::write(&path, Family::Sd1, &full_lora(1.0), Dtype::F16, &BTreeMap::new()).unwrap();
    let mut expected: Vec<String> = key_list("lora_unet_sd15.tsv")
        .iter()
        .filter(|line| line[5] == "0")
        .map(|line| line[0].clone())
        .chain(key_list("lora_te_clip_l.tsv").iter().map(|line| format!("lora_te_{}", line[0])))
        .flat_map(|name| ["alpha", "lora_down.weight", "lora_up.weight"].map(|ending| format!("{name}.{ending}")))
        .collect();
    expected.sort();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), expected);
    assert!(file.tensors().all(|(_, info)| info.dtype == Dtype::F16));
    let name = "lora_unet_mid_block_attentions_0_proj_in";
    assert_eq!(file.shape(&format!("{name}.alpha")), Some(&[][..]));
    assert_eq!(file.shape(&format!("{name}.lora_down.weight")), Some(&[2, 9, 1, 1][..]));
    assert_eq!(file.shape(&format!("{name}.lora_up.weight")), Some(&[8, 2, 1, 1][..]));
}

#[test]
fn hashes_cover_the_tensor_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let metadata = BTreeMap::from([("ss_output_name".to_owned(), "a".to_owned())]);
    let written = lora::write(&path, Family::Sd1, &full_lora(1.0), Dtype::Bf16, &metadata).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let hash: String = Sha256::digest(&bytes[8 + header..]).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.metadata()["sshs_model_hash"], hash);
    assert_eq!(file.metadata()["modelspec.hash_sha256"], format!("0x{hash}"));
    assert_eq!((written.data_sha256, written.file_size), (hash, bytes.len() as u64));
    // A file under 1 MiB hashes nothing: the start of the SHA-256 of no bytes.
    assert_eq!(file.metadata()["sshs_legacy_hash"], "e3b0c442");
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(header % 8, 0);
}

#[test]
fn the_short_hash_of_a_large_file_is_that_of_the_file_with_only_its_training_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    let large = module("unet.mid_block.attentions.0.proj_in", 64, 64.0, &[64, 3000], &[3000, 64]);
    let kept = BTreeMap::from([("ss_steps".to_owned(), "10".to_owned())]);
    let mut metadata = kept.clone();
    metadata.insert("modelspec.title".to_owned(), "left out of the hash".to_owned());
    lora::write(&path, Family::Sd1, &[large], Dtype::F32, &metadata).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    let tensors: Vec<_> = file
        .tensors()
        .map(|(name, info)| TensorData::raw(name, info.dtype, &info.shape, file.bytes(name).unwrap()))
        .collect();
    let reduced = folder.path().join("reduced.safetensors");
    write_safetensors(&reduced, &tensors, &kept).unwrap();
    let FileHashes { auto_v1, sha256 } = file_hashes(&reduced).unwrap();
    assert_eq!(file.metadata()["sshs_legacy_hash"], auto_v1);
    assert_ne!(auto_v1, "e3b0c442");
    let whole: String = Sha256::digest(std::fs::read(&reduced).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(sha256, whole);
}

#[test]
fn an_alpha_that_the_type_cannot_hold_keeps_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for (alpha, dtype, stored) in [
        (300.0, Dtype::Bf16, Dtype::Bf16),
        (257.0, Dtype::Bf16, Dtype::F32),
        (0.3, Dtype::F16, Dtype::F32),
        (0.5, Dtype::F16, Dtype::F16),
    ] {
        let modules = [module("unet.mid_block.attentions.0.proj_in", 1, alpha, &[1, 2], &[2, 1])];
        lora::write(&path, Family::Sd1, &modules, dtype, &BTreeMap::new()).unwrap();
        assert_eq!(lora::read(&path).unwrap().modules[0].alpha, alpha);
        let file = SafetensorsFile::open(&path).unwrap();
        let info = file.info("lora_unet_mid_block_attentions_0_proj_in.alpha").unwrap();
        assert_eq!(info.dtype, stored, "{alpha}");
    }
}

#[test]
fn diffusers_and_peft_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peft.safetensors");
    let layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2";
    let tensors = [
        tensor(&format!("unet.{layer}.to_k.lora_A.weight"), &[4, 3]),
        tensor(&format!("unet.{layer}.to_k.lora_B.weight"), &[5, 4]),
        tensor(&format!("unet.{layer}.to_out.0.lora_A.weight"), &[2, 3]),
        tensor(&format!("unet.{layer}.to_out.0.lora_B.weight"), &[5, 2]),
        tensor("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", &[4, 3]),
        tensor("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight", &[5, 4]),
    ];
    save(&path, &tensors);
    let modules = lora::read(&path).unwrap().modules;
    let facts: Vec<_> = modules.iter().map(|m| (m.name.as_str(), m.rank, m.alpha)).collect();
    // Without an alpha the scale is one.
    assert_eq!(
        facts,
        [
            ("text_encoder.text_model.encoder.layers.0.mlp.fc1", 4, 4.0),
            (&format!("unet.{layer}.to_k"), 4, 4.0),
            (&format!("unet.{layer}.to_out.0"), 2, 2.0),
        ]
    );
    assert_eq!(modules[1].down.values, numbers(&tensors[0].name, 12));
    assert_eq!(modules[1].up.shape, [5, 4]);

    // diffusers notes what it knows of alpha in the header.
    let note = r#"{"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"attn2.to_out.0": 1},
        "text_encoder.lora_alpha": 6, "text_encoder.use_rslora": true}"#;
    let metadata = BTreeMap::from([("lora_adapter_metadata".to_owned(), note.to_owned())]);
    write_safetensors(&path, &tensors, &metadata).unwrap();
    let alphas: Vec<f32> = lora::read(&path).unwrap().modules.iter().map(|module| module.alpha).collect();
    assert_eq!(alphas, [12.0, 8.0, 1.0]);
}

#[test]
fn convolutions_with_a_kernel_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locon.safetensors");
    let name = "lora_unet_down_blocks_0_resnets_0_conv1";
    save(
        &path,
        &[
            tensor(&format!("{name}.lora_down.weight"), &[4, 3, 3, 3]),
            tensor(&format!("{name}.lora_up.weight"), &[5, 4, 1, 1]),
            TensorData::f32(format!("{name}.alpha"), &[1], &[2.0]),
        ],
    );
    let module = &lora::read(&path).unwrap().modules[0];
    assert_eq!((module.name.as_str(), module.rank, module.alpha), ("unet.down_blocks.0.resnets.0.conv1", 4, 2.0));
    let told = inspect(&path).unwrap();
    assert!(told.what.contains("a LoRA") && told.notes[0] == "1 adapted layers, rank 4", "{told}");
}

#[test]
fn files_that_are_not_usable_loras() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let name = "lora_unet_mid_block_attentions_0_proj_in";
    let (down, up) = (format!("{name}.lora_down.weight"), format!("{name}.lora_up.weight"));
    let good = || vec![tensor(&down, &[4, 3]), tensor(&up, &[5, 4])];

    save(&path, &good()[..1]);
    let message = refusal(&path);
    assert!(message.contains(&down) && message.contains("up (B) matrix of this layer is missing"), "{message}");

    save(&path, &[tensor(&down, &[4, 3]), tensor(&up, &[5, 3])]);
    assert!(refusal(&path).contains("ranks do not agree"));

    save(&path, &[tensor(&down, &[4]), tensor(&up, &[5, 4])]);
    assert!(refusal(&path).contains("expected [rank, in]"));

    let broken = [TensorData::f32(down.clone(), &[1, 2], &[1.0, f32::NAN]), tensor(&up, &[5, 1])];
    save(&path, &broken);
    let message = refusal(&path);
    assert!(message.contains(&down) && message.contains("NaN"), "{message}");

    let mut extra = good();
    extra.push(tensor("lora_unet_attic_window.alpha", &[]));
    save(&path, &extra);
    let message = refusal(&path);
    assert!(message.contains("lora_unet_attic_window.alpha") && message.contains("bad.safetensors"), "{message}");

    let mut extra = good();
    extra.push(tensor("unet.mid_block.attentions.0.proj_in.lora_A.weight", &[4, 3]));
    save(&path, &extra);
    assert!(refusal(&path).contains("two namings are mixed"));

    let mut extra = good();
    extra.push(tensor(&format!("{name}.dora_scale"), &[1, 3]));
    save(&path, &extra);
    assert!(refusal(&path).contains("DoRA"));

    save(&path, &[tensor("decoder.conv_in.weight", &[2, 4, 3, 3])]);
    let message = refusal(&path);
    assert!(message.contains("a VAE alone") && message.contains("no LoRA layers"), "{message}");

    save(&path, &[tensor("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", &[4, 3])]);
    let message = lora::read_for(&path, Family::Sd1, ["unet.conv_in"]).unwrap_err().to_string();
    assert!(message.contains("a LoRA for SDXL") && message.contains("The base is Stable Diffusion 1.x"), "{message}");
    save(&path, &[tensor("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", &[4, 3])]);
    assert!(refusal(&path).contains("a LoRA for Stable Diffusion 3"));
}

#[test]
fn what_must_not_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.safetensors");
    let good = [module("unet.mid_block.attentions.0.proj_in", 1, 1.0, &[1, 2], &[2, 1])];
    lora::write(&path, Family::Sd1, &good, Dtype::F32, &BTreeMap::new()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refusal = |change: &dyn Fn(&mut LoraModule), dtype| {
        let mut modules = good.clone();
        change(&mut modules[0]);
        let message = lora::write(&path, Family::Sd1, &modules, dtype, &BTreeMap::new()).unwrap_err().to_string();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        message
    };
    let message = refusal(&|m| m.up.values[1] = f32::NAN, Dtype::F16);
    assert!(message.contains("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight") && message.contains("NaN"));
    assert!(refusal(&|m| m.down.values[0] = f32::NEG_INFINITY, Dtype::F32).contains("-inf"));
    assert!(refusal(&|m| m.alpha = f32::INFINITY, Dtype::F32).contains(".alpha"));
    assert!(refusal(&|m| m.down.values[0] = -70000.0, Dtype::F16).contains("Save as bf16 or f32"));
    assert!(refusal(&|m| m.rank = 2, Dtype::F32).contains("ranks do not agree"));
    assert!(refusal(&|m| m.down.values.push(0.0), Dtype::F32).contains("came with 3 numbers"));
    assert!(refusal(&|m| m.name = "vae.x".to_owned(), Dtype::F32).contains("no part of the model"));
    assert!(refusal(&|_| (), Dtype::F8E4M3).contains("not F8_E4M3"));
    assert!(lora::write(&path, Family::Sd1, &[], Dtype::F32, &BTreeMap::new()).is_err());
    let twice = [good[0].clone(), good[0].clone()];
    let message = lora::write(&path, Family::Sd1, &twice, Dtype::F32, &BTreeMap::new()).unwrap_err().to_string();
    assert!(message.contains("two tensors are named"), "{message}");
}

fn facts() -> TrainingFacts {
    TrainingFacts {
        output_name: "ink".to_owned(),
        base_name: "/home/ann/models/v1-5.safetensors".to_owned(),
        rank: 8,
        alpha: 4.0,
        resolution: (512, 512),
        train_images: 24,
        epochs: 3,
        epoch: 2,
        steps: 48,
        max_steps: 72,
        learning_rate: 1e-5,
        optimizer: "AdamW".to_owned(),
        schedule: "cosine".to_owned(),
        seed: 42,
        mixed_precision: "no".to_owned(),
        started_at: 1_790_000_000.5,
        finished_at: 1_790_000_100.0,
        tag_frequency: BTreeMap::from([("ink".to_owned(), BTreeMap::from([("red apple".to_owned(), 2)]))]),
        dataset_dirs: BTreeMap::from([("/data/ink".to_owned(), (1, 24))]),
        buckets: vec![(512, 512, 20), (448, 576, 4)],
        trigger: "inkstyle".to_owned(),
        ..TrainingFacts::default()
    }
}

#[test]
fn metadata_in_the_spelling_that_readers_expect() {
    let entries = lora::metadata(&facts());
    for (key, value) in [
        ("ss_output_name", "ink"),
        ("ss_network_module", "networks.lora"),
        ("ss_network_dim", "8"),
        ("ss_network_alpha", "4.0"),
        ("ss_base_model_version", "sd_v1"),
        ("ss_v2", "False"),
        ("ss_sd_model_name", "v1-5.safetensors"),
        ("ss_sd_model_hash", "None"),
        ("ss_new_sd_model_hash", "None"),
        ("ss_resolution", "(512, 512)"),
        ("ss_clip_skip", "None"),
        ("ss_num_train_images", "24"),
        ("ss_num_epochs", "3"),
        ("ss_epoch", "2"),
        ("ss_steps", "48"),
        ("ss_max_train_steps", "72"),
        ("ss_learning_rate", "1e-05"),
        ("ss_unet_lr", "1e-05"),
        ("ss_text_encoder_lr", "None"),
        ("ss_optimizer", "AdamW"),
        ("ss_lr_scheduler", "cosine"),
        ("ss_seed", "42"),
        ("ss_mixed_precision", "no"),
        ("ss_training_started_at", "1790000000.5"),
        ("ss_training_finished_at", "1790000100.0"),
        ("ss_training_comment", "None"),
        ("ss_tag_frequency", r#"{"ink":{"red apple":2}}"#),
        ("ss_dataset_dirs", r#"{"ink":{"n_repeats":1,"img_count":24}}"#),
        ("modelspec.sai_model_spec", "1.0.1"),
        ("modelspec.architecture", "stable-diffusion-v1/lora"),
        ("modelspec.implementation", "diffusers"),
        ("modelspec.title", "ink"),
        ("modelspec.resolution", "512x512"),
        ("modelspec.date", "2026-09-21T14:15:00Z"),
        ("modelspec.prediction_type", "epsilon"),
        ("modelspec.trigger_phrase", "inkstyle"),
    ] {
        assert_eq!(entries.get(key).map(String::as_str), Some(value), "{key}");
    }
    let buckets: serde_json::Value = serde_json::from_str(&entries["ss_bucket_info"]).unwrap();
    assert_eq!(buckets["buckets"]["1"], serde_json::json!({"resolution": [448, 576], "count": 4}));
    assert!(!entries.contains_key("lora_adapter_metadata") && !entries.contains_key("modelspec.author"));
    assert!(entries.values().all(|value| !value.contains("/home") && !value.contains("/data")));

    let hashes = FileHashes { auto_v1: "e3b0c442".to_owned(), sha256: "ab".repeat(32) };
    let velocity =
        TrainingFacts { prediction: Some(Prediction::V), base_hashes: Some(hashes), clip_skip: Some(2), ..facts() };
    let entries = lora::metadata(&velocity);
    assert_eq!((&*entries["ss_base_model_version"], &*entries["modelspec.prediction_type"]), ("sd_v1_v", "v"));
    assert_eq!((&*entries["ss_sd_model_hash"], &*entries["ss_clip_skip"]), ("e3b0c442", "2"));
}

#[test]
fn families_in_metadata() {
    for (family, prediction, version, architecture, network, v2) in [
        (Family::Sd2, Prediction::V, "sd_v2_v", "stable-diffusion-v2-768-v/lora", "networks.lora", "True"),
        (
            Family::Sdxl,
            Prediction::Epsilon,
            "sdxl_base_v1-0",
            "stable-diffusion-xl-v1-base/lora",
            "networks.lora",
            "False",
        ),
        (Family::Flux1Dev, Prediction::Flow, "flux1", "flux-1-dev/lora", "networks.lora_flux", "False"),
        (Family::Flux1Schnell, Prediction::Flow, "flux1", "flux-1-schnell/lora", "networks.lora_flux", "False"),
    ] {
        let entries = lora::metadata(&TrainingFacts { family, prediction: Some(prediction), ..facts() });
        let expected = [
            ("ss_base_model_version", version),
            ("modelspec.architecture", architecture),
            ("ss_network_module", network),
            ("ss_v2", v2),
        ];
        for (key, value) in expected {
            assert_eq!(entries[key], value, "{family}");
        }
        assert_eq!(entries.contains_key("modelspec.prediction_type"), prediction != Prediction::Flow);
    }
}
