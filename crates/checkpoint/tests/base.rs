//! Opening base models: diffusers folders and single files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lorikeet_checkpoint::{Dtype, Family, Part, Prediction, SafetensorsFile, inspect, open_base, write_safetensors};
use serde_json::json;
use support::{dims, key_list, numbers, repository, sd15_tensors, sparse, tensor, tiny_folder};

fn refusal(path: &Path) -> String {
    open_base(path).unwrap_err().to_string()
}

#[test]
fn the_demo_base() {
    let base = open_base(repository("assets/demo-base")).unwrap();
    assert_eq!((base.family, base.prediction, base.name.as_str()), (Family::Sd1, Prediction::V, "demo-base"));
    assert_eq!((base.latent_factor(), base.native_resolution()), (8, 128));
    assert!(base.warnings.is_empty());
    let text = base.part(Part::TextEncoder).unwrap();
    assert!(text.names().all(|name| name.starts_with("text_model.")));
    let tokens = text.f32("text_model.embeddings.token_embedding.weight").unwrap();
    let width = base.config(Part::TextEncoder).unwrap()["hidden_size"].as_u64().unwrap();
    assert_eq!(tokens.len() as u64, 49408 * width);
    assert!(tokens.iter().all(|value| value.is_finite()));
    let unet = base.part(Part::Unet).unwrap();
    assert_eq!(unet.shape("conv_in.weight"), Some(&[64, 16, 3, 3][..]));
    assert_eq!(unet.dtype("conv_in.weight"), Some(Dtype::F16));
    assert_eq!(base.config(Part::Unet).unwrap()["cross_attention_dim"], width);
    let by_index = open_base(repository("assets/demo-base/model_index.json")).unwrap();
    assert_eq!(by_index.stored_bytes(), base.stored_bytes());
    assert_ne!(unet.content_key().unwrap(), text.content_key().unwrap());
}

#[test]
fn a_folder_with_and_without_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mein Modell ü 模型");
    tiny_folder(&root);
    let base = open_base(&root).unwrap();
    assert_eq!((base.prediction, base.native_resolution()), (Prediction::V, 512));
    fs::remove_file(root.join("model_index.json")).unwrap();
    fs::remove_dir_all(root.join("scheduler")).unwrap();
    let base = open_base(&root).unwrap();
    assert_eq!(base.prediction, Prediction::Epsilon);
    assert!(base.warnings[0].contains("scheduler_config.json"), "{:?}", base.warnings);
    assert_eq!(base.scheduler["beta_end"], 0.012);

    // Old attention names are brought up to date and 1x1 convolutions become linear layers.
    let vae = base.part(Part::Vae).unwrap();
    let query = "encoder.mid_block.attentions.0.to_q.weight";
    assert_eq!(vae.shape(query), Some(&[2, 2][..]));
    assert_eq!(vae.f32(query).unwrap(), numbers("encoder.mid_block.attentions.0.query.weight", 4));
    assert!(vae.shape("encoder.mid_block.attentions.0.to_out.0.bias").is_some());
    let text = base.part(Part::TextEncoder).unwrap();
    assert!(text.names().all(|name| !name.contains("position_ids")));
}

#[test]
fn variants_and_shards() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    tiny_folder(root);
    let unet = root.join("unet");
    let whole = SafetensorsFile::open(unet.join("diffusion_pytorch_model.safetensors")).unwrap();
    let expected = whole.f32("conv_in.weight").unwrap();
    drop(whole);

    // A variant; that of the EMA weights is the one to use.
    fs::rename(unet.join("diffusion_pytorch_model.safetensors"), unet.join("diffusion_pytorch_model.fp16.safetensors"))
        .unwrap();
    fs::write(unet.join("diffusion_pytorch_model.non_ema.safetensors"), b"").unwrap();
    let read = |root: &Path| open_base(root).map(|base| base.part(Part::Unet).unwrap().f32("conv_in.weight").unwrap());
    assert_eq!(read(root).unwrap(), expected);

    // Shards by their index, whatever they are called.
    fs::remove_file(unet.join("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    fs::remove_file(unet.join("diffusion_pytorch_model.non_ema.safetensors")).unwrap();
    let shards = [
        ("part-a.safetensors", vec![tensor("conv_in.weight", &[2, 4, 3, 3])]),
        (
            "diffusion_pytorch_model-00002-of-00002.safetensors",
            vec![tensor("time_embedding.linear_1.weight", &[4, 2]), tensor("conv_out.weight", &[4, 2, 3, 3])],
        ),
    ];
    let mut map = serde_json::Map::new();
    for (file, tensors) in &shards {
        write_safetensors(unet.join(file), tensors, &BTreeMap::new()).unwrap();
        map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), json!(file))));
    }
    let index = unet.join("diffusion_pytorch_model.safetensors.index.json");
    fs::write(&index, json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string()).unwrap();
    assert_eq!(read(root).unwrap(), expected);

    fs::remove_file(unet.join("part-a.safetensors")).unwrap();
    assert!(refusal(root).contains("shard 'part-a.safetensors', which is missing"));
    map.insert("conv_in.weight".to_owned(), json!("../../secret.safetensors"));
    fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    assert!(refusal(root).contains("not a file beside it"));
}

#[test]
fn a_missing_part_is_named_with_its_usual_file() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("vae/diffusion_pytorch_model.safetensors", "the VAE is missing"),
        ("text_encoder/model.safetensors", "the text encoder is missing"),
        ("unet/diffusion_pytorch_model.safetensors", "the UNet is missing"),
        ("unet/config.json", "the UNet is missing"),
        ("vae/config.json", "the VAE is missing"),
    ];
    for (i, (file, expected)) in cases.iter().enumerate() {
        let root = folder.path().join(i.to_string());
        tiny_folder(&root);
        fs::remove_file(root.join(file)).unwrap();
        let message = refusal(&root);
        assert!(message.contains(expected) && message.contains(file), "{message}");
    }
    let root = folder.path().join("pickled");
    tiny_folder(&root);
    fs::rename(root.join("vae/diffusion_pytorch_model.safetensors"), root.join("vae/diffusion_pytorch_model.bin"))
        .unwrap();
    assert!(refusal(&root).contains("a pickled file"));
    let root = folder.path().join("no-unet");
    tiny_folder(&root);
    fs::remove_dir_all(root.join("unet")).unwrap();
    assert!(refusal(&root).contains("unet/diffusion_pytorch_model.safetensors"));
    let root = folder.path().join("broken");
    tiny_folder(&root);
    fs::write(root.join("unet/config.json"), "{").unwrap();
    assert!(refusal(&root).contains("not valid JSON"));
    let root = folder.path().join("empty-weights");
    tiny_folder(&root);
    fs::write(root.join("unet/diffusion_pytorch_model.safetensors"), "").unwrap();
    assert!(refusal(&root).contains("empty file (0 bytes)"));
}

#[test]
fn folders_of_other_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("m");
    tiny_folder(&root);
    let config = |value: serde_json::Value| fs::write(root.join("unet/config.json"), value.to_string()).unwrap();
    config(json!({"cross_attention_dim": 1024, "in_channels": 4, "out_channels": 4}));
    assert_eq!(open_base(&root).unwrap().family, Family::Sd2);
    config(json!({"cross_attention_dim": 2048, "addition_embed_type": "text_time"}));
    assert!(refusal(&root).contains("second text encoder"));
    config(json!({"cross_attention_dim": 768, "in_channels": 9, "out_channels": 4}));
    assert!(refusal(&root).contains("inpainting"));
    fs::create_dir(root.join("transformer")).unwrap();
    let transformer = json!({"_class_name": "FluxTransformer2DModel", "guidance_embeds": false});
    fs::write(root.join("transformer/config.json"), transformer.to_string()).unwrap();
    let message = refusal(&root);
    assert!(message.contains("the transformer is missing") && message.contains("transformer/"), "{message}");
    assert!(inspect(&root).unwrap().what.contains("FLUX.1 schnell"));

    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    assert!(refusal(&plain).contains("a folder without a model in it"));
    fs::write(plain.join("v1-5.safetensors"), "").unwrap();
    assert!(refusal(&plain).contains("choose that file instead"));
    assert!(refusal(&folder.path().join("absent")).contains("no file or folder"));
}

#[cfg(not(windows))] // Files with holes need their full size there.
#[test]
fn a_full_size_single_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v1-5.safetensors");
    sparse(&path, &sd15_tensors(), &[]);
    let base = open_base(&path).unwrap();
    assert_eq!((base.family, base.prediction, base.name.as_str()), (Family::Sd1, Prediction::Epsilon, "v1-5"));
    assert_eq!((base.latent_factor(), base.native_resolution()), (8, 512));

    let lists = [
        (Part::Unet, "unet_sd15.tsv", 1, 2),
        (Part::Vae, "vae_sd_4ch.tsv", 1, 3),
        (Part::TextEncoder, "clip_l.tsv", 0, 1),
    ];
    for (part, list, name, shape) in lists {
        let component = base.part(part).unwrap();
        let lines = key_list(list);
        assert_eq!(component.names().len(), lines.len());
        for line in lines {
            assert_eq!(component.shape(&line[name]), Some(&dims(&line[shape])[..]), "{}", line[name]);
        }
    }
    let parameters = |part| base.part(part).unwrap().parameters();
    assert_eq!(parameters(Part::Unet), 859_520_964);
    assert_eq!(parameters(Part::Vae), 83_653_863);
    assert_eq!(parameters(Part::TextEncoder), 123_060_480);

    let unet = base.config(Part::Unet).unwrap();
    assert_eq!(unet["block_out_channels"], json!([320, 640, 1280, 1280]));
    assert_eq!(unet["cross_attention_dim"], 768);
    assert_eq!(unet["attention_head_dim"], 8);
    assert_eq!(unet["layers_per_block"], 2);
    let cross = "CrossAttnDownBlock2D";
    assert_eq!(unet["down_block_types"], json!([cross, cross, cross, "DownBlock2D"]));
    let cross = "CrossAttnUpBlock2D";
    assert_eq!(unet["up_block_types"], json!(["UpBlock2D", cross, cross, cross]));
    let vae = base.config(Part::Vae).unwrap();
    assert_eq!(vae["block_out_channels"], json!([128, 256, 512, 512]));
    assert_eq!((&vae["latent_channels"], &vae["layers_per_block"]), (&json!(4), &json!(2)));
    let text = base.config(Part::TextEncoder).unwrap();
    assert_eq!((&text["num_hidden_layers"], &text["num_attention_heads"]), (&json!(12), &json!(12)));
    assert_eq!((&text["hidden_size"], &text["intermediate_size"]), (&json!(768), &json!(3072)));

    let told = inspect(&path).unwrap();
    assert!(told.trainable && told.what.contains("Stable Diffusion 1.x"), "{told}");
    assert!(told.to_string().contains("859.5 M parameters"), "{told}");

    // Velocity prediction is told by metadata.
    sparse(&path, &sd15_tensors(), &[("modelspec.prediction_type", "v")]);
    assert_eq!(open_base(&path).unwrap().prediction, Prediction::V);
    assert_eq!(open_base(&path).unwrap().scheduler["prediction_type"], "v_prediction");
}

#[cfg(not(windows))]
#[test]
fn single_files_in_the_spellings_that_merges_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merge.safetensors");
    let mut tensors = sd15_tensors();
    for (name, _, _) in &mut tensors {
        *name = name.replace("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.");
    }
    sparse(&path, &tensors, &[]);
    let base = open_base(&path).unwrap();
    let text = base.part(Part::TextEncoder).unwrap();
    assert_eq!(text.names().len(), 196);
    assert!(text.names().all(|name| name.starts_with("text_model.")));

    for (prefix, part) in
        [("first_stage_model.", "the VAE is missing"), ("cond_stage_model.", "the text encoder is missing")]
    {
        let kept: Vec<_> = tensors.iter().filter(|(name, _, _)| !name.starts_with(prefix)).cloned().collect();
        sparse(&path, &kept, &[]);
        let message = refusal(&path);
        assert!(message.contains(part) && message.contains("merge.safetensors"), "{message}");
    }
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_000_000).unwrap();
    assert!(refusal(&path).contains("cut short"));
}

#[test]
fn values_come_through_the_key_map() {
    // A small checkpoint with the layer names of SD1.5: sizes are read off the weights.
    let shrink = |shape: &[usize]| -> Vec<usize> {
        shape.iter().map(|&size| if size > 9 { size.div_ceil(160) } else { size }).collect()
    };
    let mut tensors = Vec::new();
    for (name, _, shape) in sd15_tensors() {
        tensors.push(tensor(&name, &shrink(&shape)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let base = open_base(&path).unwrap();
    let unet = base.part(Part::Unet).unwrap();
    for line in key_list("unet_sd15.tsv") {
        let values = unet.f32(&line[1]).unwrap();
        assert_eq!(values, numbers(&format!("model.diffusion_model.{}", line[0]), values.len()));
    }
    let vae = base.part(Part::Vae).unwrap();
    for line in key_list("vae_sd_4ch.tsv") {
        let (dtype, shape, bytes) = vae.raw(&line[1]).unwrap();
        assert_eq!((dtype, shape.len()), (Dtype::F32, dims(&line[3]).len()));
        assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>());
        let values = vae.f32(&line[1]).unwrap();
        assert_eq!(values, numbers(&format!("first_stage_model.{}", line[0]), values.len()));
    }
    assert_eq!(base.config(Part::Unet).unwrap()["block_out_channels"], json!([2, 4, 8, 8]));
    let message = unet.f32("no.such.layer").unwrap_err().to_string();
    assert!(message.contains("no.such.layer") && message.contains("small.safetensors"), "{message}");
}
