use std::fs;

use lorikeet_nn::LayerInfo;
use lorikeet_recipe::RecipeError;

use super::*;
use crate::base::open_model;
use crate::testing::{demo, picture, recipe};

fn sorted(mut layers: Vec<LayerInfo>) -> Vec<LayerInfo> {
    layers.sort_by(|a, b| a.name.cmp(&b.name));
    layers
}

#[test]
fn layers_in_the_header_are_those_of_the_loaded_model() {
    let base = demo();
    let (model, architecture) = (&base.model, &base.architecture);
    let denoiser = base.load_denoiser().unwrap();
    assert_eq!(architecture.denoiser_targets(model).unwrap(), sorted(denoiser.targets()));
    assert_eq!(architecture.convolution_targets(model).unwrap(), sorted(denoiser.convolution_targets()));
    let text = base.load_text().unwrap();
    assert_eq!(architecture.text_targets(model).unwrap(), sorted(text.targets()));
}

#[test]
fn the_demo_base_is_described() {
    let base = demo();
    let facts = base_facts(&base.model).unwrap();
    assert_eq!((facts.native_resolution, facts.latent_factor), (128, 8));
    assert_eq!(facts.size_multiple as usize, base.size_multiple());
    assert_eq!(
        (facts.latent_channels as usize, facts.prediction),
        (base.latent_shape(128, 128)[0], Prediction::Velocity)
    );
    assert_eq!(facts.denoiser.context_width() as usize, base.architecture.text_shape(base.caption).width);
    assert_eq!(facts.text[0].layers, 2);
    assert_eq!(facts.text[0].targets.len(), 12);
    // Two projections and ten linear layers in each transformer.
    assert!(!facts.denoiser_targets.is_empty() && facts.denoiser_targets.len().is_multiple_of(12));
    assert_eq!(facts.class(), lorikeet_recipe::BaseClass::Demo);
}

#[test]
fn a_plan_counts_the_pictures_and_holds_some_out() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..4 {
        picture(folder.path(), &format!("{index}.png"), 80, index, "a cat");
    }
    let mut recipe = recipe(folder.path());
    recipe.set_text("dataset.validation_split", "0.25").unwrap();
    let plan = probe(&recipe).unwrap();
    assert_eq!((plan.images, plan.validation_images), (3, 1));
    assert_eq!(plan.device, "cpu");
    assert_eq!(
        plan.buckets.iter().map(|bucket| (bucket.width, bucket.height, bucket.count)).collect::<Vec<_>>(),
        [(64, 64, 3)]
    );
    assert!(plan.memory_bytes > 1 << 28 && plan.disk_free_bytes > 0, "{plan:?}");
}

#[test]
fn captions_are_counted_once_with_the_trigger() {
    let folder = tempfile::tempdir().unwrap();
    for (index, caption) in ["a cat", "a cat", "ink, a dog"].into_iter().enumerate() {
        picture(folder.path(), &format!("{index}.png"), 64, 0, caption);
    }
    let facts = base_facts(&open_model("demo").unwrap()).unwrap();
    let mut recipe = recipe(folder.path());
    recipe.set_text("dataset.caption_dropout", "0.1").unwrap();
    let found = pictures(&settings(&recipe, &facts).unwrap()).unwrap();
    assert_eq!(found.all_captions(), ["", "ink, a cat", "ink, a dog"]);
}

#[test]
fn folders_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = probe(&recipe(folder.path())).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let error = probe(&Recipe::default()).unwrap_err();
    assert!(matches!(error, TrainError::Recipe(RecipeError::NoFolder)), "{error}");
}

/// A copy of the demo base without some file, or with a value of a configuration changed.
fn spoilt(without: &str, change: Option<(&str, &str, u64)>) -> (tempfile::TempDir, String) {
    let copy = tempfile::tempdir().unwrap();
    let source = crate::asset_folder("demo-base").unwrap();
    fs::copy(source.join("model_index.json"), copy.path().join("model_index.json")).unwrap();
    for part in ["unet", "vae", "text_encoder", "scheduler", "tokenizer"] {
        fs::create_dir(copy.path().join(part)).unwrap();
        for entry in fs::read_dir(source.join(part)).unwrap() {
            let name = format!("{part}/{}", entry.unwrap().file_name().to_string_lossy());
            if !name.starts_with(without) {
                fs::copy(source.join(&name), copy.path().join(&name)).unwrap();
            }
        }
    }
    if let Some((part, key, value)) = change {
        let path = copy.path().join(part).join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[key] = value.into();
        fs::write(path, config.to_string()).unwrap();
    }
    let path = copy.path().display().to_string();
    (copy, path)
}

#[test]
fn a_base_with_a_part_missing_is_refused_by_name() {
    for (without, named) in [("vae/", "VAE"), ("unet/", "UNet"), ("text_encoder/", "text encoder")] {
        let (_copy, path) = spoilt(without, None);
        let error = open_model(&path).unwrap_err();
        assert!(error.to_string().contains(named), "{without}: {error}");
    }
}

#[test]
fn a_configuration_that_contradicts_its_weights_is_refused() {
    for (part, key, value) in
        [("unet", "cross_attention_dim", 8), ("vae", "latent_channels", 5), ("text_encoder", "vocab_size", 1000)]
    {
        let (_copy, path) = spoilt("nothing", Some((part, key, value)));
        let error = crate::Base::open(&path, DeviceKind::Cpu).err().unwrap();
        let told = format!("'{key}' is {value}, but the weights");
        assert!(matches!(error, TrainError::Checkpoint(_)) && error.to_string().contains(&told), "{error}");
    }
}

#[test]
fn a_weight_that_is_missing_or_misshapen_is_named() {
    let (_copy, path) = spoilt("nothing", Some(("vae", "layers_per_block", 9)));
    let error = crate::Base::open(&path, DeviceKind::Cpu).unwrap().load_vae().unwrap_err();
    assert!(error.to_string().contains("encoder.down_blocks.0.resnets."), "{error}");
}

#[test]
fn cards_before_the_rtx_30_have_no_bf16() {
    assert_eq!(
        ["7.5", "6.1", "8.0", "8.9", "12.0", "[N/A]", ""].map(before_bf16),
        [true, true, false, false, false, false, false]
    );
}
