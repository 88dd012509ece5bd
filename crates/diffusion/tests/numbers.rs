//! Check values of the specification (sections 4.1, 4.3 and 4.4), numbers worked out by hand, and bad settings.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use burn::Tensor;
use burn::tensor::Device;
use lorikeet_diffusion::{
    Density, DiffusionError, FlowSchedule, HuberSchedule, NoiseLevel, NoiseSchedule, Prediction, SamplerKind,
    SamplingPlan, Schedule, ScheduleSettings, Shift, Spacing, TimestepSampling, Weighting, add_noise, guided,
    min_snr_weight, target, weighted_huber, weighted_mse,
};
use serde_json::{Value, json};

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

fn sd15() -> NoiseSchedule {
    NoiseSchedule::from_config(&json!({})).unwrap()
}

fn spaced(timestep_spacing: Spacing) -> NoiseSchedule {
    NoiseSchedule::new(ScheduleSettings { timestep_spacing, ..Default::default() }).unwrap()
}

fn times(kind: SamplerKind, schedule: &NoiseSchedule, steps: usize) -> Vec<f64> {
    SamplingPlan::ddpm(kind, schedule, Prediction::V, steps).unwrap().timesteps().collect()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn schedule_of_stable_diffusion() {
    let schedule = sd15();
    for (t, expected) in [(0, 0.99915), (250, 0.67379263), (500, 0.27633268), (750, 0.05616985), (999, 0.00466010)] {
        close(schedule.alpha_bar(t), expected, 5e-9);
    }
    for (t, expected) in [(0, 0.029167), (500, 1.618279), (999, 14.614641)] {
        close(schedule.sigma(t), expected, 5e-7);
        close(schedule.snr(t), 1.0 / (expected * expected), 1e-4 * schedule.snr(t));
    }
}

#[test]
fn schedule_without_signal_at_the_end() {
    let schedule = NoiseSchedule::from_config(&json!({"rescale_betas_zero_snr": true})).unwrap();
    close(schedule.alpha_bar(0), 0.99915, 5e-9);
    close(schedule.alpha_bar(500), 0.24101878, 5e-9);
    assert_eq!(schedule.alpha_bar(999), 0.0);
    for kind in SamplerKind::ALL {
        for prediction in [Prediction::Epsilon, Prediction::V] {
            let schedule = NoiseSchedule::new(ScheduleSettings {
                timestep_spacing: Spacing::Trailing,
                ..schedule.settings().clone()
            })
            .unwrap();
            let plan = SamplingPlan::ddpm(kind, &schedule, prediction, 10).unwrap();
            assert_eq!(plan.steps[0].timestep, 999.0);
            for s in &plan.steps {
                let all = [s.input_scale, s.x0_from_x, s.x0_from_output, s.keep, s.towards, s.before, s.noise];
                assert!(all.iter().all(|v| v.is_finite()), "{kind} {prediction}: {s:?}");
            }
        }
    }
}

#[test]
fn min_snr_weights() {
    let schedule = sd15();
    for (t, epsilon, v) in [(250, 1.0, 0.673793), (0, 0.004254, 0.004250)] {
        close(min_snr_weight(schedule.snr(t), 5.0, Prediction::Epsilon), epsilon, 6e-7);
        close(min_snr_weight(schedule.snr(t), 5.0, Prediction::V), v, 6e-7);
    }
    assert_eq!(min_snr_weight(0.0, 5.0, Prediction::Epsilon), 1.0);
    assert_eq!(min_snr_weight(0.0, 5.0, Prediction::V), 0.0);
}

#[test]
fn weighted_loss() {
    let device = Device::flex();
    let output = Tensor::<4>::from_data([[[[1.0_f32, 2.0]]], [[[0.0, 4.0]]]], &device);
    let target = Tensor::<4>::from_data([[[[0.0_f32, 0.0]]], [[[0.0, 0.0]]]], &device);
    // Means of squares 2.5 and 8.
    assert_eq!(numbers(weighted_mse(output.clone(), target.clone(), &[1.0, 1.0], None)), [5.25]);
    assert_eq!(numbers(weighted_mse(output, target, &[2.0, 0.25], None)), [3.5]);
}

#[test]
fn a_mask_multiplies_the_error_of_each_place_and_what_is_masked_out_does_not_matter() {
    let device = Device::flex();
    let tensor = |v: [[[f32; 2]; 1]; 2]| Tensor::<4>::from_data([v], &device);
    let mask = || Some(Tensor::<4>::from_data([[[[1.0_f32, 0.25]]]], &device));
    let output = || tensor([[[1.0, 2.0]], [[3.0, 4.0]]]);
    let zero = || tensor([[[0.0; 2]]; 2]);
    // (1 * 1 + 0.25 * 4 + 1 * 9 + 0.25 * 16) / 4, times the sample's weight of 2.
    assert_eq!(numbers(weighted_mse(output(), zero(), &[2.0], mask())), [7.5]);
    // 2 c (sqrt(d^2 + c^2) - c) of d = 3 and c = 4 is 8; of a mean over two places of which one is masked out, 4.
    let pair = |v: [f32; 2]| Tensor::<4>::from_data([[[v]]], &device);
    let (hides, half) = (|| Some(pair([1.0, 0.0])), pair([3.0, 99.0]));
    assert_eq!(numbers(weighted_huber(half, pair([0.0, 0.0]), &[1.0], &[4.0], hides())), [4.0]);
    for hidden in [0.0, 7.0, -1e3] {
        assert_eq!(numbers(weighted_mse(pair([2.0, hidden]), pair([0.0, 0.0]), &[1.0], hides())), [2.0]);
    }
}

#[test]
fn guidance() {
    let device = Device::flex();
    let picture = |v: [f32; 2]| Tensor::<4>::from_data([[[v]]], &device);
    assert_eq!(numbers(guided(picture([1.0, 2.0]), picture([2.0, 0.0]), 7.0)), [8.0, -12.0]);
}

/// Written down from diffusers 0.42.1, `set_timesteps(5)` with offset 1.
#[test]
fn spacings() {
    let (euler, ddim, dpm) = (SamplerKind::Euler, SamplerKind::Ddim, SamplerKind::Dpmpp2m);
    for kind in [euler, ddim] {
        assert_eq!(times(kind, &spaced(Spacing::Leading), 5), [801.0, 601.0, 401.0, 201.0, 1.0]);
        assert_eq!(times(kind, &spaced(Spacing::Trailing), 5), [999.0, 799.0, 599.0, 399.0, 199.0]);
    }
    assert_eq!(times(dpm, &spaced(Spacing::Leading), 5), [831.0, 665.0, 499.0, 333.0, 167.0]);
    assert_eq!(times(dpm, &spaced(Spacing::Trailing), 5), [999.0, 799.0, 599.0, 399.0, 199.0]);
    assert_eq!(times(euler, &spaced(Spacing::Linspace), 5), [999.0, 749.25, 499.5, 249.75, 0.0]);
    assert_eq!(times(ddim, &spaced(Spacing::Linspace), 5), [999.0, 749.0, 500.0, 250.0, 0.0]);
    assert_eq!(times(dpm, &spaced(Spacing::Linspace), 5), [999.0, 799.0, 599.0, 400.0, 200.0]);

    let plan = SamplingPlan::ddpm(euler, &spaced(Spacing::Linspace), Prediction::V, 5).unwrap();
    close(plan.initial_scale, 14.614641, 1e-6);
    let halfway = (spaced(Spacing::Linspace).sigma(499) + spaced(Spacing::Linspace).sigma(500)) / 2.0;
    close(plan.sigmas[2], halfway, 1e-12);
}

#[test]
fn one_step_reaches_the_estimate() {
    for kind in [SamplerKind::Euler, SamplerKind::EulerAncestral, SamplerKind::Dpmpp2m] {
        let step = SamplingPlan::ddpm(kind, &sd15(), Prediction::V, 1).unwrap().steps.remove(0);
        assert_eq!((step.keep, step.towards, step.noise), (0.0, 1.0, 0.0), "{kind}");
    }
    let config = json!({"set_alpha_to_one": true});
    let schedule = NoiseSchedule::from_config(&config).unwrap();
    let step = SamplingPlan::ddpm(SamplerKind::Ddim, &schedule, Prediction::V, 1).unwrap().steps.remove(0);
    assert_eq!((step.keep, step.towards), (0.0, 1.0));
}

#[test]
fn any_allowed_number_of_steps_is_finite() {
    for spacing in [Spacing::Leading, Spacing::Linspace, Spacing::Trailing] {
        let schedule = spaced(spacing);
        for kind in SamplerKind::ALL {
            for steps in (1..60).chain([333, 500, 998]) {
                let plan = SamplingPlan::ddpm(kind, &schedule, Prediction::Epsilon, steps).unwrap();
                assert_eq!((plan.steps.len(), plan.sigmas.len()), (steps, steps + 1));
                for s in plan.steps {
                    assert!((s.keep + s.towards + s.before + s.noise).is_finite(), "{kind} {steps}: {s:?}");
                    assert!((0.0..=999.0).contains(&s.timestep), "{kind} {steps}: {s:?}");
                }
            }
        }
    }
}

#[test]
fn bad_numbers_of_steps() {
    let plan = |kind, steps| SamplingPlan::ddpm(kind, &sd15(), Prediction::V, steps).map(|p| p.steps.len());
    assert_eq!(plan(SamplerKind::Euler, 0), Err(DiffusionError::Steps { steps: 0, most: 1000 }));
    assert_eq!(plan(SamplerKind::Ddim, 1001), Err(DiffusionError::Steps { steps: 1001, most: 1000 }));
    assert_eq!(plan(SamplerKind::Dpmpp2m, 1000), Err(DiffusionError::Steps { steps: 1000, most: 999 }));
    // 999 + 1.
    let past = DiffusionError::PastTheEnd { steps: 1000, offset: 1, timestep: 1000, last: 999 };
    assert_eq!(plan(SamplerKind::Ddim, 1000), Err(past));
}

#[test]
fn settings_are_read() {
    let config = json!({
        "_class_name": "PNDMScheduler", "num_train_timesteps": 500, "beta_start": 0.001, "beta_end": 0.02,
        "beta_schedule": "linear", "steps_offset": 0, "set_alpha_to_one": true, "timestep_spacing": "trailing",
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "trained_betas": null, "skip_prk_steps": true,
    });
    let expected = ScheduleSettings {
        num_train_timesteps: 500,
        beta_start: 0.001,
        beta_end: 0.02,
        scaled: false,
        steps_offset: 0,
        set_alpha_to_one: true,
        timestep_spacing: Spacing::Trailing,
        prediction: Prediction::V,
        rescale_betas_zero_snr: true,
    };
    assert_eq!(ScheduleSettings::from_config(&config), Ok(expected));
    assert_eq!(ScheduleSettings::from_config(&Value::Null), Ok(ScheduleSettings::default()));

    let linear = json!({"beta_schedule": "linear", "num_train_timesteps": 3, "beta_start": 0.1, "beta_end": 0.3});
    let schedule = NoiseSchedule::from_config(&linear).unwrap();
    close(schedule.alpha_bar(2), 0.9 * 0.8 * 0.7, 1e-12);
}

#[test]
fn bad_settings_name_the_field() {
    for (field, value) in [
        ("num_train_timesteps", json!(1)),
        ("num_train_timesteps", json!(10_000_000_000_u64)),
        ("num_train_timesteps", json!(-5)),
        ("beta_start", json!(0)),
        ("beta_end", json!(1.0)),
        ("beta_end", json!("0.012")),
        ("beta_schedule", json!("squaredcos_cap_v2")),
        ("steps_offset", json!(1000)),
        ("set_alpha_to_one", json!("no")),
        ("timestep_spacing", json!("karras")),
        ("prediction_type", json!("sample")),
        ("trained_betas", json!([0.1, 0.2])),
    ] {
        let message = NoiseSchedule::from_config(&json!({ field: value.clone() })).unwrap_err().to_string();
        assert!(message.contains(field), "{field} {value}: {message}");
    }
}

#[test]
fn names() {
    for kind in SamplerKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Flow] {
        assert_eq!(prediction.to_string().parse(), Ok(prediction));
    }
    assert_eq!("v_prediction".parse(), Ok(Prediction::V));
    assert!("heun".parse::<SamplerKind>().unwrap_err().to_string().contains("euler_a"));
    assert!("sample".parse::<Prediction>().is_err());
}

/// Latents of square pictures.
fn latents(edge: usize) -> [usize; 2] {
    [edge / 8; 2]
}

#[test]
fn flow_shifts_by_resolution() {
    for (edge, mu, s) in [(512, 0.63, 1.877611), (768, 0.846667, 2.331861), (1024, 1.15, 3.158193)] {
        close(Shift::FLUX.factor(latents(edge)), s, 1e-6);
        close(Shift::FLUX.factor(latents(edge)).ln(), mu, 1e-6);
    }
    let found = FlowSchedule::FLUX_DEV.sigmas(4, latents(1024));
    for (found, expected) in found.iter().zip([1.0, 0.904531, 0.759511, 0.512844, 0.0]) {
        close(*found, expected, 1e-6);
    }
    assert_eq!(FlowSchedule::FLUX_SCHNELL.sigmas(4, latents(1024)), [1.0, 0.75, 0.5, 0.25, 0.0]);
    assert_eq!(Shift::Constant(3.0).apply(0.5, [1, 1]), 0.75);
}

#[test]
fn flow_settings_are_read() {
    let read = |config: Value| Schedule::from_config(&config);
    let class = "FlowMatchEulerDiscreteScheduler";
    let flux = json!({"_class_name": class, "shift": 3.0, "use_dynamic_shifting": true, "base_shift": 0.5, "max_shift": 1.15,
        "base_image_seq_len": 256, "max_image_seq_len": 4096, "shift_terminal": null, "invert_sigmas": false});
    assert!(matches!(read(flux).unwrap(), Schedule::Flow(FlowSchedule::FLUX_DEV)));
    let schnell = json!({"_class_name": class, "shift": 1.0, "use_dynamic_shifting": false});
    let schnell = read(schnell).unwrap();
    assert!(matches!(schnell, Schedule::Flow(FlowSchedule::FLUX_SCHNELL)));
    assert_eq!(schnell.prediction(), Prediction::Flow);
    assert!(matches!(read(json!({"_class_name": "PNDMScheduler"})).unwrap(), Schedule::Ddpm(_)));
    for (field, value) in [
        ("shift", json!(0)),
        ("use_karras_sigmas", json!(true)),
        ("shift_terminal", json!(0.1)),
        ("use_dynamic_shifting", json!("yes")),
    ] {
        let message = read(json!({"_class_name": class, field: value})).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn timesteps_of_training() {
    let (flow, size) = (Schedule::Flow(FlowSchedule::FLUX_DEV), latents(1024));
    let sigma = |sampling: &TimestepSampling, uniform, normal| flow.draw(sampling, uniform, normal, size).timestep;
    assert_eq!(sigma(&TimestepSampling::UNIFORM, 0.3, 9.0), 0.3);
    close(sigma(&TimestepSampling::sigmoid(2.0), 0.3, 0.5), 0.731059, 1e-6);
    let shifted = TimestepSampling { shift: Shift::Constant(3.0), ..TimestepSampling::sigmoid(1.0) };
    assert_eq!(sigma(&shifted, 0.3, 0.0), 0.75);
    let by_resolution = TimestepSampling { shift: Shift::FLUX, ..TimestepSampling::sigmoid(1.0) };
    close(sigma(&by_resolution, 0.3, 0.0), 0.759511, 1e-6);
    let normal = TimestepSampling { density: Density::LogitNormal { mean: 1.0, std: 0.5 }, shift: Shift::NONE };
    close(sigma(&normal, 0.3, -2.0), 0.5, 1e-12);

    let ddpm = Schedule::Ddpm(sd15());
    let t = |from, to, uniform| {
        let sampling = TimestepSampling { density: Density::Uniform { from, to }, shift: Shift::FLUX };
        ddpm.draw(&sampling, uniform, 0.0, size).timestep
    };
    assert_eq!([t(0.0, 1.0, 0.0), t(0.0, 1.0, 0.5), t(0.0, 1.0, 1.0 - 1e-16)], [0.0, 500.0, 999.0]);
    assert_eq!([t(0.25, 0.75, 0.0), t(0.25, 0.75, 0.999)], [250.0, 749.0]);
    assert_eq!((ddpm.level(1.0).timestep, flow.level(0.125).spread), (999.0, 0.125));
}

#[test]
fn straight_way_from_picture_to_noise() {
    let device = Device::flex();
    let picture = |v: [f32; 2]| Tensor::<4>::from_data([[[[v[0]]]], [[[v[1]]]]], &device);
    let levels = [NoiseLevel::flow(0.25), NoiseLevel::flow(1.0)];
    let noisy = add_noise(picture([2.0, 5.0]), picture([-2.0, 1.0]), &levels);
    assert_eq!(numbers(noisy), [1.0, 1.0]);
    assert_eq!(numbers(target(Prediction::Flow, picture([2.0, 5.0]), picture([-2.0, 1.0]), &levels)), [-4.0, -4.0]);
    assert_eq!((levels[0].snr(), NoiseLevel::flow(0.0).snr()), (9.0, f64::INFINITY));
}

#[test]
fn weights_by_noise_level() {
    let (schedule, flow) = (sd15(), NoiseLevel::flow(0.5));
    let snr = schedule.snr(250);
    let of = |weighting: Weighting, level: &NoiseLevel, prediction| weighting.weight(level, prediction);
    let level = schedule.level(250);
    close(of(Weighting::MinSnr { gamma: 5.0 }, &level, Prediction::V), 0.673793, 6e-7);
    close(of(Weighting::Debiased, &level, Prediction::Epsilon), 1.0 / snr.sqrt(), 1e-9);
    close(of(Weighting::Debiased, &level, Prediction::V), 1.0 / (snr + 1.0), 1e-9);
    // snr of timestep 0 is 1175, over the limit of 1000.
    close(of(Weighting::Debiased, &schedule.level(0), Prediction::Epsilon), 1000.0_f64.sqrt().recip(), 1e-12);
    assert_eq!(of(Weighting::SigmaSqrt, &flow, Prediction::Flow), 4.0);
    close(of(Weighting::CosMap, &flow, Prediction::Flow), 4.0 / std::f64::consts::PI, 1e-12);
    let ends = NoiseSchedule::from_config(&json!({"rescale_betas_zero_snr": true})).unwrap().level(999);
    for level in [ends, NoiseLevel::flow(0.0), NoiseLevel::flow(1.0)] {
        for weighting in [
            Weighting::None,
            Weighting::MinSnr { gamma: 5.0 },
            Weighting::Debiased,
            Weighting::SigmaSqrt,
            Weighting::CosMap,
        ] {
            for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Flow] {
                assert!(of(weighting, &level, prediction).is_finite(), "{weighting:?} {level:?}");
            }
        }
    }
}

#[test]
fn huber_between_squares_and_absolutes() {
    let device = Device::flex();
    let picture = |v: f32| Tensor::<4>::from_data([[[[v]]]], &device);
    // 2 0.5 (sqrt(1.44 + 0.25) - 0.5) = 0.8.
    let loss = weighted_huber(picture(1.2), picture(0.0), &[2.0], &[0.5], None);
    close(f64::from(numbers(loss)[0]), 1.6, 1e-6);
    let level = sd15().level(500);
    assert_eq!(HuberSchedule::Constant.c(0.1, 0.5, &level), 0.1);
    close(HuberSchedule::Exponential.c(0.1, 0.5, &level), 0.1_f64.sqrt(), 1e-12);
    close(HuberSchedule::Snr.c(0.1, 0.5, &level), 0.9 / 2.618279_f64.powi(2) + 0.1, 1e-6);
}

#[test]
fn flow_draws_with_euler_only() {
    let flow = Schedule::Flow(FlowSchedule::FLUX_DEV);
    let plan = |kind, prediction, steps| SamplingPlan::new(kind, &flow, prediction, steps, latents(512));
    let message = plan(SamplerKind::Ddim, Prediction::Flow, 4).unwrap_err().to_string();
    assert!(message.contains("'ddim'") && message.contains("Use euler"), "{message}");
    assert!(plan(SamplerKind::Euler, Prediction::V, 4).unwrap_err().to_string().contains("Use flow"));
    assert_eq!(
        plan(SamplerKind::Euler, Prediction::Flow, 0).unwrap_err(),
        DiffusionError::Steps { steps: 0, most: 1000 }
    );
    let wrong = SamplingPlan::ddpm(SamplerKind::Euler, &sd15(), Prediction::Flow, 4).unwrap_err().to_string();
    assert!(wrong.contains("epsilon or v"), "{wrong}");
}
