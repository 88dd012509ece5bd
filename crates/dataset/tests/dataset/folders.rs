//! Several folders as one dataset.

use std::path::{Path, PathBuf};

use lorikeet_dataset::{
    CaptionEdit, Dataset, DatasetError, Folder, ScanOptions, edit_captions, scan, scan_folders, split_validation,
};

use crate::common::{png, put};

fn folder(path: PathBuf, repeats: u32) -> Folder {
    Folder { path, repeats }
}

fn told(data: &Dataset, root: &Path) -> Vec<(String, u32)> {
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    data.images.iter().map(|picture| (name(&picture.path), picture.repeats)).collect()
}

fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, repeats)| ((*name).to_owned(), *repeats)).collect()
}

#[test]
fn each_folder_has_its_own_repeats_times_those_of_its_name() {
    let root = tempfile::tempdir().unwrap();
    for name in ["b/1.png", "a/1.png", "10_cat/1.png", "10_cat/3_kitten/1.png"] {
        png(root.path(), name, 8, 8);
    }
    let folders = [("b", 3), ("a", 1), ("10_cat", 2)].map(|(name, repeats)| folder(root.path().join(name), repeats));
    let data = scan_folders(&folders, "").unwrap();
    assert_eq!(
        told(&data, root.path()),
        pairs(&[("b/1.png", 3), ("a/1.png", 1), ("10_cat/1.png", 20), ("10_cat/3_kitten/1.png", 6)])
    );
    assert_eq!(data.shown_per_epoch(), 30);
    assert_eq!(data.images[2].caption, "cat");
    assert_eq!(data.folder_of(&data.images[3].path), root.path().join("10_cat"));
    assert_eq!(data.within(&data.images[3].path), Path::new("3_kitten/1.png"));
    let one = scan(&folders[0].path, &ScanOptions { repeats: 3, ..ScanOptions::default() }).unwrap();
    assert_eq!(scan_folders(&folders[..1], "").unwrap(), one, "one folder is as ever");
}

#[test]
fn a_picture_counts_once_in_the_innermost_folder_that_is_named() {
    let root = tempfile::tempdir().unwrap();
    png(root.path(), "all/1.png", 8, 8);
    png(root.path(), "all/best/2.png", 8, 8);
    let (all, best) = (root.path().join("all"), root.path().join("all/best"));
    let data = scan_folders(&[folder(all.clone(), 1), folder(best.clone(), 5), folder(all.join("../all"), 9)], "");
    let data = data.unwrap();
    assert_eq!(told(&data, root.path()), pairs(&[("all/1.png", 1), ("all/best/2.png", 5)]));
    assert!(matches!(&data.warnings[..], [one] if one.contains("named twice")), "{:?}", data.warnings);
    // A folder with nothing of its own is no mistake then.
    std::fs::remove_file(all.join("1.png")).unwrap();
    assert_eq!(scan_folders(&[folder(all, 1), folder(best, 5)], "").unwrap().images.len(), 1);
}

#[test]
fn the_folder_that_cannot_be_used_is_named() {
    let root = tempfile::tempdir().unwrap();
    png(root.path(), "a/1.png", 8, 8);
    let gone = root.path().join("gone");
    let error = scan_folders(&[folder(root.path().join("a"), 1), folder(gone.clone(), 1)], "").unwrap_err();
    assert!(matches!(&error, DatasetError::FolderMissing { folder } if *folder == gone), "{error}");
}

#[test]
fn captions_are_changed_and_pictures_held_out_in_all_folders() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..4 {
        png(root.path(), &format!("a/{number}.png"), 8, 8);
        png(root.path(), &format!("5_dog/{number}.png"), 8, 8);
        put(root.path(), &format!("a/{number}.txt"), "thing");
    }
    let folders = ["a", "5_dog"].map(|name| folder(root.path().join(name), 1));
    let mut data = scan_folders(&folders, "").unwrap();
    let (train, held) = split_validation(&data, 0.5, 1);
    assert_eq!((train.images.len(), held.images.len()), (4, 4));
    assert_eq!((&train.more_folders, &held.more_folders), (&data.more_folders, &data.more_folders));
    let edit = CaptionEdit::AddTag { tag: "red".into(), front: true };
    let (changes, failures) = edit_captions(&mut data, &ScanOptions::default(), &edit);
    assert_eq!((changes.len(), failures.len()), (8, 0));
    // What stands in for a caption is the name of the picture's own folder.
    assert_eq!(std::fs::read_to_string(root.path().join("5_dog/0.txt")).unwrap(), "red, dog\n");
}
