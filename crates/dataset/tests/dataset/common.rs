//! Pictures and files for the tests, made by code.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use lorikeet_dataset::Picture;

/// Different colours everywhere, so that turning and cropping show.
pub(crate) fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width.max(1)) as u8, (y * 255 / height.max(1)) as u8, ((x * 7 + y * 13) % 256) as u8])
    })
}

pub(crate) fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn bytes(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    encode(&gradient(width, height).into(), format)
}

/// Writes `contents` at `folder/name`, with folders in between.
pub(crate) fn put(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, contents).unwrap();
    path
}

pub(crate) fn png(folder: &Path, name: &str, width: u32, height: u32) -> PathBuf {
    put(folder, name, bytes(width, height, ImageFormat::Png))
}

/// A TIFF block with one entry: the orientation.
fn exif_block(orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    exif
}

/// The JPEG with an APP1 segment right after its start marker.
pub(crate) fn jpeg_with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut block = b"Exif\0\0".to_vec();
    block.extend(exif_block(orientation));
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend((block.len() as u16 + 2).to_be_bytes());
    turned.extend(block);
    turned.extend(&jpeg[2..]);
    turned
}

/// The PNG with an eXIf chunk right after IHDR.
pub(crate) fn png_with_orientation(png: &[u8], orientation: u8) -> Vec<u8> {
    let mut body = b"eXIf".to_vec();
    body.extend(exif_block(orientation));
    let mut chunk = (body.len() as u32 - 4).to_be_bytes().to_vec();
    chunk.extend(&body);
    chunk.extend(crc32(&body).to_be_bytes());
    let after_header = 8 + 12 + 13;
    [&png[..after_header], &chunk, &png[after_header..]].concat()
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A picture with this caption; the rest does not matter.
pub(crate) fn captioned(caption: &str) -> Picture {
    Picture {
        path: "a.png".into(),
        width: 512,
        height: 512,
        repeats: 1,
        caption: caption.into(),
        caption_path: Some("a.txt".into()),
        mask: None,
        folder: "a".into(),
    }
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind.as_slice(), data].concat();
    [(data.len() as u32).to_be_bytes().as_slice(), &body, &crc32(&body).to_be_bytes()].concat()
}

/// 2 x 1 px: colour (10, 20, 30), then a fully transparent one.
pub(crate) fn palette_png() -> Vec<u8> {
    let header = [0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0];
    let (row, adler) = ([0, 0, 1], [0, 5, 0, 2]);
    // zlib with one stored block.
    let data = [[0x78, 0x01, 1, 3, 0, 0xfc, 0xff].as_slice(), &row, &adler].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        png_chunk(b"IHDR", &header),
        png_chunk(b"PLTE", &[10, 20, 30, 90, 90, 90]),
        png_chunk(b"tRNS", &[255, 0]),
        png_chunk(b"IDAT", &data),
        png_chunk(b"IEND", &[]),
    ]
    .concat()
}

/// The start of a JPEG with four colour channels; no decoder gets as far as wanting the rest.
pub(crate) fn cmyk_jpeg() -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, 0, 16, 0, 16, 4];
    jpeg.extend((1..=4).flat_map(|channel| [channel, 0x11, 0]));
    jpeg.extend([0xff, 0xd9]);
    jpeg
}
