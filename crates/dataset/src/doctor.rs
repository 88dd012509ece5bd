//! What is wrong with a set of pictures, why it matters, and what would mend it.

use std::{collections::HashMap, path::PathBuf};

use crate::{
    buckets::{BucketRules, Bucketing},
    captions::same_word,
    edit::{CaptionEdit, has_trigger, tag_counts},
    look::{Look, alike},
    scan::{Dataset, Picture},
};

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Broken,
    Leak,
    Duplicates,
    Blurred,
    TooSmall,
    OddShape,
    NoCaption,
    NoTrigger,
    TagEverywhere,
}

/// Something to mend, or to know of.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub kind: Kind,
    /// In a few words, with the number of pictures.
    pub what: String,
    /// Why it matters, as a sentence.
    pub why: String,
    /// The pictures it is about, those that belong together side by side.
    pub pictures: Vec<PathBuf>,
    pub fix: Option<Fix>,
}

/// What mends a finding; all of it can be taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum Fix {
    /// Move these out of the folder, see [`crate::set_aside`].
    SetAside(Vec<PathBuf>),
    /// Change the captions of the finding's pictures.
    Captions(CaptionEdit),
}

/// What the doctor goes by.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    pub rules: &'a BucketRules,
    /// Empty: none.
    pub trigger: &'a str,
    pub validation: Option<&'a Dataset>,
    /// By path, as far as pictures were looked at; those of the validation set too.
    pub looks: &'a HashMap<PathBuf, Look>,
}

/// A picture enlarged more than this looks soft at the size it is trained at.
const ENLARGED: f64 = 1.5;
/// More than this part of a picture cut off is likely to take something of the subject.
const CUT_OFF: f64 = 0.25;
/// In fewer pictures, a tag on all of them says little.
const FEW: usize = 4;

/// Looks through a dataset, the gravest first. Reads nothing: what only the pixels tell comes from [`Watch::looks`].
pub fn examine(dataset: &Dataset, watch: &Watch<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(broken(dataset));
    findings.extend(leak(dataset, watch));
    findings.extend(duplicates(dataset, watch.looks));
    findings.extend(blurred(dataset, watch.looks));
    findings.extend(shapes(dataset, watch.rules));
    findings.extend(captions(dataset, watch.trigger));
    findings
}

fn finding(kind: Kind, what: String, why: &str, pictures: Vec<PathBuf>, fix: Option<Fix>) -> Option<Finding> {
    (!pictures.is_empty()).then(|| Finding { kind, what, why: why.to_owned(), pictures, fix })
}

/// `1 picture is`, `3 pictures are`.
fn pictures_are(count: usize) -> String {
    if count == 1 { "1 picture is".to_owned() } else { format!("{count} pictures are") }
}

fn pictures_have(count: usize) -> String {
    if count == 1 { "1 picture has".to_owned() } else { format!("{count} pictures have") }
}

fn paths<'a>(pictures: impl Iterator<Item = &'a Picture>) -> Vec<PathBuf> {
    pictures.map(|picture| picture.path.clone()).collect()
}

fn broken(dataset: &Dataset) -> Option<Finding> {
    let files: Vec<PathBuf> = dataset.skipped.iter().map(|skipped| skipped.path.clone()).collect();
    let first = dataset.skipped.first()?;
    let name = first.path.file_name().unwrap_or_default().to_string_lossy();
    let what = if files.len() == 1 {
        "1 file cannot be used".to_owned()
    } else {
        format!("{} files cannot be used", files.len())
    };
    let why = format!("Left out {name}: {}", first.reason);
    finding(Kind::Broken, what, &why, files.clone(), Some(Fix::SetAside(files)))
}

fn leak(dataset: &Dataset, watch: &Watch<'_>) -> Option<Finding> {
    let validation = watch.validation?;
    let both: Vec<PathBuf> = validation
        .images
        .iter()
        .filter(|held| {
            dataset.images.iter().any(|picture| {
                picture.path == held.path
                    || matches!(
                        (watch.looks.get(&picture.path), watch.looks.get(&held.path)),
                        (Some(a), Some(b)) if alike(a, b)
                    )
            })
        })
        .map(|held| held.path.clone())
        .collect();
    // A folder within the other cannot be mended by moving pictures.
    let nested = dataset.folders().any(|folder| validation.folder.starts_with(folder));
    let fix = (!nested).then(|| Fix::SetAside(both.clone()));
    finding(
        Kind::Leak,
        format!("{} in the validation folder too", pictures_are(both.len())),
        "Validation on pictures that are trained on always looks good, so it cannot tell when to stop",
        both,
        fix,
    )
}

fn duplicates(dataset: &Dataset, looks: &HashMap<PathBuf, Look>) -> Option<Finding> {
    let seen: Vec<(&Picture, &Look)> =
        dataset.images.iter().filter_map(|picture| Some((picture, looks.get(&picture.path)?))).collect();
    // Each group is led by its first picture; comparing with leaders alone keeps chains of slow changes apart.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for index in 0..seen.len() {
        match groups.iter_mut().find(|group| alike(seen[group[0]].1, seen[index].1)) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups.retain(|group| group.len() > 1);
    let area = |index: usize| u64::from(seen[index].0.width) * u64::from(seen[index].0.height);
    let mut spare = Vec::new();
    for group in &groups {
        // The first of the largest stays.
        let best = group.iter().copied().rev().max_by_key(|index| area(*index));
        spare.extend(group.iter().filter(|index| Some(**index) != best).map(|index| seen[*index].0.path.clone()));
    }
    let all: Vec<PathBuf> = groups.iter().flatten().map(|index| seen[*index].0.path.clone()).collect();
    finding(
        Kind::Duplicates,
        format!("{} nearly the same as another", pictures_are(spare.len())),
        "What is shown more often is learned more strongly: the LoRA will draw this pose and background again and again",
        all,
        Some(Fix::SetAside(spare)),
    )
}

fn blurred(dataset: &Dataset, looks: &HashMap<PathBuf, Look>) -> Option<Finding> {
    let soft = |picture: &&Picture| looks.get(&picture.path).is_some_and(Look::is_blurred);
    let found = paths(dataset.images.iter().filter(soft));
    finding(
        Kind::Blurred,
        format!("{} blurred", pictures_are(found.len())),
        "The LoRA learns the blur with the subject, and its pictures come out soft",
        found.clone(),
        Some(Fix::SetAside(found)),
    )
}

fn shapes(dataset: &Dataset, rules: &BucketRules) -> Vec<Finding> {
    let bucketing = Bucketing::new(rules);
    let placed: Vec<_> =
        dataset.images.iter().map(|picture| (picture, bucketing.assign(picture.width, picture.height))).collect();
    let small = paths(placed.iter().filter_map(|(picture, at)| {
        (f64::from(at.resized.0) > ENLARGED * f64::from(picture.width)).then_some(*picture)
    }));
    let area = |(width, height): (u32, u32)| f64::from(width) * f64::from(height);
    let odd = paths(
        placed
            .iter()
            .filter_map(|(picture, at)| (area(at.bucket) < (1.0 - CUT_OFF) * area(at.resized)).then_some(*picture)),
    );
    let small = finding(
        Kind::TooSmall,
        format!("{} much smaller than the resolution", pictures_are(small.len())),
        "Small pictures are enlarged to be trained on, and the LoRA learns the blur that comes of it",
        small.clone(),
        Some(Fix::SetAside(small)),
    );
    let odd = finding(
        Kind::OddShape,
        format!("{} cut by more than a quarter", pictures_are(odd.len())),
        "No bucket has such a shape, so much is cut off at the sides; crop to the subject yourself, or turn aspect buckets on",
        odd,
        None,
    );
    small.into_iter().chain(odd).collect()
}

fn captions(dataset: &Dataset, trigger: &str) -> Vec<Finding> {
    let images = &dataset.images;
    let bare = paths(images.iter().filter(|picture| picture.caption.is_empty()));
    let untriggered =
        paths(images.iter().filter(|picture| !picture.caption.is_empty() && !has_trigger(&picture.caption, trigger)));
    let mut findings = Vec::new();
    findings.extend(finding(
        Kind::NoCaption,
        format!("{} no caption", pictures_have(bare.len())),
        "What a caption names stays changeable by prompts; without one, all that is to be seen sticks to the LoRA",
        bare,
        None,
    ));
    findings.extend(finding(
        Kind::NoTrigger,
        format!("{} a caption without the trigger word", pictures_have(untriggered.len())),
        "Training puts the word in front; written into the captions, other programs see it too",
        untriggered,
        Some(Fix::Captions(CaptionEdit::AddTrigger(trigger.trim().to_owned()))),
    ));
    let captioned: Vec<&Picture> = images.iter().filter(|picture| !picture.caption.is_empty()).collect();
    if captioned.len() >= FEW {
        for (tag, count) in tag_counts(captioned.iter().copied()) {
            if count < captioned.len() || same_word(&tag, trigger.trim()) {
                continue;
            }
            findings.extend(finding(
                Kind::TagEverywhere,
                format!("“{tag}” is on every picture"),
                "A word on all of them acts as a second trigger word: leave it out if it is what you teach, keep it if it should stay changeable",
                paths(captioned.iter().copied()),
                Some(Fix::Captions(CaptionEdit::RemoveTag(tag))),
            ));
        }
    }
    findings
}
