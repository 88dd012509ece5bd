//! The built-in base of the FLUX layout is one that learned: it draws what it is asked for.

use std::path::PathBuf;

use lorikeet_protocol::{DrawRequest, ToDraw};
use lorikeet_trainer::draw;

use crate::Face;

#[test]
fn a_red_apple_and_a_blue_umbrella() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = ["red apple, flat style", "umbrella, blob style"].map(|prompt| ToDraw {
        prompt: prompt.to_owned(),
        seed: 3,
        steps: Some(12),
        guidance: Some(2.0),
        ..Default::default()
    });
    let request = DrawRequest {
        base: "demo-flux".to_owned(),
        pictures: pictures.to_vec(),
        device: "cpu".to_owned(),
        out_dir: folder.path().join("out"),
        ..Default::default()
    };
    let mut face = Face { run_dir: folder.path().to_owned(), ..Face::default() };
    let pictures: Vec<PathBuf> = draw(&request, &mut face).unwrap();
    let mean = |picture: &PathBuf, [x, y, side]: [u32; 3]| {
        let picture = image::open(picture).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (128, 128), "the size it learned at");
        let square = image::imageops::crop_imm(&picture, x, y, side, side).to_image();
        [0, 1, 2].map(|channel| square.pixels().map(|pixel| u32::from(pixel[channel])).sum::<u32>() / (side * side))
    };
    for picture in &pictures {
        assert!(mean(picture, [0, 0, 8]).iter().all(|part| *part > 220), "the corner is not white");
    }
    let [red, green, blue] = mean(&pictures[0], [52, 60, 24]);
    assert!(red > 150 && red > 2 * green && red > 2 * blue, "the apple is {red} {green} {blue}");
    let [red, _, blue] = mean(&pictures[1], [52, 36, 24]);
    assert!(blue > 120 && blue > red + 60, "the umbrella is red {red}, blue {blue}");
}

#[test]
fn it_trains_like_flux() {
    crate::run_on("demo-flux", &["lora_unet_", "lora_te1_"], &["transformer.", "text_encoder."]);
}
