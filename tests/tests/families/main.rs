//! Every family from a base and a folder of pictures to previews and an exported LoRA that draws. The bases are tiny and
//! random (`tests/reference/make_tiny.py --small`): that they run and are read back is tested here, their numbers in `parity`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod built_in;
mod memory;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::{Dtype, TensorData, from_f32, lora, write_safetensors};
use lorikeet_protocol::{Command, DrawRequest, Event, LoraUse, ToDraw};
use lorikeet_recipe::{Preset, Recipe, Sampler, Value};
use lorikeet_trainer::{Host, train};

/// Keeps what is told.
#[derive(Default)]
struct Face {
    run_dir: PathBuf,
    events: Vec<Event>,
    /// Panics after this step, as a killed process would end.
    kill_after: Option<u64>,
    /// What happens to the computer after this step.
    after_step: Option<(u64, Box<dyn Fn()>)>,
}

impl Face {
    fn losses(&self) -> Vec<f32> {
        self.events.iter().filter_map(|e| if let Event::Step(step) = e { Some(step.loss) } else { None }).collect()
    }
}

impl Host for Face {
    fn event(&mut self, event: Event) {
        if let Event::Planned { plan } = &event {
            fs::write(self.run_dir.join("plan.json"), serde_json::to_string(plan).unwrap()).unwrap();
        }
        if let Event::Step(step) = &event {
            assert!(self.kill_after != Some(step.step), "killed");
            if let Some((_, happens)) = self.after_step.as_ref().filter(|(at, _)| *at == step.step) {
                happens();
            }
        }
        self.events.push(event);
    }

    fn command(&mut self) -> Option<Command> {
        None
    }

    fn wait(&mut self) -> Option<Command> {
        None
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn base(family: &str) -> String {
    repository().join("tests/fixtures/tiny").join(family).display().to_string()
}

fn recipe(family: &str, folder: &Path) -> Recipe {
    let data = folder.join("pictures");
    fs::create_dir_all(&data).unwrap();
    for name in ["bicycle", "camera", "cactus"] {
        for ending in ["png", "txt"] {
            let file = format!("{name}.{ending}");
            fs::copy(repository().join("datasets-example/ink-style").join(&file), data.join(file)).unwrap();
        }
    }
    let mut recipe = Recipe::new(Preset::Style);
    recipe.set("base.path", Value::Text(base(family))).unwrap();
    recipe.set("dataset.folder", Value::Text(data.display().to_string())).unwrap();
    for (id, value) in [
        ("dataset.resolution", "64"),
        ("dataset.validation_split", "0.34"),
        ("network.rank", "2"),
        ("network.text_encoder", "true"),
        // Large, so that three steps show in a picture.
        ("train.learning_rate", "0.02"),
        ("train.steps", "3"),
        ("train.batch", "2"),
        ("sample.every", "3"),
        ("sample.steps", "2"),
        ("sample.width", "64"),
        ("sample.height", "64"),
        ("validation.every", "3"),
        ("save.name", "tiny"),
        ("run.device", "cpu"),
    ] {
        recipe.set_text(id, value).unwrap();
    }
    recipe.set("sample.prompts", Value::List(vec!["an anchor".to_owned()])).unwrap();
    recipe
}

/// `prefixes`: of names in the file; `parts`: of our names.
fn run(family: &str, prefixes: &[&str], parts: &[&str]) {
    run_on(&base(family), prefixes, parts);
}

fn run_on(base: &str, prefixes: &[&str], parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    let mut recipe = recipe("", folder.path());
    recipe.set("base.path", Value::Text(base.to_owned())).unwrap();
    recipe.save(&run_dir.join("recipe.toml")).unwrap();
    let mut face = Face { run_dir: run_dir.clone(), ..Face::default() };
    let done = train(&recipe, &run_dir, &mut face).unwrap();

    let losses = face.losses();
    assert!(losses.len() == 3 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    let previews: Vec<&PathBuf> = face
        .events
        .iter()
        .filter_map(|e| if let Event::Sample(sample) = e { Some(&sample.path) } else { None })
        .collect();
    let [before, after] = previews[..] else { panic!("{} previews", previews.len()) };
    let pixels = |path: &Path| image::open(path).unwrap().into_rgb8().into_raw();
    assert_ne!(pixels(before), pixels(after));

    // Every part of the base that is trained is in the file, under the names of other programs.
    let file = done.lora.unwrap();
    let names: Vec<String> =
        lorikeet_checkpoint::SafetensorsFile::open(&file).unwrap().names().map(str::to_owned).collect();
    for prefix in prefixes {
        assert!(names.iter().any(|name| name.starts_with(prefix)), "{prefix} is not in {names:?}");
    }
    assert!(names.iter().all(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))), "{names:?}");
    let saved = lora::read(&file).unwrap();
    // `up` starts at zero: a part of the base that no gradient reached has it still. (Not every layer: SDXL reads the first
    // text encoder before its last one.)
    for part in parts {
        let mut of_part = saved.modules.iter().filter(|module| module.name.starts_with(part));
        assert!(of_part.any(|module| module.up.values.iter().any(|value| *value != 0.0)), "{part} did not learn");
    }

    // The export draws, and not what the base alone draws.
    let draw = |loras: Vec<(PathBuf, f32)>| {
        let picture = ToDraw {
            prompt: "an anchor".to_owned(),
            loras: loras.into_iter().map(|(path, strength)| LoraUse { path, strength, ..Default::default() }).collect(),
            seed: 1,
            width: 64,
            height: 64,
            steps: Some(2),
            cfg: Some(1.0),
            guidance: Some(3.5),
            sampler: Some(Sampler::Euler),
            ..Default::default()
        };
        let request = DrawRequest {
            base: base.to_owned(),
            pictures: vec![picture],
            device: "cpu".to_owned(),
            out_dir: folder.path().join("out"),
            ..Default::default()
        };
        let mut face = Face { run_dir: run_dir.clone(), ..Face::default() };
        pixels(&lorikeet_trainer::draw(&request, &mut face).unwrap()[0])
    };
    let alone = draw(Vec::new());
    assert_eq!(alone, draw(Vec::new()));
    assert_ne!(alone, draw(vec![(file.clone(), 1.0)]));
}

/// Stable Diffusion 2's text states are 1024 wide, so that its table of words, 100 MB, is written here and not kept.
#[test]
fn sd2() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("sd2");
    for part in ["unet", "vae", "scheduler", "text_encoder"] {
        fs::create_dir_all(model.join(part)).unwrap();
        for file in fs::read_dir(Path::new(&base("sd2")).join(part)).unwrap().flatten() {
            fs::copy(file.path(), model.join(part).join(file.file_name())).unwrap();
        }
    }
    fs::copy(Path::new(&base("sd2")).join("model_index.json"), model.join("model_index.json")).unwrap();
    write_openclip(&model.join("text_encoder/model.safetensors"));
    run_on(&model.display().to_string(), &["lora_unet_", "lora_te_"], &["unet.", "text_encoder."]);
}

/// Weights for `tiny/sd2/text_encoder/config.json`: norms are one, biases zero, the rest spreads evenly.
fn write_openclip(path: &Path) {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.token_embedding.weight".to_owned(), vec![49_408, 1024]),
        ("embeddings.position_embedding.weight".to_owned(), vec![77, 1024]),
    ];
    let mut layer = |name: String, outputs: usize, inputs: usize| {
        let weight = if inputs == 0 { vec![outputs] } else { vec![outputs, inputs] };
        shapes.extend([(format!("{name}.weight"), weight), (format!("{name}.bias"), vec![outputs])]);
    };
    for index in 0..2 {
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            layer(format!("encoder.layers.{index}.self_attn.{name}"), 1024, 1024);
        }
        layer(format!("encoder.layers.{index}.mlp.fc1"), 64, 1024);
        layer(format!("encoder.layers.{index}.mlp.fc2"), 1024, 64);
        layer(format!("encoder.layers.{index}.layer_norm1"), 1024, 0);
        layer(format!("encoder.layers.{index}.layer_norm2"), 1024, 0);
    }
    layer("final_layer_norm".to_owned(), 1024, 0);
    let tensors: Vec<TensorData> = shapes
        .into_iter()
        .enumerate()
        .map(|(number, (name, shape))| {
            let spread = if shape.len() == 2 { 1.0 / (shape[1] as f32).sqrt() } else { 0.0 };
            let middle = if shape.len() == 1 && name.ends_with("weight") { 1.0 } else { 0.0 };
            let draw = |index: usize| (index * 2_654_435_761 + number * 97) % 65_537;
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|index| middle + spread * (draw(index) as f32 / 32_768.0 - 1.0))
                .collect();
            let bytes = from_f32(Dtype::F16, &values).unwrap().into();
            TensorData { name: format!("text_model.{name}"), dtype: Dtype::F16, shape, bytes }
        })
        .collect();
    write_safetensors(path, &tensors, &BTreeMap::new()).unwrap();
}

#[test]
fn sdxl() {
    run("sdxl", &["lora_unet_", "lora_te1_", "lora_te2_"], &["unet.", "text_encoder.", "text_encoder_2."]);
}

#[test]
fn flux_dev() {
    run("flux-dev", &["lora_unet_", "lora_te1_"], &["transformer.", "text_encoder."]);
}
