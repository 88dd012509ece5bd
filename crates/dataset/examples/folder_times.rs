//! How long a folder takes to be looked at and to get its thumbnails, all cores at work, nothing kept from before:
//! `cargo run --release -p lorikeet-dataset --example folder_times -- FOLDER`.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lorikeet_dataset::{ScanOptions, scan, thumbnail};

/// As the studio asks for.
const EDGE: u32 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let begun = Instant::now();
    let dataset = scan(Path::new(&folder), &ScanOptions::default())?;
    println!("{} pictures looked at in {:.2} s", dataset.images.len(), begun.elapsed().as_secs_f64());

    let (begun, next, broken) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(picture) = dataset.images.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if thumbnail(&picture.path, EDGE).is_err() {
                        broken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("thumbnails in {:.1} s, {} broken", begun.elapsed().as_secs_f64(), broken.into_inner());
    Ok(())
}
