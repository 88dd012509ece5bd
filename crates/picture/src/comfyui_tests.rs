#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use lorikeet_protocol::UsedLora;

use super::*;

fn lora(name: &str, strength: f32) -> UsedLora {
    UsedLora { name: name.to_owned(), strength }
}

fn settings(family: Family, base_file: &str) -> PictureSettings {
    PictureSettings {
        prompt: "red apple, ink".to_owned(),
        negative: "blurry".to_owned(),
        base_file: base_file.to_owned(),
        family,
        loras: vec![lora("ink", 0.7), lora("detail", -0.5)],
        seed: 42,
        width: 832,
        height: 1216,
        steps: 24,
        cfg: 6.5,
        sampler: Some(Sampler::DpmPp2m),
        ..Default::default()
    }
}

fn node<'a>(workflow: &'a Value, kind: &str) -> Vec<&'a Value> {
    workflow["nodes"].as_array().unwrap().iter().filter(|node| node["type"] == kind).collect()
}

/// That ids are given once, and both ends of every link know of it and agree on its type.
fn is_whole(workflow: &Value) {
    let nodes = workflow["nodes"].as_array().unwrap();
    let ids: BTreeSet<u64> = nodes.iter().map(|node| node["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), nodes.len());
    assert_eq!(workflow["last_node_id"].as_u64(), ids.last().copied());
    let links = workflow["links"].as_array().unwrap();
    let numbers: BTreeSet<u64> = links.iter().map(|link| link[0].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), links.len());
    assert_eq!(workflow["last_link_id"].as_u64(), numbers.last().copied());
    let find = |id: &Value| nodes.iter().find(|node| node["id"] == *id).unwrap();
    let mut told = 0;
    for link in links {
        let output = &find(&link[1])["outputs"][link[2].as_u64().unwrap() as usize];
        let input = &find(&link[3])["inputs"][link[4].as_u64().unwrap() as usize];
        assert!(output["links"].as_array().unwrap().contains(&link[0]), "{link}");
        assert_eq!(input["link"], link[0], "{link}");
        assert_eq!((&output["type"], &input["type"]), (&link[5], &link[5]), "{link}");
        // What a node needs is made before it.
        assert!(find(&link[1])["order"].as_u64() < find(&link[3])["order"].as_u64());
    }
    for output in nodes.iter().flat_map(|node| node["outputs"].as_array().unwrap()) {
        told += output["links"].as_array().unwrap().len();
    }
    let inputs: usize = nodes.iter().map(|node| node["inputs"].as_array().unwrap().len()).sum();
    assert_eq!((told, inputs), (links.len(), links.len()));
}

#[test]
fn stable_diffusion_draws_with_the_same_settings() {
    let workflow = workflow(&settings(Family::Sdxl, "xl base.safetensors"));
    is_whole(&workflow);
    assert_eq!(node(&workflow, "CheckpointLoaderSimple")[0]["widgets_values"], json!(["xl base.safetensors"]));
    let loras = node(&workflow, "LoraLoader");
    assert_eq!(loras[0]["widgets_values"], json!(["ink.safetensors", 0.7, 0.7]));
    assert_eq!(loras[1]["widgets_values"], json!(["detail.safetensors", -0.5, -0.5]));
    let texts = node(&workflow, "CLIPTextEncode");
    assert_eq!(texts[0]["widgets_values"], json!(["red apple, ink"]));
    assert_eq!(texts[1]["widgets_values"], json!(["blurry"]));
    assert_eq!(node(&workflow, "EmptyLatentImage")[0]["widgets_values"], json!([832, 1216, 1]));
    let sampler = node(&workflow, "KSampler")[0];
    assert_eq!(sampler["widgets_values"], json!([42, "fixed", 24, 6.5, "dpmpp_2m", "ddim_uniform", 1.0]));
    // The first LoRA is on the base, the sampler behind the last.
    let links = workflow["links"].as_array().unwrap();
    let from = |to: &Value, slot: u64| {
        let link = links.iter().find(|link| link[3] == to["id"] && link[4] == slot).unwrap();
        link[1].clone()
    };
    assert_eq!(from(loras[0], 0), node(&workflow, "CheckpointLoaderSimple")[0]["id"]);
    assert_eq!(from(loras[1], 0), loras[0]["id"]);
    assert_eq!(from(sampler, 0), loras[1]["id"]);
    assert_eq!(from(texts[0], 0), loras[1]["id"]);
}

#[test]
fn folders_and_predictions_get_nodes_of_their_own() {
    let mut settings = settings(Family::Sd2, "sd2-768-v");
    settings.prediction = Some(Prediction::Velocity);
    settings.loras.clear();
    let workflow = workflow(&settings);
    is_whole(&workflow);
    assert_eq!(node(&workflow, "DiffusersLoader")[0]["widgets_values"], json!(["sd2-768-v"]));
    assert_eq!(node(&workflow, "ModelSamplingDiscrete")[0]["widgets_values"], json!(["v_prediction", false]));
    assert!(node(&workflow, "LoraLoader").is_empty());
}

#[test]
fn flux_is_put_together_from_its_files() {
    let mut settings = settings(Family::FluxDev, "flux1-dev.safetensors");
    (settings.cfg, settings.guidance) = (1.0, Some(3.5));
    (settings.sampler, settings.spacing) = (Some(Sampler::Euler), StepSpacing::Flow);
    let dev = workflow(&settings);
    is_whole(&dev);
    assert_eq!(node(&dev, "UNETLoader")[0]["widgets_values"], json!(["flux1-dev.safetensors", "default"]));
    assert_eq!(node(&dev, "FluxGuidance")[0]["widgets_values"], json!([3.5]));
    assert_eq!(node(&dev, "ModelSamplingFlux")[0]["widgets_values"], json!([1.15, 0.5, 832, 1216]));
    assert_eq!(node(&dev, "ConditioningZeroOut").len(), 1);
    assert_eq!(node(&dev, "KSampler")[0]["widgets_values"], json!([42, "fixed", 24, 1.0, "euler", "simple", 1.0]));

    settings.family = Family::FluxSchnell;
    (settings.guidance, settings.cfg) = (None, 2.0);
    let schnell = workflow(&settings);
    is_whole(&schnell);
    assert!(node(&schnell, "FluxGuidance").is_empty() && node(&schnell, "ModelSamplingFlux").is_empty());
    assert_eq!(node(&schnell, "CLIPTextEncode").len(), 2);
}
