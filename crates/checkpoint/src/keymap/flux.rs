//! FLUX.1 transformer: the names of Black Forest Labs (BFL) against diffusers, which splits fused layers.

use super::{number, swap_start, swap_start_back};

/// Diffusers tensors that make up a BFL one, stacked along axis 0 in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluxStack {
    pub names: Vec<String>,
    /// The two halves along axis 0 change places: BFL has shift before scale, diffusers scale before shift.
    pub swap_halves: bool,
}

/// The place of a diffusers tensor in a BFL one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluxPiece {
    /// Name of the BFL tensor.
    pub bfl: String,
    /// Which of the stacked tensors this is, and of how many.
    pub index: usize,
    pub count: usize,
    /// See [`FluxStack::swap_halves`].
    pub swap_halves: bool,
}

/// BFL against diffusers, outside the blocks.
const ENDS: [(&str, &str); 9] = [
    ("img_in.", "x_embedder."),
    ("txt_in.", "context_embedder."),
    ("time_in.in_layer.", "time_text_embed.timestep_embedder.linear_1."),
    ("time_in.out_layer.", "time_text_embed.timestep_embedder.linear_2."),
    ("vector_in.in_layer.", "time_text_embed.text_embedder.linear_1."),
    ("vector_in.out_layer.", "time_text_embed.text_embedder.linear_2."),
    ("guidance_in.in_layer.", "time_text_embed.guidance_embedder.linear_1."),
    ("guidance_in.out_layer.", "time_text_embed.guidance_embedder.linear_2."),
    ("final_layer.linear.", "proj_out."),
];

const FINAL_MODULATION: (&str, &str) = ("final_layer.adaLN_modulation.1.", "norm_out.linear.");

/// BFL against diffusers, inside a double block. Norms end in `scale` and `weight`.
const DOUBLE: [(&str, &str); 12] = [
    ("img_mod.lin.", "norm1.linear."),
    ("txt_mod.lin.", "norm1_context.linear."),
    ("img_attn.proj.", "attn.to_out.0."),
    ("txt_attn.proj.", "attn.to_add_out."),
    ("img_attn.norm.query_norm.", "attn.norm_q."),
    ("img_attn.norm.key_norm.", "attn.norm_k."),
    ("txt_attn.norm.query_norm.", "attn.norm_added_q."),
    ("txt_attn.norm.key_norm.", "attn.norm_added_k."),
    ("img_mlp.0.", "ff.net.0.proj."),
    ("img_mlp.2.", "ff.net.2."),
    ("txt_mlp.0.", "ff_context.net.0.proj."),
    ("txt_mlp.2.", "ff_context.net.2."),
];

/// BFL against diffusers, inside a single block.
const SINGLE: [(&str, &str); 4] = [
    ("modulation.lin.", "norm.linear."),
    ("norm.query_norm.", "attn.norm_q."),
    ("norm.key_norm.", "attn.norm_k."),
    ("linear2.", "proj_out."),
];

/// Fused layers of a double block.
const DOUBLE_FUSED: [(&str, &[&str]); 2] = [
    ("img_attn.qkv.", &["attn.to_q.", "attn.to_k.", "attn.to_v."]),
    ("txt_attn.qkv.", &["attn.add_q_proj.", "attn.add_k_proj.", "attn.add_v_proj."]),
];

/// The fused layer of a single block.
const SINGLE_FUSED: [(&str, &[&str]); 1] = [("linear1.", &["attn.to_q.", "attn.to_k.", "attn.to_v.", "proj_mlp."])];

type Pairs = &'static [(&'static str, &'static str)];
type Fused = &'static [(&'static str, &'static [&'static str])];

/// Blocks: BFL name, diffusers name, layers, fused layers.
const BLOCKS: [(&str, &str, Pairs, Fused); 2] = [
    ("double_blocks.", "transformer_blocks.", &DOUBLE, &DOUBLE_FUSED),
    ("single_blocks.", "single_transformer_blocks.", &SINGLE, &SINGLE_FUSED),
];

/// The diffusers tensors of a BFL tensor. `None` for a name that no rule covers.
pub fn flux_to_diffusers(bfl: &str) -> Option<FluxStack> {
    let one = |name: String| Some(FluxStack { names: vec![name], swap_halves: false });
    if let Some(rest) = bfl.strip_prefix(FINAL_MODULATION.0) {
        return Some(FluxStack { names: vec![format!("{}{rest}", FINAL_MODULATION.1)], swap_halves: true });
    }
    if let Some(name) = swap_start(bfl, &ENDS) {
        return one(name);
    }
    for (ours, theirs, pairs, fused) in BLOCKS {
        let Some(inner) = bfl.strip_prefix(ours) else { continue };
        let (block, rest) = number(inner)?;
        if let Some((start, names)) = fused.iter().find(|(start, _)| rest.starts_with(start)) {
            let end = &rest[start.len()..];
            let names = names.iter().map(|name| format!("{theirs}{block}.{name}{end}")).collect();
            return Some(FluxStack { names, swap_halves: false });
        }
        let rest = swap_start(rest, pairs)?;
        let rest = rest.strip_suffix(".scale").map_or(rest.clone(), |norm| format!("{norm}.weight"));
        return one(format!("{theirs}{block}.{rest}"));
    }
    None
}

/// Where a diffusers tensor lies in BFL names. `None` for a name that no rule covers.
pub fn flux_to_bfl(diffusers: &str) -> Option<FluxPiece> {
    let one = |bfl: String, swap_halves| Some(FluxPiece { bfl, index: 0, count: 1, swap_halves });
    if let Some(rest) = diffusers.strip_prefix(FINAL_MODULATION.1) {
        return one(format!("{}{rest}", FINAL_MODULATION.0), true);
    }
    if let Some(name) = swap_start_back(diffusers, &ENDS) {
        return one(name, false);
    }
    for (ours, theirs, pairs, fused) in BLOCKS {
        let Some(inner) = diffusers.strip_prefix(theirs) else { continue };
        let (block, rest) = number(inner)?;
        for (start, names) in fused {
            let found = names.iter().enumerate().find_map(|(i, name)| Some((i, rest.strip_prefix(name)?)));
            if let Some((index, end)) = found {
                let bfl = format!("{ours}{block}.{start}{end}");
                return Some(FluxPiece { bfl, index, count: names.len(), swap_halves: false });
            }
        }
        let norm = rest.starts_with("attn.norm_");
        let rest = swap_start_back(rest, pairs)?;
        let rest = if norm { modern_norm(&rest) } else { rest };
        return one(format!("{ours}{block}.{rest}"), false);
    }
    None
}

/// BFL name of a tensor in a file with BFL names: newer ComfyUI files end the query and key norms in `weight`.
pub(crate) fn bfl_modern(name: &str) -> String {
    if name.contains("_norm.") { modern_norm(name) } else { name.to_owned() }
}

fn modern_norm(name: &str) -> String {
    name.strip_suffix("_norm.weight").map_or_else(|| name.to_owned(), |norm| format!("{norm}_norm.scale"))
}
