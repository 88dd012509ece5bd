//! Events of a run that does not happen.
#![expect(clippy::disallowed_methods, reason = "it pretends to take time, and nobody floods it")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use lorikeet_protocol::{Command, Drawn, Event, PictureSettings, Stage, UsedLora};
use lorikeet_recipe::Sampler;

use crate::fake::{self, Fake};

pub(crate) const STEPS: u64 = 400;
/// Prompts, and the example's pictures that stand for what is drawn.
const PROMPTS: [(&str, &str); 4] = [
    ("a red apple, ink style", "red-apple"),
    ("the face of a cat, ink style", "cat-face"),
    ("a sailing boat on the sea, ink style", "sailboat"),
    ("an umbrella in the rain, ink style", "umbrella"),
];

/// Previews at `step`, from coloured to black and white; returns their events.
pub(crate) fn previews(step: u64, folder: &Path) -> Vec<Event> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example/ink-style");
    std::fs::create_dir_all(folder).ok();
    let colour = 1.0 - (step as f32 / STEPS as f32).min(1.0);
    PROMPTS
        .iter()
        .enumerate()
        .filter_map(|(i, (prompt, name))| {
            let mut picture = image::open(source.join(format!("{name}.png"))).ok()?.to_rgb8();
            let tint = [[255.0, 120.0, 90.0], [250.0, 190.0, 80.0], [90.0, 170.0, 250.0], [150.0, 120.0, 240.0]][i];
            for pixel in picture.pixels_mut() {
                for (channel, tint) in pixel.0.iter_mut().zip(tint) {
                    let value = f32::from(*channel) / 255.0;
                    let coloured = tint * (0.35 + 0.65 * value);
                    *channel = (coloured * colour + f32::from(*channel) * (1.0 - colour)) as u8;
                }
            }
            let path = folder.join(format!("{step:06}-{name}.png"));
            picture.save(&path).ok()?;
            Some(fake::sample(step, i, prompt, path))
        })
        .collect()
}

/// Saves to draw with, as far as their folders tell.
pub(crate) fn saves(folder: &Path) {
    for step in [100, 200, 300, 400] {
        let save = folder.join(format!("checkpoints/step-{step:06}"));
        std::fs::create_dir_all(&save).ok();
        std::fs::write(save.join("adapter.safetensors"), "").ok();
    }
}

/// A request that is answered with previews of `pictures` strengths of two saves; 1: of one.
pub(crate) fn drawn(folder: &Path, set: u64, sweep: bool) -> Vec<Event> {
    let uses: Vec<(u64, f32)> = match sweep {
        true => [100, 400].into_iter().flat_map(|step| [0.0, 0.5, 0.75, 1.0, 1.25].map(|at| (step, at))).collect(),
        false => vec![(400, 1.0)],
    };
    let mut events = Vec::new();
    for (index, (step, strength)) in uses.iter().enumerate() {
        let like = (f64::from(*strength) * 0.8 * *step as f64) as u64;
        let Some(Event::Sample(sample)) = previews(like, &folder.join("made-up")).into_iter().nth(1) else { continue };
        let settings = PictureSettings {
            prompt: sample.prompt,
            negative: "blurry".to_owned(),
            base: "Lorikeet demo base".to_owned(),
            base_file: "demo-base".to_owned(),
            loras: vec![UsedLora { name: format!("ink-style-step{step}"), strength: *strength }],
            seed: 42,
            width: 128,
            height: 128,
            steps: 25,
            cfg: 5.0,
            sampler: Some(Sampler::Ddim),
            set,
            ..Default::default()
        };
        events.push(Event::Drawn(Drawn { index, settings, path: sample.path }));
    }
    events
}

/// What a run tells up to `step`.
pub(crate) fn up_to(step: u64, folder: &Path) -> Vec<Event> {
    let mut events = vec![Event::Started { run_dir: folder.to_owned(), resumed_at: 0 }];
    events.extend(previews(0, folder));
    for at in 1..=step {
        events.push(fake::step(at, STEPS));
        if at % 50 == 0 {
            let loss = 0.1 + 0.06 * (-(at as f32) / 120.0).exp();
            events.push(Event::Validation { step: at, loss, base_loss: 0.16 });
            events.extend(previews(at, folder));
        }
        if at % 100 == 0 {
            events.push(Event::Saved { step: at, path: folder.join(format!("checkpoints/step-{at:06}")) });
        }
    }
    events
}

/// Obeys commands on a thread of its own, at a pace to watch.
pub(crate) fn live(engine: Fake, folder: PathBuf) {
    let (sender, commands) = mpsc::channel();
    engine.forward_to(sender);
    std::thread::spawn(move || {
        while let Ok(command) = commands.recv() {
            match command {
                Command::Start { .. } => run(&engine, &commands, &folder),
                Command::Export(request) => engine.push(Event::Exported { path: request.to, modules: 48 }),
                _ => {}
            }
        }
    });
}

fn run(engine: &Fake, commands: &Receiver<Command>, folder: &Path) {
    engine.push(Event::Started { run_dir: folder.to_owned(), resumed_at: 0 });
    for done in 0..=24 {
        engine.push(Event::Stage { stage: Stage::CacheLatents, done, total: 24 });
        std::thread::sleep(Duration::from_millis(60));
    }
    previews(0, folder).into_iter().for_each(|event| engine.push(event));
    let mut paused = false;
    let mut at = 0;
    while at < STEPS {
        match commands.try_recv() {
            Ok(Command::Pause) => {
                paused = true;
                engine.push(Event::Paused { step: at });
            }
            Ok(Command::Resume) => {
                paused = false;
                engine.push(Event::Resumed { step: at });
            }
            Ok(Command::SaveNow) => {
                engine.push(Event::Saved { step: at, path: folder.join(format!("checkpoints/step-{at:06}")) })
            }
            Ok(Command::Stop) | Err(TryRecvError::Disconnected) => break,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(40));
        if !paused {
            at += 1;
            engine.push(fake::step(at, STEPS));
            if at.is_multiple_of(50) {
                previews(at, folder).into_iter().for_each(|event| engine.push(event));
            }
        }
    }
    engine.push(Event::Saved { step: at, path: folder.join(format!("checkpoints/step-{at:06}")) });
    engine.push(Event::Finished {
        run_dir: folder.to_owned(),
        step: at,
        lora: Some(folder.join("ink-style.safetensors")),
        seconds: 168.0,
    });
}

/// Pictures that want a doctor.
pub(crate) fn sick_pictures(folder: &Path) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example/ink-style");
    std::fs::create_dir_all(folder).ok();
    for name in ["crown", "camera", "bicycle", "key", "cat-face"] {
        for end in ["png", "txt"] {
            std::fs::copy(example.join(format!("{name}.{end}")), folder.join(format!("{name}.{end}"))).ok();
        }
    }
    std::fs::copy(example.join("crown.png"), folder.join("crown copy.png")).ok();
    std::fs::write(folder.join("broken.png"), "no picture").ok();
    if let Ok(picture) = image::open(example.join("camera.png")) {
        picture.thumbnail(40, 40).save(folder.join("tiny.png")).ok();
        picture.resize_exact(512, 96, image::imageops::FilterType::Triangle).save(folder.join("wide.png")).ok();
    }
    // As if they had never been looked at.
    std::fs::remove_file(folder.join("cat-face.txt")).ok();
}

/// As kohya_ss saves them.
pub(crate) fn other_settings(file: &Path) {
    let text = r#"{"network_dim": 32, "network_alpha": 16, "learning_rate": "0.0003", "epoch": 10, "optimizer": "Prodigy",
        "max_resolution": "768,768", "flip_aug": true, "reg_data_dir": "/pictures/other", "lr_scheduler": "cosine"}"#;
    std::fs::write(file, text).ok();
}

/// A LoRA of one layer.
pub(crate) fn lora_file(file: &Path) {
    use lorikeet_checkpoint::{Dtype, Family, lora};
    let half = |shape: &[usize]| lora::Array { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] };
    let module = lora::LoraModule {
        name: "unet.mid_block.attentions.0.proj_in".to_owned(),
        rank: 2,
        alpha: 2.0,
        down: half(&[2, 8]),
        up: half(&[8, 2]),
    };
    lora::write(file, Family::Sd1, &[module], Dtype::F16, &Default::default()).ok();
}

/// A folder of the repository's examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example").join(name)
}

/// A copy of a folder: its pictures may be painted on, and its path is nobody's.
pub(crate) fn copied(from: &Path, to: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&to).ok();
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).ok();
    }
    to
}

/// A recipe that differs in some settings.
pub(crate) fn other_recipe(to: &Path) -> PathBuf {
    let mut recipe = lorikeet_recipe::Recipe::new(lorikeet_recipe::Preset::Character);
    for (id, value) in [("network.rank", "48"), ("train.learning_rate", "3e-4"), ("train.batch", "2")] {
        recipe.set_text(id, value).ok();
    }
    recipe.save(to).ok();
    to.to_owned()
}

/// A run that did all its steps.
pub(crate) fn finished_run(folder: &Path) -> std::io::Result<()> {
    use lorikeet_recipe::{Preset, Recipe, example, plan};
    std::fs::create_dir_all(folder.join(format!("checkpoints/step-{STEPS:06}")))?;
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [("dataset.folder", "pictures"), ("train.steps", "400")] {
        recipe.set_text(id, value).map_err(std::io::Error::other)?;
    }
    recipe.save(&folder.join("recipe.toml")).map_err(std::io::Error::other)?;
    let plan = plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine());
    std::fs::write(folder.join("plan.json"), serde_json::to_string(&plan.map_err(std::io::Error::other)?)?)?;
    std::fs::write(folder.join("ink.safetensors"), "")?;
    // Two runs do not learn alike.
    let harder = if folder.ends_with("mascot-0") { 1.4 } else { 0.9 };
    let (mut events, mut metrics) = (String::new(), String::new());
    for event in up_to(STEPS, folder) {
        match event {
            Event::Step(mut step) => {
                (step.loss, step.smoothed) = (step.loss * harder, step.smoothed * harder);
                metrics += &format!("{}\n", serde_json::to_string(&step)?);
            }
            Event::Validation { step, loss, base_loss } => {
                let event = Event::Validation { step, loss: loss * harder, base_loss };
                events += &format!("{}\n", serde_json::to_string(&event)?);
            }
            event => events += &format!("{}\n", serde_json::to_string(&event)?),
        }
    }
    std::fs::write(folder.join("metrics.jsonl"), metrics)?;
    std::fs::write(folder.join("events.jsonl"), events)
}

/// A run that is over, as the worker leaves it.
pub(crate) fn past_run(folder: &Path) -> std::io::Result<()> {
    std::fs::write(folder.join("recipe.toml"), "")?;
    let plan = r#"{"steps": 400, "base": "demo base", "settings": {"preset": "style"}}"#;
    std::fs::write(folder.join("plan.json"), plan)?;
    let mut lines = String::new();
    for event in up_to(250, folder).iter().filter(|event| !matches!(event, Event::Step(_))) {
        lines += &serde_json::to_string(event)?;
        lines.push('\n');
    }
    std::fs::write(folder.join("events.jsonl"), lines)
}
