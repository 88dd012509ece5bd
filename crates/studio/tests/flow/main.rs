//! The studio with a scripted worker and no window.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod captions;
mod commands;
mod compare;
mod drawing;
#[path = "../fake/mod.rs"]
mod fake;
mod folders;
mod hub;
mod leaving;
mod load;
mod masks;
mod model;
mod monitor;
#[allow(dead_code, reason = "the example needs more of it")]
#[path = "../../examples/demo/pretend.rs"]
mod pretend;
mod queue;
mod raster;
mod results;
mod run;
#[path = "../../../hub/tests/server/mod.rs"]
mod server;
mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use egui_kittest::Harness;
use fake::Fake;
use lorikeet_studio::{StartUp, StudioApp};

#[derive(Debug)]
struct File(PathBuf);

impl egui::DroppedFile for File {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("a folder has no bytes".to_owned())
    }
}

pub(crate) fn studio<'a>(engine: &Fake, size: (f32, f32)) -> Harness<'a, StudioApp> {
    studio_in(engine, size, Path::new("runs"))
}

/// With runs in a folder.
pub(crate) fn studio_in<'a>(engine: &Fake, size: (f32, f32), runs: &Path) -> Harness<'a, StudioApp> {
    let runs = runs.to_owned();
    studio_with(engine, size, |start| start.runs_folder = runs)
}

/// As the program told it at start.
pub(crate) fn studio_with<'a>(
    engine: &Fake,
    size: (f32, f32),
    told: impl FnOnce(&mut StartUp),
) -> Harness<'a, StudioApp> {
    let mut start = fake::start(PathBuf::from("runs"));
    told(&mut start);
    let engine = engine.clone();
    let mut harness = Harness::builder().with_size(size).with_max_steps(64).build_eframe(move |cc| {
        StudioApp::new(&cc.egui_ctx, Box::new(engine), start)
            .with_dialogs(Box::new(|_| Box::pin(std::future::ready(Some(PathBuf::from("/exports/ink.safetensors"))))))
    });
    settle(&mut harness);
    harness
}

/// Until threads have answered and the debounced plan has come.
pub(crate) fn settle(harness: &mut Harness<'_, StudioApp>) {
    for _ in 0..4 {
        harness.run_steps(2);
        harness.state_mut().settle();
    }
    harness.run_steps(2);
}

pub(crate) fn pictures(folder: &Path, count: usize) {
    for i in 0..count {
        let picture = image::RgbImage::from_pixel(64, 64, image::Rgb([i as u8 * 20, 90, 160]));
        picture.save(folder.join(format!("{i}.png"))).unwrap();
        std::fs::write(folder.join(format!("{i}.txt")), format!("thing {i}")).unwrap();
    }
}

pub(crate) fn drop_path(harness: &mut Harness<'_, StudioApp>, path: &Path) {
    harness.input_mut().dropped_files.push(Arc::new(File(path.to_owned())));
    harness.step();
    settle(harness);
}
