//! Whole runs on the demo base: what they leave, and that an interrupted one goes on as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::lora;
use lorikeet_protocol::{Command, Event};
use lorikeet_recipe::{Preset, Recipe, Value};
use lorikeet_trainer::{Done, Host, resume, train};

/// Keeps what is told, answers with commands at given steps, and can pull the plug.
#[derive(Default)]
struct Face {
    run_dir: PathBuf,
    losses: BTreeMap<u64, u32>,
    events: Vec<Event>,
    /// What to command after which step.
    script: BTreeMap<u64, Vec<Command>>,
    pending: VecDeque<Command>,
    /// Panics after this step, as a killed process would end: nothing more is written.
    kill_after: Option<u64>,
}

impl Host for Face {
    fn event(&mut self, event: Event) {
        match &event {
            Event::Planned { plan } => {
                fs::write(self.run_dir.join("plan.json"), serde_json::to_string(plan).unwrap()).unwrap();
            }
            Event::Step(step) => {
                self.losses.insert(step.step, step.loss.to_bits());
                assert!(self.kill_after != Some(step.step), "killed");
                self.pending.extend(self.script.remove(&step.step).unwrap_or_default());
            }
            _ => {}
        }
        self.events.push(event);
    }

    fn command(&mut self) -> Option<Command> {
        self.pending.pop_front()
    }

    fn wait(&mut self) -> Option<Command> {
        self.pending.pop_front()
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Four pictures in two folders of which one is shown twice, eight steps, everything random switched on.
fn recipe(folder: &Path) -> Recipe {
    let [data, more] = ["pictures", "more"].map(|name| folder.join(name));
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(&more).unwrap();
    for (name, data) in [("bicycle", &data), ("camera", &data), ("cactus", &data), ("crown", &more)] {
        for ending in ["png", "txt"] {
            let file = format!("{name}.{ending}");
            fs::copy(repository().join("datasets-example/ink-style").join(&file), data.join(&file)).unwrap();
        }
    }
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [
        ("dataset.folder", data.to_str().unwrap()),
        ("dataset.more_folders", &format!("2 x {}", more.display())),
        ("dataset.validation_split", "0.25"),
        ("dataset.flip", "true"),
        ("dataset.caption_dropout", "0.2"),
        ("dataset.shuffle_tags", "true"),
        ("network.rank", "2"),
        ("network.dropout", "0.1"),
        ("loss.noise_offset", "0.05"),
        ("train.steps", "8"),
        ("train.batch", "2"),
        ("train.accumulation", "2"),
        ("sample.every", "0"),
        ("validation.every", "4"),
        ("save.every", "3"),
        ("run.device", "cpu"),
    ] {
        recipe.set_text(id, value).unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    recipe
}

fn run_dir(folder: &Path, recipe: &Recipe, name: &str) -> PathBuf {
    let dir = folder.join(name);
    fs::create_dir_all(&dir).unwrap();
    recipe.save(&dir.join("recipe.toml")).unwrap();
    dir
}

fn face(run_dir: &Path) -> Face {
    Face { run_dir: run_dir.to_owned(), ..Face::default() }
}

fn uninterrupted(folder: &Path, recipe: &Recipe) -> (Face, Done) {
    let dir = run_dir(folder, recipe, "whole");
    let mut face = face(&dir);
    let done = train(recipe, &dir, &mut face).unwrap();
    (face, done)
}

#[test]
fn a_run_killed_anywhere_goes_on_with_the_same_losses() {
    let folder = tempfile::tempdir().unwrap();
    for text_encoder in ["false", "true"] {
        let mut recipe = recipe(folder.path());
        recipe.set_text("network.text_encoder", text_encoder).unwrap();
        let (whole, done) = uninterrupted(folder.path(), &recipe);
        assert_eq!(whole.losses.len(), 8);
        let expected = fs::read(done.lora.unwrap()).unwrap();
        // Before the first save, right after one, between two, and at the last step.
        for kill_after in [1, 3, 5, 8] {
            let dir = run_dir(folder.path(), &recipe, &format!("killed-{text_encoder}-{kill_after}"));
            let mut first = Face { kill_after: Some(kill_after), ..face(&dir) };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| train(&recipe, &dir, &mut first).map(drop)))
                .expect_err("the run was to be killed");
            let mut second = face(&dir);
            let done = resume(&dir, &mut second).unwrap();
            let resumed_at = second.events.iter().find_map(|event| match event {
                Event::Started { resumed_at, .. } => Some(*resumed_at),
                _ => None,
            });
            assert_eq!(resumed_at, Some((kill_after - 1) / 3 * 3), "killed after {kill_after}");
            let mut losses = first.losses;
            for (step, loss) in second.losses {
                if let Some(before) = losses.insert(step, loss) {
                    assert_eq!(before, loss, "step {step} came out differently the second time");
                }
            }
            assert_eq!(losses, whole.losses, "killed after {kill_after}");
            let tensors =
                |bytes: &[u8]| bytes[8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize..].to_vec();
            assert_eq!(
                tensors(&fs::read(done.lora.unwrap()).unwrap()),
                tensors(&expected),
                "killed after {kill_after}"
            );
        }
        fs::remove_dir_all(folder.path().join("whole")).unwrap();
    }
}

#[test]
fn pause_save_and_stop_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let dir = run_dir(folder.path(), &recipe, "run");
    let mut face = face(&dir);
    face.script.insert(1, vec![Command::SaveNow]);
    face.script.insert(2, vec![Command::Pause, Command::SaveNow, Command::Resume]);
    face.script.insert(4, vec![Command::Stop]);
    let done = train(&recipe, &dir, &mut face).unwrap();
    assert_eq!(done.step, 4);
    let saved: Vec<u64> = face
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Saved { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(saved, [1, 2, 3, 4]);
    let paused = face.events.iter().position(|event| *event == Event::Paused { step: 2 }).unwrap();
    let resumed = face.events.iter().position(|event| *event == Event::Resumed { step: 2 }).unwrap();
    assert!(paused < resumed);
    // 84 layers of the demo base's transformers, each with three tensors in the file.
    let exported = lora::read(done.lora.unwrap()).unwrap();
    assert_eq!(exported.modules.len(), 84);
}

#[test]
fn validation_of_the_base_does_not_depend_on_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let base_loss = |seed: &str, rank: &str| {
        let mut recipe = recipe(folder.path());
        for (id, value) in [
            ("dataset.validation_folder", folder.path().join("pictures").to_str().unwrap()),
            ("dataset.validation_split", "0"),
            ("train.seed", seed),
            ("network.rank", rank),
            ("train.steps", "1"),
            ("train.accumulation", "1"),
        ] {
            recipe.set_text(id, value).unwrap();
        }
        let dir = run_dir(folder.path(), &recipe, &format!("run-{seed}-{rank}"));
        let mut face = face(&dir);
        train(&recipe, &dir, &mut face).unwrap();
        let first = face.events.iter().find_map(|event| match event {
            Event::Validation { step: 0, loss, base_loss } => Some((*loss, *base_loss)),
            _ => None,
        });
        let (loss, base_loss) = first.unwrap();
        assert_eq!(loss, base_loss, "a fresh LoRA changes nothing");
        base_loss
    };
    assert_eq!(base_loss("1", "2"), base_loss("7", "4"));
}

/// One step on a picture with a mask, unless it is `None`: the loss, and whether the LoRA moved.
fn masked(folder: &Path, name: &str, mask: Option<fn(u32) -> u8>, weight: &str) -> (f32, bool) {
    let data = folder.join(name);
    fs::create_dir_all(&data).unwrap();
    fs::copy(repository().join("datasets-example/ink-style/camera.png"), data.join("camera.png")).unwrap();
    if let Some(mask) = mask {
        let side = lorikeet_dataset::decode(&data.join("camera.png")).unwrap().width;
        let grey = (0..side * side).map(|at| mask((at % side) * 2 / side)).collect();
        let mask = lorikeet_dataset::Mask { width: side, height: side, grey };
        let change = lorikeet_dataset::mask_change(&data.join("camera.png"), (side, side), None, Some(mask)).unwrap();
        change.make().unwrap();
    }
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [
        ("dataset.folder", data.to_str().unwrap()),
        ("dataset.caption_dropout", "0"),
        ("dataset.mask_weight", weight),
        ("network.rank", "2"),
        ("train.steps", "1"),
        ("train.batch", "1"),
        ("train.warmup", "0"),
        ("sample.every", "0"),
        ("run.device", "cpu"),
    ] {
        recipe.set_text(id, value).unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    let dir = run_dir(folder, &recipe, &format!("run-{name}"));
    let mut face = face(&dir);
    let done = train(&recipe, &dir, &mut face).unwrap();
    let modules = lora::read(done.lora.unwrap()).unwrap().modules;
    let moved = modules.iter().any(|module| module.up.values.iter().any(|value| *value != 0.0));
    (f32::from_bits(face.losses[&1]), moved)
}

#[test]
fn what_is_masked_out_is_not_learned() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name, mask, weight| masked(folder.path(), name, mask, weight);
    let (whole, moved) = run("whole", None, "0");
    assert!(whole > 0.0 && moved);
    assert_eq!(run("white", Some(|_| 255), "0"), (whole, true), "bit for bit");
    assert_eq!(run("black", Some(|_| 0), "0"), (0.0, false), "nothing is learned of nothing");
    let near = |a: f32, b: f32| assert!((a - b).abs() <= 1e-5 * whole, "{a} {b} of {whole}");
    near(run("weak", Some(|_| 0), "0.25").0, 0.25 * whole);
    // The untrained LoRA draws the same whatever the mask, so the losses of two halves add up to that of the whole.
    let (left, moved) = run("left", Some(|half| if half == 0 { 255 } else { 0 }), "0");
    let (right, _) = run("right", Some(|half| if half == 0 { 0 } else { 255 }), "0");
    assert!(moved && left > 0.0 && right > 0.0);
    near(left + right, whole);
}

#[test]
fn prompts_change_while_the_run_goes_on_and_keep_their_places_through_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path());
    recipe.set("sample.prompts", Value::List(vec!["a cat".to_owned()])).unwrap();
    for (id, value) in
        [("sample.every", "4"), ("sample.unit", "steps"), ("sample.steps", "1"), ("dataset.shuffle_tags", "false")]
    {
        recipe.set_text(id, value).unwrap();
    }
    let dir = run_dir(folder.path(), &recipe, "run");
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let script = BTreeMap::from([
        (1, vec![Command::SamplePrompts { prompts: texts(&["a heron", " "]) }]),
        (2, vec![Command::SetPrompts { prompts: texts(&[""]) }]),
        (3, vec![Command::SetPrompts { prompts: texts(&["a boat", "a heron"]) }]),
        (5, vec![Command::Stop]),
    ]);
    let mut first = Face { script, ..face(&dir) };
    train(&recipe, &dir, &mut first).unwrap();
    let drawn = |face: &Face| -> Vec<(u64, usize, String)> {
        let samples =
            face.events.iter().filter_map(|e| if let Event::Sample(sample) = e { Some(sample) } else { None });
        samples.map(|sample| (sample.step, sample.prompt_index, sample.prompt.clone())).collect()
    };
    let of = |step: u64, index: usize, prompt: &str| (step, index, prompt.to_owned());
    // What is new is drawn by the base too.
    assert_eq!(
        drawn(&first),
        [
            of(0, 0, "a cat"),
            of(0, 1, "a heron"),
            of(1, 1, "a heron"),
            of(0, 2, "a boat"),
            of(4, 2, "a boat"),
            of(4, 1, "a heron"),
        ]
    );
    let told =
        first.events.iter().filter_map(|e| if let Event::Prompts { prompts } = e { Some(prompts) } else { None });
    assert_eq!(told.collect::<Vec<_>>(), [&texts(&["a boat", "a heron"])]);
    let warned =
        |word: &str| first.events.iter().any(|e| matches!(e, Event::Warning { message } if message.contains(word)));
    assert!(warned("there is no prompt to draw"));

    let mut second = face(&dir);
    resume(&dir, &mut second).unwrap();
    assert_eq!(drawn(&second), [of(8, 2, "a boat"), of(8, 1, "a heron")]);
}
