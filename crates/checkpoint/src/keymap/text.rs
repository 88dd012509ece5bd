//! Text encoders: CLIP, OpenCLIP and T5 against transformers.

/// CLIP text encoder: the name with `text_model.` in front, which old merges and transformers 5 leave out.
/// `None` for entries that hold no weight (`position_ids`, which some programs save as floats, and `logit_scale`).
pub fn clip_to_transformers(name: &str) -> Option<String> {
    if name.ends_with("position_ids") || name == "logit_scale" {
        return None;
    }
    if name.starts_with("text_model.") || name == "text_projection.weight" {
        return Some(name.to_owned());
    }
    Some(format!("text_model.{name}"))
}

/// How a tensor of the model is taken from a stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    Whole,
    /// One of three equal parts along axis 0: query, key, value.
    Third(usize),
    /// Rows become columns.
    Transposed,
}

/// OpenCLIP against transformers, inside a layer.
const OPENCLIP_LAYER: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
];

/// OpenCLIP against transformers, outside the layers. The bare `text_projection` multiplies from the right
/// (`pooled @ P`), where transformers has a linear layer.
const OPENCLIP_ENDS: [(&str, &str, Take); 7] = [
    ("positional_embedding", "text_model.embeddings.position_embedding.weight", Take::Whole),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight", Take::Whole),
    ("ln_final.weight", "text_model.final_layer_norm.weight", Take::Whole),
    ("ln_final.bias", "text_model.final_layer_norm.bias", Take::Whole),
    ("text_projection", "text_projection.weight", Take::Transposed),
    // Some files were saved with it as a linear layer already; Playground's with the ending doubled.
    ("text_projection.weight", "text_projection.weight", Take::Whole),
    ("text_projection.weight.weight", "text_projection.weight", Take::Whole),
];

const QKV: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// OpenCLIP text encoder: the tensors of transformers that a stored one holds. Empty for what is none of ours
/// (`logit_scale`).
pub fn openclip_to_transformers(name: &str) -> Vec<(String, Take)> {
    if let Some((_, ours, take)) = OPENCLIP_ENDS.iter().find(|(theirs, ..)| *theirs == name) {
        return vec![((*ours).to_owned(), *take)];
    }
    let Some((layer, rest)) = name.strip_prefix("transformer.resblocks.").and_then(super::number) else {
        return Vec::new();
    };
    let layer = format!("text_model.encoder.layers.{layer}");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        let third = |(i, part): (usize, &str)| (format!("{layer}.self_attn.{part}.{kind}"), Take::Third(i));
        return QKV.into_iter().enumerate().map(third).collect();
    }
    let rest = super::swap_start(rest, &OPENCLIP_LAYER);
    rest.map(|rest| (format!("{layer}.{rest}"), Take::Whole)).into_iter().collect()
}

/// OpenCLIP text encoder: where a tensor of transformers is stored.
pub fn openclip_from_transformers(name: &str) -> Option<(String, Take)> {
    if let Some((theirs, _, take)) = OPENCLIP_ENDS.iter().find(|(_, ours, _)| *ours == name) {
        return Some(((*theirs).to_owned(), *take));
    }
    let (layer, rest) = super::number(name.strip_prefix("text_model.encoder.layers.")?)?;
    let layer = format!("transformer.resblocks.{layer}");
    if let Some((part, kind)) = rest.strip_prefix("self_attn.").and_then(|rest| rest.split_once('.'))
        && let Some(third) = QKV.iter().position(|other| *other == part)
    {
        return Some((format!("{layer}.attn.in_proj_{kind}"), Take::Third(third)));
    }
    super::swap_start_back(rest, &OPENCLIP_LAYER).map(|rest| (format!("{layer}.{rest}"), Take::Whole))
}

/// T5: the name of an encoder's tensor in transformers. `None` for what the encoder does not need: the decoder of a
/// whole T5, and the second copy of the embedding that transformers writes.
pub fn t5_to_transformers(name: &str) -> Option<String> {
    let ours = name == "shared.weight" || name.starts_with("encoder.");
    (ours && name != "encoder.embed_tokens.weight").then(|| name.to_owned())
}
