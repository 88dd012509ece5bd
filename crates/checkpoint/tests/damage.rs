//! Damaged and contradicting files, and 8-bit floats with scales.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::{
    Dtype, Part, PartFiles, SafetensorsFile, TensorData, open_base, open_base_with, write_safetensors,
};
use support::{dims, key_list, sd15_tensors, shrunk, tensor, tiny_folder};

fn save(path: &Path, tensors: &[TensorData<'_>]) {
    write_safetensors(path, tensors, &BTreeMap::new()).unwrap();
}

fn refusal(path: &Path) -> String {
    open_base(path).unwrap_err().to_string()
}

fn find<'t>(tensors: &'t mut [TensorData<'static>], name: &str) -> &'t mut TensorData<'static> {
    tensors.iter_mut().find(|tensor| tensor.name.ends_with(name)).unwrap()
}

#[test]
fn one_wrong_tensor_among_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let good = shrunk(&sd15_tensors());
    save(&path, &good);
    open_base(&path).unwrap();

    let mut tensors = good.clone();
    *find(&mut tensors, "layers.7.mlp.fc1.weight") =
        tensor("cond_stage_model.transformer.text_model.encoder.layers.7.mlp.fc1.weight", &[3, 3]);
    save(&path, &tensors);
    let message = refusal(&path);
    assert!(message.contains("layers.7.mlp.fc1.weight") && message.contains("[3, 3]"), "{message}");

    let tensors: Vec<_> = good.iter().filter(|t| !t.name.ends_with("layers.3.mlp.fc2.bias")).cloned().collect();
    save(&path, &tensors);
    assert!(refusal(&path).contains("layers.3.mlp.fc2.bias"));

    let mut tensors = good.clone();
    for tensor in tensors.iter_mut().filter(|t| t.name.contains("layer_norm1.weight")) {
        *tensor = TensorData::f32(tensor.name.clone(), &tensor.shape.clone(), &vec![f32::NAN; tensor.shape[0]]);
    }
    save(&path, &tensors);
    let message = refusal(&path);
    assert!(message.contains("layer_norm1.weight") && message.contains("NaN"), "{message}");
}

#[test]
fn a_configuration_that_contradicts_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    for (part, config, expected) in [
        ("unet", r#"{"cross_attention_dim": 768, "in_channels": 9, "out_channels": 9}"#, ["9", "4"]),
        ("vae", r#"{"latent_channels": 16}"#, ["16", "4"]),
        ("text_encoder", r#"{"hidden_size": 768}"#, ["768", "2"]),
    ] {
        let root = folder.path().join(part);
        tiny_folder(&root);
        std::fs::write(root.join(part).join("config.json"), config).unwrap();
        let message = refusal(&root);
        assert!(message.contains("config.json") && message.contains("weights beside it have"), "{message}");
        assert!(expected.iter().all(|number| message.contains(number)), "{message}");
    }
}

#[test]
fn headers_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.safetensors");
    let mut bytes = 100_000_001u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{}");
    std::fs::write(&path, bytes).unwrap();
    assert!(refusal(&path).contains("damaged"));
    support::with_header(
        &path,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
    );
    assert!(refusal(&path).contains("listed twice"));
}

/// A small T5 whose linear layers are 8-bit floats, with `scale` beside each.
fn scaled_t5(path: &Path, scale: &str, with_marker: bool, left_out: &str) {
    let mut tensors = Vec::new();
    for line in key_list("t5xxl_encoder.tsv") {
        let shape: Vec<usize> = dims(&line[1]).into_iter().map(|n| if n == 4096 { 6 } else { n.min(8) }).collect();
        let linear = shape.len() == 2 && !line[0].contains("shared") && !line[0].contains("relative");
        if linear {
            let count = shape.iter().product();
            // 0x38 is one, 0xc0 minus two.
            let bytes: Vec<u8> = (0..count).map(|i| if i % 2 == 0 { 0x38 } else { 0xc0 }).collect();
            tensors.push(TensorData { name: line[0].clone(), dtype: Dtype::F8E4M3, shape, bytes: bytes.into() });
            let layer = line[0].strip_suffix(".weight").unwrap();
            if layer != left_out {
                tensors.push(TensorData::f32(format!("{layer}.{scale}"), &[], &[0.25]));
            }
        } else {
            tensors.push(tensor(&line[0], &shape));
        }
    }
    if with_marker {
        tensors.push(TensorData::f32("scaled_fp8", &[2], &[0.0, 0.0]));
    }
    save(path, &tensors);
}

/// A small FLUX with its parts in files beside it; the T5 is still to be written.
fn small_flux(folder: &Path) -> (PathBuf, PartFiles) {
    let size = |n: usize| match n {
        3072 => 4,
        9216 => 12,
        12288 => 16,
        15360 => 20,
        18432 => 24,
        21504 => 28,
        6144 => 8,
        4096 | 768 => 6,
        other => other.min(64),
    };
    let small = |list: &str, shape: usize, sizes: &dyn Fn(usize) -> usize, name: &str| {
        let tensors: Vec<_> = key_list(list)
            .iter()
            .map(|line| tensor(&line[0], &dims(&line[shape]).into_iter().map(sizes).collect::<Vec<_>>()))
            .collect();
        let path = folder.join(name);
        save(&path, &tensors);
        path
    };
    let base = small("flux_dev.tsv", 2, &size, "flux.safetensors");
    let files = PartFiles {
        vae: Some(small("vae_flux_16ch.tsv", 2, &|n| if n > 32 { n / 32 } else { n }, "ae.safetensors")),
        text_encoder: Some(small("clip_l.tsv", 1, &|n| if n == 768 { 6 } else { n.min(8) }, "clip.safetensors")),
        text_encoder_2: Some(folder.join("t5.safetensors")),
    };
    (base, files)
}

#[test]
fn scaled_8_bit_floats() {
    let folder = tempfile::tempdir().unwrap();
    let (base, files) = small_flux(folder.path());
    let t5 = files.text_encoder_2.clone().unwrap();
    let layer = "encoder.block.5.layer.0.SelfAttention.k";
    for (scale, marker) in [("scale_weight", true), ("weight_scale", false)] {
        scaled_t5(&t5, scale, marker, "");
        let base = open_base_with(&base, &files).unwrap();
        let text = base.part(Part::TextEncoder2).unwrap();
        assert_eq!(text.names().len(), 219);
        let values = text.f32(&format!("{layer}.weight")).unwrap();
        assert_eq!(values[..2], [0.25, -0.5]);
        let (dtype, _, bytes) = text.raw(&format!("{layer}.weight")).unwrap();
        assert_eq!((dtype, &bytes[..4]), (Dtype::F32, &0.25f32.to_le_bytes()[..]));
        assert_eq!(text.dtype(&format!("{layer}.weight")), Some(Dtype::F8E4M3));

        scaled_t5(&t5, scale, marker, layer);
        let message = open_base_with(&base.path, &files).unwrap_err().to_string();
        assert!(message.contains(&format!("{layer}.weight")) && message.contains("is missing"), "{message}");
    }
    // Without any scale the numbers are the weights.
    scaled_t5(&t5, "weight_scale", false, "");
    let file = SafetensorsFile::open(&t5).unwrap();
    let plain: Vec<_> = file
        .tensors()
        .filter(|(name, _)| !name.ends_with("weight_scale"))
        .map(|(name, info)| TensorData::raw(name, info.dtype, &info.shape, file.bytes(name).unwrap()))
        .collect();
    let other = folder.path().join("plain.safetensors");
    save(&other, &plain);
    let files = PartFiles { text_encoder_2: Some(other), ..files };
    let base = open_base_with(&base, &files).unwrap();
    let text = base.part(Part::TextEncoder2).unwrap();
    assert_eq!(text.f32(&format!("{layer}.weight")).unwrap()[..2], [1.0, -2.0]);
    assert_eq!(text.raw(&format!("{layer}.weight")).unwrap().0, Dtype::F8E4M3);
}
