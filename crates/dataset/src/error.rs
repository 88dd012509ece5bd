//! What can go wrong with a folder of pictures, in words that say what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Longest side of a picture that is read, in pixels.
pub const MAX_SIDE: u32 = 32_768;
/// Largest area of a picture that is read, in pixels (16384 x 16384; 2 GiB while a 16-bit one is decoded).
pub const MAX_PIXELS: u64 = 16_384 * 16_384;
/// Longest side over shortest side of a picture that is read. Beyond it the cover resize makes enormous strips.
pub const MAX_ASPECT: u32 = 32;

#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("there is no folder at {}. Check the path, or choose the folder again", .folder.display())]
    FolderMissing { folder: PathBuf },
    #[error("this is a file, and a folder of pictures is needed: {}. Choose the folder that holds the pictures", .path.display())]
    NotAFolder { path: PathBuf },
    #[error("the folder cannot be read ({source}): {}. Check its permissions, and that its drive is connected", .folder.display())]
    FolderUnreadable { folder: PathBuf, source: io::Error },
    #[error("the folder is empty: {}. Put PNG, JPEG, WebP or BMP pictures into it, 10 to 50 to begin with", .folder.display())]
    EmptyFolder { folder: PathBuf },
    #[error("no pictures among the {files} file(s) of {}. PNG, JPEG, WebP and BMP are read; convert others, or choose another folder", .folder.display())]
    NoPictures { folder: PathBuf, files: usize },
    #[error("none of the {count} picture(s) can be used in {}. The first: {} ({reason})", .folder.display(), .first.display())]
    AllSkipped { folder: PathBuf, count: usize, first: PathBuf, reason: String },
    #[error("the picture {} cannot be used: {problem}", .path.display())]
    Picture { path: PathBuf, problem: PictureProblem },
    #[error("the picture {} is {} x {} px now and was {} x {} px when the folder was scanned. Start the run again", .path.display(), .now.0, .now.1, .was.0, .was.1)]
    Changed { path: PathBuf, was: (u32, u32), now: (u32, u32) },
    #[error("the file cannot be read ({source}): {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the caption cannot be saved ({source}): {}. Check the permissions of the folder, and that its disk is not full", .path.display())]
    CaptionWrite { path: PathBuf, source: io::Error },
    #[error("the caption was changed by another program meanwhile and is left as it is: {}", .path.display())]
    CaptionChanged { path: PathBuf },
    #[error("the mask cannot be saved ({source}): {}. Check the permissions of the folder, and that its disk is not full", .path.display())]
    MaskWrite { path: PathBuf, source: io::Error },
    #[error("the mask was changed by another program meanwhile and is left as it is: {}", .path.display())]
    MaskChanged { path: PathBuf },
    #[error("{} cannot be moved to {} ({source})", .from.display(), .to.display())]
    Move { from: PathBuf, to: PathBuf, source: io::Error },
}

impl DatasetError {
    pub(crate) fn picture(path: &Path, problem: PictureProblem) -> Self {
        Self::Picture { path: path.to_owned(), problem }
    }
}

/// Why one picture cannot be used. The path is told by whoever reports it.
#[derive(Debug, Error)]
pub enum PictureProblem {
    #[error("the file has no bytes; copy it again from where it came from")]
    Empty,
    #[error("the file is cut off ({0}); copy or download it again")]
    CutOff(&'static str),
    #[error("its contents are not a picture; remove it, or save it again as PNG or JPEG")]
    NotAPicture,
    #[error("{0} pictures are not read; save it as PNG or JPEG")]
    Unsupported(&'static str),
    #[error("it is a CMYK (print) JPEG, whose colours cannot be shown faithfully; save it as RGB")]
    Cmyk,
    #[error("{width} x {height} px is too large (at most {MAX_SIDE} px a side and {} megapixels); make it smaller first", MAX_PIXELS / 1_000_000)]
    TooLarge { width: u32, height: u32 },
    #[error("{width} x {height} px is a strip (at most {MAX_ASPECT} to 1); cut it into pieces")]
    TooNarrow { width: u32, height: u32 },
    #[error("it is damaged ({0}); save it again as PNG or JPEG")]
    Damaged(String),
    #[error("it cannot be read ({0}); check its permissions")]
    Io(#[from] io::Error),
    #[error("its name is not valid Unicode; rename it")]
    Name,
}
