//! Decoding of all that comes along, and fitting it into a bucket.

use std::{fs, path::Path};

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use lorikeet_dataset::{
    BucketRules, DatasetError, PictureProblem, Pixels, Placement, ScanOptions, buckets::assign, decode, load_pixels,
    scan,
};

use lorikeet_seeded::{Purpose, Stream};

use crate::common::{bytes, cmyk_jpeg, encode, gradient, jpeg_with_orientation, png, png_with_orientation, put};

fn pixel(pixels: &Pixels, x: u32, y: u32) -> [u8; 3] {
    let at = ((y * pixels.width + x) * 3) as usize;
    [pixels.rgb[at], pixels.rgb[at + 1], pixels.rgb[at + 2]]
}

fn decoded(picture: DynamicImage, format: ImageFormat) -> Pixels {
    let folder = tempfile::tempdir().unwrap();
    decode(&put(folder.path(), "picture", encode(&picture, format))).unwrap()
}

#[test]
fn lossless_formats_give_the_bytes_back_whatever_the_file_is_called() {
    let picture = gradient(13, 9);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
        let pixels = decoded(picture.clone().into(), format);
        assert_eq!((pixels.width, pixels.height), (13, 9));
        assert!(pixels.rgb == *picture.as_raw(), "{format:?}");
    }
}

#[test]
fn grey_and_sixteen_bit_become_rgb() {
    let grey = GrayImage::from_pixel(4, 4, Luma([77]));
    assert_eq!(pixel(&decoded(grey.clone().into(), ImageFormat::Png), 1, 1), [77; 3]);
    let jpeg = pixel(&decoded(grey.into(), ImageFormat::Jpeg), 1, 1);
    assert!(jpeg.iter().all(|v| v.abs_diff(77) < 4), "{jpeg:?}");
    let deep: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_pixel(4, 4, Rgb([0xffff, 0x8080, 0]));
    assert_eq!(pixel(&decoded(deep.into(), ImageFormat::Png), 1, 1), [255, 128, 0]);
    let grey: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(4, 4, Luma([0x4d4d]));
    assert_eq!(pixel(&decoded(grey.into(), ImageFormat::Png), 1, 1), [77; 3]);
}

#[test]
fn transparency_shows_white() {
    let colour = |alpha| DynamicImage::from(ImageBuffer::from_pixel(4, 4, Rgba([200u8, 0, 100, alpha])));
    assert_eq!(pixel(&decoded(colour(0), ImageFormat::Png), 0, 0), [255; 3]);
    assert_eq!(pixel(&decoded(colour(255), ImageFormat::Png), 0, 0), [200, 0, 100]);
    // 200 * 51/255 + 255 * 204/255 = 244, 204, 224.
    assert_eq!(pixel(&decoded(colour(51), ImageFormat::Png), 0, 0), [244, 204, 224]);
    assert_eq!(pixel(&decoded(colour(51), ImageFormat::WebP), 0, 0), [244, 204, 224]);
    let grey = ImageBuffer::from_pixel(4, 4, LumaA([0u8, 51]));
    assert_eq!(pixel(&decoded(grey.into(), ImageFormat::Png), 0, 0), [204; 3]);
    let deep: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_pixel(4, 4, Rgba([0, 0, 0, 0x3333]));
    assert_eq!(pixel(&decoded(deep.into(), ImageFormat::Png), 0, 0), [204; 3]);
}

#[test]
fn palettes_with_transparent_entries_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = decode(&put(folder.path(), "p.png", crate::common::palette_png())).unwrap();
    assert_eq!((pixel(&pixels, 0, 0), pixel(&pixels, 1, 0)), ([10, 20, 30], [255; 3]));
}

/// All eight orientations, in JPEG and PNG, against where the corner colours must go.
#[test]
fn exif_orientation_turns_pixels_and_sizes_alike() {
    // Quarters of one colour each survive JPEG.
    let corner = [[250u8, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 250]];
    let picture = RgbImage::from_fn(64, 32, |x, y| Rgb(corner[usize::from(x >= 32) + 2 * usize::from(y >= 16)]));
    // Which source quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right) is seen at each place.
    let seen = [
        (1, [0, 1, 2, 3]),
        (2, [1, 0, 3, 2]),
        (3, [3, 2, 1, 0]),
        (4, [2, 3, 0, 1]),
        (5, [0, 2, 1, 3]),
        (6, [2, 0, 3, 1]),
        (7, [3, 1, 2, 0]),
        (8, [1, 3, 0, 2]),
    ];
    for (orientation, places) in seen {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let plain = encode(&picture.clone().into(), format);
            let (turned, name) = match format {
                ImageFormat::Jpeg => (jpeg_with_orientation(&plain, orientation), "p.jpg"),
                _ => (png_with_orientation(&plain, orientation), "p.png"),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = put(folder.path(), name, turned);
            let listed = scan(folder.path(), &ScanOptions::default()).unwrap().images.remove(0);
            let pixels = decode(&path).unwrap();
            let size = if orientation >= 5 { (32, 64) } else { (64, 32) };
            assert_eq!((pixels.width, pixels.height), size, "{format:?} {orientation}");
            assert_eq!((listed.width, listed.height), size, "{format:?} {orientation}");
            for (place, source) in places.into_iter().enumerate() {
                let x = size.0 / 4 + (place as u32 % 2) * size.0 / 2;
                let y = size.1 / 4 + (place as u32 / 2) * size.1 / 2;
                let found = pixel(&pixels, x, y);
                let near = found.iter().zip(corner[source]).all(|(a, b)| a.abs_diff(b) < 12);
                assert!(near, "{format:?} {orientation} place {place}: {found:?}");
            }
        }
    }
}

#[test]
fn damaged_exif_is_upright() {
    let mut jpeg = jpeg_with_orientation(&bytes(16, 8, ImageFormat::Jpeg), 6);
    // The offset of the first directory, pointed out of the block.
    let at = jpeg.windows(2).position(|pair| pair == b"MM").unwrap();
    jpeg[at + 4] = 0x7f;
    let folder = tempfile::tempdir().unwrap();
    let pixels = decode(&put(folder.path(), "p.jpg", jpeg)).unwrap();
    assert_eq!((pixels.width, pixels.height), (16, 8));
}

#[test]
fn shrinking_averages_and_cropping_takes_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    // Columns of 0 and 200, so that halving gives 100 everywhere; the outer 8 columns are red and cut off.
    let picture = RgbImage::from_fn(48, 32, |x, _| match x {
        8..40 => Rgb(if x % 2 == 0 { [0; 3] } else { [200; 3] }),
        _ => Rgb([255, 0, 0]),
    });
    let path = put(folder.path(), "p.png", encode(&picture.into(), ImageFormat::Png));
    let placed = assign(&BucketRules::fixed(16, 16), 48, 32);
    let pixels = load_pixels(&path, &placed, false).unwrap();
    assert_eq!((pixels.width, pixels.height), (16, 16));
    assert!(pixels.rgb.iter().all(|v| *v == 100), "{:?}", &pixels.rgb[..48]);
}

#[test]
fn enlarging_is_smooth_and_keeps_flat_areas() {
    let flat = Pixels { width: 3, height: 2, rgb: vec![90; 18] }.resized(17, 11);
    assert_eq!((flat.width, flat.height, flat.rgb.len()), (17, 11, 17 * 11 * 3));
    assert!(flat.rgb.iter().all(|v| *v == 90));
    let edge = Pixels { width: 2, height: 1, rgb: vec![50, 50, 50, 200, 200, 200] }.resized(16, 1);
    let row: Vec<u8> = (0..16).map(|x| pixel(&edge, x, 0)[0]).collect();
    assert!(row[6] < row[7] && row[7] < row[8] && row[8] < row[9], "{row:?}");
}

#[test]
fn flipping_mirrors_the_finished_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = png(folder.path(), "p.png", 40, 24);
    let placed = assign(&BucketRules::fixed(17, 16), 40, 24);
    let (plain, flipped) = (load_pixels(&path, &placed, false).unwrap(), load_pixels(&path, &placed, true).unwrap());
    for (x, y) in (0..17).flat_map(|x| (0..16).map(move |y| (x, y))) {
        assert_eq!(pixel(&plain, x, y), pixel(&flipped, 16 - x, y));
    }
    assert_ne!(plain, flipped);
}

#[test]
fn a_picture_that_changed_since_the_scan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = png(folder.path(), "p.png", 40, 24);
    let placed = Placement::cover((40, 25), (16, 16));
    let error = load_pixels(&path, &placed, false).unwrap_err();
    assert!(matches!(error, DatasetError::Changed { now: (40, 24), .. }), "{error}");
}

fn refused(path: &Path) -> PictureProblem {
    match decode(path).unwrap_err() {
        DatasetError::Picture { path: named, problem } if named == path => problem,
        other => panic!("{other}"),
    }
}

/// The JPEG decoder fills what is missing with grey, and PNG decoders differ, so every length is tried.
#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp] {
        let whole = bytes(24, 24, format);
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 2]) {
            let path = put(folder.path(), "cut", &whole[..length]);
            let problem = refused(&path);
            match length {
                0 => assert!(matches!(problem, PictureProblem::Empty), "{format:?}: {problem}"),
                // Some writers leave out the padding byte at the end of a WebP, so there the decoder decides.
                _ if format == ImageFormat::WebP && length + 1 == whole.len() => {}
                // Enough to know what it is.
                64.. => assert!(matches!(problem, PictureProblem::CutOff(_)), "{format:?} {length}: {problem}"),
                _ => {}
            }
        }
    }
}

#[test]
fn bytes_after_the_end_of_a_jpeg_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut jpeg = bytes(24, 24, ImageFormat::Jpeg);
    jpeg.extend([7; 10_000]);
    assert_eq!(decode(&put(folder.path(), "p.jpg", jpeg)).unwrap().width, 24);
}

#[test]
fn damage_inside_a_whole_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = bytes(64, 64, ImageFormat::Png);
    let middle = data.len() / 2;
    data[middle..middle + 40].fill(0x55);
    let problem = refused(&put(folder.path(), "p.png", data));
    assert!(matches!(problem, PictureProblem::Damaged(_)), "{problem}");
}

#[test]
fn what_is_no_picture_of_ours_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |contents: &[u8]| refused(&put(folder.path(), "p.png", contents));
    assert!(matches!(problem(b"<html>404</html> and so on"), PictureProblem::NotAPicture));
    assert!(matches!(problem(&[0; 100]), PictureProblem::NotAPicture));
    assert!(matches!(problem(b"GIF89a\x08\0\x08\0\0\0\0;"), PictureProblem::Unsupported("GIF")));
    assert!(matches!(problem(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), PictureProblem::Unsupported(_)));
    assert!(matches!(problem(&cmyk_jpeg()), PictureProblem::Cmyk));
}

/// Only the header is made: a file of this size must be refused before anything is decoded.
#[test]
fn huge_and_very_narrow_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let with_size = |width: u32, height: u32| {
        let mut data = bytes(8, 8, ImageFormat::Png);
        data[16..20].copy_from_slice(&width.to_be_bytes());
        data[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crate::common::crc32(&data[12..29]).to_be_bytes();
        data[29..33].copy_from_slice(&sum);
        refused(&put(folder.path(), "p.png", data))
    };
    assert!(matches!(with_size(100_000, 100_000), PictureProblem::TooLarge { .. }));
    assert!(matches!(with_size(20_000, 20_000), PictureProblem::TooLarge { .. }));
    assert!(matches!(with_size(8_000, 200), PictureProblem::TooNarrow { .. }));
    assert!(matches!(with_size(0, 8), PictureProblem::Damaged(_)));
    // Within the limits, but there is data for 8 x 8 only.
    assert!(matches!(with_size(64, 64), PictureProblem::Damaged(_) | PictureProblem::CutOff(_)));
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone.png");
    let message = decode(&path).unwrap_err().to_string();
    assert!(message.contains("gone.png"), "{message}");
    assert!(fs::metadata(path).is_err());
}

/// Decoders are other people's code; whatever bytes come, they must answer with an error or a picture.
#[test]
fn garbled_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp];
    let rounds = std::env::var("GARBLED_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    for (kind, format) in formats.into_iter().enumerate() {
        let whole = jpeg_or_plain(format);
        for round in 0..rounds {
            let mut random = Stream::new(1, Purpose::RandomWeights, &[kind as u64, round]);
            let mut data = whole.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(data.len() as u64) as usize;
                data[at] = random.u64() as u8;
            }
            let path = put(folder.path(), "p.png", &data);
            scan(folder.path(), &ScanOptions::default()).ok();
            decode(&path).ok();
        }
    }
}

fn jpeg_or_plain(format: ImageFormat) -> Vec<u8> {
    let plain = bytes(24, 24, format);
    if format == ImageFormat::Jpeg { jpeg_with_orientation(&plain, 6) } else { plain }
}
