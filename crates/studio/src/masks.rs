//! Painting a mask over a picture: what is on the canvas, with its own undo, and how it gets into its file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use egui::{Pos2, TextureHandle};
use lorikeet_dataset::{Mask, mask_path};

use crate::app::StudioApp;
use crate::draft::Load;
use crate::edits::FileJob;
use crate::pages::Page;
use crate::texts;

/// A mask is painted in its picture's own size, unless that has more pixels: a byte each.
const MOST_PIXELS: u64 = 40_000_000;
/// Longest side of what is shown of a mask, and the side that the size of the brush is told for.
const SHOWN: u32 = 1024;
/// What can be taken back, at most: strokes, and bytes of them.
const MOST: usize = 40;
const MOST_BYTES: usize = 128 << 20;
/// Side of the squares that a stroke remembers, pixels.
const TILE: u32 = 256;
/// Radius of the brush on a picture whose longest side is [`SHOWN`]; on a larger one it is larger.
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
    undo: Vec<Before>,
    redo: Vec<Before>,
    /// Where the pointer was, within a stroke.
    pub(crate) last: Option<Pos2>,
    /// Counts changes, for the texture.
    pub(crate) version: u64,
    changed: bool,
    /// The part that is learned, of that version.
    learned: Option<(u64, f32)>,
}

/// Squares of a mask as they were, by column and row of squares.
type Before = BTreeMap<(u32, u32), Vec<u8>>;

impl Canvas {
    pub(crate) fn new((mask, seen): ReadMask) -> Self {
        Self { mask, seen, undo: Vec::new(), redo: Vec::new(), last: None, version: 0, changed: false, learned: None }
    }

    /// Whether there is a file to take away.
    pub(crate) fn has_file(&self) -> bool {
        self.seen.is_some()
    }

    pub(crate) fn can_step(&self, redo: bool) -> bool {
        !if redo { &self.redo } else { &self.undo }.is_empty()
    }

    /// How much larger the brush is on this canvas than on a small one.
    pub(crate) fn scale(&self) -> f32 {
        (self.mask.width.max(self.mask.height) as f32 / SHOWN as f32).max(1.0)
    }

    /// Before a change: what it can be taken back to.
    fn begin(&mut self) {
        self.undo.push(Before::new());
        self.redo.clear();
        self.touched();
    }

    /// Before pixels in these columns and rows change, within what was begun.
    fn remember(&mut self, columns: &Range<usize>, rows: &Range<usize>) {
        if columns.is_empty() || rows.is_empty() {
            return;
        }
        let tiles = |range: &Range<usize>| range.start as u32 / TILE..=(range.end - 1) as u32 / TILE;
        let Some(mut step) = self.undo.pop() else { return };
        for row in tiles(rows) {
            for column in tiles(columns) {
                step.entry((column, row)).or_insert_with(|| self.lines((column, row)).flatten().copied().collect());
            }
        }
        self.undo.push(step);
        let bytes = |steps: &[Before]| steps.iter().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>();
        while self.undo.len() > 1 && (self.undo.len() > MOST || bytes(&self.undo) > MOST_BYTES) {
            self.undo.remove(0);
        }
    }

    fn lines(&self, tile: (u32, u32)) -> impl Iterator<Item = &[u8]> {
        places(tile, (self.mask.width, self.mask.height)).map(|line| &self.mask.grey[line])
    }

    fn remember_all(&mut self) {
        self.begin();
        self.remember(&(0..self.mask.width as usize), &(0..self.mask.height as usize));
    }

    fn touched(&mut self) {
        self.version += 1;
        self.changed = true;
    }

    pub(crate) fn step(&mut self, redo: bool) {
        let Some(mut step) = (if redo { &mut self.redo } else { &mut self.undo }).pop() else { return };
        let size = (self.mask.width, self.mask.height);
        for (tile, before) in &mut step {
            let mut rest = before.as_mut_slice();
            for line in places(*tile, size) {
                let (here, behind) = rest.split_at_mut(line.len().min(rest.len()));
                self.mask.grey[line].swap_with_slice(here);
                rest = behind;
            }
        }
        (if redo { &mut self.undo } else { &mut self.redo }).push(step);
        self.touched();
    }

    pub(crate) fn fill(&mut self, value: u8) {
        self.remember_all();
        self.mask.grey.fill(value);
    }

    pub(crate) fn invert(&mut self) {
        self.remember_all();
        self.mask.grey.iter_mut().for_each(|value| *value = 255 - *value);
    }

    /// The pointer at a place of the canvas, in its pixels: begins a stroke or goes on with it.
    pub(crate) fn stroke(&mut self, at: Pos2, brush: &Brush) {
        let from = self.last.replace(at).unwrap_or_else(|| {
            self.begin();
            at
        });
        self.version += 1;
        let (width, radius) = (self.mask.width as usize, brush.radius * self.scale());
        let reach = |low: f32, high: f32, most: u32| {
            let least = (low - radius - 1.0).max(0.0) as usize;
            least..((high + radius + 2.0).max(0.0) as usize).min(most as usize)
        };
        let line = at - from;
        let columns = reach(from.x.min(at.x), from.x.max(at.x), self.mask.width);
        let rows = reach(from.y.min(at.y), from.y.max(at.y), self.mask.height);
        self.remember(&columns, &rows);
        for y in rows {
            for x in columns.clone() {
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
    pub(crate) fn learned(&mut self) -> f32 {
        let known = self.learned.filter(|(version, _)| *version == self.version);
        let (_, part) = *self.learned.insert(known.unwrap_or_else(|| {
            let sum: u64 = self.mask.grey.iter().map(|value| u64::from(*value)).sum();
            (self.version, (sum as f64 / (255 * self.mask.grey.len()).max(1) as f64) as f32)
        }));
        part
    }

    /// The mask as large as it is shown, row by row: its size, and every so many of its pixels.
    pub(crate) fn shown(&self) -> ([usize; 2], impl Iterator<Item = u8>) {
        let (width, height) = (self.mask.width as usize, self.mask.height as usize);
        let (across, down) = scaled((self.mask.width, self.mask.height), SHOWN);
        let (across, down) = (across as usize, down as usize);
        let middle = |at: usize, shown: usize, whole: usize| (2 * at + 1) * whole / (2 * shown);
        let rows = (0..down).map(move |y| middle(y, down, height) * width);
        let grey = &self.mask.grey;
        ([across, down], rows.flat_map(move |row| (0..across).map(move |x| grey[row + middle(x, across, width)])))
    }
}

/// Where the lines of a square lie in a mask of that size.
fn places((column, row): (u32, u32), (width, height): (u32, u32)) -> impl Iterator<Item = Range<usize>> {
    let (left, top) = (column * TILE, row * TILE);
    let length = TILE.min(width.saturating_sub(left)) as usize;
    (top..height.min(top + TILE)).map(move |y| {
        let start = y as usize * width as usize + left as usize;
        start..start + length
    })
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
    let pixels = u64::from(width) * u64::from(height);
    if pixels <= MOST_PIXELS {
        return (width.max(1), height.max(1));
    }
    let longest = f64::from(width.max(height)) * (MOST_PIXELS as f64 / pixels as f64).sqrt();
    scaled((width, height), longest as u32)
}

/// The same shape, with no side longer than that.
fn scaled((width, height): (u32, u32), most: u32) -> (u32, u32) {
    let longest = u64::from(width.max(height).max(1));
    let side = |side: u32| {
        let scaled = (u64::from(side) * u64::from(most)).div_ceil(longest) as u32;
        if longest <= u64::from(most) { side } else { scaled }
    };
    (side(width).max(1), side(height).max(1))
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
        Err(error) => Err(texts::dataset::mask_unreadable(error, path.display())),
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
#[path = "masks_tests.rs"]
mod tests;
