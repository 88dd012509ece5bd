#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use super::*;
use crate::example;
use crate::facts::{ImageFacts, Prediction, TargetFacts};
use crate::setting::{BaseClass, Fixed, Kind, Preset, Setting, TextRule, Value};
use crate::{SETTINGS, setting};

pub(super) fn recipe(values: &[(&str, &str)]) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.set_text("dataset.folder", "pictures").unwrap();
    for (id, value) in values {
        recipe.set_text(id, value).unwrap();
    }
    recipe
}

pub(super) fn planned(values: &[(&str, &str)]) -> Plan {
    plan(&recipe(values), &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap()
}

pub(super) fn reason<'a>(plan: &'a Plan, what: &str) -> (&'a str, &'a str) {
    let found = plan.decisions.iter().find(|decision| decision.what == what);
    found.map(|decision| (decision.value.as_str(), decision.reason.as_str())).unwrap_or_else(|| panic!("no {what}"))
}

pub(super) fn warned(plan: &Plan, part: &str) -> bool {
    plan.warnings.iter().any(|warning| warning.contains(part))
}

#[test]
fn every_setting_is_read() {
    let recipe = recipe(&[]);
    let reader = Reader::new(&recipe, BaseClass::Demo);
    plan_read(&reader, &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap();
    assert_eq!(reader.not_read(), Vec::<&str>::new());
}

/// A value that differs from the default.
fn other_value(setting: &Setting, class: BaseClass) -> Value {
    match (setting.default_value(Preset::Style, class), setting.kind) {
        (Value::Int(number), Kind::Int { max, step, .. }) => Value::Int((number + 4 * step).min(max)),
        (Value::Float(number), Kind::Float { min, .. }) if number > min => Value::Float(number / 2.0),
        (Value::Float(_), Kind::Float { max, .. }) => Value::Float(max / 4.0),
        (Value::Bool(on), _) => Value::Bool(!on),
        (Value::Text(text), Kind::Choice(choices)) => {
            Value::Text(choices.iter().find(|choice| choice.id != text).unwrap().id.to_owned())
        }
        (Value::Text(_), Kind::Text(TextRule::Device)) => Value::Text("cuda:1".to_owned()),
        (Value::Text(text), _) => Value::Text(format!("{text}x")),
        (Value::List(_), _) => Value::List(vec!["a cat".to_owned()]),
        (value, kind) => panic!("{value:?} is no {kind:?}"),
    }
}

#[test]
fn every_setting_changes_the_plan() {
    let mut data = example::pictures(24, 128);
    data.validation_images = 2;
    for setting in SETTINGS {
        let limited = setting.when.bases().is_some_and(|bases| !bases.contains(&BaseClass::Demo));
        let on_flux = limited || setting.id == "loss.sigmoid_scale" || setting.id == "loss.flow_shift";
        let base = if on_flux { example::flux_dev_base() } else { example::demo_base() };
        let before = recipe(match setting.id {
            "loss.flow_shift" => &[("loss.timestep_sampling", "shift")],
            "network.conv_alpha" => &[("network.conv_rank", "8")],
            "loss.min_snr_gamma" => &[("loss.weighting", "min_snr")],
            "loss.huber_schedule" | "loss.huber_c" => &[("loss.kind", "huber")],
            _ => &[],
        });
        assert!(before.applies_on(setting, base.class()) || !on_flux, "{} does not apply", setting.id);
        let expected = plan(&before, &base, &data, &example::machine()).unwrap();
        let value = match setting.id {
            // The other sizes must hold the resolution, and what the base takes.
            "dataset.resolution" | "sample.width" | "sample.height" => Value::Int(192),
            "dataset.bucket_step" => Value::Int(64),
            "dataset.bucket_min" => Value::Int(96),
            "dataset.bucket_max" => Value::Int(192),
            _ => other_value(setting, base.class()),
        };
        let mut changed = before.clone();
        changed.set(setting.id, value.clone()).unwrap_or_else(|error| panic!("{error}"));
        let plan = plan(&changed, &base, &data, &example::machine()).unwrap();
        assert_ne!(plan.settings, expected.settings, "{} = {value} changes nothing", setting.id);
    }
}

#[test]
fn a_small_run_counted_by_hand() {
    let mut base = example::demo_base();
    base.denoiser_targets =
        vec![TargetFacts { outputs: 8, inputs: 4, kernel: 1 }, TargetFacts { outputs: 6, inputs: 4, kernel: 3 }];
    base.text[0].targets = vec![TargetFacts { outputs: 3, inputs: 2, kernel: 1 }];
    let image = |number: u32, repeats| ImageFacts {
        path: PathBuf::from(format!("{number}.png")),
        width: 128,
        height: 128,
        repeats,
    };
    let data = DatasetFacts {
        images: (0..5).map(|number| image(number, 2)).collect(),
        captions: vec!["a cat".to_owned(); 5],
        buckets: vec![
            BucketFacts { width: 96, height: 160, count: 3 },
            BucketFacts { width: 128, height: 128, count: 7 },
        ],
        ..DatasetFacts::default()
    };
    let recipe = recipe(&[
        ("network.rank", "2"),
        ("network.alpha", "1"),
        ("network.text_encoder", "true"),
        ("train.batch", "4"),
        ("train.accumulation", "2"),
        ("train.steps", "9"),
        ("train.warmup", "3"),
        ("sample.every", "2"),
        ("sample.unit", "epochs"),
        ("sample.prompts", "a dog"),
        ("save.every", "4"),
        ("save.keep", "2"),
    ]);
    let plan = plan(&recipe, &base, &data, &example::machine()).unwrap();
    assert_eq!(plan.looks_per_epoch, 10);
    // ceil(3 / 4) + ceil(7 / 4) batches, two of which make a step.
    assert_eq!((plan.batches_per_epoch, plan.steps_per_epoch, plan.steps, plan.epochs), (3, 2, 9, 5));
    // 2 (4 + 8) + 2 (4 3 3 + 6) + 2 (2 + 3)
    assert_eq!((plan.trainable_parameters, plan.adapted_layers), (24 + 84 + 10, 3));
    assert_eq!(plan.settings.sample.every_steps, 4);
    assert_eq!(reason(&plan, "Scale of the LoRA").0, "alpha 1 / rank 2 = 0.5");
    assert_eq!(plan.settings.train.text_encoder_lr, plan.settings.train.learning_rate / 2.0);
    // Latents: (3 x 96 x 160 + 7 x 128 x 128) px / 10 looks x 5 pictures / 64 x 16 channels x 2 (mean, variance) x 4 bytes
    // x 2 mirrored = 322,560 + ..., captions are not kept with a training text encoder; two saves of 12 bytes a number and
    // the LoRA in f16; previews at steps 0, 4, 8, 9 of 128 x 128 at 2 bytes.
    let latents = (3 * 96 * 160 + 7 * 128 * 128) * 5 / 10 / 64 * 16 * 2 * 4 * 2;
    assert_eq!(plan.disk_bytes, latents + 2 * 118 * 12 + 118 * 2 + 4 * 128 * 128 * 2);
}

#[test]
fn sd15_has_the_known_number_of_trained_values() {
    let base = example::sd15_base();
    assert_eq!((base.denoiser_targets.len(), base.text_targets().count()), (192, 72));
    // The sum of in + out over the list of kohya's modules for SD 1.5 (spec/keys/lora_unet_sd15.tsv).
    let plan = plan(
        &recipe(&[("network.rank", "1"), ("base.path", "sd15")]),
        &base,
        &example::pictures(20, 512),
        &example::machine(),
    );
    assert_eq!(plan.unwrap().trainable_parameters, 423_936);
}

#[test]
fn auto_steps_follow_the_pictures_within_limits() {
    assert_eq!(planned(&[]).steps, 300);
    let steps = |preset: &str, images| {
        let recipe = recipe(&[("preset", preset), ("base.path", "sd15")]);
        let data = example::pictures(images, 512);
        plan(&recipe, &example::sd15_base(), &data, &example::machine()).unwrap().steps
    };
    assert_eq!(steps("character", 20), 120 * 20 / 2);
    assert_eq!(steps("character", 5), 800);
    assert_eq!(steps("style", 500), 4000);
    let plan = planned(&[]);
    let (value, why) = reason(&plan, "Steps");
    assert_eq!(value, "300");
    assert!(why.starts_with("50 looks at each of 24 pictures, 4 at a time"), "{why}");
}

#[test]
fn memory_decides_the_segments() {
    let base = example::demo_base();
    let with = |memory: &str, machine_bytes| {
        let machine = MachineFacts { memory_bytes: machine_bytes, ..example::machine() };
        plan(&recipe(&[("train.memory", memory)]), &base, &example::pictures(24, 128), &machine).unwrap()
    };
    let roomy = with("auto", 16_000_000_000);
    assert_eq!(roomy.segments, Segments::One);
    // Exactly 60 % is still enough.
    let limit = (roomy.memory.peak_bytes as f64 / 0.6).ceil() as u64;
    assert_eq!(with("auto", limit).segments, Segments::One);
    let tight = with("auto", limit - 2);
    assert_eq!(tight.segments, Segments::PerBlock);
    assert!(tight.memory.needed_bytes < roomy.memory.needed_bytes);
    assert!(reason(&tight, "Backward pass").1.contains("block by block needs about"));
    assert_eq!(with("low", 16_000_000_000).segments, Segments::PerBlock);
    let forced = with("fast", 1_000_000);
    assert_eq!(forced.segments, Segments::One);
    assert!(warned(&forced, "set train.memory to low"), "{:?}", forced.warnings);
}

#[test]
fn cards_compute_with_half_the_bytes() {
    let machine = MachineFacts { device: "cuda:0".to_owned(), ..example::machine() };
    let data = example::pictures(24, 128);
    let gpu = plan(&recipe(&[]), &example::demo_base(), &data, &machine).unwrap();
    let activations = |plan: &Plan| plan.memory.parts.iter().find(|part| part.name == "activations").unwrap().bytes;
    assert_eq!(activations(&gpu) * 2, activations(&planned(&[])));
}

#[test]
fn names_come_from_trigger_or_folder() {
    let name = |values: &[(&str, &str)]| planned(values).settings.save.name;
    assert_eq!(name(&[]), "pictures");
    assert_eq!(name(&[("dataset.folder", "/home/Zoë/my cats/")]), "my_cats");
    assert_eq!(name(&[("dataset.trigger", "ink style")]), "ink_style");
    assert_eq!(name(&[("dataset.trigger", "a/b")]), "a_b");
    assert_eq!(name(&[("save.name", "Mine v2")]), "Mine v2");
}

#[test]
fn sizes_are_made_to_fit_the_base() {
    let plan = planned(&[("dataset.resolution", "136"), ("dataset.bucket_step", "40"), ("sample.width", "72")]);
    assert_eq!(plan.settings.dataset.resolution, 128);
    assert_eq!(plan.settings.dataset.bucket_step, 64);
    assert_eq!((plan.settings.sample.width, plan.settings.sample.height), (64, 128));
    for part in ["dataset.resolution = 136 px is taken as 128", "dataset.bucket_step = 40", "sample.width = 72"] {
        assert!(warned(&plan, part), "{part}: {:?}", plan.warnings);
    }
}

#[test]
fn bucket_limits_follow_the_resolution() {
    let sides = |values: &[(&str, &str)]| {
        let dataset = planned(values).settings.dataset;
        (dataset.bucket_min, dataset.bucket_max)
    };
    assert_eq!(sides(&[]), (64, 256));
    assert_eq!(sides(&[("dataset.resolution", "512")]), (256, 1024));
}

#[test]
fn contradictions_are_refused() {
    let failed = |values: &[(&str, &str)]| {
        let data = example::pictures(24, 128);
        plan(&recipe(values), &example::demo_base(), &data, &example::machine()).unwrap_err().to_string()
    };
    let error = failed(&[("dataset.bucket_min", "256"), ("dataset.bucket_max", "128")]);
    assert!(error.contains("dataset.bucket_min = 256 does not go with dataset.bucket_max = 128"), "{error}");
    let error = failed(&[("dataset.bucket_max", "96")]);
    assert!(error.contains("dataset.resolution = 128 does not go with dataset.bucket_max = 96"), "{error}");
}

#[test]
fn a_run_needs_pictures() {
    let plan = |recipe: &Recipe, data| plan(recipe, &example::demo_base(), data, &example::machine());
    let none = DatasetFacts::default();
    assert!(matches!(plan(&Recipe::default(), &none), Err(RecipeError::NoFolder)));
    let broken =
        DatasetFacts { skipped: vec![(PathBuf::from("a.png"), "not a PNG".to_owned())], ..DatasetFacts::default() };
    let error = plan(&recipe(&[]), &broken).unwrap_err().to_string();
    assert!(error.contains("no usable picture in pictures (1 file skipped, the first: not a PNG: a.png)"), "{error}");
}

#[test]
fn what_may_go_wrong_is_said() {
    let quiet = planned(&[("dataset.trigger", "thing")]);
    assert_eq!(quiet.warnings, Vec::<String>::new());

    let odd = planned(&[
        ("network.alpha", "64"),
        ("train.learning_rate", "0.05"),
        ("loss.prediction", "epsilon"),
        ("train.steps", "40"),
        ("train.warmup", "40"),
    ]);
    for part in [
        "network.alpha = 64 makes the LoRA count 4.0 times",
        "train.learning_rate = 0.05 is very high",
        "loss.prediction = epsilon though Lorikeet demo base says v",
        "sample.every = 50 steps is longer than the run",
        "train.warmup = 40 is not shorter",
        "There is no trigger word",
    ] {
        assert!(warned(&odd, part), "{part}: {:#?}", odd.warnings);
    }
    assert_eq!(odd.settings.train.warmup, 4);

    let mut data = example::pictures(3, 32);
    data.captions_missing = 3;
    data.captions.clear();
    data.skipped.push((PathBuf::from("b.jpg"), "truncated".to_owned()));
    let machine = MachineFacts { disk_free_bytes: 1000, ..example::machine() };
    let recipe = recipe(&[("dataset.validation_folder", "held")]);
    let poor = plan(&recipe, &example::demo_base(), &data, &machine).unwrap();
    for part in [
        "There are only 3 pictures",
        "No picture has a caption: set dataset.trigger",
        "3 pictures are smaller than half the resolution and will be blurry, such as 001.png (32 x 32)",
        "b.jpg was left out (truncated).",
        "set save.keep lower",
        "No usable picture is in dataset.validation_folder",
    ] {
        assert!(warned(&poor, part), "{part}: {:#?}", poor.warnings);
    }
}

#[test]
fn previews_can_be_off_and_prompts_are_made() {
    let off = planned(&[("sample.every", "0")]);
    assert_eq!((off.settings.sample.every_steps, off.settings.sample.prompts.len()), (0, 0));
    assert!(off.memory.parts.iter().all(|part| !part.name.contains("preview")), "{:?}", off.memory.parts);
    let on = planned(&[]);
    assert_eq!(on.settings.sample.prompts, ["thing 1", "thing 7", "thing 13", "thing 19"]);
    assert_eq!(planned(&[("sample.prompts", "a | b")]).settings.sample.prompts, ["a", "b"]);
}

#[test]
fn settings_are_known_before_the_pictures() {
    let settings = settings(&recipe(&[]), &example::demo_base()).unwrap();
    assert_eq!((settings.dataset.resolution, settings.dataset.bucket_step, settings.train.steps), (128, 32, 0));
    assert_eq!(settings.loss.prediction, Prediction::Velocity);
}

#[test]
fn the_base_itself_decides_the_defaults() {
    let recipe = recipe(&[("base.path", "/copies/demo-base")]);
    let plan = plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap();
    assert_eq!(plan.settings.dataset.resolution, 128);
    assert_eq!(setting("dataset.resolution").map(|s| s.defaults[0].value), Some(Fixed::Int(512)));
}

#[test]
fn a_plan_survives_json() {
    let plan = planned(&[("train.learning_rate", "3e-5")]);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn the_terminal_shows_it_in_columns() {
    let mut data = example::pictures(24, 128);
    data.buckets =
        vec![BucketFacts { width: 96, height: 160, count: 4 }, BucketFacts { width: 128, height: 128, count: 20 }];
    let text = plan(&recipe(&[("dataset.trigger", "ink")]), &example::demo_base(), &data, &example::machine())
        .unwrap()
        .to_string();
    for line in [
        "Style LoRA \"ink\" for Lorikeet demo base on cpu (2 cores)",
        "  Pictures  24 pictures",
        "  Shapes    96 x 160: 4, 128 x 128: 20",
        "  Length    300 steps in 50 epochs",
        "  Scale of the LoRA  alpha 16 / rank 16 = 1",
        "  Trigger word       ink",
        "  UNet weights                             23 MB  always",
        "  - ink, thing 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}
