//! The pictures: their settings, and notes on folders and masks.

use serde::{Deserialize, Serialize};

use super::display::plural;
use super::resolve::{Notes, fit, on_off};
use super::settings::Reader;
use crate::error::RecipeError;
use crate::facts::{BaseFacts, DatasetFacts, FolderFacts};
use crate::folders::{PictureFolder, folders};
use crate::setting::BaseClass;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSettings {
    pub folder: String,
    /// Empty: none.
    pub validation_folder: String,
    /// 0 with a validation folder.
    pub validation_split: f64,
    /// Edge of the square whose area pictures are scaled to, px. A multiple of the base's `size_multiple`.
    pub resolution: u32,
    /// Of `folder`.
    pub repeats: u32,
    /// Beside `folder`.
    #[serde(default)]
    pub more_folders: Vec<PictureFolder>,
    /// Empty: none.
    pub trigger: String,
    pub flip: bool,
    /// How much counts outside of masks; `None`: masks are not used.
    #[serde(default)]
    pub masks: Option<f64>,
    /// Rows of 75 tokens that CLIP reads of a caption: 1, 2 or 3; 1 for families that read otherwise.
    #[serde(default = "one")]
    pub caption_rows: u32,
    /// Tokens of a caption that T5 reads; 0: as many as the base learned with.
    #[serde(default)]
    pub t5_tokens: u32,
    pub caption_dropout: f64,
    pub shuffle_tags: bool,
    pub keep_tokens: u32,
    pub buckets: bool,
    /// A multiple of the base's `size_multiple`, px.
    pub bucket_step: u32,
    pub bucket_min: u32,
    pub bucket_max: u32,
    pub no_upscale: bool,
}

impl DatasetSettings {
    /// All folders of pictures, in the order in which they are looked through.
    pub fn folders(&self) -> Vec<PictureFolder> {
        let first = PictureFolder { path: self.folder.clone(), repeats: self.repeats };
        let all = std::iter::once(first).chain(self.more_folders.iter().cloned());
        all.filter(|folder| !folder.path.is_empty()).collect()
    }
}

fn one() -> u32 {
    1
}

pub(super) fn resolve(r: &Reader<'_>, base: &BaseFacts, notes: &mut Notes<'_>) -> Result<DatasetSettings, RecipeError> {
    let multiple = base.size_multiple.max(1);
    let asked = r.small("dataset.resolution");
    // There are two of Stable Diffusion 2, and the default can be right for one only.
    let native = r.base() == BaseClass::Sd2 && !r.recipe().is_set("dataset.resolution");
    let resolution = fit(if native { base.native_resolution } else { asked }, multiple, "dataset.resolution", notes);
    let why = if native { "the base learned at this size".to_owned() } else { notes.why("dataset.resolution") };
    notes.decide("Resolution", format!("{resolution} px"), why);
    let buckets = r.on("dataset.buckets");
    let step = r.small("dataset.bucket_step");
    let or = |asked: u32, auto: u32| if asked == 0 { auto } else { asked };
    let min = or(r.small("dataset.bucket_min"), resolution / 2);
    let max = or(r.small("dataset.bucket_max"), resolution * 2);
    let no_upscale = r.on("dataset.no_upscale");
    let mut bucket_step = step;
    if buckets {
        bucket_step = step.div_ceil(multiple) * multiple;
        if bucket_step != step {
            notes.warn(format!(
                "dataset.bucket_step = {step} px is raised to {bucket_step}: {} takes sides that are multiples of {multiple} px",
                base.display_name
            ));
        }
        let conflict = |id, value: u32, other, other_value: u32, why: String| RecipeError::Conflict {
            id,
            value: value.to_string(),
            other,
            other_value: other_value.to_string(),
            why,
        };
        if min > max {
            let why = "the shortest side cannot be longer than the longest".to_owned();
            return Err(conflict("dataset.bucket_min", min, "dataset.bucket_max", max, why));
        }
        if !(min..=max).contains(&resolution) {
            let (id, value) = if resolution < min { ("dataset.bucket_min", min) } else { ("dataset.bucket_max", max) };
            let why = "a square of the resolution must be among the shapes; set both together".to_owned();
            return Err(conflict("dataset.resolution", resolution, id, value, why));
        }
    }
    let validation_folder = r.text("dataset.validation_folder");
    let split = r.number("dataset.validation_split");
    if buckets {
        let range = format!("{min} to {max} px in steps of {bucket_step}");
        notes.decide("Sides of pictures", range, notes.why("dataset.bucket_step"));
    } else {
        notes.decide("Sides of pictures", format!("{resolution} px, cropped to squares"), notes.why("dataset.buckets"));
    }
    let flip = r.on("dataset.flip");
    let outside = r.number("dataset.mask_weight");
    notes.decide("Mirroring", on_off(flip), notes.why("dataset.flip"));
    Ok(DatasetSettings {
        folder: r.text("dataset.folder"),
        validation_split: if validation_folder.is_empty() { split } else { 0.0 },
        validation_folder,
        resolution,
        repeats: r.small("dataset.repeats"),
        more_folders: folders(String::new(), 1, &r.list("dataset.more_folders")),
        trigger: r.text("dataset.trigger"),
        flip,
        masks: r.on("dataset.masks").then_some(outside),
        caption_rows: match (r.text("dataset.caption_length").as_str(), r.applies("dataset.caption_length")) {
            ("150", true) => 2,
            ("225", true) => 3,
            _ => 1,
        },
        t5_tokens: r.small("dataset.t5_tokens") * u32::from(r.applies("dataset.t5_tokens")),
        caption_dropout: r.number("dataset.caption_dropout"),
        shuffle_tags: r.on("dataset.shuffle_tags"),
        keep_tokens: r.small("dataset.keep_tokens"),
        buckets,
        bucket_step,
        bucket_min: min,
        bucket_max: max,
        no_upscale,
    })
}

pub(super) fn note_folders(data: &DatasetFacts, notes: &mut Notes<'_>) {
    if data.folders.len() < 2 {
        return;
    }
    let one = |folder: &FolderFacts| {
        let name = folder.path.file_name().unwrap_or(folder.path.as_os_str()).to_string_lossy();
        format!("{name}: {}, {}", plural(folder.images, "picture"), plural(folder.looks, "look"))
    };
    let each = data.folders.iter().map(one).collect::<Vec<_>>().join("; ");
    notes.decide("Folders", each, "looks are those of an epoch: pictures times the repeats of their folder".to_owned());
}

pub(super) fn note_masks(outside: Option<f64>, data: &DatasetFacts, notes: &mut Notes<'_>) {
    if data.masks == 0 {
        return;
    }
    let having = format!("{} of {}", data.masks, plural(data.images.len() as u64, "picture"));
    match outside {
        Some(outside) => {
            let reason = format!("what is black in them counts {outside} times; {}", notes.why("dataset.mask_weight"));
            notes.decide("Masks", having, reason);
        }
        None => notes.decide("Masks", format!("not used, though {having} have one"), notes.why("dataset.masks")),
    }
}
