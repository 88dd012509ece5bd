//! LoRAs of SDXL and FLUX, and the fused layers of FLUX.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;

use lorikeet_checkpoint::lora::{self, LoraModule};
use lorikeet_checkpoint::{
    Dtype, Family, FlowFacts, Prediction, SafetensorsFile, TensorData, TrainingFacts, write_safetensors,
};
use support::lora_module as module;

/// `alpha / rank * up @ down`, `[out, in]`.
fn change(module: &LoraModule) -> Vec<f32> {
    let (inputs, outputs) = (module.down.shape[1], module.up.shape[0]);
    let scale = module.alpha / module.rank as f32;
    let at = |o: usize, i: usize| -> f32 {
        (0..module.rank).map(|r| module.up.values[o * module.rank + r] * module.down.values[r * inputs + i]).sum()
    };
    (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))).map(|(o, i)| scale * at(o, i)).collect()
}

fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * (1.0 + b.abs())), "{a:?} {b:?}");
}

#[test]
fn split_layers_of_flux_become_one_with_the_same_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.safetensors");
    let block = "transformer.single_transformer_blocks.3";
    // Ranks and scales differ, and the key is not trained at all.
    let parts = [("attn.to_q", 4, 2, 1.0), ("attn.to_v", 4, 3, 6.0), ("proj_mlp", 16, 1, 1.0)];
    let mut tensors = Vec::new();
    let mut expected = Vec::new();
    for (name, outputs, rank, alpha) in parts {
        let one = module(&format!("{block}.{name}"), rank, alpha, &[rank, 4], &[outputs, rank]);
        tensors.push(TensorData::f32(format!("{}.lora_A.weight", one.name), &one.down.shape, &one.down.values));
        tensors.push(TensorData::f32(format!("{}.lora_B.weight", one.name), &one.up.shape, &one.up.values));
        tensors.push(TensorData::f32(format!("{}.alpha", one.name), &[], &[alpha]));
        expected.extend(change(&one));
        if name == "attn.to_q" {
            expected.extend([0.0; 16]);
        }
    }
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let loaded = lora::read(&path).unwrap();
    assert_eq!(loaded.family, Some(Family::Flux1Dev));
    let [fused] = &loaded.modules[..] else { panic!("{} modules", loaded.modules.len()) };
    assert_eq!((fused.name.as_str(), fused.rank), ("transformer.single_blocks.3.linear1", 6));
    assert_eq!((&fused.down.shape[..], &fused.up.shape[..]), (&[6, 4][..], &[28, 6][..]));
    near(&change(fused), &expected);
}

#[test]
fn peft_files_of_flux_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peft.safetensors");
    let modules = [
        module("text_encoder.text_model.encoder.layers.0.mlp.fc1", 2, 1.0, &[2, 3], &[5, 2]),
        module("transformer.double_blocks.0.img_attn.proj", 2, 1.0, &[2, 4], &[4, 2]),
        module("transformer.double_blocks.0.img_attn.qkv", 2, 1.0, &[2, 4], &[12, 2]),
        module("transformer.final_layer.adaLN_modulation.1", 2, 1.0, &[2, 4], &[8, 2]),
        module("transformer.single_blocks.1.linear1", 2, 1.0, &[2, 4], &[28, 2]),
    ];
    lora::write_peft(&path, Family::Flux1Dev, &modules, Dtype::F32, &BTreeMap::new()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.names().len(), 2 * (1 + 1 + 3 + 1 + 4));
    let mlp = "transformer.single_transformer_blocks.1.proj_mlp.lora_B.weight";
    assert_eq!(file.shape(mlp), Some(&[16, 2][..]));
    assert!(file.names().all(|name| !name.ends_with("alpha")));
    let loaded = lora::read_for(&path, Family::Flux1Schnell, std::iter::empty::<&str>()).unwrap().modules;
    for (loaded, module) in loaded.iter().zip(&modules) {
        // The shared down matrix is found again, so the rank is that of before.
        assert_eq!((&loaded.name, loaded.rank), (&module.name, module.rank));
        near(&change(loaded), &change(module));
    }
    assert_eq!(loaded.len(), modules.len());
}

#[test]
fn kohya_files_of_every_family_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kohya.safetensors");
    let cases = [
        (
            Family::Sdxl,
            vec![
                "text_encoder.text_model.encoder.layers.0.mlp.fc1",
                "text_encoder_2.text_model.encoder.layers.31.self_attn.q_proj",
                "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
            ],
        ),
        (
            Family::Flux1Dev,
            vec![
                "text_encoder.text_model.encoder.layers.0.mlp.fc1",
                "text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wi_0",
                "transformer.double_blocks.18.txt_mod.lin",
            ],
        ),
    ];
    for (family, names) in cases {
        let modules: Vec<_> = names.iter().map(|name| module(name, 2, 1.0, &[2, 2048], &[3, 2])).collect();
        lora::write(&path, family, &modules, Dtype::F32, &BTreeMap::new()).unwrap();
        let loaded = lora::read(&path).unwrap();
        assert_eq!(loaded.modules, modules);
        assert_eq!(loaded.family, Some(family));
        assert!(lora::write(&path, Family::Sd1, &modules, Dtype::F32, &BTreeMap::new()).is_err());
    }
}

#[test]
fn metadata_of_flux_says_how_timesteps_were_drawn() {
    let flow = FlowFacts { timestep_sampling: "flux_shift", sigmoid_scale: 1.0, shift: 3.1582, guidance: Some(1.0) };
    let flux = TrainingFacts {
        family: Family::Flux1Dev,
        prediction: Some(Prediction::Flow),
        flow: Some(flow),
        convolutions: Some((8, 4.0)),
        ..TrainingFacts::default()
    };
    let entries = lora::metadata(&flux);
    for (key, value) in [
        ("ss_base_model_version", "flux1"),
        ("ss_network_module", "networks.lora_flux"),
        ("ss_network_args", r#"{"conv_dim": "8", "conv_alpha": "4.0"}"#),
        ("ss_model_type", "flux"),
        ("ss_timestep_sampling", "flux_shift"),
        ("ss_sigmoid_scale", "1.0"),
        ("ss_discrete_flow_shift", "3.1582"),
        ("ss_guidance_scale", "1.0"),
        ("ss_model_prediction_type", "raw"),
    ] {
        assert_eq!(entries.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!lora::metadata(&TrainingFacts::default()).contains_key("ss_model_type"));
}
