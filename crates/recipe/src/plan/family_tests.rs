//! What differs from family to family.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::tests::{planned, reason, recipe, warned};
use super::*;
use crate::example;
use crate::facts::{Family, Prediction, TargetFacts};

fn on_card(base: &BaseFacts, gigabytes: u64, values: &[(&str, &str)]) -> Plan {
    let memory_bytes = gigabytes * 1_000_000_000;
    let machine = MachineFacts { device: "cuda:0".to_owned(), memory_bytes, ..example::machine() };
    plan(&recipe(values), base, &example::pictures(20, 512), &machine).unwrap()
}

#[test]
fn flux_takes_as_many_bits_as_fit() {
    let base = example::flux_dev_base();
    let chosen = |gigabytes| {
        let plan = on_card(&base, gigabytes, &[]);
        (plan.quantise, plan.placement)
    };
    assert_eq!(chosen(80), (Quantise::None, Placement::Resident));
    assert_eq!(chosen(24), (Quantise::Int8, Placement::Resident));
    assert_eq!(chosen(16), (Quantise::Int4, Placement::Resident));
    assert_eq!(chosen(8).1, Placement::Stream);
    let told = on_card(&base, 24, &[]);
    assert!(reason(&told, "Frozen weights").1.contains("the least among the ways that fit"), "{told}");
    let forced = on_card(&base, 8, &[("base.quantise", "none"), ("memory.weights", "resident")]);
    assert_eq!((forced.quantise, forced.placement), (Quantise::None, Placement::Resident));
    assert!(warned(&forced, "set memory.weights to stream"), "{:?}", forced.warnings);
    let streamed = on_card(&base, 24, &[("memory.weights", "stream"), ("train.memory", "fast")]);
    assert_eq!((streamed.segments, streamed.placement), (Segments::PerBlock, Placement::Stream));
    assert!(reason(&streamed, "Backward pass").1.contains("come block by block"), "{streamed}");
}

#[test]
fn weights_wait_in_the_computers_memory_where_it_has_room() {
    let base = example::flux_dev_base();
    let chosen = |host: u64, values: &[(&str, &str)]| {
        let (memory_bytes, host_memory_bytes) = (8_000_000_000, host * 1_000_000_000);
        let machine =
            MachineFacts { device: "cuda:0".to_owned(), memory_bytes, host_memory_bytes, ..example::machine() };
        plan(&recipe(values), &base, &example::pictures(20, 512), &machine).unwrap()
    };
    let way = |host, values: &[(&str, &str)]| {
        let plan = chosen(host, values);
        (plan.quantise, plan.placement)
    };
    assert_eq!(way(64, &[]), (Quantise::None, Placement::Host));
    assert_eq!(way(32, &[]), (Quantise::Int8, Placement::Host));
    assert_eq!(way(16, &[]), (Quantise::None, Placement::Stream));
    let asked = [("memory.weights", "host"), ("base.quantise", "int4")];
    assert_eq!(way(32, &asked), (Quantise::Int4, Placement::Host));
    let told = chosen(64, &[]);
    assert!((23e9..25e9).contains(&(told.memory.host_bytes as f64)), "{told}");
    assert!(reason(&told, "Frozen weights").0.contains("from the computer's memory"), "{told}");
    let tight = chosen(32, &[("memory.weights", "host"), ("base.quantise", "none")]);
    assert_eq!(tight.placement, Placement::Host);
    assert!(warned(&tight, "takes 24 GB of the computer's memory"), "{:?}", tight.warnings);
    let none = chosen(16, &[("memory.weights", "host"), ("base.quantise", "none")]);
    assert!(none.lack_of_memory(true).unwrap().contains("but it has 16 GB: set memory.weights to stream"), "{none}");
    // On the CPU it is the same memory.
    let cpu = recipe(&[("memory.weights", "host")]);
    let cpu = plan(&cpu, &base, &example::pictures(20, 512), &example::machine()).unwrap();
    assert_eq!(cpu.placement, Placement::Resident);
}

/// Vulkan computes in f32, CUDA in 16 bits; matrices stay in the file's 16 on both.
#[test]
fn weights_on_vulkan_are_those_of_the_file() {
    let weights = |device: &str, base: &BaseFacts| {
        let machine = MachineFacts { device: device.to_owned(), memory_bytes: 80_000_000_000, ..example::machine() };
        let whole = recipe(&[("memory.weights", "resident"), ("base.quantise", "none")]);
        let plan = plan(&whole, base, &example::pictures(20, 512), &machine).unwrap();
        plan.memory.parts.iter().find(|part| part.name == "transformer weights").unwrap().bytes
    };
    let halves = example::flux_dev_base();
    let others = 2 * (halves.denoiser_params - halves.denoiser_matrices);
    assert_eq!(weights("vulkan:0", &halves), weights("cuda:0", &halves) + others);
    // Transformers go over what f16 holds, UNets do not.
    let bytes = |device: &str, f16, base: &BaseFacts, precision| {
        let machine = MachineFacts { device: device.to_owned(), f16, ..example::machine() };
        machine.number_bytes(base, precision)
    };
    let bases = [&example::sdxl_base(), &halves];
    for (device, f16, expected) in
        [("vulkan:0", true, [2, 4]), ("vulkan:0", false, [4, 4]), ("cuda:0", true, [2, 4]), ("cuda:0", false, [2, 2])]
    {
        assert_eq!(bases.map(|base| bytes(device, f16, base, Precision::Auto)), expected, "{device}, {f16}");
        assert_eq!(bases.map(|base| bytes(device, f16, base, Precision::F32)), [4, 4]);
    }
    // A file in 8 bits is converted.
    let eighths = BaseFacts { model_file_bytes: halves.model_file_bytes / 2, ..halves };
    assert_eq!(weights("vulkan:0", &eighths), 2 * weights("cuda:0", &eighths));
}

#[test]
fn flux_has_its_own_defaults() {
    let base = example::flux_dev_base();
    let plan = on_card(&base, 24, &[]);
    let (loss, sample) = (&plan.settings.loss, &plan.settings.sample);
    assert_eq!((loss.prediction, loss.weighting, loss.min_snr_gamma), (Prediction::Flow, Weighting::None, None));
    assert_eq!((loss.timestep_sampling, loss.guidance), (TimestepSampling::FluxShift, Some(1.0)));
    assert_eq!((sample.sampler, sample.cfg, sample.guidance), (Sampler::Euler, 1.0, Some(3.5)));
    assert!(plan.warnings.iter().all(|warning| warning.contains("trigger")), "{:?}", plan.warnings);

    let schnell = BaseFacts { family: Family::FluxSchnell, ..base.clone() };
    let plan = on_card(&schnell, 24, &[("loss.guidance", "2"), ("sample.sampler", "ddim")]);
    assert_eq!((plan.settings.loss.guidance, plan.settings.sample.guidance), (None, None));
    assert_eq!((plan.settings.sample.steps, plan.settings.sample.sampler), (4, Sampler::Euler));
    assert!(warned(&plan, "loss.guidance is set, but has no effect on FLUX.1 dev"), "{:?}", plan.warnings);
    assert!(warned(&plan, "sample.sampler = ddim does not draw with FLUX"), "{:?}", plan.warnings);
}

#[test]
fn weightings_belong_to_their_families() {
    let failed = |base: &BaseFacts, weighting: &str| {
        let recipe = recipe(&[("loss.weighting", weighting)]);
        plan(&recipe, base, &example::pictures(24, 512), &example::machine()).unwrap_err().to_string()
    };
    assert!(
        failed(&example::flux_dev_base(), "min_snr").contains("loss.weighting = min_snr does not go with base.path")
    );
    assert!(failed(&example::sd15_base(), "cosmap").contains("this weighting is for FLUX"));
    let off = planned(&[("loss.min_snr_gamma", "0")]).settings.loss;
    assert_eq!((off.weighting, off.min_snr_gamma), (Weighting::None, None));
    assert!(warned(
        &planned(&[("loss.zero_terminal_snr", "on"), ("loss.prediction", "epsilon")]),
        "needs a base that predicts velocity"
    ));
}

#[test]
fn stable_diffusion_2_comes_in_two_sizes() {
    let mut base = example::sd15_base();
    base.family = Family::Sd2;
    let resolution = |base: &BaseFacts, values: &[(&str, &str)]| on_card(base, 24, values).settings.dataset.resolution;
    assert_eq!(resolution(&base, &[]), 512);
    base.native_resolution = 768;
    assert_eq!(resolution(&base, &[]), 768);
    assert_eq!(resolution(&base, &[("dataset.resolution", "640")]), 640);
}

#[test]
fn time_is_told_where_the_pace_is_known() {
    let plan = planned(&[]);
    assert!(plan.estimated_seconds.is_some());
    assert!(reason(&plan, "Time").1.contains("2 cores do about 40 G"), "{plan}");
    assert_eq!(on_card(&example::sdxl_base(), 24, &[]).estimated_seconds, None);
}

/// Rank 10 on 100 x 100 is 0.02 of both layers, rank 20 on 100 x 100 x 3 x 3 is 0.2 more: 2.06 passes, and 2.66.
#[test]
fn adapted_convolutions_take_time() {
    let mut base = example::demo_base();
    let layer = |kernel| TargetFacts { outputs: 100, inputs: 100, kernel };
    (base.denoiser_targets, base.convolution_targets) = (vec![layer(1)], vec![layer(3)]);
    let seconds = |conv_rank: &str| {
        let ranks = [("network.rank", "10"), ("network.conv_rank", conv_rank)];
        let recipe = recipe(&[&ranks[..], &[("train.steps", "1000000"), ("sample.every", "0")]].concat());
        let plan = plan(&recipe, &base, &example::pictures(24, 128), &example::machine()).unwrap();
        plan.estimated_seconds.unwrap() as f64
    };
    let ratio = seconds("20") / seconds("0");
    assert!((ratio - 2.66 / 2.06).abs() < 1e-3, "{ratio}");
}

#[test]
fn a_memory_limit_is_what_the_plan_fits_into() {
    let base = example::sdxl_base();
    let free = on_card(&base, 80, &[]);
    assert_eq!((free.segments, free.placement), (Segments::One, Placement::Resident));
    let limited = on_card(&base, 80, &[("memory.limit", "12")]);
    assert_eq!(limited.budget_bytes, 12_000_000_000);
    assert!(limited.memory.needed_bytes <= 12_000_000_000, "{limited}");
    assert!(reason(&limited, "Backward pass").1.contains("the limit of 12 GB"), "{limited}");
    let beyond = on_card(&base, 80, &[("memory.limit", "0.5")]);
    assert!(warned(&beyond, "but memory.limit allows 500 MB"), "{:?}", beyond.warnings);
}

#[test]
fn streamed_weights_are_exact() {
    let base = example::flux_dev_base();
    let plan = on_card(&base, 24, &[("memory.weights", "stream"), ("base.quantise", "int8")]);
    assert_eq!((plan.quantise, plan.placement), (Quantise::None, Placement::Stream));
    assert!(warned(&plan, "base.quantise = int8 has no effect"), "{:?}", plan.warnings);
    let told = on_card(&base, 24, &[("base.quantise", "int8"), ("memory.weights", "resident")]);
    assert!(reason(&told, "Frozen weights").1.contains("measured before the first step"), "{told}");
}

#[test]
fn what_does_not_fit_names_what_would() {
    let base = example::flux_dev_base();
    let plan = on_card(&base, 24, &[("memory.weights", "stream"), ("dataset.resolution", "2048")]);
    let small = Plan { memory_bytes: plan.memory.needed_bytes - 1, ..plan.clone() };
    let lack = small.lack_of_memory(true).unwrap();
    assert!(lack.contains("cuda:0 has") && lack.contains("sample.every to 0"), "{lack}");
    assert_eq!(Plan { memory_bytes: plan.memory.needed_bytes, ..plan }.lack_of_memory(true), None);
    // Streaming helps where weights are copies: on a card, and in 8 bits on the CPU, not where they are in their file already.
    for (device, bits, streams) in [("cuda:0", "none", true), ("cpu", "int8", true), ("cpu", "none", false)] {
        let values = [("memory.weights", "resident"), ("base.quantise", bits), ("train.memory", "low")];
        let machine = MachineFacts { device: device.to_owned(), memory_bytes: 1_000_000_000, ..example::machine() };
        let plan = super::plan(&recipe(&values), &base, &example::pictures(20, 512), &machine).unwrap();
        let lack = plan.lack_of_memory(true).unwrap();
        assert_eq!(lack.contains("set memory.weights to stream"), streams, "{device}, {bits}: {lack}");
    }
}

#[test]
fn caches_and_runs_are_held_against_their_own_disks() {
    let machine = MachineFacts { cache_free_bytes: 1000, ..example::machine() };
    let plan = plan(&recipe(&[]), &example::demo_base(), &example::pictures(20, 128), &machine).unwrap();
    assert!(warned(&plan, "only 1.0 kB are free in cache"), "{:?}", plan.warnings);
    assert!(plan.cache_bytes > 1000 && plan.cache_bytes < plan.disk_bytes);
}

#[test]
fn huber_by_signal_to_noise_is_not_for_flux() {
    let asked = recipe(&[("loss.kind", "huber"), ("loss.huber_schedule", "snr")]);
    let failed = plan(&asked, &example::flux_dev_base(), &example::pictures(24, 512), &example::machine());
    assert!(failed.unwrap_err().to_string().contains("loss.huber_schedule = snr"));
}
