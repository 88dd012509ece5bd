//! How LoRA files name layers, and the rules to and from the dotted names of the model.
//!
//! A dotted name is `unet.` or `text_encoder.` followed by the layer's path in diffusers or transformers.

use std::collections::HashMap;

use crate::keymap::{UnetNumbering, clip_to_transformers, unet_to_diffusers};

/// Which tensor of a module a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Down,
    Up,
    Alpha,
}

/// Path segments of Stable Diffusion models that hold an underscore themselves.
const COMPOUND: [&str; 47] = [
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

/// Splits a key of a LoRA file into the module's dotted name and the tensor's role. `known` maps underscored names to
/// dotted ones where the model is at hand. The error says what is wrong with the key, as a sentence.
pub(crate) fn parse_key(key: &str, known: &HashMap<String, String>) -> Result<(String, Role), String> {
    if let Some((_, kind)) = OTHER_ADAPTERS.iter().find(|(mark, _)| key.contains(mark)) {
        return Err(format!("it belongs to {kind}, which this version of Lorikeet cannot use."));
    }
    let found = ENDINGS.iter().find_map(|(ending, role)| key.strip_suffix(ending).map(|name| (name, *role, *ending)));
    let Some((name, role, ending)) = found else {
        return Err("it is no LoRA tensor that Lorikeet knows. The file is damaged or of another kind.".to_owned());
    };
    let dotted = if ending.starts_with("_lora") { processor_name(name) } else { dotted_name(name, known) };
    dotted.map(|dotted| (dotted, role)).ok_or_else(|| match other_model(name) {
        Some(model) => format!("it belongs to a LoRA for {model}. Lorikeet uses LoRAs for Stable Diffusion 1.x."),
        None => "no layer of a Stable Diffusion 1.x model has that name.".to_owned(),
    })
}

/// The name that kohya's sd-scripts use: `unet.a.b_c` is `lora_unet_a_b_c`. `None` for a name of neither part.
pub(crate) fn kohya_name(dotted: &str) -> Option<String> {
    let (prefix, path) = match dotted.strip_prefix("unet.") {
        Some(path) => ("lora_unet_", path),
        None => ("lora_te_", dotted.strip_prefix("text_encoder.")?),
    };
    Some(format!("{prefix}{}", path.replace('.', "_")))
}

/// The dotted name of a module, from any of the spellings in use.
pub(crate) fn dotted_name(name: &str, known: &HashMap<String, String>) -> Option<String> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("lora_unet_") {
        return match known.get(&format!("lora_unet_{rest}")) {
            Some(dotted) => Some(dotted.clone()),
            None => Some(format!("unet.{}", unet_path(&split_underscored(rest)?)?)),
        };
    }
    if let Some(rest) = name.strip_prefix("lora_te_").or_else(|| name.strip_prefix("lora_te1_")) {
        return match known.get(&format!("lora_te_{rest}")) {
            Some(dotted) => Some(dotted.clone()),
            None => Some(format!("text_encoder.{}", text_path(&split_underscored(rest)?)?)),
        };
    }
    let path = name.strip_prefix("unet.").or_else(|| name.strip_prefix("diffusion_model.")).unwrap_or(name);
    if let Some(path) = unet_path(path) {
        return Some(format!("unet.{path}"));
    }
    let path = name.strip_prefix("text_encoder.").unwrap_or(name);
    text_path(path).map(|path| format!("text_encoder.{path}"))
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
fn processor_name(name: &str) -> Option<String> {
    let (attention, layer) = name.rsplit_once('.')?;
    let layer = if attention.ends_with(".processor") && layer == "to_out" { "to_out.0" } else { layer };
    if let Some(attention) = attention.strip_suffix(".processor") {
        return dotted_name(&format!("{attention}.{layer}"), &HashMap::new());
    }
    let layer = match layer {
        "to_q" => "q_proj",
        "to_k" => "k_proj",
        "to_v" => "v_proj",
        "to_out" => "out_proj",
        _ => return None,
    };
    dotted_name(&format!("{attention}.{layer}"), &HashMap::new())
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
    if has(&["lora_te2_", "text_encoder_2."]) {
        return Some("a model with two text encoders (SDXL)");
    }
    if has(&["double_blocks", "single_blocks", "single_transformer_blocks"]) {
        return Some("FLUX");
    }
    if has(&["joint_blocks", "lora_te3_", "text_encoder_3."]) {
        return Some("Stable Diffusion 3 or FLUX");
    }
    has(&["transformer.", "layers."]).then_some("a transformer model")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn parsed(key: &str) -> (String, Role) {
        parse_key(key, &HashMap::new()).unwrap()
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
        let known = HashMap::from([(kohya_name(&odd).unwrap(), odd.clone())]);
        let key = "lora_unet_down_blocks_0_my_odd_layer_x.alpha";
        assert_eq!(parse_key(key, &known).unwrap(), (odd, Role::Alpha));
    }

    #[test]
    fn keys_of_other_things_say_so() {
        let problem = |key: &str| parse_key(key, &HashMap::new()).unwrap_err();
        assert!(problem("lora_unet_mid_block_attentions_0_proj_in.dora_scale").contains("DoRA"));
        assert!(problem("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a").contains("LoHa"));
        assert!(problem("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha").contains("SDXL"));
        assert!(problem("lora_unet_double_blocks_0_img_attn_qkv.alpha").contains("FLUX"));
        assert!(problem("lora_unet_nonsense.alpha").contains("no layer"));
        assert!(problem("lora_unet__down_blocks.alpha").contains("no layer"));
        assert!(problem("something.weight").contains("no LoRA tensor"));
    }
}
