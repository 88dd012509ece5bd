//! Settings as a workflow of ComfyUI, in the format that its window saves and opens.

use lorikeet_protocol::{PictureSettings, StepSpacing};
use lorikeet_recipe::{Family, Prediction, Sampler};
use serde_json::{Value, json};

/// Draws the same picture, but for its noise: ComfyUI makes other noise of the same seed.
pub fn workflow(settings: &PictureSettings) -> Value {
    let mut graph = Graph::default();
    let flux = matches!(settings.family, Family::FluxDev | Family::FluxSchnell);
    let (mut model, mut clip, vae) = if flux { flux_parts(&mut graph, settings) } else { base(&mut graph, settings) };
    for (at, lora) in settings.loras.iter().enumerate() {
        let strength = plain(lora.strength);
        let file = format!("{}.safetensors", lora.name);
        let node = graph.node(
            Kind { name: "LoraLoader", column: 1, outputs: &["MODEL", "CLIP"], height: 130.0 },
            &[("model", model), ("clip", clip)],
            json!([file, strength, strength]),
        );
        graph.name(node, &format!("LoRA {}", at + 1));
        (model, clip) = (out(node, 0, "MODEL"), out(node, 1, "CLIP"));
    }
    model = sampling(&mut graph, settings, model);
    let prompt = Kind { name: "CLIPTextEncode", column: 2, outputs: &["CONDITIONING"], height: 160.0 };
    let node = graph.node(prompt, &[("clip", clip)], json!([settings.prompt]));
    graph.name(node, "Prompt");
    let mut positive = out(node, 0, "CONDITIONING");
    let negative = if flux && settings.cfg == 1.0 {
        // Not looked at without guidance, but the sampler wants one.
        let kind = Kind { name: "ConditioningZeroOut", column: 2, outputs: &["CONDITIONING"], height: 40.0 };
        graph.node(kind, &[("conditioning", positive)], json!([]))
    } else {
        let node = graph.node(prompt, &[("clip", clip)], json!([settings.negative]));
        graph.name(node, "Negative prompt");
        node
    };
    if let Some(guidance) = settings.guidance.filter(|_| flux) {
        let kind = Kind { name: "FluxGuidance", column: 2, outputs: &["CONDITIONING"], height: 60.0 };
        positive = out(graph.node(kind, &[("conditioning", positive)], json!([guidance])), 0, "CONDITIONING");
    }
    let name = if flux { "EmptySD3LatentImage" } else { "EmptyLatentImage" };
    let kind = Kind { name, column: 2, outputs: &["LATENT"], height: 110.0 };
    let latent = graph.node(kind, &[], json!([settings.width, settings.height, 1]));
    let sampled = graph.node(
        Kind { name: "KSampler", column: 3, outputs: &["LATENT"], height: 262.0 },
        &[
            ("model", model),
            ("positive", positive),
            ("negative", out(negative, 0, "CONDITIONING")),
            ("latent_image", out(latent, 0, "LATENT")),
        ],
        json!([settings.seed, "fixed", settings.steps, settings.cfg, sampler(settings), scheduler(settings), 1.0]),
    );
    let decode = Kind { name: "VAEDecode", column: 3, outputs: &["IMAGE"], height: 50.0 };
    let image = graph.node(decode, &[("samples", out(sampled, 0, "LATENT")), ("vae", vae)], json!([]));
    let save = Kind { name: "SaveImage", column: 4, outputs: &[], height: 320.0 };
    graph.node(save, &[("images", out(image, 0, "IMAGE"))], json!(["lorikeet"]));
    let note = Kind { name: "Note", column: 0, outputs: &[], height: 220.0 };
    graph.node(note, &[], json!([needed(settings, flux)]));
    graph.finish()
}

type Parts = (Out, Out, Out);

/// Model, text encoder and autoencoder of Stable Diffusion, from one file or a folder as diffusers has it.
fn base(graph: &mut Graph, settings: &PictureSettings) -> Parts {
    let file = &settings.base_file;
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
    let one = ["safetensors", "sft", "ckpt"].contains(&ending.as_str());
    let name = if one { "CheckpointLoaderSimple" } else { "DiffusersLoader" };
    let node =
        graph.node(Kind { name, column: 0, outputs: &["MODEL", "CLIP", "VAE"], height: 100.0 }, &[], json!([file]));
    (out(node, 0, "MODEL"), out(node, 1, "CLIP"), out(node, 2, "VAE"))
}

/// FLUX comes in three files, two of which have the same names everywhere.
fn flux_parts(graph: &mut Graph, settings: &PictureSettings) -> Parts {
    let model = Kind { name: "UNETLoader", column: 0, outputs: &["MODEL"], height: 90.0 };
    let model = graph.node(model, &[], json!([settings.base_file, "default"]));
    let clip = Kind { name: "DualCLIPLoader", column: 0, outputs: &["CLIP"], height: 130.0 };
    let clip = graph.node(clip, &[], json!(["t5xxl_fp16.safetensors", "clip_l.safetensors", "flux", "default"]));
    let vae = Kind { name: "VAELoader", column: 0, outputs: &["VAE"], height: 60.0 };
    let vae = graph.node(vae, &[], json!(["ae.safetensors"]));
    (out(model, 0, "MODEL"), out(clip, 0, "CLIP"), out(vae, 0, "VAE"))
}

/// What ComfyUI cannot see in the file of the base.
fn sampling(graph: &mut Graph, settings: &PictureSettings, model: Out) -> Out {
    let kind = |name| Kind { name, column: 1, outputs: &["MODEL"], height: 130.0 };
    let node = match (settings.family, settings.prediction) {
        // The shift that the model wants depends on the size; these are the ends that its authors give.
        (Family::FluxDev, _) => graph.node(
            kind("ModelSamplingFlux"),
            &[("model", model)],
            json!([1.15, 0.5, settings.width, settings.height]),
        ),
        (_, Some(Prediction::Velocity)) => {
            graph.node(kind("ModelSamplingDiscrete"), &[("model", model)], json!(["v_prediction", false]))
        }
        _ => return model,
    };
    out(node, 0, "MODEL")
}

fn sampler(settings: &PictureSettings) -> &'static str {
    match settings.sampler {
        Some(Sampler::Euler) | None => "euler",
        Some(Sampler::EulerA) => "euler_ancestral",
        Some(Sampler::DpmPp2m) => "dpmpp_2m",
        Some(Sampler::Ddim) => "ddim",
    }
}

/// ComfyUI's name for the same timesteps.
fn scheduler(settings: &PictureSettings) -> &'static str {
    match settings.spacing {
        StepSpacing::Leading => "ddim_uniform",
        StepSpacing::Linspace => "normal",
        StepSpacing::Trailing | StepSpacing::Flow => "simple",
    }
}

/// What a person has to have, and what differs.
fn needed(settings: &PictureSettings, flux: bool) -> String {
    let mut lines = vec!["Made by Lorikeet. ComfyUI needs these files:".to_owned()];
    let folder = if flux { "models/diffusion_models" } else { "models/checkpoints" };
    let single = settings.base_file.contains('.');
    let folder = if flux || single { folder } else { "models/diffusers (a folder)" };
    lines.push(format!("- {} in {folder}", settings.base_file));
    if flux {
        lines.push("- t5xxl_fp16.safetensors and clip_l.safetensors in models/text_encoders".to_owned());
        lines.push("- ae.safetensors in models/vae".to_owned());
    }
    for lora in &settings.loras {
        lines.push(format!("- {}.safetensors in models/loras: export it from Lorikeet", lora.name));
    }
    lines.push("The same seed makes other noise in ComfyUI, so the picture differs in its details.".to_owned());
    lines.join("\n")
}

/// Without the digits that 32 bits do not hold.
fn plain(strength: f32) -> f64 {
    strength.to_string().parse().unwrap_or(1.0)
}

/// An output of a node.
#[derive(Clone, Copy)]
struct Out {
    node: usize,
    slot: usize,
    kind: &'static str,
}

fn out(node: usize, slot: usize, kind: &'static str) -> Out {
    Out { node, slot, kind }
}

/// What a node is, and where it stands.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    column: usize,
    /// Their types, which are their names too.
    outputs: &'static [&'static str],
    height: f64,
}

const COLUMN: f64 = 360.0;
const WIDTH: f64 = 320.0;
const GAP: f64 = 50.0;

/// Nodes and links as they are made. A node's id is its place, from 1, and so is a link's.
#[derive(Default)]
struct Graph {
    nodes: Vec<Value>,
    links: Vec<Value>,
    /// Where the next node of each column stands.
    next: [f64; 5],
}

impl Graph {
    fn node(&mut self, kind: Kind, inputs: &[(&str, Out)], widgets: Value) -> usize {
        let id = self.nodes.len() + 1;
        let mut wired = Vec::new();
        for (slot, (name, from)) in inputs.iter().enumerate() {
            let link = self.links.len() + 1;
            self.links.push(json!([link, from.node, from.slot, id, slot, from.kind]));
            if let Some(links) = self.nodes[from.node - 1]["outputs"][from.slot]["links"].as_array_mut() {
                links.push(json!(link));
            }
            wired.push(json!({"name": name, "type": from.kind, "link": link}));
        }
        let output =
            |(slot, name): (usize, &&str)| json!({"name": name, "type": name, "links": [], "slot_index": slot});
        let outputs: Vec<Value> = kind.outputs.iter().enumerate().map(output).collect();
        let y = self.next[kind.column];
        self.next[kind.column] += kind.height + GAP;
        self.nodes.push(json!({
            "id": id,
            "type": kind.name,
            "pos": [kind.column as f64 * COLUMN, y],
            "size": [WIDTH, kind.height],
            "flags": {},
            "order": id - 1,
            "mode": 0,
            "inputs": wired,
            "outputs": outputs,
            "properties": {"Node name for S&R": kind.name},
            "widgets_values": widgets,
        }));
        id
    }

    fn name(&mut self, node: usize, title: &str) {
        self.nodes[node - 1]["title"] = json!(title);
    }

    fn finish(self) -> Value {
        json!({
            "last_node_id": self.nodes.len(),
            "last_link_id": self.links.len(),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        })
    }
}

#[cfg(test)]
#[path = "comfyui_tests.rs"]
mod tests;
