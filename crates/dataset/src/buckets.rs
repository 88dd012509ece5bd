//! Aspect buckets by the rules of sd-scripts, and where a picture lies in its bucket.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How pictures are sorted by shape. Sizes in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRules {
    /// The wanted size; its area is what every bucket stays within.
    pub width: u32,
    pub height: u32,
    /// Sides of buckets are multiples of this.
    pub step: u32,
    /// Shortest and longest side of a bucket; `min` is rounded down and `max` up to `step`.
    pub min: u32,
    pub max: u32,
    /// Pictures are never enlarged: each gets the bucket it fills, whatever `min` and `max` say.
    pub no_upscale: bool,
    /// Off: all pictures are cropped to `width` x `height`.
    pub enabled: bool,
}

impl BucketRules {
    /// One fixed size for all pictures.
    pub fn fixed(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            step: 8,
            min: width.min(height),
            max: width.max(height),
            no_upscale: false,
            enabled: false,
        }
    }
}

/// Resize the picture to `resized`, then cut `bucket` out of it at `crop`. All (width, height) or (x, y), in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// The picture as it was seen when placed.
    pub source: (u32, u32),
    pub bucket: (u32, u32),
    pub resized: (u32, u32),
    pub crop: (u32, u32),
}

impl Placement {
    /// Scaled to cover the bucket, the rest cut off evenly.
    pub fn cover(source: (u32, u32), bucket: (u32, u32)) -> Self {
        let scale = if ratio(source) > ratio(bucket) {
            f64::from(bucket.1) / f64::from(source.1)
        } else {
            f64::from(bucket.0) / f64::from(source.0)
        };
        let scaled = |side: u32, least: u32| ((f64::from(side) * scale + 0.5) as u32).max(least);
        Self::centred(source, bucket, (scaled(source.0, bucket.0), scaled(source.1, bucket.1)))
    }

    fn centred(source: (u32, u32), bucket: (u32, u32), resized: (u32, u32)) -> Self {
        let crop = ((resized.0 - bucket.0) / 2, (resized.1 - bucket.1) / 2);
        Self { source, bucket, resized, crop }
    }
}

fn ratio((width, height): (u32, u32)) -> f64 {
    f64::from(width) / f64::from(height)
}

fn floor_to(value: u32, step: u32) -> u32 {
    value - value % step
}

/// All sizes a picture may be given, sorted by width, then height. Source: sd-scripts `make_bucket_resolutions`.
pub fn resolutions(rules: &BucketRules) -> Vec<(u32, u32)> {
    if !rules.enabled {
        return vec![(rules.width.max(1), rules.height.max(1))];
    }
    let step = rules.step.max(1);
    let (min, max) = (floor_to(rules.min, step).max(step), rules.max.next_multiple_of(step));
    let area = u64::from(rules.width) * u64::from(rules.height);
    let square = floor_to((area as f64).sqrt() as u32, step).max(step);
    let mut sizes = BTreeSet::from([(square, square)]);
    for width in (min..=max).step_by(step as usize) {
        let fits = u32::try_from(area / u64::from(width)).unwrap_or(u32::MAX);
        let height = floor_to(fits, step).min(max);
        if height >= min {
            sizes.extend([(width, height), (height, width)]);
        }
    }
    sizes.into_iter().collect()
}

/// Where a picture of this size goes. Source: sd-scripts `BucketManager.select_bucket`.
pub fn assign(rules: &BucketRules, width: u32, height: u32) -> Placement {
    Bucketing::new(rules).assign(width, height)
}

/// [`assign`] for many pictures: the sizes are worked out once.
pub struct Bucketing {
    rules: BucketRules,
    sizes: Vec<(u32, u32)>,
}

impl Bucketing {
    pub fn new(rules: &BucketRules) -> Self {
        Self { rules: *rules, sizes: resolutions(rules) }
    }

    pub fn assign(&self, width: u32, height: u32) -> Placement {
        let source = (width.max(1), height.max(1));
        if self.rules.enabled && self.rules.no_upscale {
            return self.without_upscaling(source);
        }
        let bucket = if self.sizes.binary_search(&source).is_ok() {
            source
        } else {
            // Strictly nearer only, so that the first of equals wins.
            let wanted = ratio(source);
            let distance = |size: (u32, u32)| (ratio(size) - wanted).abs();
            self.sizes[1..].iter().fold(
                self.sizes[0],
                |best, &size| {
                    if distance(size) < distance(best) { size } else { best }
                },
            )
        };
        Placement::cover(source, bucket)
    }

    fn without_upscaling(&self, source: (u32, u32)) -> Placement {
        let step = self.rules.step.max(1);
        let area = f64::from(self.rules.width) * f64::from(self.rules.height);
        let resized = if f64::from(source.0) * f64::from(source.1) > area {
            self.shrunk(ratio(source), area, step)
        } else {
            source
        };
        let bucket = (floor_to(resized.0, step).max(step), floor_to(resized.1, step).max(step));
        if bucket.0 > resized.0 || bucket.1 > resized.1 {
            // Smaller than one step: there is no bucket it fills, so this one is enlarged after all.
            return Placement::cover(source, bucket);
        }
        Placement::centred(source, bucket, resized)
    }

    /// The size of about `area` at this aspect with one side on a step: of the two ways, the one nearer in aspect.
    fn shrunk(&self, aspect: f64, area: f64, step: u32) -> (u32, u32) {
        let on_step = |value: f64| floor_to((value + 0.5) as u32, step);
        let width = (area * aspect).sqrt();
        let height = area / width;
        let by_width = on_step(width);
        let by_height = on_step(height);
        let miss = |w: u32, h: u32| {
            if w == 0 || h == 0 { f64::INFINITY } else { (ratio((w, h)) - aspect).abs() }
        };
        let miss_by_width = miss(by_width, on_step(f64::from(by_width) / aspect));
        let miss_by_height = miss(on_step(f64::from(by_height) * aspect), by_height);
        if miss_by_width < miss_by_height {
            (by_width, (f64::from(by_width) / aspect + 0.5) as u32)
        } else if miss_by_height.is_finite() {
            ((f64::from(by_height) * aspect + 0.5) as u32, by_height)
        } else {
            ((width + 0.5) as u32, (height + 0.5) as u32)
        }
    }
}
