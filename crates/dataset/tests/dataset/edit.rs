//! Changing captions, and the files that hold them.

use std::fs;

use lorikeet_dataset::{
    CaptionEdit, Dataset, ScanOptions, caption_change, edit_captions, has_trigger, move_back, scan, set_aside,
    tag_counts,
};

use crate::common::{captioned, png, put};

#[test]
fn edits_change_what_they_say_and_nothing_else() {
    let add = |tag: &str, front| CaptionEdit::AddTag { tag: tag.into(), front };
    assert_eq!(add("red", false).apply("a cat, blue,"), "a cat, blue, red");
    assert_eq!(add("red", true).apply("a cat"), "red, a cat");
    assert_eq!(add("Red", true).apply("a cat, red"), "a cat, red", "it is there already");
    assert_eq!(add(" red ", false).apply(""), "red");
    let remove = |tag: &str| CaptionEdit::RemoveTag(tag.into());
    assert_eq!(remove("BLUE").apply("a cat, blue, sky"), "a cat, sky");
    assert_eq!(remove("cat").apply("a cat,blue"), "a cat,blue", "part of a tag is no tag");
    let moved = |tag: &str, front| CaptionEdit::MoveTag { tag: tag.into(), front };
    assert_eq!(moved("SKY", true).apply("a cat, blue, sky"), "sky, a cat, blue");
    assert_eq!(moved("a cat", false).apply("a cat, blue, sky"), "blue, sky, a cat");
    for untouched in ["sky,blue", "a cat,blue"] {
        assert_eq!(moved("sky", true).apply(untouched), untouched);
    }
    let replace = |find: &str, with: &str| CaptionEdit::Replace { find: find.into(), with: with.into() };
    assert_eq!(replace("cat", "dog").apply("a cat and a cat"), "a dog and a dog");
    assert_eq!(replace("", "x").apply("a cat"), "a cat");
    assert_eq!(CaptionEdit::Set(" two\nlines ".into()).apply("old"), "two lines");
    let trigger = CaptionEdit::AddTrigger("zibpot".into());
    assert_eq!(trigger.apply("a teapot"), "zibpot, a teapot");
    assert_eq!(trigger.apply("a Zibpot teapot"), "a Zibpot teapot");
    assert!(has_trigger("[trigger] on a table", "zibpot") && !has_trigger("zibpots", "zibpot"));
}

#[test]
fn tags_are_counted_once_a_picture_most_frequent_first() {
    let pictures = [captioned("cat, Red, red"), captioned("dog, red"), captioned("")];
    assert_eq!(tag_counts(&pictures), [("red".into(), 2), ("cat".into(), 1), ("dog".into(), 1)]);
}

fn one(folder: &std::path::Path) -> Dataset {
    scan(folder, &ScanOptions::default()).unwrap()
}

#[test]
fn a_caption_is_written_beside_its_picture_and_taken_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "a.png", 64, 64);
    png(folder.path(), "b.png", 64, 64);
    let old = put(folder.path(), "b.caption", "first line\r\nsecond line\r\n");
    let data = one(folder.path());

    let new = caption_change(&data.images[0], "  a \n cat ").unwrap().unwrap();
    new.make().unwrap();
    let file = folder.path().join("a.txt");
    assert_eq!(fs::read_to_string(&file).unwrap(), "a cat\n");
    let replaced = caption_change(&data.images[1], "a dog").unwrap().unwrap();
    replaced.make().unwrap();
    assert_eq!(fs::read_to_string(&old).unwrap(), "a dog\n", "in the file it came from");
    let data = one(folder.path());
    assert_eq!((data.images[0].caption.as_str(), data.images[1].caption.as_str()), ("a cat", "a dog"));
    assert_eq!(caption_change(&data.images[0], "a cat").unwrap(), None);

    new.reversed().make().unwrap();
    replaced.reversed().make().unwrap();
    assert!(!file.exists());
    assert_eq!(fs::read_to_string(&old).unwrap(), "first line\r\nsecond line\r\n");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing is left over: {names:?}");
}

#[test]
fn what_another_program_wrote_meanwhile_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "a.png", 64, 64);
    let file = put(folder.path(), "a.txt", "a cat");
    let data = one(folder.path());
    let change = caption_change(&data.images[0], "a dog").unwrap().unwrap();
    fs::write(&file, "a bird").unwrap();
    let error = change.make().unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "a bird");
    let gone = caption_change(&data.images[0], "").unwrap().unwrap();
    gone.make().unwrap();
    assert!(!file.exists(), "an empty caption is no file");
}

#[test]
fn an_edit_of_many_captions_tells_what_changed_and_what_could_not() {
    let folder = tempfile::tempdir().unwrap();
    for (name, caption) in [("a", "red, cat"), ("b", "dog"), ("c", "cat")] {
        png(folder.path(), &format!("{name}.png"), 64, 64);
        put(folder.path(), &format!("{name}.txt"), caption);
    }
    let mut data = one(folder.path());
    put(folder.path(), "b.txt", "red, bird");
    let (changes, failures) = edit_captions(&mut data, &ScanOptions::default(), &CaptionEdit::RemoveTag("red".into()));
    assert_eq!((changes.len(), failures.len()), (2, 0), "edits work on what the file says now");
    let captions: Vec<_> = data.images.iter().map(|picture| picture.caption.as_str()).collect();
    assert_eq!(captions, ["cat", "bird", "cat"]);
    assert_eq!(data, one(folder.path()), "what is in memory is what a scan finds");

    put(folder.path(), "b.txt", "changed outside");
    let (changes, failures) = edit_captions(&mut data, &ScanOptions::default(), &CaptionEdit::Set("new".into()));
    assert_eq!((changes.len(), failures.len()), (2, 1), "a whole text never replaces one that was not seen");
    assert_eq!(fs::read_to_string(folder.path().join("b.txt")).unwrap(), "changed outside");
}

#[test]
fn set_aside_takes_a_picture_and_its_caption_out_of_the_scan_and_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["10_cat/a.png", "10_cat/b.png", "10_cat/b.bmp"] {
        png(folder.path(), name, 64, 64);
    }
    put(folder.path(), "10_cat/a.txt", "a cat");
    put(folder.path(), "10_cat/a-masklabel.png", "mask");
    put(folder.path(), "10_cat/b.txt", "shared by two pictures");
    let before = one(folder.path());
    let moved = set_aside(folder.path(), &folder.path().join("10_cat/a.png")).unwrap();
    assert_eq!(moved.len(), 3);
    let shared = set_aside(folder.path(), &folder.path().join("10_cat/b.png")).unwrap();
    assert_eq!(shared.len(), 1, "the other picture keeps its caption");
    let names: Vec<_> =
        one(folder.path()).images.iter().map(|picture| picture.path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["b.bmp"]);
    move_back(&shared).unwrap();
    move_back(&moved).unwrap();
    assert_eq!(one(folder.path()).images, before.images);
}
