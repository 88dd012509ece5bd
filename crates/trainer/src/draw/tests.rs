use std::fs;

use lorikeet_adapters::{LoraSet, Size};
use lorikeet_checkpoint::lora::{Array, LoraModule};
use lorikeet_checkpoint::{Dtype, Family, SafetensorsFile};
use lorikeet_nn::LayerKind;

use super::*;
use crate::testing::{Recorder, demo};
use crate::{to_modules, write_adapter};

fn quick(sampler: SamplerKind, seed: u64) -> DrawSettings {
    DrawSettings { width: 64, height: 32, steps: 2, cfg: 4.0, guidance: 0.0, sampler, seed }
}

#[test]
fn a_picture_depends_on_seed_prompt_and_guidance_and_on_nothing_else() {
    let base = demo();
    let (denoiser, vae) = (base.load_denoiser().unwrap(), base.load_vae().unwrap());
    let text = base.load_text().unwrap();
    let painter = Painter { base: &base, denoiser: &*denoiser, vae: &vae };
    let states = |prompt: &str| text.encode(&Context::base(), &[prompt]);
    let draw = |prompt: &str, settings: &DrawSettings, deltas: Option<&dyn Deltas>| {
        painter.draw(deltas, &states(prompt), &states(""), settings, &mut |_| Ok(())).unwrap()
    };
    let settings = quick(SamplerKind::EulerAncestral, 1);
    let first = draw("red apple", &settings, None);
    assert_eq!(first.dimensions(), (64, 32));
    assert_eq!(first, draw("red apple", &settings, None));
    assert_ne!(first, draw("red apple", &quick(SamplerKind::EulerAncestral, 2), None));
    assert_ne!(first, draw("blue house", &settings, None));
    let unguided = DrawSettings { cfg: 1.0, ..settings.clone() };
    assert_ne!(first, draw("red apple", &unguided, None));

    // B is zero in a fresh LoRA.
    let set = LoraSet::new(&denoiser.targets(), |_| Size { rank: 4, alpha: 4.0 }, 0.0, 7, &base.device);
    assert_eq!(first, draw("red apple", &settings, Some(&set.deltas(1.0))));
}

#[test]
fn drawing_can_be_ended_between_steps() {
    let base = demo();
    let (denoiser, vae) = (base.load_denoiser().unwrap(), base.load_vae().unwrap());
    let text = base.load_text().unwrap();
    let painter = Painter { base: &base, denoiser: &*denoiser, vae: &vae };
    let states = text.encode(&Context::base(), &[""]);
    let mut seen = Vec::new();
    let result = painter.draw(None, &states, &states, &quick(SamplerKind::Ddim, 1), &mut |done| {
        seen.push(done);
        Err(TrainError::Stopped)
    });
    assert!(matches!(result, Err(TrainError::Stopped)));
    assert_eq!(seen, [1]);
}

#[test]
fn sizes_are_rounded_down_with_a_word() {
    let base = demo();
    assert_eq!(base.valid_size(96, 64), ((96, 64), None));
    let (size, warning) = base.valid_size(100, 5);
    assert_eq!(size, (96, 32));
    assert!(warning.unwrap().contains("100 x 5"));
}

fn request(folder: &Path) -> SampleRequest {
    SampleRequest {
        base: "demo".to_owned(),
        parts: Default::default(),
        loras: Vec::new(),
        prompts: vec!["Red apple, flat style".to_owned()],
        negative: "blurry".to_owned(),
        seed: 42,
        width: 70,
        height: 32,
        steps: 2,
        cfg: 3.0,
        guidance: 0.0,
        sampler: SamplerKind::Ddim,
        device: "cpu".to_owned(),
        out_dir: folder.join("out"),
        noise_out: None,
    }
}

fn text_of(path: &Path) -> String {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let reader = decoder.read_info().unwrap();
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
    let utf8 = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap());
    latin.chain(utf8).collect()
}

#[test]
fn a_request_leaves_pictures_that_tell_how_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut request = request(folder.path());
    request.noise_out = Some(folder.path().join("noise.safetensors"));
    let mut host = Recorder::default();
    let paths = sample(&request, &mut host).unwrap();
    assert_eq!(paths, [folder.path().join("out").join("red-apple-flat-style-42.png")]);
    assert_eq!(image::open(&paths[0]).unwrap().into_rgb8().dimensions(), (64, 32));
    let text = text_of(&paths[0]);
    for part in [
        "Red apple, flat style\nNegative prompt: blurry\nSteps: 2, Sampler: DDIM, CFG scale: 3, Seed: 42",
        "Size: 64x32",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(host.warnings()[0].contains("70 x 32"), "{:?}", host.warnings());
    assert!(matches!(host.events.last(), Some(Event::Sample(sample)) if sample.path == paths[0]));
    let noise = SafetensorsFile::open(folder.path().join("noise.safetensors")).unwrap();
    let [c, h, w] = demo().latent_shape(64, 32);
    assert_eq!(noise.shape("noise"), Some(&[1, c, h, w][..]));

    // Asked again, the first picture stays; other letters go into a chunk of their own.
    request.prompts = vec!["红苹果".to_owned()];
    let second = sample(&request, &mut Recorder::default()).unwrap();
    assert!(text_of(&second[0]).starts_with("红苹果"), "{}", text_of(&second[0]));
    request.prompts = vec!["Red apple, flat style".to_owned()];
    let third = sample(&request, &mut Recorder::default()).unwrap();
    assert_eq!(third[0].file_name().unwrap(), "red-apple-flat-style-42-2.png");
    assert_eq!(image::open(&paths[0]).unwrap(), image::open(&third[0]).unwrap());
}

fn all_targets(base: &Base) -> Vec<LayerInfo> {
    let (model, architecture) = (&base.model, &base.architecture);
    let mut layers = architecture.denoiser_targets(model).unwrap();
    layers.extend(architecture.convolution_targets(model).unwrap());
    layers.extend(architecture.text_targets(model).unwrap());
    layers
}

/// A LoRA on every layer of the demo base's UNet and text encoder, small but not zero.
pub(crate) fn trained(base: &Base) -> LoraSet {
    let mut set = LoraSet::new(&all_targets(base), |_| Size { rank: 2, alpha: 1.0 }, 0.0, 3, &base.device);
    for module in set.modules.values_mut() {
        module.b = module.b.clone() + 0.02;
    }
    set
}

#[test]
fn a_lora_file_draws_what_its_adapters_draw_at_any_strength() {
    let folder = tempfile::tempdir().unwrap();
    let base = demo();
    let file = folder.path().join("inky.safetensors");
    lora::write(&file, Family::Sd1, &to_modules(&trained(&base)).unwrap(), Dtype::F32, &Default::default()).unwrap();
    let draw = |loras: &[f32]| {
        let loras = loras.iter().map(|strength| (file.clone(), *strength)).collect();
        let paths = sample(&SampleRequest { loras, ..request(folder.path()) }, &mut Recorder::default()).unwrap();
        (image::open(&paths[0]).unwrap().into_rgb8(), text_of(&paths[0]))
    };
    let (without, _) = draw(&[]);
    let (full, text) = draw(&[1.0]);
    assert!(text.contains("<lora:inky:1>"), "{text}");
    assert_ne!(without, full);
    assert_eq!(without, draw(&[0.0]).0);
    // Deltas add up; the sum is rounded once more.
    let (halves, _) = draw(&[0.5, 0.5]);
    let far = full.iter().zip(halves.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(far <= 1, "{far}");
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
        let request = SampleRequest { loras: vec![(file.clone(), 1.0)], ..request(folder.path()) };
        let error = sample(&request, &mut Recorder::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("other.safetensors") && text.contains(&module.name), "{text}");
    }
}

#[test]
fn adapters_survive_a_save() {
    let folder = tempfile::tempdir().unwrap();
    let base = demo();
    let modules = to_modules(&trained(&base)).unwrap();
    let path = folder.path().join("adapter.safetensors");
    write_adapter(&path, &modules).unwrap();
    let read = crate::read_adapter(&path).unwrap();
    assert_eq!(read, modules);
    assert!(read.iter().any(|module| module.down.shape.len() == 4 && module.up.shape.len() == 4));
    assert_eq!(to_modules(&lora_set(&base, &all_targets(&base), read).unwrap()).unwrap(), modules);
}
