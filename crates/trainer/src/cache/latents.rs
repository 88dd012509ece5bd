use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use lorikeet_checkpoint::Part;
use lorikeet_dataset::{Dataset, Mask, Picture, Placement, content_key, load_pixels};
use lorikeet_models::vae::AutoencoderKl;
use lorikeet_protocol::{Event, Stage};
use lorikeet_seeded::Stream;

use super::ahead::ahead;
use super::{MEMORY_LIMIT, Store, batch_size, device_key, key, load, obey};
use crate::base::read_back;
use crate::{Base, Host, Pictures, Sizes, TrainError};

/// The Gaussian an encoded picture is drawn from: `[channels, height, width]` each, unscaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pub mean: Vec<f32>,
    pub logvar: Vec<f32>,
}

/// The encoded pictures of one dataset, by index into its pictures.
#[derive(Debug)]
pub struct LatentCache {
    entries: Vec<Entry>,
    scaling: f64,
    shift: f64,
    /// Encodings made anew rather than found.
    pub encoded: usize,
}

#[derive(Debug)]
struct Entry {
    placement: Placement,
    shape: [usize; 3],
    /// As it is, and mirrored where mirroring is on.
    held: [Option<Held>; 2],
    /// How much each latent counts, `[height, width]`, likewise.
    mask: [Option<Vec<f32>>; 2],
}

#[derive(Debug)]
enum Held {
    Memory(Moments),
    Disk(PathBuf),
}

impl LatentCache {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Of the latents of a picture, `[channels, height, width]`.
    pub fn shape(&self, index: usize) -> [usize; 3] {
        self.entries[index].shape
    }

    /// Where a picture comes from.
    pub fn sizes(&self, index: usize, flipped: bool) -> Sizes {
        let Placement { source, bucket, resized, crop } = self.entries[index].placement;
        // Mirrored, the other margin is on the left.
        let left = if flipped { resized.0 - bucket.0 - crop.0 } else { crop.0 };
        let size = |(width, height): (u32, u32)| [height as f32, width as f32];
        Sizes { original: size(source), crop: [crop.1 as f32, left as f32], target: size(bucket) }
    }

    /// Reads the masks of these pictures, which are those of the cache. `outside`: how much the rest counts.
    ///
    /// # Errors
    /// When a mask cannot be read: without it, what it hides would be learned.
    pub fn set_masks(&mut self, pictures: &[Picture], flip: bool, outside: f64) -> Result<(), TrainError> {
        for (entry, picture) in self.entries.iter_mut().zip(pictures) {
            let Some(path) = &picture.mask else { continue };
            let mask = Mask::read(path)?;
            let [_, height, width] = entry.shape.map(|side| u32::try_from(side).unwrap_or(u32::MAX));
            for flipped in [false, true].into_iter().take(if flip { 2 } else { 1 }) {
                let mut weights = mask.clone().of_latents(&entry.placement, flipped, (width, height));
                weights.iter_mut().for_each(|weight| *weight = weight.max(outside as f32));
                entry.mask[usize::from(flipped)] = Some(weights);
            }
        }
        Ok(())
    }

    /// How much each place of a picture counts, `[height, width]`; none where it has no mask.
    pub fn mask(&self, index: usize, flipped: bool) -> Option<&[f32]> {
        self.entries[index].mask[usize::from(flipped)].as_deref()
    }

    /// # Errors
    /// When the cache file was deleted or damaged during the run.
    pub fn moments(&self, index: usize, flipped: bool) -> Result<Moments, TrainError> {
        let entry = &self.entries[index];
        match &entry.held[usize::from(flipped)] {
            Some(Held::Memory(moments)) => Ok(moments.clone()),
            Some(Held::Disk(path)) => {
                let [mean, logvar] = load(path, NAMES, [entry.shape.iter().product(); 2]).ok_or_else(|| {
                    TrainError::run_file(path, "was deleted or damaged while in use; start or resume the run again")
                })?;
                Ok(Moments { mean, logvar })
            }
            None => Err(TrainError::Request {
                problem: "mirrored pictures were not encoded for this run".to_owned(),
                todo: "Report this as a bug in Lorikeet",
            }),
        }
    }

    /// A draw from the Gaussian with unit noise from `stream`, scaled to the unit variance that the UNet works in;
    /// without a stream its mean. Row-major, of [`Self::shape`].
    ///
    /// # Errors
    /// As [`Self::moments`].
    pub fn latent(&self, index: usize, flipped: bool, stream: Option<&mut Stream>) -> Result<Vec<f32>, TrainError> {
        let Moments { mut mean, logvar } = self.moments(index, flipped)?;
        if let Some(stream) = stream {
            for (value, logvar) in mean.iter_mut().zip(&logvar) {
                *value += (0.5 * logvar).exp() * stream.normal();
            }
        }
        for value in &mut mean {
            *value = ((f64::from(*value) - self.shift) * self.scaling) as f32;
        }
        Ok(mean)
    }
}

const NAMES: [&str; 2] = ["mean", "logvar"];

/// An encoding that a run needs.
struct Job {
    /// 0: training, 1: validation.
    set: usize,
    index: usize,
    flip: bool,
    key: String,
}

/// Encodes what is not in the cache yet: the pictures to train on (mirrored too if `flip`) and those held out. Pictures
/// that cannot be decoded are taken out of `pictures` with a warning. The autoencoder is loaded only if it is needed.
///
/// # Errors
/// When asked to stop, when no picture is left, or when the autoencoder cannot be loaded.
pub fn cache_latents(
    base: &Base,
    pictures: &mut Pictures,
    flip: bool,
    cache: &Path,
    host: &mut dyn Host,
) -> Result<[LatentCache; 2], TrainError> {
    let mut store = Store::new(cache, "latents");
    let model_key = base.model.part(Part::Vae)?.content_key()?;
    let mut caches = [&pictures.train_placements, &pictures.validation_placements].map(|placements| LatentCache {
        entries: placements
            .iter()
            .map(|placement| {
                let shape = base.latent_shape(placement.bucket.0, placement.bucket.1);
                Entry { placement: *placement, shape, held: [None, None], mask: [None, None] }
            })
            .collect(),
        scaling: base.vae_config.scaling_factor,
        shift: base.vae_config.shift(),
        encoded: 0,
    });
    let mut broken: Vec<(usize, usize, String)> = Vec::new();
    let mut used = 0;
    let mut jobs = Vec::new();
    for (set, index, picture, placement) in all(pictures) {
        let content = match content_key(&picture.path) {
            Ok(content) => content,
            Err(error) => {
                broken.push((set, index, error.to_string()));
                continue;
            }
        };
        for flip in [false, true].into_iter().take(if flip && set == 0 { 2 } else { 1 }) {
            let parts =
                [content.as_str(), &model_key, device_key(base.kind, base.dtype), &format!("{placement:?} {flip}")];
            jobs.push(Job { set, index, flip, key: key(&parts) });
        }
    }
    let total = jobs.len() as u64;
    host.event(Event::Stage { stage: Stage::CacheLatents, done: 0, total });
    let mut done = 0;
    let mut missing = Vec::new();
    for job in jobs {
        let entry = &mut caches[job.set].entries[job.index];
        let size = entry.shape.iter().product();
        match store.load(&job.key, NAMES, [size; 2]) {
            Some([mean, logvar]) => {
                let moments = Moments { mean, logvar };
                entry.held[usize::from(job.flip)] = Some(hold(moments, &mut used, Some(store.path(&job.key))));
                done += 1;
            }
            None => missing.push(job),
        }
        obey(host)?;
    }
    if missing.is_empty() {
        host.event(Event::Stage { stage: Stage::CacheLatents, done, total });
    } else {
        host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
        let vae = base.load_vae()?;
        let placements = |job: &Job| [&pictures.train_placements, &pictures.validation_placements][job.set][job.index];
        missing.sort_by_key(|job| (placements(job).bucket, job.set, job.index, job.flip));
        let batches: Vec<&[Job]> = missing
            .chunk_by(|a, b| placements(a).bucket == placements(b).bucket)
            .flat_map(|bucket| bucket.chunks(batch_size(base.kind)))
            .collect();
        // Without pauses.
        let mut seconds = 0.0;
        // The next pictures are decoded while these are encoded; what comes out is the same, in the same order.
        ahead(
            &batches,
            |batch| decode(pictures, batch),
            |mut decoded| {
                for batch in &batches {
                    obey(host)?;
                    let begun = Instant::now();
                    let Some(pixels) = decoded.next() else {
                        return Err(TrainError::Request {
                            problem: "the thread that decodes pictures has ended".to_owned(),
                            todo: "Report this as a bug in Lorikeet",
                        });
                    };
                    for (job, result) in batch.iter().zip(encode(base, &vae, pictures, batch, pixels)) {
                        let cache = &mut caches[job.set];
                        let entry = &mut cache.entries[job.index];
                        match result {
                            Ok(moments) => {
                                let shape = &entry.shape[..];
                                let tensors =
                                    [("mean", shape, &moments.mean[..]), ("logvar", shape, &moments.logvar[..])];
                                let path = store.save(&job.key, &tensors, host).then(|| store.path(&job.key));
                                entry.held[usize::from(job.flip)] = Some(hold(moments, &mut used, path));
                                cache.encoded += 1;
                            }
                            Err(reason) => broken.push((job.set, job.index, reason)),
                        }
                    }
                    done += batch.len() as u64;
                    seconds += begun.elapsed().as_secs_f64();
                    host.event(Event::Stage { stage: Stage::CacheLatents, done, total });
                }
                Ok(())
            },
        )?;
        let encoded = caches.iter().map(|cache| cache.encoded).sum();
        if encoded > 0 {
            host.event(Event::Note { message: pace(encoded, seconds) });
        }
    }
    drop_broken(pictures, &mut caches, broken, host)?;
    Ok(caches)
}

fn all(pictures: &Pictures) -> impl Iterator<Item = (usize, usize, &lorikeet_dataset::Picture, &Placement)> {
    let one = |set, dataset, placements| {
        let (dataset, placements): (&Dataset, &Vec<Placement>) = (dataset, placements);
        dataset.images.iter().zip(placements).enumerate().map(move |(index, (picture, at))| (set, index, picture, at))
    };
    one(0, &pictures.train, &pictures.train_placements).chain(one(
        1,
        &pictures.validation,
        &pictures.validation_placements,
    ))
}

fn hold(moments: Moments, used: &mut usize, path: Option<PathBuf>) -> Held {
    let size = 8 * moments.mean.len();
    match path {
        Some(path) if *used + size > MEMORY_LIMIT => Held::Disk(path),
        _ => {
            *used += size;
            Held::Memory(moments)
        }
    }
}

/// "Encoded 24 pictures in 12 s (2.0 a second)".
fn pace(pictures: usize, seconds: f64) -> String {
    let rate = pictures as f64 / seconds.max(1e-3);
    let noun = if pictures == 1 { "picture" } else { "pictures" };
    format!("Encoded {pictures} {noun} in {seconds:.0} s ({rate:.1} a second)")
}

/// A picture as the autoencoder reads it, `[3, height, width]` from -1 to 1, or why it cannot be used.
type Decoded = Result<([usize; 2], Vec<f32>), String>;

fn decode(pictures: &Pictures, jobs: &[Job]) -> Vec<Decoded> {
    let one = |job: &Job| {
        let (dataset, placements) = match job.set {
            0 => (&pictures.train, &pictures.train_placements),
            _ => (&pictures.validation, &pictures.validation_placements),
        };
        let pixels = load_pixels(&dataset.images[job.index].path, &placements[job.index], job.flip)
            .map_err(|error| error.to_string())?;
        let plane = |channel| pixels.rgb.iter().skip(channel).step_by(3).map(|&v| f32::from(v) / 127.5 - 1.0);
        Ok(([pixels.height as usize, pixels.width as usize], (0..3).flat_map(plane).collect()))
    };
    jobs.iter().map(one).collect()
}

/// For each job its moments, or why the picture cannot be used. All have the same bucket.
fn encode(
    base: &Base,
    vae: &AutoencoderKl,
    pictures: &Pictures,
    jobs: &[Job],
    decoded: Vec<Decoded>,
) -> Vec<Result<Moments, String>> {
    let mut results: Vec<Result<Moments, String>> = Vec::new();
    let (mut values, mut size) = (Vec::new(), [0, 0]);
    let mut good = Vec::new();
    for (at, picture) in decoded.into_iter().enumerate() {
        match picture {
            Ok((its_size, planes)) => {
                size = its_size;
                values.extend(planes);
                good.push(at);
                results.push(Err(String::new()));
            }
            Err(reason) => results.push(Err(reason)),
        }
    }
    if good.is_empty() {
        return results;
    }
    let shape = [good.len(), 3, size[0], size[1]];
    let pixels = Tensor::<4>::from_data(TensorData::new(values, shape), (&base.device, DType::F32));
    let moments = vae.encode(pixels);
    let [_, c, h, w] = moments.mean.dims();
    let read = |tensor: Tensor<4>| read_back(tensor, "latents").map_err(|error| error.to_string());
    let (means, logvars) = match (read(moments.mean), read(moments.logvar)) {
        (Ok(means), Ok(logvars)) => (means, logvars),
        (Err(reason), _) | (_, Err(reason)) => return jobs.iter().map(|_| Err(reason.clone())).collect(),
    };
    for (row, at) in good.into_iter().enumerate() {
        let range = row * c * h * w..(row + 1) * c * h * w;
        let moments = Moments { mean: means[range.clone()].to_vec(), logvar: logvars[range].to_vec() };
        let finite = moments.mean.iter().chain(&moments.logvar).all(|v| v.is_finite());
        let path = || {
            let dataset = if jobs[at].set == 0 { &pictures.train } else { &pictures.validation };
            dataset.images[jobs[at].index].path.display().to_string()
        };
        results[at] = if finite {
            Ok(moments)
        } else {
            Err(format!("the autoencoder makes no finite numbers of the picture {}", path()))
        };
    }
    results
}

fn drop_broken(
    pictures: &mut Pictures,
    caches: &mut [LatentCache; 2],
    mut broken: Vec<(usize, usize, String)>,
    host: &mut dyn Host,
) -> Result<(), TrainError> {
    // A picture fails once as it is and once mirrored.
    broken.sort();
    broken.dedup_by_key(|(set, index, _)| (*set, *index));
    let first = broken.first().map(|(_, _, reason)| reason.clone()).unwrap_or_default();
    let count = broken.len();
    for (set, index, reason) in broken.into_iter().rev() {
        let (dataset, placements) = match set {
            0 => (&mut pictures.train, &mut pictures.train_placements),
            _ => (&mut pictures.validation, &mut pictures.validation_placements),
        };
        let path = dataset.images.remove(index).path;
        placements.remove(index);
        caches[set].entries.remove(index);
        host.event(Event::Warning { message: format!("left out: {reason}") });
        dataset.skipped.push(lorikeet_dataset::Skipped { path, reason });
    }
    if pictures.train.images.is_empty() {
        return Err(TrainError::AllBroken { count, first });
    }
    Ok(())
}
