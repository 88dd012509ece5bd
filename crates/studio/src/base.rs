//! What the studio shows of a base model.

use std::path::{Path, PathBuf};

use lorikeet_checkpoint::{Family, Found, Part, PartFiles, Prediction};
use lorikeet_recipe::BaseClass;

use crate::format;
use crate::texts;

/// A base that was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Base {
    pub path: PathBuf,
    /// `Stable Diffusion 1.x`, or what it is instead.
    pub title: String,
    /// Name and value, for a list.
    pub facts: Vec<(String, String)>,
    /// Whose defaults hold.
    pub class: Option<BaseClass>,
    pub parts: Vec<BasePart>,
    /// As the file's own metadata says, if it does.
    pub licence: Option<String>,
    pub notes: Vec<String>,
    /// Why it cannot be trained, and what to do.
    pub problem: Option<String>,
}

/// A part that may lie in a file of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BasePart {
    pub part: Part,
    /// The setting that names another file.
    pub setting: &'static str,
    pub state: PartState,
    /// Which file it is, and where to get it.
    pub advice: String,
    /// Repository and file on the hub.
    pub hub: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartState {
    /// In the base's own file or folder.
    Inside,
    /// In the file that the setting names.
    Given,
    Missing,
}

/// Parts with the settings that name a file for them.
pub(crate) const PART_SETTINGS: [(Part, &str); 3] =
    [(Part::Vae, "base.vae"), (Part::TextEncoder, "base.text_encoder"), (Part::TextEncoder2, "base.text_encoder_2")];

/// Reads headers only, yet from a disk: not for the window's thread.
pub(crate) fn inspect(path: &Path, files: &PartFiles) -> Result<Base, String> {
    let found = lorikeet_checkpoint::inspect_with(path, files).map_err(|error| error.to_string())?;
    let title = found.family.map_or_else(|| sentence(&found.what), |family| family.label().to_owned());
    let mut facts = vec![(texts::model::SIZE.to_owned(), format::bytes(found.size))];
    if let Some(pixels) = found.native_resolution {
        facts.push((texts::model::MADE_FOR.to_owned(), format::pixels(pixels, pixels)));
    }
    if let Some(prediction) = found.prediction {
        let words = match prediction {
            Prediction::Epsilon => texts::model::EPSILON,
            Prediction::V => texts::model::VELOCITY,
            Prediction::Flow => texts::model::FLOW,
        };
        facts.push((texts::model::PREDICTS.to_owned(), words.to_owned()));
    }
    for part in &found.parts {
        let types: Vec<_> = part.dtypes.keys().map(ToString::to_string).collect();
        facts.push((
            sentence(&part.name),
            texts::model::part(part.parameters, &types.join(texts::model::AND), part.bytes),
        ));
    }
    let inside = lorikeet_checkpoint::find_parts(&found.path);
    let parts = found.family.map(|family| parts(family, inside.as_ref(), files)).unwrap_or_default();
    let licence = found.metadata.get("modelspec.license").filter(|text| !text.is_empty()).cloned();
    let problem = (!found.trainable).then(|| texts::model::problem(&found.what, &found.advice));
    let class = found.family.and_then(|family| class(family, found.denoiser_parameters));
    Ok(Base { path: found.path, title, facts, class, parts, licence, notes: found.notes, problem })
}

/// Where the parts beside the denoiser are.
fn parts(family: Family, inside: Option<&Found>, files: &PartFiles) -> Vec<BasePart> {
    let settings = PART_SETTINGS.into_iter().filter(|(part, _)| family.parts().contains(part));
    settings
        .map(|(part, setting)| {
            let state = if files.get(part).is_some() {
                PartState::Given
            } else if inside.is_some_and(|found| found.parts.contains(&part)) {
                PartState::Inside
            } else {
                PartState::Missing
            };
            let advice = lorikeet_checkpoint::where_to_get(family, part);
            BasePart { part, setting, state, advice, hub: lorikeet_checkpoint::hub_file(family, part) }
        })
        .collect()
}

/// A family that cannot be trained has no defaults.
fn class(family: Family, denoiser_parameters: Option<u64>) -> Option<BaseClass> {
    use lorikeet_recipe::Family as Recipe;
    let family = match family {
        Family::Sd1 => Recipe::Sd1,
        Family::Sd2 => Recipe::Sd2,
        Family::Sdxl => Recipe::Sdxl,
        Family::Flux1Dev => Recipe::FluxDev,
        Family::Flux1Schnell => Recipe::FluxSchnell,
        _ => return None,
    };
    // An incomplete base is not known to be small.
    Some(family.class(denoiser_parameters.unwrap_or(u64::MAX)))
}

/// `text_encoder` as `Text encoder`.
fn sentence(name: &str) -> String {
    let name = name.replace('_', " ");
    match name.as_str() {
        "unet" => texts::model::UNET.to_owned(),
        "vae" => texts::model::VAE.to_owned(),
        _ => {
            let mut chars = name.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
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
    }

    #[test]
    fn the_demo_base_is_small_and_whole() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-base");
        let base = inspect(&demo, &PartFiles::default()).unwrap();
        assert_eq!((base.class, base.problem), (Some(BaseClass::Demo), None));
        let states: Vec<_> = base.parts.iter().map(|part| (part.setting, part.state)).collect();
        assert_eq!(states, [("base.vae", PartState::Inside), ("base.text_encoder", PartState::Inside)]);
        let files = PartFiles { vae: Some(demo.join("vae")), ..PartFiles::default() };
        let base = inspect(&demo, &files).unwrap();
        assert_eq!((base.parts[0].state, base.problem), (PartState::Given, None));
    }

    #[test]
    fn a_file_that_is_no_model_has_a_problem_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.safetensors");
        std::fs::write(&file, "hello, this is plain text and no model").unwrap();
        let told = match inspect(&file, &PartFiles::default()) {
            Ok(base) => base.problem.expect("it cannot be trained"),
            Err(error) => error,
        };
        assert!(told.len() > 20, "{told}");
    }
}
