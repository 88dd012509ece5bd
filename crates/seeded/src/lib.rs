//! Random numbers by address: the same on every device, in every order, and after every resume.
//!
//! A [`Stream`] is ChaCha8 keyed by (seed, purpose, indices), so the noise of step 812 needs nothing from steps 1 to
//! 811. There is no state to save, and no two purposes share numbers.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

/// What a stream is for. Append only: the number is part of the key, so runs would not resume equal otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    Noise = 0,
    Timestep = 1,
    Shuffle = 2,
    Crop = 3,
    Flip = 4,
    CaptionDropout = 5,
    TagShuffle = 6,
    AdapterInit = 7,
    AdapterDropout = 8,
    NoiseOffset = 9,
    /// The draw from the autoencoder's posterior.
    Posterior = 10,
    ValidationSplit = 11,
    ValidationNoise = 12,
    Sample = 13,
    /// The noise an ancestral sampler adds at each step.
    SampleStep = 14,
    RandomWeights = 15,
    PyramidSizes = 16,
    PyramidNoise = 17,
}

/// An endless deterministic sequence.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// `at` is the address within the purpose, for example `[epoch, step, index]`.
    pub fn new(seed: u64, purpose: Purpose, at: &[u64]) -> Self {
        let mut key = blake3::Hasher::new_derive_key("lorikeet seeded stream 1");
        key.update(&seed.to_le_bytes());
        key.update(&(purpose as u64).to_le_bytes());
        for index in at {
            key.update(&index.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(*key.finalize().as_bytes()))
    }

    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0..n without bias; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Rejects the few values at the top that would make small results likelier.
        let limit = u64::MAX - (u64::MAX % n + 1) % n;
        loop {
            let value = self.u64();
            if value <= limit {
                return value % n;
            }
        }
    }

    /// Standard normal, by Box and Muller in f64.
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_every_part_of_its_address_and_on_nothing_else() {
        let first = |seed, purpose, at: &[u64]| Stream::new(seed, purpose, at).u64();
        let one = first(1, Purpose::Noise, &[2, 3]);
        assert_eq!(one, first(1, Purpose::Noise, &[2, 3]));
        assert_ne!(one, first(2, Purpose::Noise, &[2, 3]));
        assert_ne!(one, first(1, Purpose::Timestep, &[2, 3]));
        assert_ne!(one, first(1, Purpose::Noise, &[3, 2]));
        assert_ne!(one, first(1, Purpose::Noise, &[2]));
    }

    /// Resumed runs of older versions must draw the same numbers, so these may never change.
    #[test]
    fn numbers_are_pinned() {
        let mut stream = Stream::new(42, Purpose::Noise, &[0, 1]);
        let drawn = [stream.u64(), stream.u64(), stream.u64()];
        assert_eq!(drawn, PINNED);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let values = Stream::new(7, Purpose::Noise, &[]).normals(40_000);
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn shuffle_keeps_every_item_and_reaches_every_place() {
        let mut seen = [[false; 5]; 5];
        for round in 0..200 {
            let mut items = [0, 1, 2, 3, 4];
            Stream::new(1, Purpose::Shuffle, &[round]).shuffle(&mut items);
            items.iter().enumerate().for_each(|(place, item)| seen[*item][place] = true);
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        assert!(seen.iter().flatten().all(|s| *s));
    }

    const PINNED: [u64; 3] = [4657040311741102673, 9779965910125622076, 14990081439604398979];
}
