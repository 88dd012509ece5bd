//! What is worth knowing about a dataset before training, and what an export says about it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    buckets::{BucketRules, Bucketing, Placement},
    captions::{tags, with_trigger},
    error::DatasetError,
    scan::Dataset,
};

/// blake3 of the file's bytes, in hexadecimal: a picture keeps its cached latents when moved or renamed.
pub fn content_key(path: &Path) -> Result<String, DatasetError> {
    let read = |source| DatasetError::Read { path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(read)?).map_err(read)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// A short description of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub pictures: usize,
    /// Repeats counted.
    pub shown_per_epoch: u64,
    /// Mean sides in pixels.
    pub mean_width: f64,
    pub mean_height: f64,
    pub captions_missing: usize,
    /// Groups of files with the same bytes.
    pub duplicates: Vec<Vec<PathBuf>>,
    /// Pictures that must be enlarged to fill their bucket.
    pub tiny: Vec<PathBuf>,
    /// All of the above that is worth acting on, in sentences.
    pub warnings: Vec<String>,
}

/// Reads the bytes of files of equal size only, to find duplicates.
pub fn facts(dataset: &Dataset, rules: &BucketRules) -> Facts {
    let pictures = dataset.images.len();
    let mean = |side: fn(&crate::Picture) -> u32| {
        dataset.images.iter().map(|picture| f64::from(side(picture))).sum::<f64>() / pictures.max(1) as f64
    };
    let bucketing = Bucketing::new(rules);
    let tiny = dataset.images.iter().filter(|picture| {
        let placement = bucketing.assign(picture.width, picture.height);
        placement.resized.0 > picture.width || placement.resized.1 > picture.height
    });
    let mut facts = Facts {
        pictures,
        shown_per_epoch: dataset.shown_per_epoch(),
        mean_width: mean(|picture| picture.width),
        mean_height: mean(|picture| picture.height),
        captions_missing: dataset.captions_missing(),
        duplicates: duplicates(dataset),
        tiny: tiny.map(|picture| picture.path.clone()).collect(),
        warnings: Vec::new(),
    };
    facts.warnings = warnings(&facts, dataset);
    facts
}

fn duplicates(dataset: &Dataset) -> Vec<Vec<PathBuf>> {
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, picture) in dataset.images.iter().enumerate() {
        if let Ok(facts) = fs::metadata(&picture.path) {
            by_size.entry(facts.len()).or_default().push(index);
        }
    }
    let suspects: Vec<usize> = by_size.into_values().filter(|same| same.len() > 1).flatten().collect();
    let keys: Vec<(usize, Option<String>)> =
        suspects.into_par_iter().map(|index| (index, content_key(&dataset.images[index].path).ok())).collect();
    let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, key) in keys {
        if let Some(key) = key {
            by_key.entry(key).or_default().push(index);
        }
    }
    let mut groups: Vec<Vec<usize>> = by_key.into_values().filter(|same| same.len() > 1).collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    groups
        .into_iter()
        .map(|group| group.into_iter().map(|index| dataset.images[index].path.clone()).collect())
        .collect()
}

fn warnings(facts: &Facts, dataset: &Dataset) -> Vec<String> {
    let mut warnings = dataset.warnings.clone();
    for skipped in &dataset.skipped {
        warnings.push(format!("left out, {}: {}", skipped.reason, skipped.path.display()));
    }
    if facts.pictures > 0 && facts.captions_missing == facts.pictures {
        warnings.push("no picture has a caption file; the trigger word alone is learned".into());
    } else if facts.captions_missing > 0 {
        warnings.push(format!("{} of {} pictures have no caption file", facts.captions_missing, facts.pictures));
    }
    for group in &facts.duplicates {
        let names: Vec<_> = group.iter().map(|path| path.display().to_string()).collect();
        warnings.push(format!("the same picture {} times, so it weighs more: {}", group.len(), names.join(", ")));
    }
    if let Some(first) = facts.tiny.first() {
        warnings.push(format!(
            "{} picture(s) are smaller than they are trained at and get blurred by enlarging, the first: {}",
            facts.tiny.len(),
            first.display()
        ));
    }
    if (1..5).contains(&facts.pictures) {
        warnings
            .push(format!("only {} picture(s): expect the result to copy them; 10 to 50 work better", facts.pictures));
    }
    warnings
}

/// `ss_tag_frequency`: `{folder: {tag: count}}`, tags in lower case, each picture counted once, most frequent first.
pub fn tag_frequency(dataset: &Dataset, trigger: &str) -> Value {
    let mut folders: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for picture in &dataset.images {
        let counts = folders.entry(&picture.folder).or_default();
        for tag in tags(&with_trigger(&picture.caption, trigger)) {
            *counts.entry(tag.to_lowercase()).or_default() += 1;
        }
    }
    let sorted = |counts: BTreeMap<String, u64>| {
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.into_iter().map(|(tag, count)| (tag, json!(count))).collect::<Map<_, _>>()
    };
    folders.into_iter().map(|(folder, counts)| (folder.to_owned(), Value::Object(sorted(counts)))).collect()
}

/// `ss_dataset_dirs`: `{folder: {n_repeats, img_count}}`. Of folders with one name the highest repeats are told.
pub fn dataset_dirs(dataset: &Dataset) -> Value {
    let mut folders: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    for picture in &dataset.images {
        let (repeats, count) = folders.entry(&picture.folder).or_default();
        *repeats = (*repeats).max(picture.repeats);
        *count += 1;
    }
    let shape = |(repeats, count): (u32, u64)| json!({ "n_repeats": repeats, "img_count": count });
    folders.into_iter().map(|(folder, facts)| (folder.to_owned(), shape(facts))).collect()
}

/// `ss_bucket_info`: the buckets in use, repeats counted, and how far the pictures' aspects are off on average.
pub fn bucket_info(dataset: &Dataset, placements: &[Placement]) -> Value {
    let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let mut error = 0.0;
    for (picture, placement) in dataset.images.iter().zip(placements) {
        *counts.entry(placement.bucket).or_default() += u64::from(picture.repeats);
        let aspect = |(width, height): (u32, u32)| f64::from(width) / f64::from(height);
        error += (aspect(placement.bucket) - aspect(placement.source)).abs();
    }
    let buckets: Map<String, Value> = counts
        .into_iter()
        .enumerate()
        .map(|(index, ((width, height), count))| {
            (index.to_string(), json!({ "resolution": [width, height], "count": count }))
        })
        .collect();
    json!({ "buckets": buckets, "mean_img_ar_error": error / placements.len().max(1) as f64 })
}
