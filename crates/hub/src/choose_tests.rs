use super::*;
use crate::listing::Digest;
use crate::name::RepoName;

fn repository(files: &[&str]) -> Repository {
    let file = |path: &&str| RemoteFile {
        path: (*path).to_owned(),
        size: if path.ends_with(".safetensors") { 1 << 30 } else { 1_000 },
        digest: Digest::Git("0".repeat(40)),
    };
    let mut files: Vec<RemoteFile> = files.iter().map(file).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let name = RepoName::parse("ann/birds").unwrap();
    Repository { name, commit: "1".repeat(40), files, licence: None, gated: false }
}

fn chosen(files: &[&str], named: &[&str]) -> Result<Vec<String>, String> {
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    let selection = choose(&repository(files), &named).map_err(|error| error.to_string())?;
    Ok(selection.files.into_iter().map(|file| file.path).collect())
}

const SD: &[&str] = &[
    "model_index.json",
    "README.md",
    "v1-5-pruned.safetensors",
    "v1-5-pruned.ckpt",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_flax_model.msgpack",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

#[test]
fn of_a_diffusers_folder_what_is_read_is_fetched_in_half_precision_and_the_index_last() {
    let expected = [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "vae/config.json",
        "model_index.json",
    ];
    assert_eq!(chosen(SD, &[]).unwrap(), expected);
    let named = chosen(SD, &["v1-5-pruned.safetensors"]).unwrap();
    assert_eq!(named, ["v1-5-pruned.safetensors"]);
}

#[test]
fn shards_come_with_their_index_and_without_those_of_another_precision() {
    let flux = [
        "model_index.json",
        "flux1-dev.safetensors",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "text_encoder_2/config.json",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "text_encoder_2/model.fp16-00001-of-00001.safetensors",
        "text_encoder_2/model.safetensors.index.fp16.json",
    ];
    let expected = [
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "text_encoder_2/model.fp16-00001-of-00001.safetensors",
        "text_encoder_2/model.safetensors.index.fp16.json",
        "text_encoder_2/config.json",
        "transformer/config.json",
        "model_index.json",
    ];
    assert_eq!(chosen(&flux, &[]).unwrap(), expected);
}

#[test]
fn a_single_file_is_taken_and_of_several_one_is_asked_for() {
    assert_eq!(chosen(&["README.md", "birds.safetensors"], &[]).unwrap(), ["birds.safetensors"]);
    let told = chosen(&["a.safetensors", "b.safetensors"], &[]).unwrap_err();
    assert!(told.contains("a.safetensors, b.safetensors"), "{told}");
    let told = chosen(&["a.safetensors"], &["c.safetensors"]).unwrap_err();
    assert!(told.contains("'c.safetensors'") && told.contains("a.safetensors"), "{told}");
}

#[test]
fn without_safetensors_it_says_why() {
    assert!(chosen(&["birds.ckpt"], &[]).unwrap_err().contains("pickled"));
    assert!(chosen(&["README.md"], &[]).unwrap_err().contains("neither"));
    let told = chosen(&["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"], &[]).unwrap_err();
    assert!(told.contains("unet"), "{told}");
}
