//! The order of an epoch. Nothing is remembered between epochs: any one can be worked out from (seed, epoch) alone, so
//! a run goes on in the middle of one by dropping the batches it has done.

use std::collections::BTreeMap;

use lorikeet_seeded::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// One showing of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Index into the dataset's pictures.
    pub image: usize,
    /// Which of its repeats, from 0.
    pub copy: u32,
}

impl Item {
    /// Address of this showing within an epoch, for random streams.
    pub fn key(self) -> u64 {
        (u64::from(self.copy) << 40) | self.image as u64
    }

    /// Whether this showing is mirrored, if mirroring is on.
    pub fn flipped(self, seed: u64, epoch: u64) -> bool {
        Stream::new(seed, Purpose::Flip, &[epoch, self.key()]).u64() & 1 == 1
    }
}

/// The batches of an epoch, in order: each picture as often as it repeats, a batch from one bucket only, the last batch
/// of a bucket short. `buckets` and `repeats` are per picture. Source: sd-scripts `BucketBatchIndex`.
pub fn epoch_batches(buckets: &[(u32, u32)], repeats: &[u32], batch: usize, seed: u64, epoch: u64) -> Vec<Vec<Item>> {
    let mut batches = Vec::new();
    for ((width, height), mut items) in by_bucket(buckets, repeats) {
        Stream::new(seed, Purpose::Shuffle, &[epoch, u64::from(width), u64::from(height)]).shuffle(&mut items);
        batches.extend(items.chunks(batch.max(1)).map(<[Item]>::to_vec));
    }
    Stream::new(seed, Purpose::Shuffle, &[epoch]).shuffle(&mut batches);
    batches
}

/// How many batches [`epoch_batches`] makes.
pub fn batches_per_epoch(buckets: &[(u32, u32)], repeats: &[u32], batch: usize) -> usize {
    by_bucket(buckets, repeats).values().map(|items| items.len().div_ceil(batch.max(1))).sum()
}

fn by_bucket(buckets: &[(u32, u32)], repeats: &[u32]) -> BTreeMap<(u32, u32), Vec<Item>> {
    let mut grouped: BTreeMap<_, Vec<Item>> = BTreeMap::new();
    for (image, (bucket, repeats)) in buckets.iter().zip(repeats).enumerate() {
        grouped.entry(*bucket).or_default().extend((0..*repeats).map(|copy| Item { image, copy }));
    }
    grouped
}
