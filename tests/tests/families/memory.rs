//! Whole runs with weights that are streamed or quantised, over a memory limit, and with the settings of experts.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::lora;
use lorikeet_protocol::Event;
use lorikeet_recipe::{Placement, Recipe, Segments, Value};
use lorikeet_trainer::{Done, resume, train};

use super::{Face, recipe};

/// Four steps of the UNet or transformer alone, of two micro-batches each, with dropout.
fn with(family: &str, folder: &Path, values: &[(&str, &str)]) -> Recipe {
    let mut recipe = recipe(family, folder);
    let usual = [
        ("network.text_encoder", "false"),
        ("network.dropout", "0.1"),
        ("train.learning_rate", "0.002"),
        ("train.steps", "4"),
        ("train.batch", "1"),
        ("train.accumulation", "2"),
        ("train.memory", "low"),
        ("sample.every", "0"),
        ("validation.every", "0"),
        ("save.every", "2"),
    ];
    for (id, value) in usual.iter().chain(values) {
        recipe.set_text(id, value).unwrap();
    }
    recipe
}

fn run_dir(folder: &Path, name: &str, recipe: &Recipe) -> PathBuf {
    let dir = folder.join(name);
    fs::create_dir(&dir).unwrap();
    recipe.save(&dir.join("recipe.toml")).unwrap();
    dir
}

fn whole(family: &str, folder: &Path, name: &str, values: &[(&str, &str)]) -> (Face, Done) {
    let recipe = with(family, folder, values);
    let dir = run_dir(folder, name, &recipe);
    let mut face = Face { run_dir: dir.clone(), ..Face::default() };
    let done = train(&recipe, &dir, &mut face).unwrap();
    (face, done)
}

/// All numbers of the exported LoRA, in the order of names.
fn numbers(done: &Done) -> Vec<f32> {
    let saved = lora::read(done.lora.as_ref().unwrap()).unwrap();
    saved.modules.iter().flat_map(|module| [&module.down.values, &module.up.values]).flatten().copied().collect()
}

/// Largest relative difference.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f32::max)
}

/// Distance of what two runs learned, as a part of what the second learned: of `up` matrices, which start at zero.
fn distance(a: &Done, b: &Done) -> f64 {
    let learned = |done: &Done| {
        let saved = lora::read(done.lora.as_ref().unwrap()).unwrap();
        saved.modules.into_iter().flat_map(|module| module.up.values).collect::<Vec<f32>>()
    };
    let (a, b) = (learned(a), learned(b));
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    (square(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())).sqrt()
}

/// Killed after the third step, and resumed from the second: the same LoRA to the bit.
fn resumes(family: &str, folder: &Path, name: &str, values: &[(&str, &str)], expected: &[f32]) {
    let recipe = with(family, folder, values);
    let dir = run_dir(folder, &format!("{name}-killed"), &recipe);
    let mut face = Face { run_dir: dir.clone(), kill_after: Some(3), ..Face::default() };
    catch_unwind(AssertUnwindSafe(|| train(&recipe, &dir, &mut face).map(drop))).expect_err("it was to be killed");
    let mut face = Face { run_dir: dir.clone(), ..Face::default() };
    let done = resume(&dir, &mut face).unwrap();
    assert!(face.events.iter().any(|event| matches!(event, Event::Started { resumed_at: 2, .. })));
    assert_eq!(numbers(&done), expected, "{name}");
}

/// `tolerances`: of losses and of the LoRA, streamed, in 8 and in 4 bits, against weights that are resident in f32. After
/// four steps of AdamW, each as long as the rate whatever the size of the gradient, LoRAs differ more than gradients do.
fn placements(family: &str, tolerances: [(f32, f64); 3]) {
    let folder = tempfile::tempdir().unwrap();
    let exact = [("memory.weights", "resident"), ("base.quantise", "none")];
    let (face, expected) = whole(family, folder.path(), "resident", &exact);
    let losses = face.losses();
    assert_eq!(losses.len(), 4);
    assert!(numbers(&expected).iter().any(|v| *v != 0.0));
    for ((name, weights, quantise), (loss, lora)) in
        [("stream", "stream", "none"), ("int8", "resident", "int8"), ("int4", "resident", "int4")]
            .into_iter()
            .zip(tolerances)
    {
        let values = [("memory.weights", weights), ("base.quantise", quantise)];
        let (face, done) = whole(family, folder.path(), name, &values);
        let figures = (apart(&face.losses(), &losses), distance(&done, &expected));
        println!("{family} {name}: losses {:.2e} apart, LoRAs {:.2e}", figures.0, figures.1);
        assert!(figures.0 <= loss && figures.1 <= lora, "{family} {name}: {figures:?}");
        resumes(family, folder.path(), name, &values, &numbers(&done));
        let told = face.events.iter().any(|event| match event {
            Event::Note { message } | Event::Warning { message } => message.contains("% off that of its exact ones"),
            _ => false,
        });
        assert_eq!(told, quantise != "none", "{name}: {:?}", face.events);
        let memory = face.events.iter().find_map(|event| match event {
            Event::Memory { measured_bytes, planned_bytes } => Some((*measured_bytes, *planned_bytes)),
            _ => None,
        });
        let (measured, planned) = memory.unwrap();
        assert!(measured > 1 << 20 && planned > 1 << 20);
    }
}

#[test]
fn sdxl_streamed_and_quantised() {
    placements("sdxl", [(1e-6, 5e-3), (0.005, 0.15), (0.05, 0.7)]);
}

#[test]
fn flux_streamed_and_quantised() {
    placements("flux-dev", [(1e-6, 5e-3), (0.005, 0.15), (0.05, 0.7)]);
}

#[test]
fn streamed_micro_batches_go_through_a_segment_together_with_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    // The text encoders too, whose gradients wait for those of the denoiser.
    let values = [("memory.weights", "stream"), ("network.text_encoder", "true"), ("train.steps", "2")];
    let (face, done) = whole("sdxl", folder.path(), "together", &values);
    // One micro-batch at a time is what resident weights do; matrices read whole or by tiles differ in the last bits only.
    let resident = [("memory.weights", "resident"), ("network.text_encoder", "true"), ("train.steps", "2")];
    let (alone, expected) = whole("sdxl", folder.path(), "alone", &resident);
    assert!(apart(&face.losses(), &alone.losses()) < 1e-4);
    let apart = distance(&done, &expected);
    // AdamW's first steps have the size of the rate whatever the gradient's, so that last bits of small ones show.
    assert!(apart < 5e-3, "{apart}");
}

#[test]
fn a_run_over_its_memory_limit_takes_smaller_ways_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let fast = [("train.memory", "fast"), ("memory.weights", "resident"), ("base.quantise", "none")];
    let (free, expected) = whole("sdxl", folder.path(), "free", &fast);
    // 1 MB: this process has more before it starts.
    let limited = [fast[0], fast[1], fast[2], ("memory.limit", "0.001")];
    let (face, done) = whole("sdxl", folder.path(), "limited", &limited);
    let said: Vec<&str> = face
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { message } if message.contains("where 0.00 GB are allowed") => Some(message.as_str()),
            _ => None,
        })
        .collect();
    let [segments, nothing] = said[..] else { panic!("{said:?}") };
    assert!(segments.contains("block by block") && segments.contains("step 1 is done again"), "{segments}");
    assert!(nothing.contains("there is no smaller way. Training goes on"), "{nothing}");
    let mut plans = face.events.iter().filter_map(|e| if let Event::Planned { plan } = e { Some(plan) } else { None });
    let last = plans.next_back().unwrap();
    // On the CPU the exact weights are in their file already.
    assert_eq!((last.segments, last.placement), (Segments::PerBlock, Placement::Resident));
    assert_eq!(face.losses().len(), 4);
    assert!(apart(&face.losses(), &free.losses()) < 1e-4);
    assert!(distance(&done, &expected) < 5e-3);
}

#[test]
fn eight_bit_averages_resume_to_the_bit_and_stay_close_to_f32() {
    let folder = tempfile::tempdir().unwrap();
    let eight = [("train.optimiser", "adamw8bit")];
    let (face, done) = whole("flux-dev", folder.path(), "eight", &eight);
    let (full, expected) = whole("flux-dev", folder.path(), "full", &[]);
    let figures = (apart(&face.losses(), &full.losses()), distance(&done, &expected));
    println!("8-bit averages: losses {:.2e} apart, LoRAs {:.2e}", figures.0, figures.1);
    assert!(figures.0 < 1e-4 && figures.1 < 0.05 && figures.1 > 0.0, "{figures:?}");
    resumes("flux-dev", folder.path(), "eight", &eight, &numbers(&done));
}

#[test]
fn long_captions_huber_loss_and_pyramid_noise_train() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, _) = whole("sdxl", folder.path(), "plain", &[]);
    for (name, values) in [
        ("long", [("dataset.caption_length", "150"), ("train.steps", "4")]),
        ("huber", [("loss.kind", "huber"), ("loss.huber_c", "0.2")]),
        ("pyramid", [("loss.pyramid_iterations", "4"), ("loss.pyramid_discount", "0.5")]),
    ] {
        let (face, done) = whole("sdxl", folder.path(), name, &values);
        assert!(face.losses().iter().all(|loss| loss.is_finite()));
        assert_ne!(face.losses(), plain.losses(), "{name}");
        assert!(numbers(&done).iter().any(|v| *v != 0.0));
        resumes("sdxl", folder.path(), name, &values, &numbers(&done));
    }
}

#[test]
fn a_base_that_is_written_to_ends_the_run_before_it_teaches() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    copy_folder(Path::new(&super::base("sdxl")), &base);
    let unet = base.join("unet/diffusion_pytorch_model.safetensors");
    let mut recipe = recipe("sdxl", folder.path());
    recipe.set("base.path", Value::Text(base.display().to_string())).unwrap();
    let run_dir = folder.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    recipe.save(&run_dir.join("recipe.toml")).unwrap();
    let bytes = fs::read(&unet).unwrap();
    let write = unet.clone();
    let mut face = Face { run_dir: run_dir.clone(), ..Face::default() };
    face.after_step = Some((2, Box::new(move || fs::write(&write, &bytes).unwrap())));
    let error = train(&recipe, &run_dir, &mut face).unwrap_err().to_string();
    assert!(
        error.contains(&unet.display().to_string()) && error.contains("was changed while it was in use"),
        "{error}"
    );
    assert_eq!(face.losses().len(), 2);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}
