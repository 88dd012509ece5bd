//! Caption files and what becomes of captions while training.

use crate::common::{captioned, png, put};
use lorikeet_dataset::{CaptionRules, ScanOptions, caption_for, captions::with_trigger, scan};

fn scanned(files: &[(&str, &[u8])]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "a.b.png", 8, 8);
    for (name, contents) in files {
        put(folder.path(), name, contents);
    }
    let mut data = scan(folder.path(), &ScanOptions::default()).unwrap();
    (data.images.remove(0).caption, data.warnings)
}

#[test]
fn txt_goes_before_caption_and_the_stem_may_have_dots() {
    assert_eq!(scanned(&[("a.b.caption", b"second"), ("a.b.txt", b"  first \n")]), ("first".into(), vec![]));
    assert_eq!(scanned(&[("a.b.caption", b"second")]).0, "second");
    assert_eq!(scanned(&[("a.txt", b"of another picture")]).0, "");
    assert_eq!(scanned(&[("a.b.TXT", b"loud")]).0, "loud");
}

#[test]
fn byte_order_marks_are_understood() {
    assert_eq!(scanned(&[("a.b.txt", "\u{feff}caf\u{e9}".as_bytes())]), ("caf\u{e9}".into(), vec![]));
    let utf16: Vec<u8> = "\u{feff}猫, \u{1f431}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(scanned(&[("a.b.txt", &utf16)]), ("猫, \u{1f431}".into(), vec![]));
}

#[test]
fn other_encodings_lose_letters_and_are_told() {
    let (caption, warnings) = scanned(&[("a.b.txt", b"caf\xe9 table")]);
    assert_eq!(caption, "caf\u{fffd} table");
    assert!(warnings[0].contains("UTF-8") && warnings[0].contains("a.b.txt"), "{warnings:?}");
}

#[test]
fn of_several_lines_the_first_with_text_counts_and_this_is_told() {
    let (caption, warnings) = scanned(&[("a.b.txt", b"\r\n a\tred   house \r\nanother\r\n")]);
    assert_eq!(caption, "a red house");
    assert!(warnings[0].contains("2 lines"), "{warnings:?}");
}

#[test]
fn an_empty_file_is_told_and_the_next_one_is_tried() {
    let (caption, warnings) = scanned(&[("a.b.txt", b" \n"), ("a.b.caption", b"used")]);
    assert_eq!(caption, "used");
    assert!(warnings[0].contains("empty"), "{warnings:?}");
}

#[test]
fn the_trigger_goes_in_front_once() {
    assert_eq!(with_trigger("a dog", "sks"), "sks, a dog");
    assert_eq!(with_trigger("", " sks "), "sks");
    assert_eq!(with_trigger("photo of SKS dog", "sks"), "photo of SKS dog");
    // Part of another word does not count.
    assert_eq!(with_trigger("asks a dog", "sks"), "sks, asks a dog");
    assert_eq!(with_trigger("photo of [trigger] dog", "sks"), "photo of sks dog");
    assert_eq!(with_trigger("[trigger], a [trigger] dog", ""), "a dog");
    assert_eq!(with_trigger("a dog", ""), "a dog");
}

#[test]
fn shuffling_keeps_the_first_tags_and_all_others() {
    let picture = captioned("one, two, a, b, c, d, e");
    let rules = CaptionRules { trigger: "sks".into(), shuffle: true, keep_tokens: 2, dropout: 0.0 };
    let mut seen = std::collections::BTreeSet::new();
    for epoch in 0..20 {
        let caption = caption_for(&picture, &rules, 1, epoch, 5);
        assert!(caption.starts_with("sks, one, two, "), "{caption}");
        let mut tags: Vec<&str> = caption.split(", ").collect();
        tags.sort_unstable();
        assert_eq!(tags, ["a", "b", "c", "d", "e", "one", "sks", "two"]);
        assert_eq!(caption, caption_for(&picture, &rules, 1, epoch, 5));
        seen.insert(caption);
    }
    assert!(seen.len() > 10, "{seen:?}");
    assert_ne!(caption_for(&picture, &rules, 1, 0, 5), caption_for(&picture, &rules, 1, 0, 6));
}

#[test]
fn a_trigger_among_shuffled_tags_stays_in_front() {
    let rules = CaptionRules { trigger: "sks".into(), shuffle: true, ..Default::default() };
    for epoch in 0..10 {
        let caption = caption_for(&captioned("red, Sks, blue, photo of sks"), &rules, 1, epoch, 0);
        assert!(caption.starts_with("sks, ") && !caption.contains("Sks"), "{caption}");
    }
}

#[test]
fn without_shuffling_the_caption_is_left_as_written() {
    let rules = CaptionRules { keep_tokens: 3, ..Default::default() };
    assert_eq!(caption_for(&captioned("b,a ,  c"), &rules, 1, 2, 3), "b,a ,  c");
}

#[test]
fn dropout_empties_its_share_of_captions() {
    let rules = CaptionRules { trigger: "sks".into(), dropout: 0.25, ..Default::default() };
    let picture = captioned("a dog");
    let empty = (0..4000).filter(|key| caption_for(&picture, &rules, 7, 1, *key).is_empty()).count();
    // Five standard deviations of the binomial.
    assert!((863..=1137).contains(&empty), "{empty}");
    let always = CaptionRules { dropout: 1.0, ..rules.clone() };
    let never = CaptionRules { dropout: 0.0, ..rules };
    assert!((0..100).all(|key| caption_for(&picture, &always, 7, 1, key).is_empty()));
    assert!((0..100).all(|key| caption_for(&picture, &never, 7, 1, key) == "sks, a dog"));
}
