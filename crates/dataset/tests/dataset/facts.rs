//! The doctor's facts and the metadata shapes of sd-scripts.

use lorikeet_dataset::{
    BucketRules, Bucketing, Placement, ScanOptions, bucket_info, content_key, dataset_dirs, facts, scan, tag_frequency,
};
use serde_json::json;

use crate::common::{png, put};

#[test]
fn the_content_key_is_blake3_of_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    // The test vector of the BLAKE3 authors for no input.
    let empty = content_key(&put(folder.path(), "e", "")).unwrap();
    assert_eq!(empty, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    let key = |name, text: &str| content_key(&put(folder.path(), name, text)).unwrap();
    assert_eq!(key("a", "same"), key("b", "same"));
    assert_ne!(key("a", "same"), key("b", "other"));
    let error = content_key(&folder.path().join("gone")).unwrap_err().to_string();
    assert!(error.contains("gone"), "{error}");
}

#[test]
fn facts_find_duplicates_tiny_pictures_and_missing_captions() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "a.png", 100, 60);
    png(folder.path(), "copy of a.png", 100, 60);
    png(folder.path(), "big.png", 300, 140);
    put(folder.path(), "a.txt", "a");
    put(folder.path(), "broken.png", "");
    let data = scan(folder.path(), &ScanOptions::default()).unwrap();
    let found = facts(&data, &BucketRules::fixed(64, 64));
    assert_eq!((found.pictures, found.shown_per_epoch, found.captions_missing), (3, 3, 2));
    assert!((found.mean_width - 500.0 / 3.0).abs() < 1e-9 && (found.mean_height - 260.0 / 3.0).abs() < 1e-9);
    let named = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let duplicates: Vec<Vec<_>> = found.duplicates.iter().map(|g| g.iter().map(|p| named(p)).collect()).collect();
    assert_eq!(duplicates, [["a.png", "copy of a.png"]]);
    // 60 px must be enlarged to 64.
    assert_eq!(found.tiny.iter().map(|p| named(p)).collect::<Vec<_>>(), ["a.png", "copy of a.png"]);
    for words in ["broken.png", "2 of 3 pictures", "copy of a.png", "2 picture(s) are smaller", "only 3"] {
        assert!(found.warnings.iter().any(|w| w.contains(words)), "{words}: {:?}", found.warnings);
    }
}

#[test]
fn metadata_has_the_shapes_of_sd_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for (name, caption) in [("10_sks/a", "Dog, red ,, dog sitting"), ("10_sks/b", "red, dog, red"), ("2_old/c", "")] {
        png(folder.path(), &format!("{name}.png"), 64, 64);
        put(folder.path(), &format!("{name}.txt"), caption);
    }
    let data = scan(folder.path(), &ScanOptions::default()).unwrap();
    let tags = tag_frequency(&data, "sks");
    let expected = json!({"10_sks": {"red": 3, "dog": 2, "sks": 2, "dog sitting": 1}, "2_old": {"old": 1, "sks": 1}});
    assert_eq!(tags, expected);
    assert!(tags.to_string().starts_with(r#"{"10_sks":{"red":3,"#), "{tags}");
    assert_eq!(
        dataset_dirs(&data).to_string(),
        r#"{"10_sks":{"n_repeats":10,"img_count":2},"2_old":{"n_repeats":2,"img_count":1}}"#
    );
    let mut placements = vec![Placement::cover((64, 64), (32, 32)); 3];
    // Natural order puts 2_old first.
    placements[0] = Placement::cover((64, 64), (48, 32));
    let info = bucket_info(&data, &placements);
    let expected = json!({
        "buckets": {"0": {"resolution": [32, 32], "count": 20}, "1": {"resolution": [48, 32], "count": 2}},
        "mean_img_ar_error": 0.5 / 3.0,
    });
    assert_eq!(info, expected);
}

/// The folders that the first run uses must be without fault.
#[test]
fn the_examples_scan_clean() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example");
    for (name, least) in [("ink-style", 24), ("mascot", 16), ("concept", 12)] {
        let data = scan(&examples.join(name), &ScanOptions::default()).unwrap();
        assert!(data.images.len() >= least, "{name}: {}", data.images.len());
        assert_eq!((data.captions_missing(), &data.skipped, &data.warnings), (0, &vec![], &vec![]), "{name}");
        let bucketing = Bucketing::new(&BucketRules::fixed(128, 128));
        for picture in &data.images {
            let placed = bucketing.assign(picture.width, picture.height);
            lorikeet_dataset::load_pixels(&picture.path, &placed, false).unwrap();
        }
    }
}
