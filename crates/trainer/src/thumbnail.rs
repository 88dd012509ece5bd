//! The picture that a LoRA is shown with: in its metadata, and beside it.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::ImageFormat;
use image::imageops::FilterType;
use lorikeet_checkpoint::write_atomically;

use crate::TrainError;

/// What modelspec recommends, px.
const EDGE: u32 = 256;

/// A picture as `modelspec.thumbnail`: cut to a square, as a data URL.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn data_url(picture: &Path) -> Result<String, TrainError> {
    let unreadable = |error: image::ImageError| TrainError::Request {
        problem: format!("the thumbnail '{}' cannot be read: {error}", picture.display()),
        todo: "Choose another picture, or none",
    };
    let square = image::open(picture).map_err(unreadable)?.resize_to_fill(EDGE, EDGE, FilterType::Lanczos3);
    let mut jpeg = Vec::new();
    square.to_rgb8().write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg).map_err(unreadable)?;
    Ok(format!("data:image/jpeg;base64,{}", base64(&jpeg)))
}

/// Puts the whole picture beside the LoRA, where A1111, Forge and managers of models look for it. Returns where.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn put_beside(lora: &Path, picture: &Path) -> Result<PathBuf, TrainError> {
    let to = lora.with_extension("preview.png");
    let bytes = std::fs::read(picture).map_err(|error| TrainError::io("read", picture, error))?;
    write_atomically(&to, |out| out.write_all(&bytes))?;
    Ok(to)
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("\u{ff}\u{ff}", "w7/Dvw=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
