//! Whether weights, configurations and parts belong together, told from headers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::component::{Component, Part};
use crate::configs;
use crate::error::CheckpointError;
use crate::family::Family;

/// Norm weights of a part that are read to see whether they are numbers.
const SAMPLED_NORMS: usize = 16;

/// A part by itself: the tensors every such part has, layers that repeat alike, numbers where numbers must be.
pub(crate) fn part(weights: &Component, family: Family) -> Result<(), CheckpointError> {
    let needed: &[&str] = match weights.part() {
        Part::Unet => &["conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight"],
        Part::Transformer => {
            &["img_in.weight", "txt_in.weight", "vector_in.in_layer.weight", "final_layer.linear.weight"]
        }
        Part::Vae => &["encoder.conv_in.weight", "decoder.conv_in.weight"],
        Part::TextEncoder2 if family.is_flux1() => &["shared.weight", "encoder.final_layer_norm.weight"],
        Part::TextEncoder2 => &["text_model.embeddings.token_embedding.weight", "text_projection.weight"],
        Part::TextEncoder => &["text_model.embeddings.token_embedding.weight"],
    };
    if let Some(name) = needed.iter().find(|name| weights.shape(name).is_none()) {
        let path = weights.place().to_owned();
        return Err(CheckpointError::MissingTensor { path, tensor: (*name).to_owned() });
    }
    repeated_layers(weights)?;
    norms(weights)
}

/// Lists whose layers are all alike. UNets differ from level to level, but not within the transformers of a level.
const LISTS: [&str; 5] =
    ["encoder.layers.", "encoder.block.", "double_blocks.", "single_blocks.", "transformer_blocks."];

/// Shapes by the name inside the layer.
type Layer<'a> = BTreeMap<&'a str, &'a [usize]>;

/// Every layer of a list must have the tensors and shapes of the others.
fn repeated_layers(weights: &Component) -> Result<(), CheckpointError> {
    let mut lists: BTreeMap<&str, BTreeMap<usize, Layer<'_>>> = BTreeMap::new();
    for name in weights.names() {
        let place = LISTS.iter().find_map(|list| name.rfind(list).map(|at| at + list.len()));
        let Some((list, rest)) = place.map(|at| name.split_at(at)) else { continue };
        let Some((index, inner)) = crate::keymap::number(rest) else { continue };
        // The first T5 layer alone holds the bias that all share.
        if inner.contains("relative_attention_bias") {
            continue;
        }
        let layers = lists.entry(list).or_default();
        layers.entry(index).or_default().insert(inner, weights.shape(name).unwrap_or_default());
    }
    for (list, layers) in lists {
        let Some(fullest) = layers.values().max_by_key(|layer| layer.len()) else { continue };
        let count = layers.keys().next_back().map_or(0, |last| last + 1);
        for index in 0..count {
            for (inner, usual) in fullest {
                let name = format!("{list}{index}.{inner}");
                match layers.get(&index).and_then(|layer| layer.get(inner)) {
                    None => {
                        return Err(CheckpointError::MissingTensor { path: weights.place().to_owned(), tensor: name });
                    }
                    Some(shape) if shape == usual => {}
                    Some(shape) => {
                        // Of two shapes the rarer one is the wrong one.
                        let (these, others) = (having(&layers, inner, shape), having(&layers, inner, usual));
                        let (name, wrong, usual) = match others.first() {
                            Some(other) if these.len() > others.len() => {
                                (format!("{list}{other}.{inner}"), usual, shape)
                            }
                            _ => (name, shape, usual),
                        };
                        let problem = format!(
                            "its shape is {wrong:?}, where the other layers have {usual:?}. The file is damaged or was \
                             merged from models that do not fit; fetch it again."
                        );
                        return Err(CheckpointError::tensor(weights.place(), &name, problem));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The layers in which a tensor has this shape.
fn having(layers: &BTreeMap<usize, Layer<'_>>, inner: &str, shape: &[usize]) -> Vec<usize> {
    let has = |(_, layer): &(&usize, &Layer<'_>)| layer.get(inner).is_some_and(|found| *found == shape);
    layers.iter().filter(has).map(|(index, _)| *index).collect()
}

/// Reads a few small tensors: a merge or a training run that went wrong left its NaNs everywhere.
fn norms(weights: &Component) -> Result<(), CheckpointError> {
    let norm = |name: &&str| {
        let small = weights.shape(name).is_some_and(|shape| shape.len() == 1);
        small && name.contains("norm") && (name.ends_with(".weight") || name.ends_with(".scale"))
    };
    let names: Vec<&str> = weights.names().filter(norm).collect();
    for name in names.iter().step_by(names.len().div_ceil(SAMPLED_NORMS).max(1)) {
        if let Some(value) = weights.f32(name)?.iter().find(|value| !value.is_finite()) {
            let problem = format!("it holds {value}. The model is broken; get it again or use another one.");
            return Err(CheckpointError::tensor(weights.place(), name, problem));
        }
    }
    Ok(())
}

/// A `config.json` against the weights beside it.
pub(crate) fn config(path: &Path, config: &Value, weights: &Component, family: Family) -> Result<(), CheckpointError> {
    let measured: Map<String, Value> = configs::measured(weights, family);
    for (key, found) in measured {
        let stated = &config[&key];
        // An older configuration may give one number for all levels, or leave a key out.
        if stated.is_null() || stated.is_array() != found.is_array() || *stated == found {
            continue;
        }
        let problem = format!(
            "its '{key}' is {stated}, but the weights beside it have {found}. One of the two belongs to another model; \
             download both again."
        );
        return Err(CheckpointError::Config { path: path.to_owned(), problem });
    }
    Ok(())
}

/// Whether the parts of a model fit each other, by the widths at which they meet.
pub(crate) fn fit(parts: &BTreeMap<Part, Component>, family: Family) -> Result<(), CheckpointError> {
    let size = |part: Part, name: &str, axis: usize| {
        parts.get(&part).and_then(|weights| weights.shape(name)).and_then(|shape| shape.get(axis)).copied()
    };
    let clip = |part| size(part, "text_model.embeddings.token_embedding.weight", 1);
    let denoiser = if family.is_flux1() { Part::Transformer } else { Part::Unet };
    let mut meetings = Vec::new();
    let latents = size(Part::Vae, "decoder.conv_in.weight", 1);
    if family.is_flux1() {
        // A patch of 2 x 2 latent pixels.
        meetings.push((Part::Vae, "latent channels", latents, size(denoiser, "img_in.weight", 1).map(|n| n / 4)));
        let pooled = size(denoiser, "vector_in.in_layer.weight", 1);
        meetings.push((Part::TextEncoder, "numbers a state", clip(Part::TextEncoder), pooled));
        let width = size(Part::TextEncoder2, "shared.weight", 1);
        meetings.push((Part::TextEncoder2, "numbers a state", width, size(denoiser, "txt_in.weight", 1)));
    } else {
        meetings.push((Part::Vae, "latent channels", latents, size(denoiser, "conv_in.weight", 1)));
        let weights = parts.get(&denoiser).map(|weights| configs::measured(weights, family)).unwrap_or_default();
        let number = |key: &str| weights.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let context = number("cross_attention_dim");
        if family == Family::Sdxl {
            let second = clip(Part::TextEncoder2);
            let rest = context.zip(second).and_then(|(all, second)| all.checked_sub(second));
            meetings.push((
                Part::TextEncoder,
                "numbers a state beside the second text encoder",
                clip(Part::TextEncoder),
                rest,
            ));
            let pooled = size(Part::TextEncoder2, "text_projection.weight", 0);
            let expected = number("projection_class_embeddings_input_dim").and_then(|all| all.checked_sub(6 * 256));
            meetings.push((Part::TextEncoder2, "numbers in the pooled state", pooled, expected));
        } else {
            meetings.push((Part::TextEncoder, "numbers a state", clip(Part::TextEncoder), context));
        }
    }
    for (part, what, found, expected) in meetings {
        let (Some(found), Some(expected)) = (found, expected) else { continue };
        if found != expected {
            let path = parts.get(&part).map(|weights| weights.place().to_owned()).unwrap_or_default();
            return Err(CheckpointError::PartMismatch { path, part, family, what, found, expected });
        }
    }
    Ok(())
}
