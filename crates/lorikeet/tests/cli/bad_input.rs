//! Input that cannot be used: a clear message, an exit code, nothing lost.

use std::fs;
use std::path::{Path, PathBuf};

use lorikeet_checkpoint::{Dtype, SafetensorsFile, TensorData, write_safetensors};
use lorikeet_protocol::Event;

use crate::common::{Bench, Running, events, failed, lorikeet, program, stdout, succeeded, text};

fn demo_base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-base")
}

/// A copy of the demo base without `left_out`.
fn copy_of_the_base(bench: &Bench, left_out: &str) -> PathBuf {
    let to = bench.folder.join("base");
    for part in ["model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        if part != left_out {
            copy(&demo_base().join(part), &to.join(part));
        }
    }
    to
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// Puts not-a-number at the start of a tensor, the first in the file if none is named.
fn poison(path: &Path, tensor: Option<&str>) {
    let (start, nan) = {
        let file = SafetensorsFile::open(path).unwrap();
        let info = file.info(tensor.unwrap_or_else(|| file.names().next().unwrap())).unwrap();
        let nan =
            if info.dtype == Dtype::F16 { 0x7e00u16.to_le_bytes().to_vec() } else { f32::NAN.to_le_bytes().to_vec() };
        (info.range.start, nan)
    };
    let mut bytes = fs::read(path).unwrap();
    let at = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + start;
    bytes[at..at + nan.len()].copy_from_slice(&nan);
    fs::write(path, bytes).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_named_before_training() {
    let bench = Bench::new();
    let base = copy_of_the_base(&bench, "");
    poison(&base.join("unet/diffusion_pytorch_model.safetensors"), Some("conv_out.bias"));
    let output = bench.train(&["train.steps=1", &format!("base.path={}", text(&base))]);
    failed(&output, 1, &["UNet", "unet'", "conv_out.bias", "NaN", "use another copy"]);
}

#[test]
fn a_folder_without_pictures() {
    let bench = Bench::new();
    let empty = bench.folder.join("leer");
    fs::create_dir(&empty).unwrap();
    let folder = format!("dataset.folder={}", text(&empty));
    let none = "dataset.validation_folder=";
    failed(&bench.train(&[&folder, none]), 1, &["leer"]);
    fs::write(empty.join("notes.txt"), "no picture").unwrap();
    failed(&bench.train(&[&folder, none]), 1, &["leer", "PNG"]);
    failed(&bench.train(&["dataset.folder=/no/such/folder", none]), 1, &["/no/such/folder"]);
    assert!(!bench.runs().exists(), "nothing is left behind");
}

#[test]
fn a_broken_picture_among_good_ones_is_left_out_by_name() {
    let bench = Bench::new();
    let good = fs::read(bench.pictures().join("0.png")).unwrap();
    fs::write(bench.pictures().join("kaputt.png"), &good[..good.len() / 2]).unwrap();
    fs::write(bench.pictures().join("leer.png"), "").unwrap();
    let output = succeeded(bench.train(&["train.steps=1", "sample.every=0", "validation.every=0"]));
    let warnings: Vec<String> = events(&stdout(&output))
        .into_iter()
        .filter_map(|event| if let Event::Warning { message } = event { Some(message) } else { None })
        .collect();
    for name in ["kaputt.png", "leer.png"] {
        assert!(warnings.iter().any(|warning| warning.contains(name)), "{name} is not in {warnings:?}");
    }
}

#[test]
fn model_files_that_cannot_be_used() {
    let bench = Bench::new();
    let file = bench.folder.join("modèle.safetensors");
    let base = format!("base.path={}", text(&file));
    failed(&bench.train(&[&base]), 1, &["modèle.safetensors"]);
    fs::write(&file, "").unwrap();
    failed(&bench.train(&[&base]), 1, &["modèle.safetensors", "empty"]);
    let whole = fs::read(demo_base().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    failed(&bench.train(&[&base]), 1, &["modèle.safetensors", "cut short"]);
    fs::write(&file, &whole).unwrap();
    failed(&bench.train(&[&base]), 1, &["modèle.safetensors", "VAE"]);
    let names = ["img_in.weight", "double_blocks.0.img_attn.norm.key_norm.scale", "guidance_in.in_layer.weight"];
    let flux = names.map(|name| TensorData::f32(name, &[2, 2], &[0.0; 4]));
    write_safetensors(&file, &flux, &Default::default()).unwrap();
    failed(&bench.train(&[&base]), 1, &["modèle.safetensors", "FLUX"]);
    assert!(!bench.runs().exists());
}

#[test]
fn a_model_folder_with_a_part_missing() {
    let bench = Bench::new();
    let base = copy_of_the_base(&bench, "vae");
    failed(&bench.train(&[&format!("base.path={}", text(&base))]), 1, &["VAE", "missing"]);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_save() {
    let bench = Bench::new();
    let set = ["train.steps=4", "sample.every=0", "validation.every=0"];
    let mut running = Running::start(&bench.train_arguments(&set));
    running.until(|event| matches!(event, Event::Saved { step: 2, .. }));
    running.kill();
    let run = bench.run(1);
    poison(&run.join("checkpoints/step-000002/adapter.safetensors"), None);
    let output = lorikeet(&["resume", &text(&run)]);
    failed(&output, 1, &["last save:", "step-000002"]);
    assert!(run.join("checkpoints/step-000002/adapter.safetensors").is_file());
}

#[test]
fn an_output_folder_that_cannot_be_written_to() {
    let bench = Bench::new();
    // A file where the folder should be: refused whoever asks, unlike permissions, which root is above.
    fs::write(bench.runs(), "a file").unwrap();
    failed(&bench.train(&[]), 1, &["läufe", "save.folder"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_while_saving_leaves_the_old_save() {
    let bench = Bench::new();
    // Large adapters, so that only saves meet the limit.
    let set = ["train.steps=4", "sample.every=0", "validation.every=0", "network.rank=64"];
    let mut running = Running::start(&bench.train_arguments(&set));
    running.until(|event| matches!(event, Event::Saved { step: 2, .. }));
    running.kill();
    let run = bench.run(1);
    let saved = fs::read(run.join("checkpoints/step-000002/adapter.safetensors")).unwrap();

    // A file of more than 256 kB fails to be written, as on a full disk; the signal for it is ignored.
    let limited = "trap '' XFSZ; ulimit -f 256; exec \"$0\" resume \"$1\"";
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_lorikeet"), &text(&run)]);
    shell.envs(program().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    failed(&output, 1, &["step-000004", "last save:", "step-000002"]);
    assert!(!run.join("checkpoints/step-000004").exists());
    assert_eq!(fs::read(run.join("checkpoints/step-000002/adapter.safetensors")).unwrap(), saved);

    succeeded(lorikeet(&["resume", &text(&run)]));
    assert!(run.join("checkpoints/step-000004").exists());
}

#[test]
fn a_second_program_on_the_same_run() {
    let bench = Bench::new();
    let mut running =
        Running::start(&bench.train_arguments(&["train.steps=100000", "sample.every=0", "validation.every=0"]));
    running.until(|event| matches!(event, Event::Step(_)));
    let run = text(&bench.run(1));
    failed(&lorikeet(&["resume", &run]), 1, &["another Lorikeet", "kreise-001"]);
    running.kill();
}

#[test]
fn recipes_that_make_no_sense() {
    let bench = Bench::new();
    failed(&bench.train(&["network.rnak=8"]), 2, &["network.rnak", "did you mean `network.rank`"]);
    failed(&bench.train(&["network.rank=0"]), 2, &["network.rank", "1 to 256"]);
    failed(&bench.train(&["network.rank"]), 2, &["key=value"]);
    fs::write(bench.recipe_path(), "[network]\nrank = \"much\"\n").unwrap();
    failed(&bench.train(&[]), 2, &["rezept.toml", "line 2"]);
    fs::write(bench.recipe_path(), "[network\n").unwrap();
    failed(&bench.train(&[]), 2, &["rezept.toml", "line 1"]);
    failed(&lorikeet(&["train", "no such recipe.toml"]), 2, &["no such recipe.toml"]);
    let folder = text(&bench.pictures());
    failed(&lorikeet(&["train", &folder]), 2, &["a folder, not a recipe", &format!("lorikeet new style \"{folder}\"")]);
    let output = lorikeet(&["trian"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn devices_that_are_not_there() {
    let bench = Bench::new();
    if !cfg!(feature = "cuda") {
        failed(&bench.train(&["run.device=cuda"]), 1, &["without the cuda feature", "--features cuda"]);
    }
    failed(&bench.train(&["run.device=gpu"]), 2, &["run.device", "cuda"]);
}
