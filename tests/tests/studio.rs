//! The studio over the real worker: a dropped recipe is trained on the demo base, watched, and exported.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use egui_kittest::{Harness, kittest::Queryable as _};
use lorikeet_checkpoint::lora;
use lorikeet_protocol::{Command, Engine, Event};
use lorikeet_recipe::{Preset, Recipe};
use lorikeet_session::ThreadEngine;
use lorikeet_studio::{Example, StartUp, StudioApp, state::Phase};

/// The engine, telling the test too when there is something to see.
struct Watched(ThreadEngine, SyncSender<()>);

impl Engine for Watched {
    fn send(&mut self, command: Command) {
        self.0.send(command);
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event)) {
        self.0.poll(sink);
    }

    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        let tell = self.1.clone();
        self.0.set_waker(Box::new(move || {
            wake();
            // Full: the test has been told already.
            tell.try_send(()).ok();
        }));
    }
}

#[derive(Debug)]
struct File(PathBuf);

impl egui::DroppedFile for File {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("read from its path".to_owned())
    }
}

/// Draws a frame whenever the worker tells something, until `done`.
fn until(harness: &mut Harness<'_, StudioApp>, told: &Receiver<()>, what: &str, done: impl Fn(&StudioApp) -> bool) {
    while !done(harness.state()) {
        // Only a hang of the worker comes near this limit.
        if let Err(RecvTimeoutError::Timeout) = told.recv_timeout(Duration::from_secs(300)) {
            panic!("waited for {what} in vain; {:?}", harness.state().state().phase);
        }
        harness.run_steps(2);
        if let Phase::Failed(failure) = &harness.state().state().phase {
            panic!("waited for {what}: {failure}");
        }
    }
}

#[test]
fn a_dropped_recipe_is_trained_watched_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pictures = folder.path().join("Bilder für Lori");
    fs::create_dir(&pictures).unwrap();
    for file in ["crown.png", "crown.txt", "camera.png", "camera.txt"] {
        fs::copy(root.join("datasets-example/ink-style").join(file), pictures.join(file)).unwrap();
    }
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [
        ("dataset.folder", pictures.to_str().unwrap()),
        ("save.folder", folder.path().join("runs").to_str().unwrap()),
        ("save.name", "krone"),
        ("train.steps", "3"),
        ("sample.prompts", "crown, ink style"),
        ("sample.every", "3"),
        ("sample.steps", "2"),
        ("run.device", "cpu"),
    ] {
        recipe.set_text(id, value).unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    let recipe_path = folder.path().join("krone.toml");
    recipe.save(&recipe_path).unwrap();

    let start = StartUp {
        demo_base: root.join("assets/demo-base"),
        examples: vec![Example {
            title: "Teach a style".to_owned(),
            preset: Preset::Style,
            folder: root.join("datasets-example/ink-style"),
            trigger: "ink style".to_owned(),
            blurb: "Black ink".to_owned(),
        }],
        devices: Vec::new(),
        runs_folder: folder.path().join("runs"),
        workplace: None,
        ..StartUp::default()
    };
    let (tell, told) = sync_channel(1);
    let engine = Watched(ThreadEngine::new().unwrap(), tell);
    let exported = folder.path().join("für ComfyUI.safetensors");
    let choice = exported.clone();
    let mut harness = Harness::builder().with_size((1280.0, 800.0)).with_max_steps(64).build_eframe(move |cc| {
        StudioApp::new(&cc.egui_ctx, Box::new(engine), start)
            .with_dialogs(Box::new(move |_| Box::pin(std::future::ready(Some(choice.clone())))))
    });
    let settle = |harness: &mut Harness<'_, StudioApp>| {
        for _ in 0..4 {
            harness.run_steps(2);
            harness.state_mut().settle();
        }
        harness.run_steps(2);
    };
    settle(&mut harness);
    harness.input_mut().dropped_files.push(Arc::new(File(recipe_path)));
    harness.step();
    settle(&mut harness);
    until(&mut harness, &told, "the plan of the dropped recipe", |app| {
        app.state().plan.as_ref().is_some_and(|plan| plan.steps == 3)
    });

    harness.get_by_label("Train").click();
    harness.run_steps(2);
    until(&mut harness, &told, "the end", |app| matches!(app.state().phase, Phase::Finished(_)));
    let state = harness.state().state();
    assert_eq!(state.step.as_ref().map(|step| (step.step, step.steps)), Some((3, 3)));
    let drawn: Vec<u64> = state.samples.iter().map(|sample| sample.step).collect();
    assert_eq!(drawn, [0, 3], "the base and the end are drawn");
    assert!(state.samples.iter().all(|sample| sample.path.is_file()));

    harness.get_by_label("Export LoRA…").click();
    harness.run_steps(3);
    harness.get_by_label("Choose file…").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Export").click();
    harness.run_steps(2);
    until(&mut harness, &told, "the export", |app| app.state().exported.is_some());
    assert_eq!(lora::read(exported).unwrap().modules.len(), 84);
}
