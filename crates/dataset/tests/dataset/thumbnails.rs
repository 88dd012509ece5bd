//! Thumbnails and their cache.

use std::{fs, thread, time::SystemTime};

use lorikeet_dataset::{Thumbnails, thumbnail};

use crate::common::{png, put};

#[test]
fn a_thumbnail_fits_its_edge_and_is_never_enlarged() {
    let folder = tempfile::tempdir().unwrap();
    let size = |width, height, edge| {
        let small = thumbnail(&png(folder.path(), "p.png", width, height), edge).unwrap();
        assert_eq!(small.rgb.len() as u32, small.width * small.height * 3);
        (small.width, small.height)
    };
    assert_eq!(size(300, 200, 96), (96, 64));
    assert_eq!(size(20, 30, 96), (20, 30));
    assert_eq!(size(300, 10, 16), (16, 1));
    assert_eq!(size(30, 20, 0), (1, 1));
}

#[test]
fn the_cache_gives_the_same_pixels_and_follows_changes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("new/cache");
    let thumbnails = Thumbnails::new(&cache);
    let path = png(folder.path(), "p.png", 120, 80);
    let fresh = thumbnails.get(&path, 32).unwrap();
    assert_eq!(fresh, thumbnail(&path, 32).unwrap());
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    assert_eq!(thumbnails.get(&path, 32).unwrap(), fresh);
    assert_eq!(thumbnails.get(&path, 16).unwrap().width, 16);
    png(folder.path(), "p.png", 80, 120);
    assert_eq!(thumbnails.get(&path, 32).unwrap().height, 32);
}

/// A file with the same facts must come from the cache: the picture is replaced behind its back.
#[test]
fn the_cache_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path().join("cache"));
    let path = png(folder.path(), "p.png", 120, 80);
    let fresh = thumbnails.get(&path, 32).unwrap();
    let (time, length) = (fs::metadata(&path).unwrap().modified().unwrap(), fs::metadata(&path).unwrap().len());
    put(folder.path(), "p.png", vec![0; length as usize]);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(thumbnails.get(&path, 32).unwrap(), fresh);
}

#[test]
fn damaged_cache_files_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let thumbnails = Thumbnails::new(&cache);
    let path = png(folder.path(), "p.png", 120, 80);
    let fresh = thumbnails.get(&path, 32).unwrap();
    let kept = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&kept).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 0xff;
    for bad in [Vec::new(), b"junk".to_vec(), good[..good.len() / 2].to_vec(), damaged] {
        fs::write(&kept, bad).unwrap();
        assert_eq!(thumbnails.get(&path, 32).unwrap(), fresh);
        assert!(fs::read(&kept).unwrap() == good, "mended");
    }
}

#[test]
fn a_cache_folder_that_cannot_be_made_only_costs_time() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = put(folder.path(), "file", "in the way").join("cache");
    let path = png(folder.path(), "p.png", 120, 80);
    assert_eq!(Thumbnails::new(blocked).get(&path, 32).unwrap().width, 32);
}

#[test]
fn threads_may_ask_for_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let thumbnails = Thumbnails::new(&cache);
    let path = png(folder.path(), "p.png", 120, 80);
    let expected = thumbnail(&path, 32).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(thumbnails.get(&path, 32).unwrap(), expected));
        }
    });
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "no part files are left");
}

#[test]
fn broken_and_missing_pictures_are_errors_and_old_dates_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let thumbnails = Thumbnails::new(folder.path().join("cache"));
    assert!(thumbnails.get(&folder.path().join("gone.png"), 32).is_err());
    assert!(thumbnails.get(&put(folder.path(), "bad.png", "bad"), 32).is_err());
    let path = png(folder.path(), "p.png", 40, 40);
    fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(thumbnails.get(&path, 32).unwrap().width, 32);
}
