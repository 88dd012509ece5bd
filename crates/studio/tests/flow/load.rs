//! Large folders and fast workers: the work of a frame is counted, not timed. `examples/frame_times.rs` prints times.

use std::fs;
use std::time::Duration;

use egui::{Event as Input, MouseWheelUnit, ViewportId, vec2};
use egui_kittest::kittest::Queryable;
use lorikeet_protocol::Event;
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::{Harness, drop_path, settle, studio};

const MANY: usize = 10_000;

/// Tiles that fit a window of 1280 x 800, and a row to either side.
const IN_VIEW: usize = 60;

fn scroll(harness: &mut Harness<'_, StudioApp>, by: f32) {
    harness.input_mut().events.push(Input::PointerMoved(egui::pos2(400.0, 500.0)));
    harness.input_mut().events.push(Input::MouseWheel {
        source: egui::MouseWheelSource::Wheel,
        unit: MouseWheelUnit::Point,
        delta: vec2(0.0, by),
        phase: egui::TouchPhase::Move,
        modifiers: egui::Modifiers::NONE,
    });
    harness.run_steps(2);
}

#[test]
fn of_ten_thousand_pictures_only_those_in_view_are_drawn_and_nothing_is_sorted_while_scrolling() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("0.png");
    image::RgbImage::from_pixel(8, 8, image::Rgb([90, 120, 200])).save(&picture).unwrap();
    let bytes = fs::read(&picture).unwrap();
    for number in 1..MANY {
        fs::write(folder.path().join(format!("{number}.png")), &bytes).unwrap();
    }
    let mut harness = studio(&Fake::default(), (1280.0, 800.0));
    harness.state_mut().close_welcome();
    drop_path(&mut harness, folder.path());
    harness.get_by_label_contains("10,000 pictures ·");
    let (_, made) = harness.state().grid_work();
    for _ in 0..8 {
        scroll(&mut harness, -20_000.0);
        let (drawn, now) = harness.state().grid_work();
        assert!((1..=IN_VIEW).contains(&drawn), "{drawn} tiles");
        assert_eq!(now, made, "the order is made once");
    }
    harness.state_mut().select_pictures(&(0..MANY).collect::<Vec<_>>());
    harness.run_steps(2);
    harness.get_by_label("10,000 pictures selected");
    assert!(harness.state().grid_work().0 <= IN_VIEW);
}

#[test]
fn ten_thousand_events_a_second_are_taken_in_few_points_and_one_frame() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    harness.state_mut().go(Page::Monitor);
    let mut at = 0;
    for _ in 0..12 {
        // What comes in between two frames at ten frames a second.
        for _ in 0..1_000 {
            at += 1;
            engine.push(fake::step(at, 200_000));
        }
        harness.step();
    }
    let state = harness.state().state();
    assert_eq!(state.step.as_ref().map(|step| step.step), Some(at), "nothing waits for a later frame");
    assert!(state.losses.points().len() <= 16_384);
    assert!(state.losses.downsampled(800).len() <= 800, "what is drawn goes by the width");
}

/// How long egui would sleep after this frame.
fn sleep(harness: &Harness<'_, StudioApp>) -> Duration {
    harness.output().viewport_output[&ViewportId::ROOT].repaint_delay
}

#[test]
fn an_idle_window_does_not_repaint() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    for page in Page::ALL {
        harness.state_mut().go(page);
        settle(&mut harness);
        harness.run_steps(12);
        // A thread whose answer was taken may ask for its frame a moment later.
        for _ in 0..20 {
            if sleep(&harness) == Duration::MAX {
                break;
            }
            harness.run_steps(1);
        }
        assert_eq!(sleep(&harness), Duration::MAX, "{} asks for another frame", page.label());
    }
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    engine.push(fake::step(1, 100));
    harness.state_mut().go(Page::Monitor);
    harness.run_steps(12);
    assert_eq!(sleep(&harness), Duration::MAX, "a run repaints when it tells something");
}
