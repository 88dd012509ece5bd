//! Pictures as textures: decoded on threads, newest request first, few uploads a frame, the least recent forgotten.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use egui::{ColorImage, Context, TextureHandle, TextureOptions};
use lorikeet_dataset::{Pixels, Thumbnails};

/// Edge of a thumbnail in the dataset grid, in pixels.
pub(crate) const THUMBNAIL: u32 = 256;
/// Edge of a preview, at most.
pub(crate) const PREVIEW: u32 = 1024;

const THREADS: usize = 2;
/// More would be seen as a hitch.
const UPLOADS_A_FRAME: usize = 8;
/// About 100 MB of thumbnails.
const KEPT: usize = 400;

type Key = (PathBuf, u32);

enum Entry {
    Pending,
    Ready { texture: TextureHandle, used: u64 },
    Broken,
}

/// What is known of a picture.
#[derive(Clone)]
pub(crate) enum Picture {
    Pending,
    Ready(TextureHandle),
    /// It cannot be read.
    Broken,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Key>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A list of paths is whole whatever the thread that panicked did.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Pictures {
    entries: HashMap<Key, Entry>,
    shared: Arc<Shared>,
    decoded: mpsc::Receiver<(Key, Option<Pixels>)>,
    ctx: Context,
    frame: u64,
    pending: usize,
}

impl Pictures {
    /// `cache`: a folder that remembers thumbnails.
    #[expect(clippy::disallowed_methods, reason = "one answer for each picture asked for")]
    pub(crate) fn new(ctx: &Context, cache: Option<PathBuf>) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, decoded) = mpsc::channel();
        for _ in 0..THREADS {
            let (shared, sender, ctx, cache) =
                (shared.clone(), sender.clone(), ctx.clone(), cache.clone().map(Thumbnails::new));
            // Without a thread pictures stay grey, and all else works.
            thread::Builder::new()
                .name("studio pictures".to_owned())
                .spawn(move || {
                    while let Some(key) = next(&shared) {
                        let pixels = match &cache {
                            Some(cache) if key.1 <= THUMBNAIL => cache.get(&key.0, key.1),
                            _ => lorikeet_dataset::thumbnail(&key.0, key.1),
                        };
                        if sender.send((key, pixels.ok())).is_err() {
                            return;
                        }
                        ctx.request_repaint();
                    }
                })
                .ok();
        }
        Self { entries: HashMap::new(), shared, decoded, ctx: ctx.clone(), frame: 0, pending: 0 }
    }

    /// Once a frame: turns a few decoded pictures into textures, and forgets the least recent beyond the limit.
    pub(crate) fn begin_frame(&mut self) {
        self.frame += 1;
        for _ in 0..UPLOADS_A_FRAME {
            let Ok((key, pixels)) = self.decoded.try_recv() else { break };
            self.keep(key, pixels);
        }
        if self.entries.len() > KEPT {
            self.forget();
        }
    }

    pub(crate) fn get(&mut self, path: &Path, edge: u32) -> Picture {
        let key = (path.to_owned(), edge);
        match self.entries.get_mut(&key) {
            Some(Entry::Ready { texture, used }) => {
                *used = self.frame;
                Picture::Ready(texture.clone())
            }
            Some(Entry::Broken) => Picture::Broken,
            Some(Entry::Pending) => Picture::Pending,
            None => {
                self.entries.insert(key.clone(), Entry::Pending);
                self.pending += 1;
                self.shared.lock().waiting.push(key);
                self.shared.filled.notify_one();
                Picture::Pending
            }
        }
    }

    /// Waits until all that was asked for is there. For tests and screenshots.
    pub(crate) fn settle(&mut self) {
        while self.pending > 0 {
            let Ok((key, pixels)) = self.decoded.recv() else { return };
            self.keep(key, pixels);
        }
    }

    fn keep(&mut self, key: Key, pixels: Option<Pixels>) {
        self.pending = self.pending.saturating_sub(1);
        let entry = match pixels {
            Some(pixels) => {
                let image = ColorImage::from_rgb([pixels.width as usize, pixels.height as usize], &pixels.rgb);
                let texture = self.ctx.load_texture(key.0.to_string_lossy(), image, TextureOptions::LINEAR);
                Entry::Ready { texture, used: self.frame }
            }
            None => Entry::Broken,
        };
        self.entries.insert(key, entry);
        self.ctx.request_repaint();
    }

    fn forget(&mut self) {
        let mut ages: Vec<u64> = self
            .entries
            .values()
            .filter_map(|entry| match entry {
                Entry::Ready { used, .. } => Some(*used),
                _ => None,
            })
            .collect();
        if ages.len() <= KEPT {
            return;
        }
        ages.sort_unstable();
        // Those on screen were used in this frame or the one before and stay, however many they are.
        let oldest_kept = ages[ages.len() - KEPT].min(self.frame.saturating_sub(1));
        self.entries.retain(|_, entry| !matches!(entry, Entry::Ready { used, .. } if *used < oldest_kept));
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}

/// Waits for the newest request. `None`: the window is gone.
fn next(shared: &Shared) -> Option<Key> {
    let mut queue = shared.lock();
    loop {
        if queue.closed {
            return None;
        }
        if let Some(key) = queue.waiting.pop() {
            return Some(key);
        }
        queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn pictures_arrive_and_broken_ones_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (good, broken) = (folder.path().join("a.png"), folder.path().join("b.png"));
        image::RgbImage::from_pixel(40, 20, image::Rgb([200, 10, 10])).save(&good).unwrap();
        std::fs::write(&broken, b"not a picture").unwrap();
        let ctx = Context::default();
        let mut pictures = Pictures::new(&ctx, None);
        assert!(matches!(pictures.get(&good, 16), Picture::Pending));
        assert!(matches!(pictures.get(&broken, 16), Picture::Pending));
        pictures.settle();
        let Picture::Ready(texture) = pictures.get(&good, 16) else { panic!("still not there") };
        assert_eq!(texture.size(), [16, 8]);
        assert!(matches!(pictures.get(&broken, 16), Picture::Broken));
    }
}
