use lorikeet_nn::{LayerInfo, LayerKind};

/// The layers that kohya's `networks.lora` trains in a UNet: every linear layer and 1x1 convolution of its transformers
/// (192 in SD1.5, 722 in SDXL).
pub fn transformer_targets(layers: &[LayerInfo]) -> Vec<LayerInfo> {
    let small = |kind| matches!(kind, LayerKind::Linear { .. } | LayerKind::Conv2d { kernel: 1, .. });
    layers.iter().filter(|layer| layer.name.contains(".attentions.") && small(layer.kind)).cloned().collect()
}

/// What its `conv_dim` adds: every layer of the residual blocks and of the blocks that halve or double the picture (86 in
/// SD1.5, 66 in SDXL).
pub fn convolution_targets(layers: &[LayerInfo]) -> Vec<LayerInfo> {
    const INSIDE: [&str; 3] = [".resnets.", ".downsamplers.", ".upsamplers."];
    layers.iter().filter(|layer| INSIDE.iter().any(|part| layer.name.contains(part))).cloned().collect()
}

/// Attention and MLP of every layer (72 in CLIP-L).
pub fn text_encoder_targets(layers: &[LayerInfo]) -> Vec<LayerInfo> {
    let inside = |name: &str| name.contains(".self_attn.") || name.contains(".mlp.");
    layers.iter().filter(|layer| inside(&layer.name)).cloned().collect()
}
