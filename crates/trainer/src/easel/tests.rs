use lorikeet_checkpoint::lora::{self, Array, LoraModule};
use lorikeet_checkpoint::{Dtype, Family, SafetensorsFile};
use lorikeet_nn::LayerKind;
use lorikeet_protocol::Command;
use lorikeet_recipe::Sampler;

use super::*;
use crate::draw::tests::{all_targets, trained};
use crate::testing::{Recorder, demo};
use crate::{to_modules, write_adapter};

fn picture() -> ToDraw {
    ToDraw {
        prompt: "Red apple, flat style".to_owned(),
        negative: "blurry".to_owned(),
        seed: 42,
        width: 70,
        height: 32,
        steps: Some(2),
        cfg: Some(3.0),
        sampler: Some(Sampler::Ddim),
        ..Default::default()
    }
}

fn request(folder: &Path, pictures: Vec<ToDraw>) -> DrawRequest {
    DrawRequest { device: "cpu".to_owned(), out_dir: folder.join("out"), pictures, set: 9, ..Default::default() }
}

fn with(path: &Path, strength: f32) -> LoraUse {
    LoraUse { path: path.to_owned(), strength, name: String::new() }
}

fn pixels(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

fn told(path: &Path) -> lorikeet_protocol::PictureSettings {
    lorikeet_picture::read_settings(path).unwrap()
}

#[test]
fn a_request_leaves_pictures_that_tell_how_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut request = request(folder.path(), vec![picture()]);
    request.noise_out = Some(folder.path().join("noise.safetensors"));
    let mut host = Recorder::default();
    let paths = draw(&request, &mut host).unwrap();
    assert_eq!(paths, [folder.path().join("out").join("red-apple-flat-style-42.png")]);
    assert_eq!(pixels(&paths[0]).dimensions(), (64, 32));
    let settings = told(&paths[0]);
    assert_eq!((settings.prompt.as_str(), settings.negative.as_str()), ("Red apple, flat style", "blurry"));
    assert_eq!((settings.width, settings.height, settings.steps, settings.cfg), (64, 32, 2, 3.0));
    assert_eq!((settings.base_file.as_str(), settings.set), ("demo-base", 9));
    assert!(host.warnings()[0].contains("70 x 32"), "{:?}", host.warnings());
    let last = host.events.last();
    assert!(matches!(last, Some(Event::Drawn(drawn)) if drawn.path == paths[0] && drawn.settings == settings));
    let noise = SafetensorsFile::open(folder.path().join("noise.safetensors")).unwrap();
    let [c, h, w] = demo().latent_shape(64, 32);
    assert_eq!(noise.shape("noise"), Some(&[1, c, h, w][..]));

    // Asked again, the first picture stays.
    let again = draw(&request, &mut Recorder::default()).unwrap();
    assert_eq!(again[0].file_name().unwrap(), "red-apple-flat-style-42-2.png");
    assert_eq!(pixels(&paths[0]), pixels(&again[0]));
}

#[test]
fn what_is_left_open_is_as_suits_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let request = request(folder.path(), vec![ToDraw { prompt: "a cat".to_owned(), ..Default::default() }]);
    let settings = told(&draw(&request, &mut Recorder::default()).unwrap()[0]);
    let usual = crate::usual_drawing("demo", &Default::default()).unwrap();
    assert_eq!((settings.steps, settings.cfg, settings.sampler), (usual.steps, usual.cfg, Some(usual.sampler)));
    assert_eq!(settings.width, demo().model.native_resolution());
}

#[test]
fn a_lora_file_draws_what_its_adapters_draw_at_any_strength() {
    let folder = tempfile::tempdir().unwrap();
    let base = demo();
    let file = folder.path().join("inky.safetensors");
    let modules = to_modules(&trained(&base)).unwrap();
    lora::write(&file, Family::Sd1, &modules, Dtype::F32, &Default::default()).unwrap();
    let save = folder.path().join("ink-001/checkpoints/step-000250");
    fs::create_dir_all(&save).unwrap();
    write_adapter(&save.join(ADAPTER), &modules).unwrap();

    // A sweep, by the same easel, and the save it came from.
    let uses = [vec![], vec![(&file, 1.0)], vec![(&file, 0.0)], vec![(&file, 0.5), (&file, 0.5)], vec![(&save, 1.0)]];
    let pictures = uses.map(|loras| ToDraw {
        loras: loras.into_iter().map(|(path, strength)| with(path, strength)).collect(),
        ..picture()
    });
    let mut easel = Easel::default();
    let paths = easel.draw(&request(folder.path(), pictures.to_vec()), &mut Recorder::default()).unwrap();
    let [without, full, none, halves, saved] = [0, 1, 2, 3, 4].map(|index| pixels(&paths[index]));
    assert_ne!(without, full);
    assert_eq!(without, none);
    assert_eq!(full, saved);
    // Deltas add up; the sum is rounded once more.
    let far = full.iter().zip(halves.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(far <= 1, "{far}");
    let names = |index: usize| told(&paths[index]).loras.into_iter().map(|lora| lora.name).collect::<Vec<_>>();
    assert_eq!((names(1), names(4)), (vec!["inky".to_owned()], vec!["ink-001-step250".to_owned()]));

    // What is loaded is loaded once; another picture is the same as from a new easel.
    let one = vec![ToDraw { loras: vec![with(&file, 1.0)], ..picture() }];
    let mut host = Recorder::default();
    let again = easel.draw(&request(folder.path(), one.clone()), &mut host).unwrap();
    assert_eq!(pixels(&again[0]), full);
    assert!(easel.loaded.as_ref().is_some_and(|loaded| loaded.models.is_some() && loaded.loras.len() == 1));

    // A file that has changed meanwhile is read again.
    let mut weaker = modules;
    weaker.iter_mut().for_each(|module| module.up.values.fill(0.0));
    lora::write(&file, Family::Sd1, &weaker, Dtype::F32, &Default::default()).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let changed = easel.draw(&request(folder.path(), one), &mut Recorder::default()).unwrap();
    assert_eq!(pixels(&changed[0]), without);
}

#[test]
fn a_stop_between_steps_keeps_what_is_drawn_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut easel = Easel::default();
    let request = request(folder.path(), vec![picture(), picture()]);
    let mut host = Recorder { commands: [Command::Stop].into(), ..Default::default() };
    assert!(matches!(easel.draw(&request, &mut host), Err(TrainError::Stopped)));
    assert!(easel.loaded.is_some());
    assert_eq!(easel.draw(&request, &mut Recorder::default()).unwrap().len(), 2);
}

#[test]
fn a_lora_of_another_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.safetensors");
    let module = |name: &str, inputs: usize| LoraModule {
        name: name.to_owned(),
        rank: 1,
        alpha: 1.0,
        down: Array { shape: vec![1, inputs], values: vec![0.0; inputs] },
        up: Array { shape: vec![64, 1], values: vec![0.0; 64] },
    };
    let layers = all_targets(&demo());
    let linear = layers.iter().find(|layer| matches!(layer.kind, LayerKind::Linear { .. })).unwrap();
    for module in [module("unet.down_blocks.9.attentions.0.proj_in", 64), module(&linear.name, 7)] {
        lora::write(&file, Family::Sd1, std::slice::from_ref(&module), Dtype::F32, &Default::default()).unwrap();
        let pictures = vec![ToDraw { loras: vec![with(&file, 1.0)], ..picture() }];
        let text = draw(&request(folder.path(), pictures), &mut Recorder::default()).unwrap_err().to_string();
        assert!(text.contains("other.safetensors") && text.contains(&module.name), "{text}");
    }
}
