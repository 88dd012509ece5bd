//! The commands that train nothing.

use std::fs;

use crate::common::{Bench, failed, lorikeet, program, stderr, stdout, succeeded, text};

#[test]
fn without_a_display_the_studio_names_the_demo() {
    let output = lorikeet(&[]);
    failed(&output, 1, &["display", "cargo run --release -- demo"]);
}

#[test]
fn a_new_recipe_explains_itself_and_can_be_planned() {
    let bench = Bench::new();
    let pictures = text(&bench.pictures());
    let new = |preset: &str| program().args(["new", preset, &pictures]).current_dir(&bench.folder).output().unwrap();
    succeeded(new("concept"));
    let recipe = bench.folder.join("pictures.toml");
    let written = fs::read_to_string(&recipe).unwrap();
    assert!(written.contains("preset = \"concept\"") && written.contains("# rank = "), "{written}");
    failed(&new("style"), 1, &["pictures.toml", "--to"]);
    assert_eq!(new("stile").status.code(), Some(2));
    assert_eq!(fs::read_to_string(&recipe).unwrap(), written);

    let told = stdout(&succeeded(lorikeet(&["plan", &text(&recipe), "--device", "cpu"])));
    assert!(told.contains("3 pictures") && told.contains("Decisions"), "{told}");
    let json = stdout(&succeeded(lorikeet(&["plan", &text(&recipe), "--json", "--set", "train.steps=7"])));
    let plan: lorikeet_recipe::Plan = serde_json::from_str(&json).unwrap();
    assert_eq!((plan.steps, plan.images), (7, 3));
}

#[test]
fn a_file_is_told_for_what_it_is() {
    let bench = Bench::new();
    let told = stdout(&succeeded(lorikeet(&["inspect", &text(&bench.pictures().join("0.png"))])));
    assert!(told.contains("This is"), "{told}");
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo-base");
    let told = stdout(&succeeded(lorikeet(&["inspect", base])));
    assert!(told.contains("It can be trained"), "{told}");
    failed(&lorikeet(&["inspect", "/no/such/file"]), 1, &["/no/such/file"]);
    let told = stdout(&succeeded(lorikeet(&["models", base])));
    assert!(told.contains(base) && told.contains("Stable Diffusion 1"), "{told}");
    let told = stdout(&succeeded(lorikeet(&["models", &text(&bench.pictures())])));
    assert!(told.contains("No models in"), "{told}");
    failed(&lorikeet(&["models", "/no/such/folder"]), 2, &["/no/such/folder"]);
}

#[test]
fn settings_devices_and_doctor_tell_something() {
    let told = stdout(&succeeded(lorikeet(&["settings", "alpha"])));
    assert!(told.contains("network.alpha") && !told.contains("dataset.folder"), "{told}");
    assert!(stdout(&succeeded(lorikeet(&["devices"]))).contains("cpu"));
    let told = stdout(&succeeded(lorikeet(&["doctor"])));
    for part in ["memory", "NVRTC", "CUDA headers", "Vulkan loader", "demo-base"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn a_run_that_is_not_there() {
    let bench = Bench::new();
    let nowhere = text(&bench.folder.join("nirgends"));
    failed(&lorikeet(&["resume", &nowhere]), 1, &["nirgends", "recipe.toml"]);
    failed(&lorikeet(&["export", &nowhere, "--to", "a.safetensors"]), 1, &["nirgends"]);
    let output = lorikeet(&["sample", "--lora", &nowhere, "--prompt", "x"]);
    failed(&output, 1, &["nirgends"]);
    failed(&lorikeet(&["sample", "--sampler", "eular", "--prompt", "x"]), 2, &["eular", "euler_a"]);
    assert!(stderr(&lorikeet(&["sample"])).contains("--prompt"));
}

#[test]
fn offline_is_heard_before_and_after_the_command() {
    for arguments in [["--offline", "download", "ann/birds"], ["download", "ann/birds", "--offline"]] {
        failed(&lorikeet(&arguments), 1, &["--offline was given", "Leave it out"]);
    }
}
