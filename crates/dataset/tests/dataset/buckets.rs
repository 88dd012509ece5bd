//! Check values of sd-scripts, and what must hold for any picture.

use lorikeet_dataset::{
    BucketRules,
    buckets::{assign, resolutions},
};

fn rules(side: u32, min: u32, max: u32, step: u32) -> BucketRules {
    BucketRules { width: side, height: side, step, min, max, no_upscale: false, enabled: true }
}

#[test]
fn sizes_at_512_are_those_of_sd_scripts() {
    let tall = [(256, 832), (256, 896), (256, 960), (256, 1024), (320, 704), (320, 768), (384, 640), (448, 576)];
    let mut expected: Vec<(u32, u32)> = tall.iter().flat_map(|&(w, h)| [(w, h), (h, w)]).collect();
    expected.push((512, 512));
    expected.sort_unstable();
    assert_eq!(resolutions(&rules(512, 256, 1024, 64)), expected);
}

#[test]
fn bucket_counts_are_those_of_sd_scripts() {
    for (side, min, max, step, count) in
        [(512, 256, 1024, 64, 17), (768, 256, 1024, 64, 19), (1024, 256, 2048, 64, 41), (1024, 512, 2048, 32, 65)]
    {
        assert_eq!(resolutions(&rules(side, min, max, step)).len(), count, "{side} {min}..{max} / {step}");
    }
}

#[test]
fn limits_are_rounded_outwards_to_the_step() {
    assert_eq!(resolutions(&rules(512, 300, 1000, 64)), resolutions(&rules(512, 256, 1024, 64)));
}

#[test]
fn senseless_rules_still_give_a_bucket() {
    for rules in [rules(0, 0, 0, 0), rules(64, 256, 1024, 64), rules(512, 1024, 256, 64), rules(8, 8, 8, 64)] {
        let sizes = resolutions(&rules);
        assert!(!sizes.is_empty() && sizes.iter().all(|(w, h)| *w > 0 && *h > 0), "{rules:?}: {sizes:?}");
    }
}

#[test]
fn an_exact_size_keeps_itself_and_others_take_the_nearest_aspect() {
    let rules = rules(512, 256, 1024, 64);
    assert_eq!(assign(&rules, 384, 640).bucket, (384, 640));
    assert_eq!(assign(&rules, 2000, 2000).bucket, (512, 512));
    assert_eq!(assign(&rules, 1920, 1080).bucket, (640, 384));
    assert_eq!(assign(&rules, 10_000, 1_000).bucket, (1024, 256));
}

#[test]
fn covering_crops_the_middle() {
    // Wider than its bucket: heights match, the sides are cut. 1920 * 384 / 1080 = 682.67.
    let placed = assign(&rules(512, 256, 1024, 64), 1920, 1080);
    assert_eq!((placed.bucket, placed.resized, placed.crop), ((640, 384), (683, 384), (21, 0)));
    // Taller: 3000 * 384 / 1800 = 640.
    let placed = assign(&rules(512, 256, 1024, 64), 1800, 3001);
    assert_eq!((placed.bucket, placed.resized, placed.crop), ((384, 640), (384, 640), (0, 0)));
}

#[test]
fn without_buckets_all_pictures_cover_one_size() {
    let placed = assign(&BucketRules::fixed(128, 96), 1000, 500);
    assert_eq!((placed.bucket, placed.resized, placed.crop), ((128, 96), (192, 96), (32, 0)));
}

#[test]
fn no_upscale_leaves_small_pictures_and_shrinks_large_ones() {
    let rules = BucketRules { no_upscale: true, ..rules(512, 256, 1024, 64) };
    let small = assign(&rules, 200, 150);
    assert_eq!((small.bucket, small.resized, small.crop), ((192, 128), (200, 150), (4, 11)));
    // Area 512 * 512 at 16:9 is 682.67 x 384. Width on a step is 640 with height 360 -> 320, aspect 2, off by 0.222;
    // height on a step is 384 with width 683 -> 640, aspect 1.667, off by 0.111 and so nearer.
    let large = assign(&rules, 1920, 1080);
    assert_eq!((large.bucket, large.resized), ((640, 384), (683, 384)));
    // Equal misses take the height.
    assert_eq!(assign(&rules, 4000, 4000).resized, (512, 512));
}

#[test]
fn any_picture_is_placed_within_itself() {
    let base = rules(512, 256, 1024, 64);
    let all = [base, BucketRules { no_upscale: true, ..base }, BucketRules::fixed(512, 512), rules(128, 64, 256, 16)];
    let sides = [1, 2, 7, 63, 64, 65, 127, 300, 511, 512, 513, 1000, 4097, 32_768];
    for rules in all {
        for (w, h) in sides.iter().flat_map(|w| sides.iter().map(move |h| (*w, *h))) {
            let placed = assign(&rules, w, h);
            let why = format!("{w} x {h} under {rules:?}: {placed:?}");
            assert_eq!(placed.source, (w, h), "{why}");
            assert!(placed.bucket.0 > 0 && placed.bucket.1 > 0, "{why}");
            assert!(placed.crop.0 + placed.bucket.0 <= placed.resized.0, "{why}");
            assert!(placed.crop.1 + placed.bucket.1 <= placed.resized.1, "{why}");
            if rules.enabled {
                assert!(
                    placed.bucket.0.is_multiple_of(rules.step) && placed.bucket.1.is_multiple_of(rules.step),
                    "{why}"
                );
            }
            if rules.enabled && rules.no_upscale && w >= 64 && h >= 64 && w.max(h) / w.min(h) < 8 {
                assert!(placed.resized.0 <= w && placed.resized.1 <= h, "{why}");
            }
        }
    }
}
