use std::fs;

use lorikeet_seeded::{Purpose, Stream};
use tempfile::TempDir;

use super::*;
use crate::testing::{Recorder, damage, demo, picture, recipe};
use crate::{Base, Pictures, base_facts, pictures};

struct Scene {
    base: Base,
    pictures: Pictures,
    folder: TempDir,
    cache: TempDir,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", 64, 10, "a cat");
    picture(folder.path(), "b.png", 70, 200, "a dog");
    let base = demo();
    let settings = lorikeet_recipe::settings(&recipe(folder.path()), &base_facts(&base.model).unwrap()).unwrap();
    Scene { base, pictures: pictures(&settings).unwrap(), folder, cache: tempfile::tempdir().unwrap() }
}

impl Scene {
    fn latents(&mut self, flip: bool, host: &mut Recorder) -> Result<LatentCache, TrainError> {
        let [train, _] = cache_latents(&self.base, &mut self.pictures, flip, self.cache.path(), host)?;
        Ok(train)
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.cache.path().join(kind)).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.filter(|path| path.is_dir());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
    }
}

fn numbers(latents: &LatentCache, flipped: bool) -> Vec<Moments> {
    (0..latents.len()).map(|index| latents.moments(index, flipped).unwrap()).collect()
}

#[test]
fn the_second_time_latents_are_found_and_no_model_is_loaded() {
    let mut scene = scene();
    let mut host = Recorder::default();
    let first = scene.latents(true, &mut host).unwrap();
    assert_eq!((first.encoded, first.len(), first.shape(0)), (4, 2, scene.base.latent_shape(64, 64)));
    assert!(host.loaded_a_model());
    let done = Event::Stage { stage: lorikeet_protocol::Stage::CacheLatents, done: 4, total: 4 };
    let [.., last, Event::Note { message }] = &host.events[..] else { panic!("{:?}", host.events) };
    assert_eq!(last, &done);
    assert!(message.starts_with("Encoded 4 pictures in ") && message.ends_with(" a second)"), "{message}");

    let mut host = Recorder::default();
    let second = scene.latents(true, &mut host).unwrap();
    assert_eq!((second.encoded, host.events.last()), (0, Some(&done)));
    assert!(!host.loaded_a_model());
    for flipped in [false, true] {
        assert_eq!(numbers(&first, flipped), numbers(&second, flipped));
    }
    assert_ne!(numbers(&first, false), numbers(&first, true));
    assert_eq!(scene.files("latents").len(), 4);
}

#[test]
fn numbers_of_other_precision_are_not_taken() {
    let cuda = |dtype| device_key(DeviceKind::Cuda(0), dtype);
    assert_ne!(cuda(DType::F32), cuda(DType::BF16));
    assert_ne!(cuda(DType::F16), cuda(DType::BF16));
    assert_eq!(cuda(DType::BF16), device_key(DeviceKind::Cuda(1), DType::BF16));
}

#[test]
fn a_damaged_cache_file_is_made_again() {
    let mut scene = scene();
    let first = scene.latents(false, &mut Recorder::default()).unwrap();
    let files = scene.files("latents");
    let mut bytes = fs::read(&files[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&files[0], &bytes).unwrap();
    fs::write(&files[1], &bytes[..last / 2]).unwrap();
    let second = scene.latents(false, &mut Recorder::default()).unwrap();
    assert_eq!(second.encoded, 2);
    assert_eq!(numbers(&first, false), numbers(&second, false));
    assert_eq!(scene.latents(false, &mut Recorder::default()).unwrap().encoded, 0);
}

#[test]
fn latents_are_drawn_from_the_encoded_gaussian() {
    let mut scene = scene();
    let latents = scene.latents(false, &mut Recorder::default()).unwrap();
    let Moments { mean, logvar } = latents.moments(1, false).unwrap();
    let scale = scene.base.vae_config.scaling_factor;
    let mut noise = Stream::new(1, Purpose::Posterior, &[2]);
    let drawn = latents.latent(1, false, Some(&mut noise)).unwrap();
    let mut noise = Stream::new(1, Purpose::Posterior, &[2]);
    for ((drawn, mean), logvar) in drawn.iter().zip(&mean).zip(&logvar) {
        let expected = f64::from(mean + (0.5 * logvar).exp() * noise.normal()) * scale;
        assert!((f64::from(*drawn) - expected).abs() < 1e-6, "{drawn} {expected}");
    }
    let middle = latents.latent(1, false, None).unwrap();
    assert!((f64::from(middle[5]) - f64::from(mean[5]) * scale).abs() < 1e-6);
    assert!(latents.latent(1, true, None).is_err());
}

#[test]
fn a_broken_picture_is_left_out_and_named() {
    let mut scene = scene();
    let whole = scene.latents(false, &mut Recorder::default()).unwrap().moments(1, false).unwrap();
    damage(&scene.folder.path().join("a.png"));
    let mut host = Recorder::default();
    let latents = scene.latents(true, &mut host).unwrap();
    assert_eq!((latents.len(), scene.pictures.train.images.len(), scene.pictures.train_placements.len()), (1, 1, 1));
    assert_eq!(latents.moments(0, false).unwrap(), whole);
    assert!(matches!(host.warnings()[..], [one] if one.contains("a.png")), "{:?}", host.warnings());
    assert_eq!(scene.pictures.train.skipped.len(), 1);

    damage(&scene.folder.path().join("b.png"));
    let error = scene.latents(false, &mut Recorder::default()).unwrap_err();
    assert!(matches!(error, TrainError::AllBroken { count: 1, .. }) && error.to_string().contains("b.png"), "{error}");
}

#[test]
fn stop_ends_caching_and_pause_waits() {
    let mut scene = scene();
    let mut host = Recorder { commands: [Command::Stop].into(), ..Recorder::default() };
    assert!(matches!(scene.latents(false, &mut host), Err(TrainError::Stopped)));
    let commands = [Command::Pause, Command::SaveNow, Command::Resume].into();
    let mut host = Recorder { commands, ..Recorder::default() };
    assert_eq!(scene.latents(false, &mut host).unwrap().len(), 2);
    let paused = host.events.iter().position(|event| matches!(event, Event::Paused { .. })).unwrap();
    let resumed = host.events.iter().position(|event| matches!(event, Event::Resumed { .. })).unwrap();
    assert!(paused < resumed && host.warnings().len() == 1, "{:?}", host.events);
}

#[test]
fn a_cache_that_cannot_be_written_is_told_once_and_not_needed() {
    let mut scene = scene();
    // A file where the folder should be, which no user can write into.
    let blocked = scene.cache.path().join("file");
    fs::write(&blocked, "").unwrap();
    let mut host = Recorder::default();
    let [latents, _] = cache_latents(&scene.base, &mut scene.pictures, false, &blocked, &mut host).unwrap();
    assert_eq!(latents.len(), 2);
    assert!(latents.moments(1, false).is_ok());
    assert_eq!(host.warnings().len(), 1, "{:?}", host.warnings());
}

#[test]
fn the_second_time_captions_are_found() {
    let (base, cache) = (demo(), tempfile::tempdir().unwrap());
    let captions = ["a cat", "", "a cat"].map(str::to_owned);
    let first = TextCache::build(&base, &captions, cache.path(), &mut Recorder::default()).unwrap();
    assert_eq!(first.encoded, 2);
    let mut host = Recorder::default();
    let second = TextCache::build(&base, &captions, cache.path(), &mut host).unwrap();
    assert_eq!((second.encoded, host.loaded_a_model()), (0, false));
    let rows = |states: &TextCache| states.batch(&["", "a cat"]).unwrap().states.into_data();
    assert_eq!(rows(&first), rows(&second));
    assert_eq!(rows(&first).shape().to_vec(), [2, 77, base.architecture.text_shape(base.caption).width]);

    assert!(second.batch(&["a dog"]).is_err());
    let second = second.with_encoders(base.load_text().unwrap());
    let direct = base.load_text().unwrap().encode(&lorikeet_nn::Context::base(), &["a dog"]);
    assert_eq!(second.batch(&["a dog"]).unwrap().states.into_data(), direct.states.into_data());
}
