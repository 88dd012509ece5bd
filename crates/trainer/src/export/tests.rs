use lorikeet_protocol::About;
use lorikeet_recipe::{Recipe, example, plan};

use super::*;
use crate::testing::{demo, picture, recipe};
use crate::{base_facts, pictures};

/// A run folder with saves of these steps; the adapters' first number is the step.
fn run(steps: &[u64]) -> (tempfile::TempDir, Vec<LoraModule>) {
    let folder = tempfile::tempdir().unwrap();
    let mut asked = Recipe::default();
    asked.set_text("dataset.trigger", "ink style").unwrap();
    asked.set_text("save.name", "my ink").unwrap();
    let plan = plan(&asked, &example::demo_base(), &example::pictures(20, 128), &example::machine()).unwrap();
    fs::write(folder.path().join(PLAN), json!(plan).to_string()).unwrap();
    let module = |name: &str, conv: bool, value: f32| {
        let tail: &[usize] = if conv { &[1, 1] } else { &[] };
        let shape = |a: usize, b: usize| [&[a, b], tail].concat();
        LoraModule {
            name: name.to_owned(),
            rank: 2,
            alpha: 1.0,
            down: Array { shape: shape(2, 3), values: vec![value, 0.1, -0.2, 0.3, 1e-7, -3.5] },
            up: Array { shape: shape(4, 2), values: (0..8).map(|i| i as f32 / 7.0).collect() },
        }
    };
    let modules = |step: u64| {
        vec![
            module("unet.mid_block.attentions.0.proj_in", true, step as f32),
            module("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", false, step as f32),
        ]
    };
    for step in steps {
        let save = folder.path().join("checkpoints").join(format!("step-{step:06}"));
        fs::create_dir_all(&save).unwrap();
        write_adapter(&save.join(ADAPTER), &modules(*step)).unwrap();
    }
    (folder, modules(steps.last().copied().unwrap_or(0)))
}

fn request(run_dir: &Path, step: Option<u64>, to: impl Into<PathBuf>, dtype: ExportDtype) -> ExportRequest {
    ExportRequest { run_dir: run_dir.to_owned(), step, to: to.into(), dtype, ..Default::default() }
}

#[test]
fn a_thumbnail_is_in_the_metadata_and_beside_the_file() {
    let (folder, _) = run(&[5]);
    let picture = picture(folder.path(), "preview.png", 96, 10, "");
    let with = ExportRequest {
        thumbnail: Some(picture.clone()),
        ..request(folder.path(), None, folder.path(), ExportDtype::F16)
    };
    let file = lora::read(export(&with).unwrap().path).unwrap();
    assert!(file.metadata["modelspec.thumbnail"].starts_with("data:image/jpeg;base64,/9j/"));
    assert_eq!(fs::read(folder.path().join("my ink.preview.png")).unwrap(), fs::read(&picture).unwrap());

    let broken = ExportRequest { thumbnail: Some(folder.path().join("gone.png")), to: folder.path().join("b"), ..with };
    let error = export(&broken).unwrap_err().to_string();
    assert!(error.contains("gone.png"), "{error}");
    assert!(!folder.path().join("b.safetensors").exists());
}

#[test]
fn an_export_reads_back_the_same() {
    let (folder, modules) = run(&[5, 10]);
    let exported = export(&request(folder.path(), None, folder.path(), ExportDtype::F32)).unwrap();
    assert_eq!(exported, Exported { path: folder.path().join("my ink.safetensors"), modules: 2 });
    let file = lora::read(&exported.path).unwrap();
    assert_eq!(file.modules, modules);
    for (key, value) in [
        ("ss_output_name", "my ink"),
        ("ss_steps", "10"),
        ("modelspec.trigger_phrase", "ink style"),
        ("modelspec.prediction_type", "v"),
        ("ss_mixed_precision", "no"),
    ] {
        assert_eq!(file.metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_ne!(file.metadata["modelspec.date"], "1970-01-01T00:00:00Z");

    let about =
        About { author: "Ada".to_owned(), tags: vec!["ink".to_owned(), "line".to_owned()], ..Default::default() };
    let named = ExportRequest {
        names: ExportNames::Diffusers,
        about,
        ..request(folder.path(), None, folder.path().join("peft"), ExportDtype::F32)
    };
    let file = lora::read(export(&named).unwrap().path).unwrap();
    // The scale is in B, as there is no alpha in such files.
    assert_eq!(file.modules[0].down, modules[0].down);
    assert_eq!(file.modules[0].up.values[1], modules[0].up.values[1] * 0.5);
    assert_eq!((&*file.metadata["modelspec.author"], &*file.metadata["modelspec.tags"]), ("Ada", "ink, line"));
    assert_eq!(file.metadata["modelspec.title"], "my ink");

    let earlier = export(&request(folder.path(), Some(5), folder.path().join("new/v1.5"), ExportDtype::Bf16)).unwrap();
    assert_eq!(earlier.path, folder.path().join("new/v1.5.safetensors"));
    let file = lora::read(&earlier.path).unwrap();
    assert_eq!(file.modules[0].down.values[0], 5.0);
    assert_eq!(file.metadata["ss_output_name"], "v1.5");
}

#[test]
fn the_number_format_of_the_run_is_told() {
    let (folder, _) = run(&[1]);
    let path = folder.path().join(PLAN);
    let plan: Plan = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (device, number_bytes, f16, expected) in [
        ("cuda:0", 2, false, "bf16"),
        // Of before it was kept.
        ("cuda:0", 0, false, "bf16"),
        ("cuda:0", 2, true, "fp16"),
        ("cuda:0", 4, true, "no"),
        ("vulkan:0", 2, true, "fp16"),
        ("vulkan:0", 4, false, "no"),
        ("cpu", 4, false, "no"),
    ] {
        let plan = Plan { device: device.to_owned(), number_bytes, f16, ..plan.clone() };
        fs::write(&path, json!(plan).to_string()).unwrap();
        let exported = export(&request(folder.path(), None, folder.path().join("x"), ExportDtype::F16)).unwrap();
        let metadata = lora::read(&exported.path).unwrap().metadata;
        assert_eq!(metadata["ss_mixed_precision"], expected, "{device}, {number_bytes}, {f16}");
    }
}

#[test]
fn what_the_run_knew_of_its_pictures_is_told() {
    let (folder, _) = run(&[1]);
    let data = tempfile::tempdir().unwrap();
    picture(data.path(), "a.png", 64, 1, "cat, ink");
    let base = demo();
    let settings = lorikeet_recipe::settings(&recipe(data.path()), &base_facts(&base.model).unwrap()).unwrap();
    let facts = RunFacts::gather(&base, &pictures(&settings).unwrap(), 1_700_000_000.0);
    assert_eq!(facts.base_name, "demo-base");
    facts.save(folder.path()).unwrap();
    assert_eq!(RunFacts::load(folder.path()), facts);
    let exported = export(&request(folder.path(), None, folder.path().join("x"), ExportDtype::F16)).unwrap();
    let metadata = lora::read(&exported.path).unwrap().metadata;
    assert!(metadata["ss_tag_frequency"].contains("\"cat\":1"), "{}", metadata["ss_tag_frequency"]);
    assert!(metadata["ss_dataset_dirs"].contains("img_count"), "{}", metadata["ss_dataset_dirs"]);
    assert_eq!(metadata["ss_sd_model_name"], "demo-base");
    assert_eq!(metadata["ss_training_started_at"], "1700000000.0");
}

#[test]
fn what_cannot_be_saved_is_kept_as_a_lora() {
    let (folder, modules) = run(&[5]);
    let text = fs::read_to_string(folder.path().join(PLAN)).unwrap();
    let plan: Plan = serde_json::from_str(&text).unwrap();
    let path = rescue(folder.path(), &plan, &modules, 7).unwrap();
    assert_eq!(path.parent(), Some(folder.path()));
    let file = lora::read(&path).unwrap();
    assert_eq!((file.modules.len(), &*file.metadata["ss_steps"]), (2, "7"));
    // A run folder that cannot be written to any more: elsewhere.
    let gone = folder.path().join("gone");
    let elsewhere = rescue(&gone, &plan, &modules, 8).unwrap();
    assert!(elsewhere.is_file() && !elsewhere.starts_with(&gone));
    fs::remove_file(elsewhere).unwrap();
}

#[test]
fn what_cannot_be_exported_is_told() {
    let (folder, _) = run(&[]);
    let none = export(&request(folder.path(), None, folder.path(), ExportDtype::F16)).unwrap_err();
    assert!(matches!(none, TrainError::NoSave { .. }), "{none}");
    let (folder, _) = run(&[5, 10]);
    let absent = export(&request(folder.path(), Some(7), folder.path(), ExportDtype::F16)).unwrap_err();
    assert!(absent.to_string().contains("5, 10"), "{absent}");
    let adapter = folder.path().join("checkpoints/step-000010").join(ADAPTER);
    let bytes = fs::read(&adapter).unwrap();
    fs::write(&adapter, &bytes[..bytes.len() - 4]).unwrap();
    let broken = export(&request(folder.path(), None, folder.path(), ExportDtype::F16)).unwrap_err();
    assert!(broken.to_string().contains("cut short"), "{broken}");
    fs::write(folder.path().join(PLAN), "{").unwrap();
    let broken = export(&request(folder.path(), Some(5), folder.path(), ExportDtype::F16)).unwrap_err();
    assert!(broken.to_string().contains(PLAN), "{broken}");
    let elsewhere =
        export(&request(&folder.path().join("nowhere"), None, folder.path(), ExportDtype::F16)).unwrap_err();
    assert!(matches!(elsewhere, TrainError::Io { .. }), "{elsewhere}");
}
