//! Every line of the key lists, both ways.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeSet;

use lorikeet_checkpoint::keymap::{
    UnetNumbering, clip_to_transformers, unet_to_diffusers, unet_to_ldm, vae_is_attention_linear, vae_modern,
    vae_to_diffusers, vae_to_ldm,
};
use lorikeet_checkpoint::lora::{dotted_layer_name, kohya_layer_name};
use support::{dims, key_list};

#[test]
fn unet_names() {
    let lines = key_list("unet_sd15.tsv");
    let numbering = UnetNumbering::sd1();
    let mut parameters = 0;
    for line in &lines {
        assert_eq!(unet_to_diffusers(&line[0], &numbering).as_ref(), Some(&line[1]), "{}", line[0]);
        assert_eq!(unet_to_ldm(&line[1], &numbering).as_ref(), Some(&line[0]), "{}", line[1]);
        parameters += dims(&line[2]).iter().product::<usize>();
    }
    assert_eq!((lines.len(), parameters), (686, 859_520_964));
    assert_eq!(unet_to_diffusers("input_blocks.1.0.nothing.weight", &numbering), None);
    assert_eq!(unet_to_diffusers("somewhere.else", &numbering), None);
}

#[test]
fn autoencoder_names_and_shapes() {
    let lines = key_list("vae_sd_4ch.tsv");
    let mut parameters = 0;
    for line in &lines {
        assert_eq!(vae_to_diffusers(&line[0], 4).as_ref(), Some(&line[1]), "{}", line[0]);
        assert_eq!(vae_to_ldm(&line[1], 4).as_ref(), Some(&line[0]), "{}", line[1]);
        assert_eq!(vae_is_attention_linear(&line[1]), line[2] != line[3], "{}", line[1]);
        assert_eq!(vae_modern(&line[1]), line[1]);
        parameters += dims(&line[3]).iter().product::<usize>();
    }
    assert_eq!((lines.len(), parameters), (248, 83_653_863));
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

#[test]
fn lora_names_of_the_unet() {
    let numbering = UnetNumbering::sd1();
    let layers: BTreeSet<String> = key_list("unet_sd15.tsv")
        .iter()
        .filter_map(|line| line[1].strip_suffix(".weight").map(|path| format!("unet.{path}")))
        .collect();
    let lines = key_list("lora_unet_sd15.tsv");
    for line in &lines {
        let dotted = dotted_layer_name(&line[0]).unwrap();
        assert!(layers.contains(&dotted), "{} gave {dotted}, which is no layer", line[0]);
        assert_eq!(kohya_layer_name(&dotted).as_ref(), Some(&line[0]));
        // The second spelling, with ldm paths, names the same layer.
        assert_eq!(dotted_layer_name(&line[1]), Some(dotted.clone()), "{}", line[1]);
        let path = dotted.strip_prefix("unet.").unwrap();
        let ldm = unet_to_ldm(&format!("{path}.weight"), &numbering).unwrap();
        let ldm = ldm.strip_suffix(".weight").unwrap().replace('.', "_");
        assert_eq!(format!("lora_unet_{ldm}"), line[1]);
    }
    assert_eq!(lines.len(), 278);
    assert_eq!(lines.iter().filter(|line| line[5] == "0").count(), 192);
}

#[test]
fn lora_names_of_the_text_encoder() {
    let layers: BTreeSet<String> = key_list("clip_l.tsv")
        .iter()
        .filter_map(|line| line[0].strip_suffix(".weight").map(|path| format!("text_encoder.{path}")))
        .collect();
    let lines = key_list("lora_te_clip_l.tsv");
    for line in &lines {
        for prefix in ["lora_te_", "lora_te1_"] {
            let dotted = dotted_layer_name(&format!("{prefix}{}", line[0])).unwrap();
            assert!(layers.contains(&dotted), "{dotted}");
            assert_eq!(kohya_layer_name(&dotted).unwrap(), format!("lora_te_{}", line[0]));
        }
    }
    assert_eq!(lines.len(), 72);
}
