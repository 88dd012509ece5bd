//! Pictures of pages that show the same on every machine, compared with those in `tests/snapshots`. `UPDATE_SNAPSHOTS=1` writes them anew; what differs is left
//! in `target/snapshots` to look at.

use std::path::{Path, PathBuf};

use egui::{Rect, ThemePreference};
use egui_kittest::kittest::Queryable as _;
use image::RgbImage;
use lorikeet_protocol::{Event, Load};
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::raster::Raster;
use crate::{Harness, settle};

const SIZES: [[u32; 2]; 2] = [[1280, 800], [1920, 1080]];
const THEMES: [(&str, ThemePreference); 2] = [("light", ThemePreference::Light), ("dark", ThemePreference::Dark)];
/// Of a channel: what rounding may do on another machine, and what is cut off to keep the files small.
const TOLERANCE: u8 = 16;
/// Of the pixels.
const MAY_DIFFER: f64 = 0.0005;

#[test]
fn pages_look_as_they_did() {
    let mut changed = Vec::new();
    for size in SIZES {
        for (theme, preference) in THEMES {
            let raster = Raster::default();
            let engine = Fake::default();
            let mut harness = studio(&engine, &raster, size, preference);
            let mut look = |harness: &Harness<'_, StudioApp>, name: &str| {
                let mut picture = raster.draw(&harness.ctx, harness.output(), size);
                // Where the repository lies is another place everywhere.
                if let Some(path) = harness.query_by_label("Folder") {
                    blank(&mut picture, path.rect());
                }
                changed.extend(compare(&format!("{name}-{theme}-{}x{}", size[0], size[1]), picture).err());
            };
            look(&harness, "dataset");
            for (name, page) in [("training", Page::Training), ("runs", Page::Runs)] {
                go(&mut harness, page);
                look(&harness, name);
            }
            harness.state_mut().train();
            engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
            (1..=120).for_each(|step| engine.push(fake::step(step, 300)));
            engine.push(Event::Validation { step: 100, loss: 0.14, base_loss: 0.16 });
            engine.push(Event::Load(Load { processor: 0.97, own_processor: 0.91, card: None }));
            go(&mut harness, Page::Monitor);
            look(&harness, "monitor");
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

fn studio<'a>(engine: &Fake, raster: &Raster, size: [u32; 2], theme: ThemePreference) -> Harness<'a, StudioApp> {
    let engine = engine.clone();
    let mut harness = Harness::builder()
        .with_size(egui::vec2(size[0] as f32, size[1] as f32))
        .with_pixels_per_point(1.0)
        .with_max_steps(64)
        .renderer(raster.clone())
        .build_eframe(move |cc| StudioApp::new(&cc.egui_ctx, Box::new(engine), fake::start(PathBuf::from("runs"))));
    harness.state_mut().set_theme(theme);
    still(&mut harness);
    harness
}

fn go(harness: &mut Harness<'_, StudioApp>, page: Page) {
    harness.state_mut().go(page);
    still(harness);
}

/// Until threads have answered and fades are over: frames count for time here.
fn still(harness: &mut Harness<'_, StudioApp>) {
    settle(harness);
    harness.run_steps(20);
    settle(harness);
}

fn blank(picture: &mut RgbImage, rect: Rect) {
    for y in rect.min.y as u32..(rect.max.y as u32).min(picture.height()) {
        for x in rect.min.x as u32..(rect.max.x as u32).min(picture.width()) {
            picture.put_pixel(x, y, image::Rgb([128; 3]));
        }
    }
}

fn compare(name: &str, mut picture: RgbImage) -> Result<(), String> {
    picture.pixels_mut().flat_map(|pixel| &mut pixel.0).for_each(|value| *value &= 0xF8);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/snapshots").join(format!("{name}.png"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(&path).unwrap();
        return Ok(());
    }
    let told = match image::open(&path) {
        Err(error) => format!("{name}: there is no picture to compare with ({error})"),
        Ok(expected) => match difference(&expected.into_rgb8(), &picture) {
            share if share <= MAY_DIFFER => return Ok(()),
            share => format!("{name}: {:.2} % of the pixels differ", share * 100.0),
        },
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("snapshots");
    std::fs::create_dir_all(&folder).unwrap();
    let seen = folder.join(format!("{name}.png"));
    picture.save(&seen).unwrap();
    Err(format!("{told}. As it is now: {}. If that is right, run again with UPDATE_SNAPSHOTS=1", seen.display()))
}

/// Share of the pixels that differ by more than rounding explains.
fn difference(expected: &RgbImage, picture: &RgbImage) -> f64 {
    if expected.dimensions() != picture.dimensions() {
        return 1.0;
    }
    let differs = |(a, b): &(&image::Rgb<u8>, &image::Rgb<u8>)| (0..3).any(|at| a[at].abs_diff(b[at]) > TOLERANCE);
    let count = expected.pixels().zip(picture.pixels()).filter(differs).count();
    count as f64 / f64::from(picture.width() * picture.height())
}
