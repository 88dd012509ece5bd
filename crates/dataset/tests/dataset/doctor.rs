//! Findings, on pictures that have what they are about and on good ones that have not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage, imageops};
use lorikeet_dataset::{
    BucketRules, CaptionEdit, Dataset, Finding, Fix, Kind, Look, ScanOptions, Watch, examine, look, scan,
};

use crate::common::{encode, png, put};

const RULES: BucketRules =
    BucketRules { width: 128, height: 128, step: 32, min: 64, max: 256, no_upscale: false, enabled: true };

fn looks(sets: &[&Dataset]) -> HashMap<PathBuf, Look> {
    let paths = sets.iter().flat_map(|data| &data.images).map(|picture| picture.path.clone());
    paths.filter_map(|path| Some((path.clone(), look(&path, 128).ok()?))).collect()
}

fn findings(data: &Dataset, trigger: &str, validation: Option<&Dataset>) -> Vec<Finding> {
    let sets: Vec<&Dataset> = std::iter::once(data).chain(validation).collect();
    examine(data, &Watch { rules: &RULES, trigger, validation, looks: &looks(&sets) })
}

fn of(findings: &[Finding], kind: Kind) -> Vec<String> {
    let names = |finding: &Finding| {
        finding.pictures.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    findings.iter().filter(|finding| finding.kind == kind).flat_map(names).collect()
}

fn data(folder: &Path) -> Dataset {
    scan(folder, &ScanOptions::default()).unwrap()
}

/// Shapes with edges, unlike for each number.
fn drawing(number: u32, size: u32) -> RgbImage {
    RgbImage::from_fn(size, size, |x, y| {
        let (x, y) = (x * 512 / size, y * 512 / size);
        let dark = (x / (37 + 11 * number) + y / (53 + 7 * number)).is_multiple_of(2)
            || (x * (number + 1) / 90 + y / 130).is_multiple_of(3);
        image::Rgb(if dark { [30, 40, 60] } else { [230, 220, 210] })
    })
}

#[test]
fn the_example_pictures_of_the_program_are_in_good_health() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example");
    for (folder, trigger) in [("ink-style", "ink style"), ("mascot", "lorimascot"), ("concept", "zibpot")] {
        let found = findings(&data(&root.join(folder)), trigger, None);
        let grave: Vec<_> = found.iter().filter(|finding| finding.kind <= Kind::OddShape).collect();
        assert!(grave.is_empty(), "{folder}: {grave:#?}");
    }
}

#[test]
fn a_copy_is_found_though_it_was_shrunk_and_saved_again_and_the_larger_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..6 {
        put(folder.path(), &format!("{number}.png"), encode(&drawing(number, 512).into(), ImageFormat::Png));
    }
    let small = imageops::resize(&drawing(3, 512), 300, 300, imageops::FilterType::Triangle);
    put(folder.path(), "copy.jpg", encode(&DynamicImage::from(small), ImageFormat::Jpeg));
    let found = findings(&data(folder.path()), "", None);
    assert_eq!(of(&found, Kind::Duplicates), ["3.png", "copy.jpg"]);
    let duplicates = found.iter().find(|finding| finding.kind == Kind::Duplicates).unwrap();
    assert_eq!(duplicates.fix, Some(Fix::SetAside(vec![folder.path().join("copy.jpg")])));
}

#[test]
fn flat_pictures_of_other_colours_are_no_copies_and_have_no_blur() {
    let folder = tempfile::tempdir().unwrap();
    for (name, colour) in [("red", [200, 20, 20]), ("blue", [20, 20, 200])] {
        let flat = RgbImage::from_pixel(128, 128, image::Rgb(colour));
        put(folder.path(), &format!("{name}.png"), encode(&flat.into(), ImageFormat::Png));
    }
    let found = findings(&data(folder.path()), "", None);
    assert_eq!(of(&found, Kind::Duplicates), [""; 0]);
    assert_eq!(of(&found, Kind::Blurred), [""; 0]);
}

#[test]
fn blur_is_told_from_sharpness_at_the_size_that_is_trained_at() {
    let folder = tempfile::tempdir().unwrap();
    let disc = |radius: i32| {
        RgbImage::from_fn(512, 512, |x, y| {
            let (x, y) = (x as i32 - 256, y as i32 - 256);
            image::Rgb(if x * x + y * y < radius * radius { [20, 30, 60] } else { [230, 220, 200] })
        })
    };
    put(folder.path(), "sharp.png", encode(&disc(100).into(), ImageFormat::Png));
    // At a quarter of the size 3 px are less than one and cannot be seen; 16 px are four.
    put(folder.path(), "fine.png", encode(&imageops::blur(&disc(140), 3.0).into(), ImageFormat::Png));
    put(folder.path(), "soft.png", encode(&imageops::blur(&disc(180), 16.0).into(), ImageFormat::Png));
    assert_eq!(of(&findings(&data(folder.path()), "", None), Kind::Blurred), ["soft.png"]);
}

#[test]
fn size_and_shape_go_by_the_buckets() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "good.png", 300, 200);
    png(folder.path(), "tiny.png", 60, 60);
    png(folder.path(), "strip.png", 1200, 128);
    let found = findings(&data(folder.path()), "", None);
    assert_eq!(of(&found, Kind::TooSmall), ["tiny.png"]);
    assert_eq!(of(&found, Kind::OddShape), ["strip.png"]);
}

#[test]
fn captions_and_trigger_word_and_broken_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for (number, caption) in ["zibpot, red, sky", "red, sky, sea", "red, a zibpot", "Red", ""].iter().enumerate() {
        png(folder.path(), &format!("{number}.png"), 128 + number as u32, 128);
        put(folder.path(), &format!("{number}.txt"), caption);
    }
    put(folder.path(), "broken.png", "no picture");
    let found = findings(&data(folder.path()), "zibpot", None);
    assert_eq!(of(&found, Kind::Broken), ["broken.png"]);
    assert_eq!(of(&found, Kind::NoCaption), ["4.png"]);
    assert_eq!(of(&found, Kind::NoTrigger), ["1.png", "3.png"]);
    let everywhere: Vec<_> = found.iter().filter(|finding| finding.kind == Kind::TagEverywhere).collect();
    assert_eq!(everywhere.len(), 1);
    assert_eq!(everywhere[0].fix, Some(Fix::Captions(CaptionEdit::RemoveTag("red".into()))));
    assert!(findings(&data(folder.path()), "", None).iter().all(|finding| finding.kind != Kind::NoTrigger));
}

#[test]
fn a_validation_picture_that_is_trained_on_is_told() {
    let (train, held) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..3 {
        put(train.path(), &format!("{number}.png"), encode(&drawing(number, 256).into(), ImageFormat::Png));
    }
    put(held.path(), "same.jpg", encode(&drawing(1, 256).into(), ImageFormat::Jpeg));
    put(held.path(), "other.png", encode(&drawing(5, 256).into(), ImageFormat::Png));
    let found = findings(&data(train.path()), "", Some(&data(held.path())));
    assert_eq!(of(&found, Kind::Leak), ["same.jpg"]);
    let nested = findings(&data(train.path()), "", Some(&data(train.path())));
    let leak = nested.iter().find(|finding| finding.kind == Kind::Leak).unwrap();
    assert_eq!((leak.pictures.len(), &leak.fix), (3, &None), "one folder cannot be mended by moving");
}
