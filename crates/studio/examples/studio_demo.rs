//! The studio with a made-up worker, to look at it: `cargo run -p lorikeet-studio --example studio_demo`.
//! `--shots FOLDER [WIDTHxHEIGHT]` takes a picture of every page in each state and theme, and ends.
//! `--docs FOLDER` takes those that docs/studio.md shows.

#[path = "../tests/fake/mod.rs"]
mod fake;
#[path = "demo/palette.rs"]
mod palette;
#[path = "demo/pretend.rs"]
mod pretend;
#[path = "demo/shots.rs"]
mod shots;
#[path = "demo/states.rs"]
mod states;

use fake::Fake;
use lorikeet_studio::StudioApp;
use shots::Wanted;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = std::env::temp_dir().join("lorikeet-studio-demo");
    let mut start = fake::start(folder.join("runs"));
    let engine = Fake::default();
    let wanted = match arguments.next().as_deref() {
        Some("--shots") => Wanted::Everything,
        Some("--docs") => Wanted::Docs,
        _ => {
            pretend::live(engine.clone(), folder);
            return Ok(lorikeet_studio::run(Box::new(engine), start)?);
        }
    };
    let out = arguments.next().ok_or("a folder for the pictures is missing")?;
    let size = arguments.next().unwrap_or_else(|| "1280x800".to_owned());
    fake::furnish(&mut start);
    shots::take(engine, start, wanted, out.into(), &size)
}
