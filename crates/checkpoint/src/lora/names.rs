//! How LoRA files name layers, and the rules to and from the dotted names of the model.
//!
//! A dotted name is the folder name of a part (`unet.`, `transformer.`, `text_encoder.`, `text_encoder_2.`) followed by
//! the layer's path in diffusers or transformers, or under BFL names in the FLUX transformer.

use std::collections::HashMap;

use crate::family::Family;
use crate::keymap::{
    UnetNumbering, clip_to_transformers, flux_to_bfl, flux_to_diffusers, unet_to_diffusers, unet_to_ldm,
};

/// Which tensor of a module a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Down,
    Up,
    Alpha,
}

/// The layer that a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layer {
    /// Dotted name.
    pub(crate) name: String,
    /// Where the key names only one of several layers that the model has fused: which one, and of how many.
    pub(crate) index: usize,
    pub(crate) count: usize,
    /// Whether the halves of the outputs lie the other way round than in the model.
    pub(crate) swap_halves: bool,
}

impl Layer {
    fn whole(name: String) -> Self {
        Self { name, index: 0, count: 1, swap_halves: false }
    }
}

/// Path segments that hold an underscore themselves.
const COMPOUND: [&str; 79] = [
    "down_blocks",
    "up_blocks",
    "mid_block",
    "transformer_blocks",
    "proj_in",
    "proj_out",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "time_emb_proj",
    "conv_shortcut",
    "conv_in",
    "conv_out",
    "conv_norm_out",
    "time_embedding",
    "add_embedding",
    "class_embedding",
    "linear_1",
    "linear_2",
    "input_blocks",
    "middle_block",
    "output_blocks",
    "in_layers",
    "emb_layers",
    "out_layers",
    "skip_connection",
    "time_embed",
    "label_emb",
    "text_model",
    "text_projection",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
    "layer_norm1",
    "layer_norm2",
    "final_layer_norm",
    "token_embedding",
    "position_embedding",
    "group_norm",
    "quant_conv",
    "post_quant_conv",
    "context_embedder",
    "x_embedder",
    "norm_out",
    "double_blocks",
    "single_blocks",
    "single_transformer_blocks",
    "img_attn",
    "txt_attn",
    "img_mlp",
    "txt_mlp",
    "img_mod",
    "txt_mod",
    "img_in",
    "txt_in",
    "time_in",
    "vector_in",
    "guidance_in",
    "in_layer",
    "out_layer",
    "final_layer",
    "adaLN_modulation",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_add_out",
    "ff_context",
    "norm1_context",
    "proj_mlp",
    "time_text_embed",
    "timestep_embedder",
    "text_embedder",
    "guidance_embedder",
    "wi_0",
    "wi_1",
    "relative_attention_bias",
];

/// Endings of keys, each with what the tensor is.
const ENDINGS: [(&str, Role); 15] = [
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".alpha", Role::Alpha),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A", Role::Down),
    (".lora_B", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
];

/// Marks of adapters that are not plain LoRA.
const OTHER_ADAPTERS: [(&str, &str); 9] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".lora_mid.", "LoCon with a Tucker core"),
    (".oft_", "OFT"),
    (".diff", "full weight differences"),
    (".w_norm", "trained norms"),
    ("bundle_emb.", "a bundled textual inversion"),
];

/// Splits a key of a LoRA file into the layer and the tensor's role. `known` maps kohya names to dotted ones where the
/// model is at hand. The error says what is wrong with the key, as a sentence.
pub(crate) fn parse_key(key: &str, known: &HashMap<String, String>) -> Result<(Layer, Role), String> {
    if let Some((_, kind)) = OTHER_ADAPTERS.iter().find(|(mark, _)| key.contains(mark)) {
        return Err(format!("it belongs to {kind}, which this version of Lorikeet cannot use."));
    }
    let found = ENDINGS.iter().find_map(|(ending, role)| key.strip_suffix(ending).map(|name| (name, *role, *ending)));
    let Some((name, role, ending)) = found else {
        return Err("it is no LoRA tensor that Lorikeet knows. The file is damaged or of another kind.".to_owned());
    };
    let layer = if ending.starts_with("_lora") { processor_layer(name) } else { layer(name, known) };
    layer.map(|layer| (layer, role)).ok_or_else(|| match other_model(name) {
        Some(model) => format!(
            "it belongs to a LoRA for {model}. Lorikeet uses LoRAs for Stable Diffusion 1.x and 2.x, SDXL and FLUX.1."
        ),
        None => "no layer of a model that Lorikeet knows has that name.".to_owned(),
    })
}

/// The name that kohya's sd-scripts use for a layer of a family: `unet.a.b_c` is `lora_unet_a_b_c`, with ldm block names
/// for SDXL and BFL names for FLUX. `None` for a name of no part of the family.
pub(crate) fn kohya_name(family: Family, dotted: &str) -> Option<String> {
    let (part, path) = dotted.split_once('.')?;
    let flux = family.is_flux1();
    let prefix = match part {
        "unet" if family == Family::Sdxl => {
            let ldm = unet_to_ldm(&format!("{path}.weight"), &UnetNumbering::sdxl())?;
            return Some(format!("lora_unet_{}", ldm.strip_suffix(".weight")?.replace('.', "_")));
        }
        "unet" if !flux => "lora_unet_",
        "transformer" if flux => "lora_unet_",
        "text_encoder" if flux || family == Family::Sdxl => "lora_te1_",
        "text_encoder" => "lora_te_",
        "text_encoder_2" if flux => "lora_te3_",
        "text_encoder_2" if family == Family::Sdxl => "lora_te2_",
        _ => return None,
    };
    Some(format!("{prefix}{}", path.replace('.', "_")))
}

/// Prefixes of kohya names, each with the part it stands for; the denoiser's part is told by the path.
const KOHYA: [(&str, &str); 7] = [
    ("lora_unet_", ""),
    ("lora_transformer_", ""),
    ("lycoris_", ""),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te3_", "text_encoder_2"),
];

/// Prefixes of dotted names, likewise.
const DOTTED: [(&str, &str); 5] = [
    ("unet.", ""),
    ("transformer.", ""),
    ("diffusion_model.", ""),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
];

/// The layer of a module, from any of the spellings in use.
pub(crate) fn layer(name: &str, known: &HashMap<String, String>) -> Option<Layer> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    if let Some(dotted) = known.get(name) {
        return Some(Layer::whole(dotted.clone()));
    }
    for (prefix, part) in KOHYA {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        if part == "text_encoder"
            && let Some(dotted) = ["lora_te_", "lora_te1_"].iter().find_map(|te| known.get(&format!("{te}{rest}")))
        {
            return Some(Layer::whole(dotted.clone()));
        }
        return inside(part, &split_underscored(rest)?);
    }
    for (prefix, part) in DOTTED {
        if let Some(rest) = name.strip_prefix(prefix) {
            return inside(part, rest);
        }
    }
    denoiser_layer(name).or_else(|| inside("text_encoder", name))
}

fn inside(part: &str, path: &str) -> Option<Layer> {
    match part {
        "" => denoiser_layer(path),
        "text_encoder_2" if path.starts_with("encoder.block.") => Some(Layer::whole(format!("{part}.{path}"))),
        _ => text_path(path).map(|path| Layer::whole(format!("{part}.{path}"))),
    }
}

fn denoiser_layer(path: &str) -> Option<Layer> {
    if let Some(path) = unet_path(path) {
        return Some(Layer::whole(format!("unet.{path}")));
    }
    let weight = format!("{path}.weight");
    if flux_to_diffusers(&weight).is_some() {
        return Some(Layer::whole(format!("transformer.{path}")));
    }
    let piece = flux_to_bfl(&weight)?;
    let name = format!("transformer.{}", piece.bfl.strip_suffix(".weight")?);
    Some(Layer { name, index: piece.index, count: piece.count, swap_halves: piece.swap_halves })
}

/// A UNet path under diffusers names, given with those or with ldm names.
fn unet_path(path: &str) -> Option<String> {
    const STARTS: [&str; 7] =
        ["down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.", "conv_in", "conv_out"];
    if STARTS.iter().any(|start| path.starts_with(start)) {
        return Some(path.to_owned());
    }
    let name = unet_to_diffusers(&format!("{path}.weight"), &UnetNumbering::sd1())?;
    name.strip_suffix(".weight").map(str::to_owned)
}

/// A path in the text encoder, with `text_model.` in front.
fn text_path(path: &str) -> Option<String> {
    const STARTS: [&str; 4] = ["encoder.layers.", "embeddings.", "final_layer_norm", "text_projection"];
    let inner = path.strip_prefix("text_model.").unwrap_or(path);
    STARTS.iter().any(|start| inner.starts_with(start)).then(|| clip_to_transformers(path))?
}

/// Names of diffusers before 0.17: `unet.<attention>.processor.to_out_lora`.
fn processor_layer(name: &str) -> Option<Layer> {
    let (attention, kind) = name.rsplit_once('.')?;
    let kind = if attention.ends_with(".processor") && kind == "to_out" { "to_out.0" } else { kind };
    if let Some(attention) = attention.strip_suffix(".processor") {
        return layer(&format!("{attention}.{kind}"), &HashMap::new());
    }
    let kind = match kind {
        "to_q" => "q_proj",
        "to_k" => "k_proj",
        "to_v" => "v_proj",
        "to_out" => "out_proj",
        _ => return None,
    };
    layer(&format!("{attention}.{kind}"), &HashMap::new())
}

/// Puts the dots back: at each place the longest known compound segment is taken, else the text up to the next
/// underscore.
fn split_underscored(name: &str) -> Option<String> {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let ends = |segment: &&&str| {
            rest.strip_prefix(**segment).is_some_and(|after| after.is_empty() || after.starts_with('_'))
        };
        let compound = COMPOUND.iter().filter(ends).max_by_key(|segment| segment.len());
        let length = compound.map_or_else(|| rest.find('_').unwrap_or(rest.len()), |segment| segment.len());
        if length == 0 {
            return None;
        }
        segments.push(&rest[..length]);
        rest = rest[length..].strip_prefix('_').unwrap_or_default();
    }
    Some(segments.join("."))
}

fn other_model(name: &str) -> Option<&'static str> {
    let has = |marks: &[&str]| marks.iter().any(|mark| name.contains(mark));
    if has(&["joint_blocks", "text_encoder_3."]) {
        return Some("Stable Diffusion 3");
    }
    has(&["transformer.", "layers."]).then_some("another transformer model")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn parsed(key: &str) -> (String, Role) {
        let (layer, role) = parse_key(key, &HashMap::new()).unwrap();
        assert_eq!((layer.count, layer.swap_halves), (1, false), "{key}");
        (layer.name, role)
    }

    #[test]
    fn spellings_of_one_layer() {
        let layer = "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0".to_owned();
        for key in [
            "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
            "lora_unet_input_blocks_2_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.default.weight",
            "base_model.model.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora.down.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",
        ] {
            assert_eq!(parsed(key), (layer.clone(), Role::Down), "{key}");
        }
    }

    #[test]
    fn spellings_of_one_text_layer() {
        let layer = "text_encoder.text_model.encoder.layers.11.self_attn.out_proj".to_owned();
        for key in [
            "lora_te_text_model_encoder_layers_11_self_attn_out_proj.lora_up.weight",
            "lora_te1_text_model_encoder_layers_11_self_attn_out_proj.lora_up.weight",
            "lora_te_encoder_layers_11_self_attn_out_proj.lora_up.weight",
            "text_encoder.text_model.encoder.layers.11.self_attn.out_proj.lora_B.weight",
            "text_encoder.encoder.layers.11.self_attn.out_proj.lora_B.weight",
            "text_encoder.text_model.encoder.layers.11.self_attn.out_proj.lora_linear_layer.up.weight",
            "text_encoder.text_model.encoder.layers.11.self_attn.to_out_lora.up.weight",
        ] {
            assert_eq!(parsed(key), (layer.clone(), Role::Up), "{key}");
        }
    }

    #[test]
    fn known_modules_come_first() {
        let odd = "unet.down_blocks.0.my_odd.layer_x".to_owned();
        let known = HashMap::from([(kohya_name(Family::Sd1, &odd).unwrap(), odd.clone())]);
        let key = "lora_unet_down_blocks_0_my_odd_layer_x.alpha";
        assert_eq!(parse_key(key, &known).unwrap(), (Layer::whole(odd), Role::Alpha));
    }

    #[test]
    fn keys_of_other_things_say_so() {
        let problem = |key: &str| parse_key(key, &HashMap::new()).unwrap_err();
        assert!(problem("lora_unet_mid_block_attentions_0_proj_in.dora_scale").contains("DoRA"));
        assert!(problem("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a").contains("LoHa"));
        assert!(problem("lora_unet_joint_blocks_0_x_block_attn_qkv.alpha").contains("Stable Diffusion 3"));
        assert!(problem("lora_unet_nonsense.alpha").contains("no layer"));
        assert!(problem("lora_unet__down_blocks.alpha").contains("no layer"));
        assert!(problem("something.weight").contains("no LoRA tensor"));
    }
}
