//! Facts to try a plan with, without model, pictures or device: for tests, and for a face that runs on a fake worker.

use std::path::PathBuf;

use crate::facts::{
    BaseFacts, BucketFacts, DatasetFacts, DenoiserShape, Family, FluxShape, ImageFacts, MachineFacts, Prediction,
    TargetFacts, TextFacts, UnetShape,
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
        denoiser_params: 8_800_000,
        denoiser_matrices: 3_000_000,
        vae_params: 1_880_000,
        model_file_bytes: 35_000_000,
        vae_channels: 24,
        text: vec![clip(6_730_000, 128, 2)],
        denoiser_targets: unet_targets(&unet),
        convolution_targets: Vec::new(),
        denoiser: DenoiserShape::Unet(unet),
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
        denoiser_params: 859_520_964,
        denoiser_matrices: 268_001_280,
        vae_params: 83_653_863,
        model_file_bytes: 2_132_000_000,
        vae_channels: 128,
        text: vec![clip(123_060_480, 768, 12)],
        denoiser_targets: unet_targets(&unet),
        convolution_targets: Vec::new(),
        denoiser: DenoiserShape::Unet(unet),
    }
}

/// Like SDXL: 722 layers of the UNet take a LoRA.
pub fn sdxl_base() -> BaseFacts {
    let unet = UnetShape {
        block_out_channels: vec![320, 640, 1280],
        layers_per_block: 2,
        transformer_depth: vec![0, 2, 10],
        heads: vec![5, 10, 20],
        context_width: 2048,
    };
    BaseFacts {
        family: Family::Sdxl,
        display_name: "SDXL".to_owned(),
        path: PathBuf::from("sdxl"),
        prediction: Prediction::Epsilon,
        native_resolution: 1024,
        latent_factor: 8,
        latent_channels: 4,
        size_multiple: 32,
        denoiser_params: 2_567_463_684,
        denoiser_matrices: 2_230_599_680,
        vae_params: 83_653_863,
        model_file_bytes: 6_938_000_000,
        vae_channels: 128,
        text: vec![clip(123_060_480, 768, 12), clip(694_659_840, 1280, 32)],
        denoiser_targets: unet_targets(&unet),
        convolution_targets: Vec::new(),
        denoiser: DenoiserShape::Unet(unet),
    }
}

/// Like FLUX.1 dev.
pub fn flux_dev_base() -> BaseFacts {
    let flux = FluxShape {
        hidden: 3072,
        heads: 24,
        double_blocks: 19,
        single_blocks: 38,
        mlp_ratio: 4,
        context_width: 4096,
        guidance: true,
    };
    BaseFacts {
        family: Family::FluxDev,
        display_name: "FLUX.1 dev".to_owned(),
        path: PathBuf::from("flux"),
        prediction: Prediction::Flow,
        native_resolution: 1024,
        latent_factor: 8,
        latent_channels: 16,
        size_multiple: 16,
        denoiser_params: 11_901_408_320,
        denoiser_matrices: 11_898_322_944,
        vae_params: 83_819_683,
        model_file_bytes: 33_700_000_000,
        vae_channels: 128,
        text: vec![
            clip(123_060_480, 768, 12),
            TextFacts {
                params: 4_762_310_656,
                matrices: 4_630_511_616,
                layers: 24,
                width: 4096,
                tokens: 512,
                targets: Vec::new(),
            },
        ],
        denoiser_targets: flux_targets(&flux),
        convolution_targets: Vec::new(),
        denoiser: DenoiserShape::Flux(flux),
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
    MachineFacts {
        device: "cpu".to_owned(),
        memory_bytes: 16_000_000_000,
        host_memory_bytes: 16_000_000_000,
        disk_free_bytes: 100_000_000_000,
        cache_free_bytes: 100_000_000_000,
        cache_folder: PathBuf::from("cache"),
        cores: 2,
        f16: false,
    }
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
    transformer(unet.block_out_channels[levels - 1], unet.transformer_depth[levels - 1].max(1));
    targets
}

/// q, k, v, output and feed-forward of picture and text in the double blocks, of both together in the single ones.
fn flux_targets(flux: &FluxShape) -> Vec<TargetFacts> {
    let (h, wide) = (flux.hidden, flux.hidden * flux.mlp_ratio);
    let stream = [(h, h), (h, h), (h, h), (h, h), (wide, h), (h, wide)];
    let single = [(h, h), (h, h), (h, h), (wide, h), (h, h + wide)];
    let double = (0..2 * flux.double_blocks).flat_map(|_| stream);
    let all = double.chain((0..flux.single_blocks).flat_map(|_| single));
    all.map(|(outputs, inputs)| TargetFacts { outputs, inputs, kernel: 1 }).collect()
}

fn clip(params: u64, width: u64, layers: u64) -> TextFacts {
    let targets = text_targets(width, layers);
    let matrices = targets.iter().map(|target| target.inputs * target.outputs).sum();
    TextFacts { params, matrices, layers, width, tokens: 77, targets }
}

/// q, k, v, output and the two feed-forward layers of each layer of a CLIP text encoder.
fn text_targets(width: u64, layers: u64) -> Vec<TargetFacts> {
    let shapes =
        [(width, width), (width, width), (width, width), (width, width), (4 * width, width), (width, 4 * width)];
    (0..layers).flat_map(|_| shapes.map(|(outputs, inputs)| TargetFacts { outputs, inputs, kernel: 1 })).collect()
}
