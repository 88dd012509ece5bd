//! Every line of the key lists, both ways.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeSet;

use lorikeet_checkpoint::Family;
use lorikeet_checkpoint::keymap::{
    Take, UnetNumbering, clip_to_transformers, flux_to_bfl, flux_to_diffusers, openclip_from_transformers,
    openclip_to_transformers, t5_to_transformers, unet_to_diffusers, unet_to_ldm, vae_is_attention_linear, vae_modern,
    vae_to_diffusers, vae_to_ldm,
};
use lorikeet_checkpoint::lora::{dotted_layer_name, kohya_layer_name};
use support::{dims, key_list};

#[test]
fn unet_names() {
    for (list, numbering, count, total) in [
        ("unet_sd15.tsv", UnetNumbering::sd1(), 686, 859_520_964),
        ("unet_sd2.tsv", UnetNumbering::sd1(), 686, 865_910_724),
        ("unet_sdxl.tsv", UnetNumbering::sdxl(), 1680, 2_567_463_684),
    ] {
        let lines = key_list(list);
        let mut parameters = 0;
        for line in &lines {
            assert_eq!(unet_to_diffusers(&line[0], &numbering).as_ref(), Some(&line[1]), "{}", line[0]);
            assert_eq!(unet_to_ldm(&line[1], &numbering).as_ref(), Some(&line[0]), "{}", line[1]);
            parameters += dims(&line[2]).iter().product::<usize>();
        }
        assert_eq!((lines.len(), parameters), (count, total), "{list}");
    }
    let numbering = UnetNumbering::sd1();
    assert_eq!(unet_to_diffusers("input_blocks.1.0.nothing.weight", &numbering), None);
    assert_eq!(unet_to_diffusers("somewhere.else", &numbering), None);
}

#[test]
fn autoencoder_names_and_shapes() {
    for (list, count, total) in [("vae_sd_4ch.tsv", 248, 83_653_863), ("vae_flux_16ch.tsv", 244, 83_819_683)] {
        let lines = key_list(list);
        let mut parameters = 0;
        for line in &lines {
            assert_eq!(vae_to_diffusers(&line[0], 4).as_ref(), Some(&line[1]), "{}", line[0]);
            assert_eq!(vae_to_ldm(&line[1], 4).as_ref(), Some(&line[0]), "{}", line[1]);
            assert_eq!(vae_is_attention_linear(&line[1]), line[2] != line[3], "{}", line[1]);
            assert_eq!(vae_modern(&line[1]), line[1]);
            parameters += dims(&line[3]).iter().product::<usize>();
        }
        assert_eq!((lines.len(), parameters), (count, total), "{list}");
    }
}

#[test]
fn openclip_names() {
    for (list, layers) in [("openclip_H.tsv", 24), ("openclip_bigG.tsv", 32)] {
        let mut tensors = 0;
        for line in key_list(list) {
            let found = openclip_to_transformers(&line[0]);
            let expected: Vec<(String, Take)> = match line[3].as_str() {
                "drop" => Vec::new(),
                "same" => vec![(line[1].clone(), Take::Whole)],
                "transpose" => vec![(line[1].clone(), Take::Transposed)],
                "split3_dim0" => {
                    let third = |(i, part)| (line[1].replace("{q,k,v}", part), Take::Third(i));
                    ["q", "k", "v"].into_iter().enumerate().map(third).collect()
                }
                rule => panic!("{rule}"),
            };
            assert_eq!(found, expected, "{}", line[0]);
            for (name, take) in found {
                assert_eq!(openclip_from_transformers(&name), Some((line[0].clone(), take)), "{name}");
                tensors += 1;
            }
        }
        // 16 a layer, two embeddings, the last norm, the projection.
        assert_eq!(tensors, 16 * layers + 5, "{list}");
    }
}

#[test]
fn t5_names() {
    let lines = key_list("t5xxl_encoder.tsv");
    assert!(lines.iter().all(|line| t5_to_transformers(&line[0]).as_ref() == Some(&line[0])));
    assert_eq!(lines.len(), 219);
    assert_eq!(t5_to_transformers("decoder.final_layer_norm.weight"), None);
    assert_eq!(t5_to_transformers("lm_head.weight"), None);
}

#[test]
fn flux_names() {
    let lines = key_list("flux_dev.tsv");
    let mut parameters = 0;
    for line in &lines {
        let stack = flux_to_diffusers(&line[0]).unwrap();
        assert_eq!(stack.names.join(","), line[1], "{}", line[0]);
        assert_eq!(stack.swap_halves, line[3] == "swap_halves_dim0", "{}", line[0]);
        for (i, name) in stack.names.iter().enumerate() {
            let piece = flux_to_bfl(name).unwrap();
            assert_eq!((piece.bfl.as_str(), piece.index, piece.count), (line[0].as_str(), i, stack.names.len()));
            assert_eq!(piece.swap_halves, stack.swap_halves);
        }
        parameters += dims(&line[2]).iter().product::<usize>();
    }
    assert_eq!((lines.len(), parameters), (780, 11_901_408_320));
    assert_eq!(flux_to_diffusers("double_blocks.0.nothing.weight"), None);
}

#[test]
fn text_encoder_names() {
    let lines = key_list("clip_l.tsv");
    for line in &lines {
        assert_eq!(clip_to_transformers(&line[0]).as_ref(), Some(&line[0]));
        let bare = line[0].strip_prefix("text_model.").unwrap();
        assert_eq!(clip_to_transformers(bare).as_ref(), Some(&line[0]));
    }
    assert_eq!(lines.len(), 196);
    assert_eq!(clip_to_transformers("text_model.embeddings.position_ids"), None);
    assert_eq!(clip_to_transformers("logit_scale"), None);
}

/// Layer names of a part, from its key list.
fn layers(list: &str, column: usize, part: &str) -> BTreeSet<String> {
    let path = |line: &Vec<String>| line[column].strip_suffix(".weight").map(|path| format!("{part}.{path}"));
    key_list(list).iter().filter_map(path).collect()
}

#[test]
fn lora_names_of_the_unet() {
    for (family, list, keys, all, attention) in [
        (Family::Sd1, "lora_unet_sd15.tsv", "unet_sd15.tsv", 278, 192),
        (Family::Sd2, "lora_unet_sd2.tsv", "unet_sd2.tsv", 278, 192),
        (Family::Sdxl, "lora_unet_sdxl.tsv", "unet_sdxl.tsv", 788, 722),
    ] {
        let layers = layers(keys, 1, "unet");
        let lines = key_list(list);
        for line in &lines {
            let dotted = dotted_layer_name(&line[0]).unwrap();
            assert!(layers.contains(&dotted), "{} gave {dotted}, which is no layer", line[0]);
            assert_eq!(kohya_layer_name(family, &dotted).as_ref(), Some(&line[0]));
            // The second spelling, with paths of the other naming, is the same layer.
            assert_eq!(dotted_layer_name(&line[1]), Some(dotted.clone()), "{}", line[1]);
        }
        assert_eq!(lines.len(), all, "{list}");
        assert_eq!(lines.iter().filter(|line| line[5] == "0").count(), attention, "{list}");
    }
}

#[test]
fn lora_names_of_the_flux_transformer() {
    let layers = layers("flux_dev.tsv", 0, "transformer");
    let lines = key_list("lora_flux.tsv");
    for line in &lines {
        let dotted = dotted_layer_name(&line[0]).unwrap();
        assert!(layers.contains(&dotted), "{} gave {dotted}, which is no layer", line[0]);
        assert_eq!(kohya_layer_name(Family::Flux1Dev, &dotted).as_ref(), Some(&line[0]));
        for split in line[3].split(',') {
            assert_eq!(dotted_layer_name(split), Some(dotted.clone()), "{split}");
            // OneTrainer writes the same with underscores.
            assert_eq!(
                dotted_layer_name(&format!("lora_{}", split.replace('.', "_"))),
                Some(dotted.clone()),
                "{split}"
            );
        }
    }
    assert_eq!(lines.len(), 304);
}

#[test]
fn lora_names_of_the_text_encoders() {
    for (family, part, prefix, list, keys, column, count) in [
        (Family::Sd1, "text_encoder", "lora_te_", "lora_te_clip_l.tsv", "clip_l.tsv", 0, 72),
        (Family::Sdxl, "text_encoder", "lora_te1_", "lora_te_clip_l.tsv", "clip_l.tsv", 0, 72),
        (Family::Flux1Dev, "text_encoder", "lora_te1_", "lora_te_clip_l.tsv", "clip_l.tsv", 0, 72),
        (Family::Sdxl, "text_encoder_2", "lora_te2_", "lora_te_bigG.tsv", "openclip_bigG.tsv", 1, 192),
    ] {
        let known: BTreeSet<String> = layers(keys, column, part)
            .iter()
            .flat_map(|name| ["q", "k", "v"].map(|third| name.replace("{q,k,v}", third)))
            .collect();
        let lines = key_list(list);
        for line in &lines {
            let kohya = format!("{prefix}{}", line[0]);
            let dotted = dotted_layer_name(&kohya).unwrap();
            assert!(known.contains(&dotted), "{dotted}");
            assert_eq!(kohya_layer_name(family, &dotted), Some(kohya));
        }
        assert_eq!(lines.len(), count);
    }
    // Stable Diffusion 2 has the first 23 layers of OpenCLIP-H.
    let layers_of_h = layers("openclip_H.tsv", 1, "text_encoder");
    let inside = |name: &&String| name.contains(".self_attn.") || name.contains(".mlp.");
    let trained: BTreeSet<String> = layers_of_h
        .iter()
        .filter(inside)
        .filter(|name| !name.contains(".layers.23."))
        .flat_map(|name| ["q", "k", "v"].map(|third| name.replace("{q,k,v}", third)))
        .collect();
    for dotted in &trained {
        let kohya = kohya_layer_name(Family::Sd2, dotted).unwrap();
        assert_eq!(kohya, format!("lora_te_{}", dotted.strip_prefix("text_encoder.").unwrap().replace('.', "_")));
        assert_eq!(dotted_layer_name(&kohya).as_ref(), Some(dotted));
    }
    assert_eq!(trained.len(), 138);
    let t5 = layers("t5xxl_encoder.tsv", 0, "text_encoder_2");
    let trained = |name: &&String| name.contains(".SelfAttention.") || name.contains(".DenseReluDense.");
    let trained: Vec<_> = t5.iter().filter(trained).filter(|name| !name.contains("relative")).collect();
    for dotted in &trained {
        let kohya = kohya_layer_name(Family::Flux1Dev, dotted).unwrap();
        assert!(kohya.starts_with("lora_te3_encoder_block_"), "{kohya}");
        assert_eq!(dotted_layer_name(&kohya).as_ref(), Some(*dotted));
    }
    assert_eq!(trained.len(), 168);
}
