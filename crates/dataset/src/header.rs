//! What the first bytes of a picture tell: format, size as seen after EXIF orientation, and whether the file is whole.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use image::{ImageFormat, metadata::Orientation};
use imagesize::ImageType;

use crate::error::{MAX_ASPECT, MAX_PIXELS, MAX_SIDE, PictureProblem};

pub(crate) struct Header {
    /// As seen, after `orientation`.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    pub(crate) format: ImageFormat,
}

pub(crate) fn read_file(path: &Path) -> Result<Header, PictureProblem> {
    read(&mut BufReader::new(File::open(path)?))
}

pub(crate) fn read<R: BufRead + Seek>(reader: &mut R) -> Result<Header, PictureProblem> {
    let length = reader.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Err(PictureProblem::Empty);
    }
    reader.rewind()?;
    let kind = imagesize::reader_type(&mut *reader).map_err(|_| PictureProblem::NotAPicture)?;
    let format = supported(kind)?;
    let size = kind.reader_size(reader).map_err(|_| PictureProblem::CutOff("within its header"))?;
    let (Ok(width), Ok(height)) = (u32::try_from(size.width), u32::try_from(size.height)) else {
        return Err(PictureProblem::Damaged("impossible size".into()));
    };
    check_size(width, height)?;
    check_whole(reader, format, length)?;
    let orientation = orientation(reader, format);
    let turned = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (width, height) = if turned { (height, width) } else { (width, height) };
    Ok(Header { width, height, orientation, format })
}

fn supported(kind: ImageType) -> Result<ImageFormat, PictureProblem> {
    Ok(match kind {
        ImageType::Png => ImageFormat::Png,
        ImageType::Jpeg => ImageFormat::Jpeg,
        ImageType::Webp => ImageFormat::WebP,
        ImageType::Bmp => ImageFormat::Bmp,
        ImageType::Gif => return Err(PictureProblem::Unsupported("GIF")),
        ImageType::Tiff => return Err(PictureProblem::Unsupported("TIFF")),
        ImageType::Heif(_) => return Err(PictureProblem::Unsupported("HEIC and AVIF")),
        ImageType::Jxl => return Err(PictureProblem::Unsupported("JPEG XL")),
        ImageType::Psd => return Err(PictureProblem::Unsupported("Photoshop")),
        // Formats without a signature are recognised by guessing, so text can end up here.
        _ => return Err(PictureProblem::NotAPicture),
    })
}

pub(crate) fn check_size(width: u32, height: u32) -> Result<(), PictureProblem> {
    if width == 0 || height == 0 {
        return Err(PictureProblem::Damaged("a side of 0 px".into()));
    }
    if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureProblem::TooLarge { width, height });
    }
    if width.max(height) / width.min(height) > MAX_ASPECT {
        return Err(PictureProblem::TooNarrow { width, height });
    }
    Ok(())
}

/// Finds files that end too early without decoding them. The JPEG decoder would fill the rest with grey and say nothing.
fn check_whole<R: BufRead + Seek>(reader: &mut R, format: ImageFormat, length: u64) -> Result<(), PictureProblem> {
    let cut = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => PictureProblem::CutOff("within its header"),
        _ => PictureProblem::Io(error),
    };
    match format {
        ImageFormat::Png => png_whole(reader, length).map_err(cut)?,
        ImageFormat::Jpeg => return jpeg_whole(reader, length),
        ImageFormat::WebP => {
            let declared = u64::from(u32_le(reader, 4).map_err(cut)?);
            // Some writers count the padding byte of an odd size and leave it out.
            (declared + 8 <= length + 1).then_some(()).ok_or("it is shorter than its header says")
        }
        _ => bmp_whole(reader, length).map_err(cut)?,
    }
    .map_err(PictureProblem::CutOff)
}

type Whole = std::io::Result<Result<(), &'static str>>;

/// Hops from chunk to chunk until IEND.
fn png_whole<R: BufRead + Seek>(reader: &mut R, length: u64) -> Whole {
    let mut at = 8;
    loop {
        if at + 12 > length {
            return Ok(Err("its end is missing"));
        }
        let mut head = [0; 8];
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut head)?;
        if &head[4..] == b"IEND" {
            return Ok(Ok(()));
        }
        // Length, kind, data, checksum.
        at += 12 + u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
    }
}

fn bmp_whole<R: BufRead + Seek>(reader: &mut R, length: u64) -> Whole {
    let header_size = u32_le(reader, 14)?;
    if header_size < 40 {
        // The OS/2 header of 1987: the decoder finds out.
        return Ok(Ok(()));
    }
    let pixels_at = u64::from(u32_le(reader, 10)?);
    let width = u64::from((u32_le(reader, 18)? as i32).unsigned_abs());
    let height = u64::from((u32_le(reader, 22)? as i32).unsigned_abs());
    let bits = u64::from(u32_le(reader, 28)? & 0xffff);
    let compression = u32_le(reader, 30)?;
    let uncompressed = matches!(compression, 0 | 3);
    let row = (width * bits).div_ceil(32) * 4;
    if uncompressed && pixels_at + row * height > length {
        return Ok(Err("it is shorter than its header says"));
    }
    Ok(Ok(()))
}

fn u32_le<R: BufRead + Seek>(reader: &mut R, at: u64) -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    reader.seek(SeekFrom::Start(at))?;
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Walks the segments up to the first scan, refusing CMYK, then looks for the end marker.
fn jpeg_whole<R: BufRead + Seek>(reader: &mut R, length: u64) -> Result<(), PictureProblem> {
    const CUT: PictureProblem = PictureProblem::CutOff("its end is missing");
    let mut at = 2;
    loop {
        let mut head = [0; 10];
        reader.seek(SeekFrom::Start(at))?;
        let read = reader.take(head.len() as u64).read(&mut head)?;
        if read < 4 {
            return Err(CUT);
        }
        if head[0] != 0xff {
            return Err(PictureProblem::Damaged(format!("no JPEG marker at byte {at}")));
        }
        match head[1] {
            // Fill bytes before a marker.
            0xff => {
                at += 1;
                continue;
            }
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => {
                at += 2;
                continue;
            }
            // Start of frame; c4, c8 and cc are tables. Byte 9 counts the colour channels.
            0xc0..=0xcf if !matches!(head[1], 0xc4 | 0xc8 | 0xcc) && head[9] == 4 => return Err(PictureProblem::Cmyk),
            0xd9 => return Err(CUT),
            _ => {}
        }
        let scan = head[1] == 0xda;
        at += 2 + u64::from(u16::from_be_bytes([head[2], head[3]]));
        if at > length {
            return Err(CUT);
        }
        if scan {
            break;
        }
    }
    // Within picture data 0xff is always followed by 0, so the pair can only be the end. Cameras append data after it,
    // and then the whole file is read.
    const TAIL: u64 = 4096;
    for from in [at.max(length.saturating_sub(TAIL)), at] {
        let mut bytes = Vec::new();
        reader.seek(SeekFrom::Start(from))?;
        reader.read_to_end(&mut bytes)?;
        if bytes.windows(2).any(|pair| pair == [0xff, 0xd9]) {
            return Ok(());
        }
    }
    Err(CUT)
}

/// Upright when there is no EXIF or it cannot be understood: half of it may still be good, so errors are stepped over.
fn orientation<R: BufRead + Seek>(reader: &mut R, format: ImageFormat) -> Orientation {
    if format == ImageFormat::Bmp || reader.rewind().is_err() {
        return Orientation::NoTransforms;
    }
    exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(reader)
        .or_else(|error| error.distill_partial_result(|_| {}))
        .ok()
        .and_then(|exif| exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?.value.get_uint(0))
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms)
}
