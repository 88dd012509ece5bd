//! Pictures that tell what they were drawn with.
//!
//! [`png_bytes`] puts the settings into a PNG three times, each for another reader: as `parameters` for AUTOMATIC1111 and
//! most viewers, as `workflow` for ComfyUI, which opens a picture that is dropped on it, and as `lorikeet` for
//! [`read_settings`].

mod comfyui;
mod parameters;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use lorikeet_protocol::PictureSettings;

pub use comfyui::workflow;
pub use parameters::parameters;

/// Name of the chunk that [`read_settings`] reads.
const OURS: &str = "lorikeet";

/// Why there is no PNG.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be written as PNG: {0}")]
pub struct PngError(#[from] png::EncodingError);

/// A PNG of `rgb`, three bytes a pixel in rows. `program` is `lorikeet/0.1.0`.
///
/// # Errors
/// When there are more or fewer bytes than width and height say.
pub fn png_bytes(
    rgb: &[u8],
    (width, height): (u32, u32),
    settings: &PictureSettings,
    program: &str,
) -> Result<Vec<u8>, PngError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let text = parameters(settings, program);
    // tEXt is Latin-1 only, but some viewers read nothing else.
    if text.is_ascii() {
        encoder.add_text_chunk("parameters".to_owned(), text)?;
    } else {
        encoder.add_itxt_chunk("parameters".to_owned(), text)?;
    }
    encoder.add_text_chunk("workflow".to_owned(), ascii(&workflow(settings)))?;
    encoder.add_text_chunk(OURS.to_owned(), ascii(&serde_json::json!(settings)))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// What a picture of ours was drawn with; `None` for any other file.
pub fn read_settings(path: &Path) -> Option<PictureSettings> {
    let reader = png::Decoder::new(BufReader::new(File::open(path).ok()?)).read_info().ok()?;
    // Before the pixels, so that these need not be decoded.
    let chunk = reader.info().uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == OURS)?;
    serde_json::from_str(&chunk.text).ok()
}

/// JSON in letters that every reader of tEXt chunks agrees on.
fn ascii(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            // Letters beyond ASCII stand only inside of JSON's strings.
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use lorikeet_protocol::UsedLora;
    use lorikeet_recipe::Sampler;

    #[test]
    fn a_picture_tells_its_settings_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let settings = PictureSettings {
            prompt: "红苹果 🍎, \"flat\"\nstyle".to_owned(),
            loras: vec![UsedLora { name: "ink".to_owned(), strength: 0.7 }],
            sampler: Some(Sampler::DpmPp2m),
            guidance: Some(3.5),
            width: 2,
            height: 1,
            set: 7,
            ..Default::default()
        };
        std::fs::write(&path, png_bytes(&[0; 6], (2, 1), &settings, "lorikeet/1").unwrap()).unwrap();
        assert_eq!(read_settings(&path), Some(settings.clone()));
        assert!(png_bytes(&[0; 5], (2, 1), &settings, "").is_err());

        std::fs::write(&path, "no picture").unwrap();
        assert_eq!(read_settings(&path), None);
        assert_eq!(read_settings(&folder.path().join("gone.png")), None);
    }
}
