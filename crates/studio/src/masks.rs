//! Painting a mask over a picture: what is on the canvas, with its own undo, and how it gets into its file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use egui::{Pos2, TextureHandle};
use lorikeet_dataset::{Mask, mask_path};

use crate::app::StudioApp;
use crate::draft::Load;
use crate::edits::FileJob;
use crate::pages::Page;

/// Longest side that is painted on: latents are an eighth of a picture, so finer strokes would not show.
const LONGEST: u32 = 1024;
/// Strokes that can be taken back, a megabyte each at most.
const MOST: usize = 40;
/// Radius of the brush, pixels of the canvas.
pub(crate) const SIZES: std::ops::RangeInclusive<f32> = 2.0..=200.0;

/// What is done with masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MaskAction {
    Paint(PathBuf),
    /// Saves what was painted.
    Close,
    Discard,
    /// Takes the file away.
    Remove,
}

/// A mask as it was read: at the size of the canvas, and its file.
pub(crate) type ReadMask = (Mask, Option<Vec<u8>>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Brush {
    pub(crate) erase: bool,
    pub(crate) radius: f32,
    /// Of the red over what is not learned.
    pub(crate) opacity: f32,
}

impl Default for Brush {
    fn default() -> Self {
        Self { erase: false, radius: 40.0, opacity: 0.6 }
    }
}

pub(crate) struct Painting {
    pub(crate) picture: PathBuf,
    /// Of the picture, px.
    size: (u32, u32),
    pub(crate) canvas: Load<Canvas>,
}

pub(crate) struct Canvas {
    pub(crate) mask: Mask,
    /// The file as it was read.
    seen: Option<Vec<u8>>,
    undo: Vec<Vec<u8>>,
    redo: Vec<Vec<u8>>,
    /// Where the pointer was, within a stroke.
    pub(crate) last: Option<Pos2>,
    /// Counts changes, for the texture.
    pub(crate) version: u64,
    changed: bool,
}

impl Canvas {
    pub(crate) fn new((mask, seen): ReadMask) -> Self {
        Self { mask, seen, undo: Vec::new(), redo: Vec::new(), last: None, version: 0, changed: false }
    }

    /// Whether there is a file to take away.
    pub(crate) fn has_file(&self) -> bool {
        self.seen.is_some()
    }

    pub(crate) fn can_step(&self, redo: bool) -> bool {
        !if redo { &self.redo } else { &self.undo }.is_empty()
    }

    /// Before a change: what it can be taken back to.
    fn remember(&mut self) {
        self.undo.push(self.mask.grey.clone());
        if self.undo.len() > MOST {
            self.undo.remove(0);
        }
        self.redo.clear();
        self.touched();
    }

    fn touched(&mut self) {
        self.version += 1;
        self.changed = true;
    }

    pub(crate) fn step(&mut self, redo: bool) {
        let (from, to) = if redo { (&mut self.redo, &mut self.undo) } else { (&mut self.undo, &mut self.redo) };
        if let Some(grey) = from.pop() {
            to.push(std::mem::replace(&mut self.mask.grey, grey));
            self.touched();
        }
    }

    pub(crate) fn fill(&mut self, value: u8) {
        self.remember();
        self.mask.grey.fill(value);
    }

    pub(crate) fn invert(&mut self) {
        self.remember();
        self.mask.grey.iter_mut().for_each(|value| *value = 255 - *value);
    }

    /// The pointer at a place of the canvas, in its pixels: begins a stroke or goes on with it.
    pub(crate) fn stroke(&mut self, at: Pos2, brush: &Brush) {
        let from = self.last.replace(at).unwrap_or_else(|| {
            self.remember();
            at
        });
        self.version += 1;
        let (width, radius) = (self.mask.width as usize, brush.radius);
        let reach = |low: f32, high: f32, most: u32| {
            let least = (low - radius - 1.0).max(0.0) as usize;
            least..((high + radius + 2.0).max(0.0) as usize).min(most as usize)
        };
        let line = at - from;
        for y in reach(from.y.min(at.y), from.y.max(at.y), self.mask.height) {
            for x in reach(from.x.min(at.x), from.x.max(at.x), self.mask.width) {
                let place = egui::pos2(x as f32 + 0.5, y as f32 + 0.5);
                let along = ((place - from).dot(line) / line.length_sq().max(1e-6)).clamp(0.0, 1.0);
                // The edge is a pixel soft.
                let covered = (radius + 0.5 - (place - (from + along * line)).length()).clamp(0.0, 1.0);
                let value = (covered * 255.0).round() as u8;
                let old = &mut self.mask.grey[y * width + x];
                *old = if brush.erase { (*old).min(255 - value) } else { (*old).max(value) };
            }
        }
    }

    /// The part that is learned, 0 to 1.
    pub(crate) fn learned(&self) -> f32 {
        let sum: u64 = self.mask.grey.iter().map(|value| u64::from(*value)).sum();
        sum as f32 / (255 * self.mask.grey.len()).max(1) as f32
    }
}

#[derive(Default)]
pub(crate) struct Masks {
    pub(crate) brush: Brush,
    pub(crate) painting: Option<Painting>,
    /// What is drawn over the picture, with what it was made from.
    pub(crate) overlay: Option<(Overlay, TextureHandle)>,
}

/// Version of the canvas, opacity in 255ths, and whether the theme is dark.
pub(crate) type Overlay = (PathBuf, u64, u8, bool);

impl Masks {
    pub(crate) fn canvas(&mut self) -> Option<&mut Canvas> {
        match &mut self.painting.as_mut()?.canvas {
            Load::Ready(canvas) => Some(canvas),
            _ => None,
        }
    }
}

/// Of the canvas for a picture of that size.
fn canvas_size((width, height): (u32, u32)) -> (u32, u32) {
    let longest = width.max(height).max(1);
    let scaled = |side: u32| if longest <= LONGEST { side } else { (side * LONGEST).div_ceil(longest) };
    (scaled(width).max(1), scaled(height).max(1))
}

/// On the work thread. Without a file nothing is learned yet: the first stroke says what is.
pub(crate) fn read(picture: &Path, size: (u32, u32)) -> Result<ReadMask, String> {
    let (path, (width, height)) = (mask_path(picture), canvas_size(size));
    match fs::read(&path) {
        Ok(bytes) => {
            let mask = Mask::from_bytes(&path, &bytes).map_err(|error| error.to_string())?;
            Ok((mask.resized(width, height), Some(bytes)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Mask::filled(width, height, 0), None)),
        Err(error) => Err(format!("the mask cannot be read ({error}): {}. Check its permissions", path.display())),
    }
}

impl StudioApp {
    pub(crate) fn mask_action(&mut self, action: MaskAction) {
        match action {
            MaskAction::Paint(picture) => self.paint_mask(picture),
            MaskAction::Close => self.commit_mask(),
            MaskAction::Discard => self.masks.painting = None,
            MaskAction::Remove => {
                if let Some(Painting { picture, size, canvas: Load::Ready(canvas) }) = self.masks.painting.take() {
                    self.files.push_back(FileJob::Mask { picture, size, seen: canvas.seen, mask: None });
                    self.next_file_job();
                }
            }
        }
    }

    fn paint_mask(&mut self, picture: PathBuf) {
        self.commit_mask();
        let found = self.draft.data.ready().and_then(|data| data.images.iter().find(|entry| entry.path == picture));
        let Some(size) = found.map(|entry| (entry.width, entry.height)) else { return };
        let ticket = self.work.read_mask(picture.clone(), size);
        self.masks.painting = Some(Painting { picture, size, canvas: Load::Loading(ticket) });
        self.page = Page::Dataset;
        self.to_top = true;
    }

    pub(crate) fn mask_read(&mut self, ticket: u64, result: Result<ReadMask, String>) {
        if let Some(painting) = &mut self.masks.painting
            && painting.canvas.awaits(ticket)
        {
            painting.canvas = result.map_or_else(Load::Failed, |read| Load::Ready(Canvas::new(read)));
        }
    }

    /// Saves what was painted, if anything was, and ends painting.
    pub(crate) fn commit_mask(&mut self) {
        if let Some(Painting { picture, size, canvas: Load::Ready(canvas) }) = self.masks.painting.take()
            && canvas.changed
        {
            self.files.push_back(FileJob::Mask { picture, size, seen: canvas.seen, mask: Some(canvas.mask) });
            self.next_file_job();
        }
    }

    /// Undo and redo belong to the strokes while one paints. Whether they did.
    pub(crate) fn step_mask(&mut self, redo: bool) -> bool {
        let painting = self.page == Page::Dataset && self.masks.painting.is_some();
        if painting && let Some(canvas) = self.masks.canvas() {
            canvas.step(redo);
        }
        painting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::pos2;

    fn canvas() -> Canvas {
        Canvas::new((Mask::filled(64, 32, 0), None))
    }

    #[test]
    fn strokes_are_painted_erased_and_taken_back() {
        let mut canvas = canvas();
        let brush = Brush { radius: 4.0, ..Brush::default() };
        canvas.stroke(pos2(10.0, 16.0), &brush);
        canvas.stroke(pos2(50.0, 16.0), &brush);
        canvas.last = None;
        let at = |canvas: &Canvas, x: usize, y: usize| canvas.mask.grey[y * 64 + x];
        assert_eq!(
            (at(&canvas, 30, 16), at(&canvas, 30, 25), at(&canvas, 60, 16)),
            (255, 0, 0),
            "a line, not two dots"
        );
        canvas.stroke(pos2(30.0, 16.0), &Brush { erase: true, ..brush });
        canvas.last = None;
        assert_eq!((at(&canvas, 30, 16), at(&canvas, 12, 16)), (0, 255));
        canvas.step(false);
        assert_eq!(at(&canvas, 30, 16), 255);
        canvas.step(false);
        assert!(canvas.learned() == 0.0 && !canvas.can_step(false), "a stroke is one step");
        canvas.step(true);
        assert_eq!(at(&canvas, 30, 16), 255);
        canvas.invert();
        assert!(!canvas.can_step(true) && at(&canvas, 30, 16) == 0);
        canvas.fill(255);
        assert_eq!(canvas.learned(), 1.0);
        canvas.stroke(pos2(-90.0, 500.0), &brush);
        assert_eq!(canvas.learned(), 1.0, "beside the canvas is nothing");
    }

    #[test]
    fn the_canvas_has_the_shape_of_the_picture() {
        assert_eq!(canvas_size((640, 480)), (640, 480));
        assert_eq!(canvas_size((4000, 1000)), (1024, 256));
        assert_eq!(canvas_size((1, 32_768)), (1, 1024));
    }
}
