//! Folders as people have them.

use std::{fs, path::Path};

use image::ImageFormat;
use lorikeet_dataset::{Dataset, DatasetError, ScanOptions, scan};

use crate::common::{bytes, png, put};

fn scanned(folder: &Path) -> Dataset {
    scan(folder, &ScanOptions::default()).unwrap()
}

fn names(data: &Dataset) -> Vec<String> {
    let relative = data.images.iter().map(|p| p.path.strip_prefix(&data.folder).unwrap());
    relative.map(|path| path.to_string_lossy().replace('\\', "/")).collect()
}

#[test]
fn all_formats_in_any_case_are_found_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp];
    let files = ["b10.png", "b9.JPG", "A1.jpeg", "sub/2.WebP", "sub/010.bmp"];
    for (name, format) in files.iter().zip(formats) {
        put(folder.path(), name, bytes(20, 10, format));
    }
    put(folder.path(), "notes.md", "no picture");
    let data = scanned(folder.path());
    assert_eq!(names(&data), ["A1.jpeg", "b9.JPG", "b10.png", "sub/2.WebP", "sub/010.bmp"]);
    assert!(data.images.iter().all(|p| (p.width, p.height) == (20, 10)));
    assert!(data.skipped.is_empty() && data.warnings.is_empty(), "{data:?}");
}

/// Sorting panics on an order that contradicts itself, so odd names are thrown in.
#[test]
fn any_names_can_be_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = 0;
    for number in ["", "0", "00", "1", "01", "001", "10", "010", "2", " 1", "99999999999999999999999"] {
        for text in ["", "a", "A", " ", "é", "猫", "-", "a.b"] {
            for name in [format!("{number}{text}x.png"), format!("{text}{number}.png")] {
                if !name.starts_with('.') && !folder.path().join(&name).exists() {
                    png(folder.path(), &name, 1, 1);
                    wanted += 1;
                }
            }
        }
    }
    assert_eq!(scanned(folder.path()).images.len(), wanted);
}

#[test]
fn hidden_cache_run_and_mask_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["keep.png", ".hidden.png", ".lorikeet/a.png", "__MACOSX/a.png", "@eaDir/a.png", "keep-masklabel.png"] {
        png(folder.path(), name, 4, 4);
    }
    png(folder.path(), "keep-condlabel.png", 4, 4);
    png(folder.path(), "tagged/a.png", 4, 4);
    put(folder.path(), "tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    png(folder.path(), "run/samples/a.png", 4, 4);
    put(folder.path(), "run/recipe.toml", "");
    put(folder.path(), "run/plan.json", "");
    let data = scanned(folder.path());
    assert_eq!(names(&data), ["keep.png"]);
    assert!(data.skipped.is_empty(), "{data:?}");
}

#[test]
fn a_hidden_folder_is_scanned_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), ".mine/a.png", 4, 4);
    assert_eq!(scanned(&folder.path().join(".mine")).images.len(), 1);
}

#[test]
fn numbered_folders_give_repeats_and_caption() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["10_sks dog/a.png", "10_sks dog/deep/b.png", "10_sks dog/3_red_cat/c.png", "2024_trip/d.png", "e.png"]
    {
        png(folder.path(), name, 4, 4);
    }
    png(folder.path(), "0_off/f.png", 4, 4);
    put(folder.path(), "10_sks dog/a.txt", "own words");
    let options = ScanOptions { repeats: 2, default_caption: "a  thing".into() };
    let data = scan(folder.path(), &options).unwrap();
    let found: Vec<_> = data.images.iter().map(|p| (p.repeats, p.caption.as_str(), p.folder.as_str())).collect();
    let root = folder.path().file_name().unwrap().to_str().unwrap();
    let mut expected = vec![
        (20, "own words", "10_sks dog"),
        (20, "sks dog", "deep"),
        (6, "red_cat", "3_red_cat"),
        (2, "a thing", "2024_trip"),
        (2, "a thing", root),
    ];
    expected.sort_unstable();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(data.captions_missing(), 4);
    assert_eq!(data.shown_per_epoch(), 50);
    assert!(data.skipped.len() == 1 && data.skipped[0].reason.contains("0 repeats"), "{:?}", data.skipped);
}

#[test]
fn the_chosen_folder_itself_may_be_numbered_but_not_those_above() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "7_above/5_dog/a.png", 4, 4);
    png(folder.path(), "7_above/plain/a.png", 4, 4);
    assert_eq!(scanned(&folder.path().join("7_above/5_dog")).images[0].repeats, 5);
    assert_eq!(scanned(&folder.path().join("7_above/plain")).images[0].repeats, 1);
}

#[test]
fn broken_pictures_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    png(folder.path(), "good.png", 8, 8);
    put(folder.path(), "empty.png", "");
    put(folder.path(), "page.jpg", "<html>not found</html>");
    let jpeg = bytes(64, 64, ImageFormat::Jpeg);
    put(folder.path(), "cut.jpg", &jpeg[..jpeg.len() * 2 / 3]);
    let png_bytes = bytes(64, 64, ImageFormat::Png);
    put(folder.path(), "cut.png", &png_bytes[..png_bytes.len() / 2]);
    put(folder.path(), "phone.heic", "x");
    let data = scanned(folder.path());
    assert_eq!(names(&data), ["good.png"]);
    for (name, word) in [
        ("empty.png", "no bytes"),
        ("page.jpg", "not a picture"),
        ("cut.jpg", "cut off"),
        ("cut.png", "cut off"),
        ("phone.heic", "HEIC"),
    ] {
        let skipped = data.skipped.iter().find(|s| s.path.ends_with(name)).unwrap_or_else(|| panic!("{name}"));
        assert!(skipped.reason.contains(word), "{skipped:?}");
    }
    assert_eq!(data.skipped.len(), 5);
}

#[test]
fn folders_that_cannot_be_trained_on_say_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| scan(path, &ScanOptions::default()).unwrap_err();
    assert!(matches!(error(folder.path()), DatasetError::EmptyFolder { .. }));
    assert!(matches!(error(&folder.path().join("none")), DatasetError::FolderMissing { .. }));
    put(folder.path(), "a.txt", "only words");
    assert!(matches!(error(folder.path()), DatasetError::NoPictures { files: 1, .. }));
    assert!(matches!(error(&folder.path().join("a.txt")), DatasetError::NotAFolder { .. }));
    put(folder.path(), "a.png", "");
    let all = error(folder.path());
    assert!(matches!(all, DatasetError::AllSkipped { count: 1, .. }), "{all}");
    assert!(all.to_string().contains("a.png") && all.to_string().contains("no bytes"), "{all}");
}

#[test]
fn spaces_and_other_scripts_in_paths_are_fine() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("Größe und 写真 (1)/мои фото");
    png(&inner, "котик №1 🐱.png", 8, 8);
    put(&inner, "котик №1 🐱.txt", "рыжий кот");
    let data = scanned(&folder.path().join("Größe und 写真 (1)"));
    assert_eq!((data.images[0].caption.as_str(), data.images[0].folder.as_str()), ("рыжий кот", "мои фото"));
    lorikeet_dataset::decode(&data.images[0].path).unwrap();
}

#[cfg(unix)]
mod unix {
    use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink};

    use super::*;

    #[test]
    fn links_in_circles_end_and_no_folder_counts_twice() {
        let folder = tempfile::tempdir().unwrap();
        png(folder.path(), "a/1.png", 4, 4);
        png(folder.path(), "b/2.png", 4, 4);
        symlink("..", folder.path().join("a/up")).unwrap();
        symlink("../b", folder.path().join("a/over")).unwrap();
        symlink("../a", folder.path().join("b/back")).unwrap();
        symlink(".", folder.path().join("self")).unwrap();
        symlink("nowhere.png", folder.path().join("dangling.png")).unwrap();
        symlink("a/1.png", folder.path().join("linked.png")).unwrap();
        let data = scanned(folder.path());
        assert_eq!(data.images.len(), 3, "{:?}", names(&data));
        assert!(data.skipped.len() == 1 && data.skipped[0].path.ends_with("dangling.png"), "{:?}", data.skipped);
    }

    #[test]
    fn a_name_that_is_not_unicode_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        png(folder.path(), "good.png", 4, 4);
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"bad\xff.png"));
        // Some file systems refuse such names.
        if fs::write(odd, bytes(4, 4, ImageFormat::Png)).is_ok() {
            let data = scanned(folder.path());
            assert_eq!(data.images.len(), 1);
            assert!(data.skipped[0].reason.contains("Unicode"), "{:?}", data.skipped);
        }
    }

    #[test]
    fn an_unreadable_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        png(folder.path(), "good.png", 4, 4);
        png(folder.path(), "closed/a.png", 4, 4);
        let closed = folder.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser may read everything.
        if fs::read_dir(&closed).is_err() {
            let error = scan(&closed, &ScanOptions::default()).unwrap_err();
            assert!(matches!(error, DatasetError::FolderUnreadable { .. }), "{error}");
            let data = scanned(folder.path());
            assert!(data.images.len() == 1 && data.skipped[0].path.ends_with("closed"), "{data:?}");
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
