//! The studio with a made-up worker, to look at it: `cargo run -p lorikeet-studio --example studio_demo`.
//! With `--shots FOLDER` it takes a picture of every page in each state, theme and size, and ends.

#[path = "../tests/fake/mod.rs"]
mod fake;
#[path = "demo/pretend.rs"]
mod pretend;
#[path = "demo/shots.rs"]
mod shots;

use fake::Fake;
use lorikeet_studio::StudioApp;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = std::env::temp_dir().join("lorikeet-studio-demo");
    let start = fake::start(folder.join("runs"));
    let engine = Fake::default();
    match arguments.next().as_deref() {
        Some("--shots") => {
            let out = arguments.next().ok_or("--shots needs a folder")?;
            shots::take(engine, start, out.into())
        }
        _ => {
            pretend::live(engine.clone(), folder);
            Ok(lorikeet_studio::run(Box::new(engine), start)?)
        }
    }
}
