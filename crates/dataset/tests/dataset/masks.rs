//! Masks beside pictures, and what the loss makes of them.

use std::fs;

use image::{GrayImage, Luma};
use lorikeet_dataset::{DatasetError, Mask, Placement, ScanOptions, mask_change, mask_path, scan};

use crate::common::{png, put};

/// 4 x 2 px, the left half learned, the next column half.
fn mask() -> Mask {
    Mask { width: 4, height: 2, grey: vec![255, 255, 128, 0, 255, 255, 0, 0] }
}

#[test]
fn a_mask_is_found_beside_its_picture_and_is_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a-masklabel.png", "b.JPG.png"] {
        png(folder.path(), name, 8, 8);
    }
    let data = scan(folder.path(), &ScanOptions::default()).unwrap();
    assert_eq!(data.images.len(), 2);
    assert_eq!(data.images[0].mask, Some(folder.path().join("a-masklabel.png")));
    assert_eq!(data.images[1].mask, None);
    assert_eq!(mask_path(&folder.path().join("b.JPG.png")), folder.path().join("b.JPG-masklabel.png"));
}

#[test]
fn a_latent_counts_as_the_mean_of_its_pixels() {
    let whole = Placement { source: (4, 2), bucket: (4, 2), resized: (4, 2), crop: (0, 0) };
    // Left: all 255. Right: 128, 0, 0, 0 of 255.
    assert_eq!(mask().of_latents(&whole, false, (2, 1)), [1.0, 128.0 / 1020.0]);
    assert_eq!(mask().of_latents(&whole, true, (2, 1)), [128.0 / 1020.0, 1.0]);
    // Cut to the middle two columns.
    let cut = Placement { bucket: (2, 2), crop: (1, 0), ..whole };
    assert_eq!(mask().of_latents(&cut, false, (2, 2)), [1.0, 128.0 / 255.0, 1.0, 0.0]);
    // A mask of another size lies over the whole picture all the same.
    let large = Placement { source: (8, 4), bucket: (8, 4), resized: (8, 4), crop: (0, 0) };
    let small = Mask { width: 2, height: 1, grey: vec![255, 0] };
    let enlarged = small.of_latents(&large, false, (4, 2));
    assert_eq!((enlarged[0], enlarged[3]), (1.0, 0.0));
}

#[test]
fn a_mask_is_written_at_the_size_of_its_picture_and_never_over_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let picture = png(folder.path(), "a.png", 8, 4);
    let file = mask_path(&picture);
    mask_change(&picture, (8, 4), None, Some(mask())).unwrap().make().unwrap();
    let read = Mask::read(&file).unwrap();
    assert_eq!((read.width, read.height, read.grey[0], read.grey[7]), (8, 4, 255, 0));
    assert_eq!(read.resized(4, 2).grey[0], 255);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left there");

    let seen = fs::read(&file).unwrap();
    GrayImage::from_pixel(8, 4, Luma([9])).save(&file).unwrap();
    let error = mask_change(&picture, (8, 4), Some(seen), Some(mask())).unwrap().make().unwrap_err();
    assert!(matches!(&error, DatasetError::MaskChanged { path } if *path == file), "{error}");
    assert_eq!(Mask::read(&file).unwrap().grey, [9; 32]);

    let change = mask_change(&picture, (8, 4), Some(fs::read(&file).unwrap()), None).unwrap();
    change.make().unwrap();
    assert!(!file.exists());
    change.reversed().make().unwrap();
    assert_eq!(Mask::read(&file).unwrap().grey, [9; 32], "undo");

    put(folder.path(), "a-masklabel.png", "no picture");
    let error = Mask::read(&file).unwrap_err().to_string();
    assert!(error.contains("a-masklabel.png"), "{error}");
}
