//! The order of an epoch and the held-out pictures.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::captioned;
use lorikeet_dataset::{Dataset, Item, batches_per_epoch, epoch_batches, split_validation};

const BUCKETS: [(u32, u32); 7] = [(512, 512), (384, 640), (512, 512), (384, 640), (512, 512), (512, 512), (640, 384)];
const REPEATS: [u32; 7] = [1, 2, 3, 1, 1, 2, 1];

#[test]
fn every_picture_comes_as_often_as_it_repeats_within_its_bucket() {
    let batches = epoch_batches(&BUCKETS, &REPEATS, 3, 9, 4);
    let mut counts = BTreeMap::new();
    for batch in &batches {
        let buckets: BTreeSet<_> = batch.iter().map(|item| BUCKETS[item.image]).collect();
        assert_eq!(buckets.len(), 1);
        for item in batch {
            assert!(counts.insert(*item, ()).is_none(), "{item:?} twice");
            assert!(item.copy < REPEATS[item.image]);
        }
    }
    assert_eq!(counts.len(), 11);
    // 7 square, 3 tall, 1 wide.
    let mut sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 3, 3, 3]);
    assert_eq!(batches_per_epoch(&BUCKETS, &REPEATS, 3), 5);
}

#[test]
fn order_depends_on_seed_and_epoch_only() {
    let order = |seed, epoch| epoch_batches(&BUCKETS, &REPEATS, 2, seed, epoch);
    assert_eq!(order(1, 7), order(1, 7));
    assert_ne!(order(1, 7), order(1, 8));
    assert_ne!(order(1, 7), order(2, 7));
}

#[test]
fn buckets_are_mixed() {
    let buckets: Vec<_> = (0..40).map(|i| if i < 20 { (64, 128) } else { (128, 64) }).collect();
    let batches = epoch_batches(&buckets, &[1; 40], 1, 3, 0);
    let changes = batches.windows(2).filter(|pair| buckets[pair[0][0].image] != buckets[pair[1][0].image]).count();
    assert!(changes > 5, "{changes}");
}

#[test]
fn nothing_gives_no_batches_and_a_batch_of_zero_counts_as_one() {
    assert!(epoch_batches(&[], &[], 4, 1, 1).is_empty());
    assert_eq!(batches_per_epoch(&[], &[], 4), 0);
    assert_eq!(epoch_batches(&BUCKETS, &REPEATS, 0, 1, 1).len(), 11);
}

#[test]
fn half_of_the_showings_are_mirrored() {
    let flipped = (0..2000).filter(|image| Item { image: *image, copy: 1 }.flipped(3, 2)).count();
    assert!((888..=1112).contains(&flipped), "{flipped}");
}

fn dataset(count: usize) -> Dataset {
    let images = (0..count)
        .map(|i| {
            let mut picture = captioned("x");
            picture.path = format!("f/{i}.png").into();
            picture
        })
        .collect();
    Dataset { folder: "f".into(), images, ..Default::default() }
}

#[test]
fn the_split_is_seeded_complete_and_leaves_something_to_train_on() {
    let all = dataset(40);
    let (train, held_out) = split_validation(&all, 0.1, 5);
    assert_eq!((train.images.len(), held_out.images.len()), (36, 4));
    let paths: BTreeSet<_> = train.images.iter().chain(&held_out.images).map(|p| &p.path).collect();
    assert_eq!(paths.len(), 40);
    assert_eq!(split_validation(&all, 0.1, 5).1, held_out);
    assert_ne!(split_validation(&all, 0.1, 6).1, held_out);
    for (count, fraction, expected) in
        [(40, 0.0, 0), (40, 0.001, 1), (2, 1.0, 1), (1, 0.5, 0), (5, f64::NAN, 0), (5, -1.0, 0)]
    {
        assert_eq!(split_validation(&dataset(count), fraction, 1).1.images.len(), expected, "{count} {fraction}");
    }
}

#[test]
fn adding_a_picture_moves_no_other_out_of_training_beyond_one() {
    let held = |count| -> BTreeSet<_> {
        split_validation(&dataset(count), 0.1, 5).1.images.into_iter().map(|p| p.path).collect()
    };
    assert!(held(41).difference(&held(40)).count() <= 1);
}
