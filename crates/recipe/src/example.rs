//! Facts to try a plan with, without model, pictures or device: for tests, and for a face that runs on a fake worker.

use std::path::PathBuf;

use crate::facts::{
    BaseFacts, BucketFacts, DatasetFacts, Family, ImageFacts, MachineFacts, Prediction, TargetFacts, UnetShape,
};

/// Like the built-in demo base.
pub fn demo_base() -> BaseFacts {
    let unet = UnetShape {
        block_out_channels: vec![64, 128, 192],
        layers_per_block: 1,
        transformer_depth: vec![1, 1, 0],
        heads: vec![4, 4, 4],
        context_width: 128,
    };
    BaseFacts {
        family: Family::Sd1,
        display_name: "Lorikeet demo base".to_owned(),
        path: PathBuf::from("demo"),
        prediction: Prediction::Velocity,
        native_resolution: 128,
        latent_factor: 8,
        latent_channels: 16,
        size_multiple: 32,
        unet_params: 8_800_000,
        text_params: 6_730_000,
        vae_params: 1_880_000,
        model_file_bytes: 35_000_000,
        vae_channels: 24,
        text_tokens: 77,
        text_layers: 2,
        unet_targets: unet_targets(&unet),
        text_targets: text_targets(128, 2),
        unet,
    }
}

/// Like Stable Diffusion 1.5: 192 layers of the UNet and 72 of the text encoder take a LoRA.
pub fn sd15_base() -> BaseFacts {
    let unet = UnetShape {
        block_out_channels: vec![320, 640, 1280, 1280],
        layers_per_block: 2,
        transformer_depth: vec![1, 1, 1, 0],
        heads: vec![8, 8, 8, 8],
        context_width: 768,
    };
    BaseFacts {
        family: Family::Sd1,
        display_name: "Stable Diffusion 1.5".to_owned(),
        path: PathBuf::from("sd15"),
        prediction: Prediction::Epsilon,
        native_resolution: 512,
        latent_factor: 8,
        latent_channels: 4,
        size_multiple: 64,
        unet_params: 859_520_964,
        text_params: 123_060_480,
        vae_params: 83_653_863,
        model_file_bytes: 2_132_000_000,
        vae_channels: 128,
        text_tokens: 77,
        text_layers: 12,
        unet_targets: unet_targets(&unet),
        text_targets: text_targets(768, 12),
        unet,
    }
}

/// Square pictures with captions `thing 1`, `thing 2`, ...
pub fn pictures(images: u64, edge: u32) -> DatasetFacts {
    DatasetFacts {
        images: (1..=images)
            .map(|number| ImageFacts {
                path: PathBuf::from(format!("{number:03}.png")),
                width: edge,
                height: edge,
                repeats: 1,
            })
            .collect(),
        captions: (1..=images).map(|number| format!("thing {number}")).collect(),
        buckets: vec![BucketFacts { width: edge, height: edge, count: images }],
        ..DatasetFacts::default()
    }
}

/// Two cores, 16 GB, no graphics card.
pub fn machine() -> MachineFacts {
    MachineFacts { device: "cpu".to_owned(), memory_bytes: 16_000_000_000, disk_free_bytes: 100_000_000_000, cores: 2 }
}

/// The linear layers and 1 x 1 convolutions in the transformers of a UNet: proj_in, proj_out, q, k, v and output of both
/// attentions, and the two layers of the gated feed-forward.
fn unet_targets(unet: &UnetShape) -> Vec<TargetFacts> {
    let levels = unet.block_out_channels.len();
    let mut targets = Vec::new();
    let mut transformer = |channels: u64, depth: u64| {
        let mut layer = |outputs, inputs| targets.push(TargetFacts { outputs, inputs, kernel: 1 });
        layer(channels, channels);
        layer(channels, channels);
        for _ in 0..depth {
            for _ in 0..6 {
                layer(channels, channels);
            }
            layer(channels, unet.context_width);
            layer(channels, unet.context_width);
            layer(channels * 8, channels);
            layer(channels, channels * 4);
        }
    };
    for level in 0..levels {
        let depth = unet.transformer_depth[level];
        // On the way down, and one more on the way up.
        for _ in 0..(2 * unet.layers_per_block + 1) * u64::from(depth > 0) {
            transformer(unet.block_out_channels[level], depth);
        }
    }
    transformer(unet.block_out_channels[levels - 1], 1);
    targets
}

/// q, k, v, output and the two feed-forward layers of each layer of a CLIP text encoder.
fn text_targets(width: u64, layers: u64) -> Vec<TargetFacts> {
    let shapes =
        [(width, width), (width, width), (width, width), (width, width), (4 * width, width), (width, 4 * width)];
    (0..layers).flat_map(|_| shapes.map(|(outputs, inputs)| TargetFacts { outputs, inputs, kernel: 1 })).collect()
}
