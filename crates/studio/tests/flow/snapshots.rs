//! Pictures of pages that show the same on every machine, compared with those in `tests/snapshots`. `UPDATE_SNAPSHOTS=1` writes them anew; what differs is left
//! in `target/snapshots` to look at.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use egui::{Rect, ThemePreference};
use egui_kittest::kittest::Queryable as _;
use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use lorikeet_protocol::{Event, Load};
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::raster::Raster;
use crate::{Harness, pretend, settle};

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
            let mut album = Album { raster: Raster::default(), size, theme, preference, changed: &mut changed };
            preparing(&mut album);
            running(&mut album);
            telling_paths(&mut album);
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

/// Before the first run.
fn preparing(album: &mut Album<'_>) {
    let engine = Fake::default();
    let mut harness = album.studio(&engine, Path::new("runs"));
    album.look(&harness, "dataset");
    for (name, page) in [("model", Page::Model), ("training", Page::Training), ("runs", Page::Runs)] {
        go(&mut harness, page);
        album.look(&harness, name);
    }
    harness.state_mut().train();
    engine.push(Event::Started { run_dir: "runs/ink".into(), resumed_at: 0 });
    (1..=120).for_each(|step| engine.push(fake::step(step, 300)));
    engine.push(Event::Validation { step: 100, loss: 0.14, base_loss: 0.16 });
    engine.push(Event::Load(Load { processor: 0.97, own_processor: 0.91, ..Load::default() }));
    go(&mut harness, Page::Monitor);
    album.look(&harness, "monitor");
}

/// With pictures of a run, and with others before it.
fn running(album: &mut Album<'_>) {
    let folder = tempfile::tempdir().unwrap();
    for (hours, name) in ["ink-style-001", "mascot-001", "ink-style-002"].into_iter().enumerate() {
        let run = folder.path().join(name);
        fs::create_dir_all(run.join("checkpoints/step-000250")).unwrap();
        pretend::past_run(&run).unwrap();
        // In the middle of an hour, so that it is told alike however long this takes.
        let age = Duration::from_secs(3600 * (hours as u64 + 2) + 1800);
        let recipe = fs::File::options().append(true).open(run.join("recipe.toml")).unwrap();
        recipe.set_modified(SystemTime::now() - age).unwrap();
    }
    let engine = Fake::default();
    let mut harness = album.studio(&engine, folder.path());
    for example in [1, 2] {
        harness.state_mut().use_example_at(example);
        still(&mut harness);
        harness.state_mut().add_to_queue_now();
    }
    go(&mut harness, Page::Runs);
    album.look(&harness, "queue");

    let run = folder.path().join("ink-style-003");
    pretend::saves(&run);
    pretend::up_to(200, &run).into_iter().for_each(|event| engine.push(event));
    go(&mut harness, Page::Samples);
    album.look(&harness, "samples");
    engine.push(Event::Finished { run_dir: run.clone(), step: 400, lora: None, seconds: 168.0 });
    harness.state_mut().open_drawing();
    still(&mut harness);
    harness.state_mut().sweep(&[100, 400]);
    pretend::drawn(&run, 1, true).into_iter().for_each(|event| engine.push(event));
    still(&mut harness);
    album.look(&harness, "draw");
}

/// What names folders, in places that are nobody's.
fn telling_paths(album: &mut Album<'_>) {
    let engine = Fake::default();
    let mut harness = album.studio(&engine, Path::new("runs"));
    go(&mut harness, Page::Settings);
    album.look(&harness, "settings");
    let pictures = tempfile::tempdir().unwrap();
    engine.push(Event::Started { run_dir: "runs/ink-style-001".into(), resumed_at: 0 });
    pretend::up_to(200, pictures.path()).into_iter().skip(1).for_each(|event| engine.push(event));
    engine.push(Event::Finished { run_dir: "runs/ink-style-001".into(), step: 200, lora: None, seconds: 84.0 });
    go(&mut harness, Page::Training);
    harness.state_mut().ask_export();
    still(&mut harness);
    album.look(&harness, "export");
}

/// Pictures of one size in one theme.
struct Album<'a> {
    raster: Raster,
    size: [u32; 2],
    theme: &'static str,
    preference: ThemePreference,
    changed: &'a mut Vec<String>,
}

impl Album<'_> {
    fn studio<'h>(&mut self, engine: &Fake, runs: &Path) -> Harness<'h, StudioApp> {
        self.raster = Raster::default();
        let engine = engine.clone();
        let mut start = fake::start(runs.to_owned());
        fake::furnish(&mut start);
        let mut harness = Harness::builder()
            .with_size(egui::vec2(self.size[0] as f32, self.size[1] as f32))
            .with_pixels_per_point(1.0)
            .with_max_steps(64)
            .renderer(self.raster.clone())
            .build_eframe(move |cc| StudioApp::new(&cc.egui_ctx, Box::new(engine), start));
        harness.state_mut().set_theme(self.preference);
        still(&mut harness);
        harness
    }

    fn look(&mut self, harness: &Harness<'_, StudioApp>, name: &str) {
        let mut picture = self.raster.draw(&harness.ctx, harness.output(), self.size);
        // Where the repository lies is another place everywhere.
        if let Some(path) = harness.query_by_label("Folder") {
            blank(&mut picture, path.rect());
        }
        let name = format!("{name}-{}-{}x{}", self.theme, self.size[0], self.size[1]);
        self.changed.extend(compare(&name, picture).err());
    }
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
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&picture, &path);
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
    fs::create_dir_all(&folder).unwrap();
    let seen = folder.join(format!("{name}.png"));
    save(&picture, &seen);
    Err(format!("{told}. As it is now: {}. If that is right, run again with UPDATE_SNAPSHOTS=1", seen.display()))
}

/// Flat areas pack best without a filter: half of what the encoder does by itself.
fn save(picture: &RgbImage, path: &Path) {
    let file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let encoder = PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::NoFilter);
    picture.write_with_encoder(encoder).unwrap();
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
