//! How long frames take, without drawing: a folder of 10,000 pictures scrolled through, and a worker that tells 10,000
//! steps a second. `cargo run --release -p lorikeet-studio --example frame_times`; the test of the same counts work instead.

#[path = "../tests/fake/mod.rs"]
mod fake;

use std::path::Path;
use std::time::{Duration, Instant};

use egui_kittest::Harness;
use fake::Fake;
use lorikeet_protocol::Event;
use lorikeet_studio::{Page, StudioApp};

const FRAMES: usize = 300;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    many_pictures(folder.path(), 10_000)?;
    let engine = Fake::default();
    let started = Instant::now();
    let handle = engine.clone();
    let runs = folder.path().join("runs");
    let mut harness = Harness::builder()
        .with_size((1280.0, 800.0))
        .build_eframe(move |cc| StudioApp::new(&cc.egui_ctx, Box::new(handle), fake::start(runs)));
    println!("first frame after {:.0} ms", ms(started.elapsed()));
    harness.state_mut().close_welcome();
    harness.state_mut().choose_folder(folder.path().to_owned());
    settle(&mut harness);

    report("10,000 pictures, scrolling", &mut harness, |harness, _| scroll(harness, -900.0));
    harness.state_mut().select_pictures(&(0..10_000).collect::<Vec<_>>());
    report("10,000 pictures, all selected", &mut harness, |_, _| {});
    harness.state_mut().select_pictures(&[]);

    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    harness.state_mut().go(Page::Monitor);
    let mut at = 0;
    report("10,000 steps a second, ten frames a second", &mut harness, |_, _| {
        for _ in 0..1_000 {
            at += 1;
            engine.push(fake::step(at, 1_000_000));
        }
    });
    Ok(())
}

fn many_pictures(folder: &Path, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let first = folder.join("0.png");
    image::RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8 * 2, y as u8 * 3, 120])).save(&first)?;
    let bytes = std::fs::read(&first)?;
    for number in 1..count {
        std::fs::write(folder.join(format!("{number}.png")), &bytes)?;
        std::fs::write(folder.join(format!("{number}.txt")), format!("thing {number}, blue, sky"))?;
    }
    Ok(())
}

fn settle(harness: &mut Harness<'_, StudioApp>) {
    for _ in 0..6 {
        harness.run_steps(2);
        harness.state_mut().settle();
    }
}

fn scroll(harness: &mut Harness<'_, StudioApp>, by: f32) {
    harness.input_mut().events.push(egui::Event::PointerMoved(egui::pos2(400.0, 500.0)));
    harness.input_mut().events.push(egui::Event::MouseWheel {
        source: egui::MouseWheelSource::Wheel,
        unit: egui::MouseWheelUnit::Point,
        delta: egui::vec2(0.0, by),
        phase: egui::TouchPhase::Move,
        modifiers: egui::Modifiers::NONE,
    });
}

fn report(
    what: &str,
    harness: &mut Harness<'_, StudioApp>,
    mut before: impl FnMut(&mut Harness<'_, StudioApp>, usize),
) {
    let mut times: Vec<Duration> = (0..FRAMES)
        .map(|frame| {
            before(harness, frame);
            let started = Instant::now();
            harness.step();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| ms(times[(FRAMES - 1) * part / 100]);
    println!("{what}: half of the frames within {:.1} ms, 99 of 100 within {:.1} ms", at(50), at(99));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
