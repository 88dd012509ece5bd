//! Where a part lies in files, under which names, and how it is read from there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::component::{Component, Entry, Part, Piece};
use crate::error::CheckpointError;
use crate::family::Family;
use crate::fp8;
use crate::keymap::{self, Take, UnetNumbering};
use crate::safetensors::SafetensorsFile;

/// How the tensors of a part are named in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    Ldm,
    Diffusers,
    Bfl,
    Transformers,
    OpenClip,
}

/// Prefix and naming of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) prefix: &'static str,
    pub(crate) naming: Naming,
}

/// A tensor that only a part under this naming has.
type Sign = (Naming, &'static str);

/// Prefixes of a denoiser; the whole-file ones come first: a file that has them has them for all of it.
pub(crate) const DENOISER_PREFIXES: [&str; 6] =
    ["model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "unet.", ""];
const VAE_PREFIXES: [&str; 3] = ["first_stage_model.", "vae.", ""];
const CLIP_PREFIXES: [&str; 8] = [
    "cond_stage_model.transformer.",
    "conditioner.embedders.0.transformer.",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_h.transformer.",
    "cond_stage_model.model.",
    "conditioner.embedders.0.model.",
    "text_encoder.",
    "",
];
const CLIP2_PREFIXES: [&str; 5] = [
    "conditioner.embedders.1.model.",
    "conditioner.embedders.1.transformer.",
    "text_encoders.clip_g.transformer.",
    "text_encoder_2.",
    "",
];
const T5_PREFIXES: [&str; 3] = ["text_encoders.t5xxl.transformer.", "text_encoder_2.", ""];

const UNET_SIGNS: [Sign; 2] =
    [(Naming::Ldm, "input_blocks.0.0.weight"), (Naming::Diffusers, "time_embedding.linear_1.weight")];
const FLUX_SIGNS: [Sign; 2] = [
    (Naming::Bfl, "double_blocks.0.img_attn.norm.key_norm."),
    (Naming::Diffusers, "transformer_blocks.0.attn.add_k_proj."),
];
const VAE_SIGNS: [Sign; 3] = [
    (Naming::Ldm, "decoder.mid.block_1.conv1.weight"),
    (Naming::Ldm, "decoder.up.0.block.0.conv1.weight"),
    (Naming::Diffusers, "decoder.conv_in.weight"),
];
const CLIP_SIGNS: [Sign; 3] = [
    (Naming::Transformers, "text_model.embeddings.token_embedding.weight"),
    (Naming::Transformers, "embeddings.token_embedding.weight"),
    (Naming::OpenClip, "transformer.resblocks.0."),
];
const T5_SIGNS: [Sign; 1] = [(Naming::Transformers, "encoder.block.0.layer.0.SelfAttention.q.weight")];

/// Prefixes and signs of a part of a family.
fn known(family: Family, part: Part) -> (&'static [&'static str], &'static [Sign]) {
    match part {
        Part::Unet => (&DENOISER_PREFIXES, &UNET_SIGNS),
        Part::Transformer => (&DENOISER_PREFIXES, &FLUX_SIGNS),
        Part::Vae => (&VAE_PREFIXES, &VAE_SIGNS),
        Part::TextEncoder => (&CLIP_PREFIXES, &CLIP_SIGNS),
        Part::TextEncoder2 if family.is_flux1() => (&T5_PREFIXES, &T5_SIGNS),
        Part::TextEncoder2 => (&CLIP2_PREFIXES, &CLIP_SIGNS),
    }
}

/// Where `part` lies in these files, if it is there.
pub(crate) fn find(files: &[Arc<SafetensorsFile>], family: Family, part: Part) -> Option<Place> {
    let (prefixes, signs) = known(family, part);
    let has = |start: &str| files.iter().any(|file| file.has_start(start));
    let places = prefixes.iter().flat_map(|prefix| signs.iter().map(move |(naming, sign)| (*prefix, *naming, *sign)));
    let mut found = places.filter(|(prefix, _, sign)| has(&format!("{prefix}{sign}")));
    found.next().map(|(prefix, naming, _)| Place { prefix, naming })
}

/// Reads the headers of a part. `location` is what messages name: the file, or the folder of several.
pub(crate) fn read(
    files: &[Arc<SafetensorsFile>],
    family: Family,
    part: Part,
    place: &Place,
    location: &Path,
) -> Result<Component, CheckpointError> {
    let scales = fp8::Scales::of(files, place.prefix);
    let mut component = Component::new(part, location);
    let mut stacks: BTreeMap<String, Vec<Option<Piece>>> = BTreeMap::new();
    let levels = vae_levels(files, place.prefix);
    for file in files {
        for key in file.names().filter(|key| !keymap::is_ballast(key)) {
            let Some(rest) = key.strip_prefix(place.prefix).filter(|rest| !fp8::is_companion(rest)) else { continue };
            // Sentinels such as `v_pred` and tensors of other parts have no name here.
            let whole = || -> Result<Entry, CheckpointError> { Ok(Entry::whole(scales.piece(file, key)?)) };
            match (part, place.naming) {
                (Part::Unet, Naming::Ldm) => {
                    if let Some(name) = keymap::unet_to_diffusers(rest, &UnetNumbering::sd1()) {
                        component.insert(name.clone(), linear_projection(family, &name, whole()?));
                    }
                }
                (Part::Unet, _) if rest.contains('.') => {
                    component.insert(rest.to_owned(), linear_projection(family, rest, whole()?));
                }
                (Part::Vae, naming) => {
                    let name = if naming == Naming::Ldm {
                        keymap::vae_to_diffusers(rest, levels)
                    } else {
                        is_vae_name(rest).then(|| keymap::vae_modern(rest))
                    };
                    if let Some(name) = name {
                        let entry = whole()?;
                        let linear = keymap::vae_is_attention_linear(&name);
                        component.insert(name, if linear { entry.squeezed() } else { entry });
                    }
                }
                (Part::TextEncoder, Naming::OpenClip) | (Part::TextEncoder2, Naming::OpenClip) => {
                    for (name, take) in keymap::openclip_to_transformers(rest) {
                        if is_used(family, part, &name) {
                            component.insert(name, taken(file, key, scales.piece(file, key)?, take)?);
                        }
                    }
                }
                (Part::TextEncoder2, _) if family.is_flux1() => {
                    if let Some(name) = keymap::t5_to_transformers(rest) {
                        component.insert(name, whole()?);
                    }
                }
                (Part::TextEncoder | Part::TextEncoder2, _) => {
                    let name = if rest == "text_projection" { None } else { keymap::clip_to_transformers(rest) };
                    if rest == "text_projection" && is_used(family, part, "text_projection.weight") {
                        component.insert("text_projection.weight".to_owned(), whole()?.transposed());
                    }
                    if let Some(name) = name.filter(|name| is_used(family, part, name)) {
                        component.insert(name, whole()?);
                    }
                }
                (Part::Transformer, Naming::Diffusers) => {
                    if let Some(piece) = keymap::flux_to_bfl(rest) {
                        let stored = scales.piece(file, key)?;
                        let slots = stacks.entry(piece.bfl).or_insert_with(|| vec![None; piece.count]);
                        if piece.swap_halves {
                            // The second half, then the first.
                            let half = stored.shape().first().copied().unwrap_or(0) / 2;
                            *slots = vec![Some(stored.clone().of_rows(half..2 * half)), Some(stored.of_rows(0..half))];
                        } else {
                            slots[piece.index] = Some(stored);
                        }
                    }
                }
                (Part::Transformer, _) => {
                    let name = keymap::bfl_modern(rest);
                    if keymap::flux_to_diffusers(&name).is_some() {
                        component.insert(name, whole()?);
                    }
                }
                (Part::Unet, _) => {}
            }
        }
    }
    for (name, pieces) in stacks {
        component.insert(name.clone(), stack(&name, pieces, location)?);
    }
    second_embedding(files, family, part, place, &mut component);
    Ok(component)
}

/// Old programs saved the linear projections of SD2 and SDXL as 1x1 convolutions.
fn linear_projection(family: Family, name: &str, entry: Entry) -> Entry {
    let projection = name.ends_with(".proj_in.weight") || name.ends_with(".proj_out.weight");
    if projection && family != Family::Sd1 { entry.squeezed() } else { entry }
}

/// Whether the family's text encoder uses a tensor: SD2 was trained on the last layer but one of OpenCLIP-H, and only
/// SDXL's second encoder is projected.
fn is_used(family: Family, part: Part, name: &str) -> bool {
    let last_layer = family == Family::Sd2 && name.starts_with("text_model.encoder.layers.23.");
    let projection = name.starts_with("text_projection") && (family, part) != (Family::Sdxl, Part::TextEncoder2);
    !last_layer && !projection && (name.starts_with("text_model.") || name.starts_with("text_projection."))
}

fn taken(file: &SafetensorsFile, key: &str, piece: Piece, take: Take) -> Result<Entry, CheckpointError> {
    match take {
        Take::Whole => Ok(Entry::whole(piece)),
        Take::Transposed => Ok(Entry::whole(piece).transposed()),
        Take::Third(index) => {
            let rows = piece.shape().first().copied().unwrap_or(0);
            if rows == 0 || rows % 3 != 0 {
                let problem =
                    format!("its {rows} rows cannot be query, key and value. The file is damaged; fetch it again.");
                return Err(CheckpointError::tensor(file.path(), key, problem));
            }
            let third = rows / 3;
            Ok(Entry::whole(piece.of_rows(index * third..(index + 1) * third)))
        }
    }
}

/// The pieces of a fused layer of FLUX as one tensor.
fn stack(name: &str, pieces: Vec<Option<Piece>>, location: &Path) -> Result<Entry, CheckpointError> {
    let mut present = Vec::with_capacity(pieces.len());
    for (i, piece) in pieces.into_iter().enumerate() {
        let Some(piece) = piece else {
            let theirs = keymap::flux_to_diffusers(name).and_then(|stack| stack.names.get(i).cloned());
            let tensor = theirs.unwrap_or_else(|| name.to_owned());
            return Err(CheckpointError::MissingTensor { path: location.to_owned(), tensor });
        };
        present.push(piece);
    }
    let key = present.last().map(|piece| piece.key.clone()).unwrap_or_default();
    Entry::stacked(present).map_err(|problem| CheckpointError::tensor(location, &key, problem))
}

/// Some T5 files hold the embedding only under its second name.
fn second_embedding(
    files: &[Arc<SafetensorsFile>],
    family: Family,
    part: Part,
    place: &Place,
    component: &mut Component,
) {
    let t5 = part == Part::TextEncoder2 && family.is_flux1();
    if !t5 || component.shape("shared.weight").is_some() {
        return;
    }
    let key = format!("{}encoder.embed_tokens.weight", place.prefix);
    if let Some(file) = files.iter().find(|file| file.info(&key).is_some()) {
        component.insert("shared.weight".to_owned(), Entry::whole(Piece::new(file, &key)));
    }
}

fn is_vae_name(name: &str) -> bool {
    ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].iter().any(|start| name.starts_with(start))
}

fn vae_levels(files: &[Arc<SafetensorsFile>], prefix: &str) -> usize {
    let level = |i: usize| files.iter().any(|file| file.has_start(&format!("{prefix}decoder.up.{i}.")));
    (0..).take_while(|&i| level(i)).count()
}
