use lorikeet_adapters::{LoraSet, Size};

use super::*;
use crate::testing::demo;
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

pub(crate) fn all_targets(base: &Base) -> Vec<LayerInfo> {
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
