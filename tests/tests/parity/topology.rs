//! The real layouts with narrow layers: every tensor of the key lists is read, and every LoRA target has its name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::DType;
use lorikeet_adapters::{convolution_targets, transformer_targets};
use lorikeet_models::unet::{UNet2DConditionModel, UNetConfig};
use lorikeet_nn::{LayerKind, Loader, WeightSource};
use serde_json::{Value, json};

use super::fixture::device;

/// Weights of zero in the shapes of a key list.
struct KeyList {
    shapes: BTreeMap<String, Vec<usize>>,
    read: RefCell<BTreeSet<String>>,
}

impl WeightSource for KeyList {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.shapes.get(name).cloned()
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        self.read.borrow_mut().insert(name.to_owned());
        Ok(vec![0.0; self.shapes[name].iter().product()])
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// Widths of feature maps become 160 times narrower; text states, and the pooled state with its six sinusoids, as small.
fn narrow(size: usize) -> usize {
    match size {
        768 | 1024 | 2048 => 3,
        2816 => narrow(1280) + 6 * 2,
        _ if size.is_multiple_of(320) => size / 160,
        _ => size,
    }
}

fn config(special: Value) -> UNetConfig {
    UNetConfig::from_json(&published(special)).unwrap()
}

/// The published `unet/config.json`, narrow.
fn published(special: Value) -> Value {
    let mut config = json!({
        "act_fn": "silu", "center_input_sample": false, "cross_attention_dim": 3, "downsample_padding": 1,
        "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1,
        "norm_eps": 1e-5, "norm_num_groups": 2, "out_channels": 4, "dual_cross_attention": false,
        "only_cross_attention": false, "class_embed_type": null, "num_class_embeds": null,
    });
    config.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    config
}

fn sd(special: Value) -> UNetConfig {
    let mut all = json!({
        "block_out_channels": [2, 4, 8, 8],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    });
    all.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    config(all)
}

/// `weights`: the list of tensors; `targets`: the list of LoRA modules, `column` the one with diffusers' paths; `counts`: of
/// modules without and with convolutions.
#[track_caller]
fn check(config: &UNetConfig, weights: &str, targets: &str, column: usize, counts: [usize; 2]) {
    let shape = |text: &str| text.split('x').map(|size| narrow(size.parse().unwrap())).collect();
    let shapes = lines(weights).map(|line| (line[1].to_owned(), shape(line[2]))).collect();
    let source = KeyList { shapes, read: RefCell::default() };
    let device = device();
    let unet = UNet2DConditionModel::load(config, &Loader::new(&source, "unet", &device, DType::F32)).unwrap();
    assert!(source.read.borrow().iter().eq(source.shapes.keys()), "some weights were not read");

    let size = |text: &str| narrow(text.parse().unwrap());
    let (without, with) = (transformer_targets(&unet.layers()), convolution_targets(&unet.layers()));
    for (found, convolution, count) in [(without, "0", counts[0]), (with, "1", counts[1] - counts[0])] {
        let found: BTreeSet<_> = found
            .into_iter()
            .map(|layer| {
                let (kind, outputs, inputs) = match layer.kind {
                    LayerKind::Linear { inputs, outputs } => ("linear".to_owned(), outputs, inputs),
                    LayerKind::Conv2d { inputs, outputs, kernel } => (format!("conv{kernel}"), outputs, inputs),
                };
                let path = layer.name.strip_prefix("unet.").unwrap().replace('.', "_");
                (format!("lora_unet_{path}"), kind, outputs, inputs)
            })
            .collect();
        let expected: BTreeSet<_> = lines(targets)
            .filter(|line| line[5] == convolution)
            .map(|line| {
                (line[column].to_owned(), line[2].trim_end_matches("_nobias").to_owned(), size(line[3]), size(line[4]))
            })
            .collect();
        assert_eq!(expected.len(), count);
        assert_eq!(found, expected);
    }
}

#[test]
fn stable_diffusion_1() {
    let config = sd(json!({ "attention_head_dim": 2 }));
    assert_eq!(config.pooled_width(), None);
    let (weights, targets) =
        (include_str!("../../fixtures/keys/unet_sd15.tsv"), include_str!("../../fixtures/keys/lora_unet_sd15.tsv"));
    check(&config, weights, targets, 0, [192, 278]);
}

#[test]
fn stable_diffusion_2() {
    let config = sd(json!({
        "attention_head_dim": [1, 2, 4, 4], "use_linear_projection": true, "upcast_attention": true,
    }));
    assert_eq!(config.pooled_width(), None);
    let (weights, targets) =
        (include_str!("../../fixtures/keys/unet_sd2.tsv"), include_str!("../../fixtures/keys/lora_unet_sd2.tsv"));
    check(&config, weights, targets, 0, [192, 278]);
}

#[test]
fn stable_diffusion_xl() {
    let config = config(json!({
        "addition_embed_type": "text_time", "addition_time_embed_dim": 2, "projection_class_embeddings_input_dim": 20,
        "attention_head_dim": [1, 2, 4], "block_out_channels": [2, 4, 8], "use_linear_projection": true,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10], "upcast_attention": null,
    }));
    assert_eq!(config.pooled_width(), Some(8));
    let (weights, targets) =
        (include_str!("../../fixtures/keys/unet_sdxl.tsv"), include_str!("../../fixtures/keys/lora_unet_sdxl.tsv"));
    check(&config, weights, targets, 1, [722, 788]);
}

#[test]
fn relatives_with_other_parts_are_refused_by_name() {
    let layout = json!({
        "attention_head_dim": 1, "block_out_channels": [2],
        "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"],
    });
    for (field, value) in [
        ("class_embed_type", json!("timestep")),
        ("num_class_embeds", json!(1000)),
        ("only_cross_attention", json!([true])),
        ("time_cond_proj_dim", json!(256)),
        ("addition_embed_type", json!("image")),
        ("addition_embed_type", json!("text_time")),
    ] {
        let mut config = published(layout.clone());
        UNetConfig::from_json(&config).unwrap();
        config[field] = value;
        let message = UNetConfig::from_json(&config).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}
