//! What the studio shows of a base model.

use std::path::{Path, PathBuf};

use crate::format;

/// A base that was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Base {
    pub path: PathBuf,
    /// `Stable Diffusion 1.x`, or what it is instead.
    pub title: String,
    /// Name and value, for a list.
    pub facts: Vec<(String, String)>,
    pub notes: Vec<String>,
    /// Why it cannot be trained, and what to do.
    pub problem: Option<String>,
}

/// Reads headers only, yet from a disk: not for the window's thread.
pub(crate) fn inspect(path: &Path) -> Result<Base, String> {
    let found = lorikeet_checkpoint::inspect(path).map_err(|error| error.to_string())?;
    let title = found.family.map_or_else(|| sentence(&found.what), |family| family.label().to_owned());
    let mut facts = vec![("Size".to_owned(), format::bytes(found.size))];
    if let Some(pixels) = found.native_resolution {
        facts.push(("Made for".to_owned(), format!("{pixels} × {pixels} px")));
    }
    if let Some(prediction) = found.prediction {
        facts.push(("Prediction".to_owned(), prediction.name().to_owned()));
    }
    for part in &found.parts {
        let types: Vec<_> = part.dtypes.keys().map(ToString::to_string).collect();
        facts.push((
            sentence(&part.name),
            format!(
                "{} parameters, {}, {}",
                parameters(part.parameters),
                types.join(" and "),
                format::bytes(part.bytes)
            ),
        ));
    }
    let problem = (!found.trainable).then(|| format!("This is {}. {}", found.what, found.advice));
    Ok(Base { path: found.path, title, facts, notes: found.notes, problem })
}

/// `text_encoder` as `Text encoder`.
fn sentence(name: &str) -> String {
    let name = name.replace('_', " ");
    match name.as_str() {
        "unet" => "UNet".to_owned(),
        "vae" => "VAE".to_owned(),
        _ => {
            let mut chars = name.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
    }
}

/// `8.8 M`.
pub(crate) fn parameters(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.0} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.2} G", count as f64 / 1e9),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_become_words() {
        assert_eq!(sentence("text_encoder"), "Text encoder");
        assert_eq!(sentence("unet"), "UNet");
        assert_eq!(parameters(8_800_000), "8.8 M");
        assert_eq!(parameters(412_000), "412 k");
    }

    #[test]
    fn a_file_that_is_no_model_has_a_problem_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.safetensors");
        std::fs::write(&file, "hello, this is plain text and no model").unwrap();
        let told = match inspect(&file) {
            Ok(base) => base.problem.expect("it cannot be trained"),
            Err(error) => error,
        };
        assert!(told.len() > 20, "{told}");
    }
}
