//! Check values of the specification (sections 4.1 and 4.4), numbers worked out by hand, and bad settings.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use burn::Tensor;
use burn::tensor::Device;
use lorikeet_diffusion::{
    DiffusionError, NoiseSchedule, Prediction, SamplerKind, SamplingPlan, ScheduleSettings, Spacing, guided,
    min_snr_weight, weighted_mse,
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
    SamplingPlan::new(kind, schedule, Prediction::V, steps).unwrap().timesteps().collect()
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
            let plan = SamplingPlan::new(kind, &schedule, prediction, 10).unwrap();
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
    assert_eq!(numbers(weighted_mse(output.clone(), target.clone(), &[1.0, 1.0])), [5.25]);
    assert_eq!(numbers(weighted_mse(output, target, &[2.0, 0.25])), [3.5]);
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

    let plan = SamplingPlan::new(euler, &spaced(Spacing::Linspace), Prediction::V, 5).unwrap();
    close(plan.initial_scale, 14.614641, 1e-6);
    let halfway = (spaced(Spacing::Linspace).sigma(499) + spaced(Spacing::Linspace).sigma(500)) / 2.0;
    close(plan.sigmas[2], halfway, 1e-12);
}

#[test]
fn one_step_reaches_the_estimate() {
    for kind in [SamplerKind::Euler, SamplerKind::EulerAncestral, SamplerKind::Dpmpp2m] {
        let step = SamplingPlan::new(kind, &sd15(), Prediction::V, 1).unwrap().steps.remove(0);
        assert_eq!((step.keep, step.towards, step.noise), (0.0, 1.0, 0.0), "{kind}");
    }
    let config = json!({"set_alpha_to_one": true});
    let schedule = NoiseSchedule::from_config(&config).unwrap();
    let step = SamplingPlan::new(SamplerKind::Ddim, &schedule, Prediction::V, 1).unwrap().steps.remove(0);
    assert_eq!((step.keep, step.towards), (0.0, 1.0));
}

#[test]
fn any_allowed_number_of_steps_is_finite() {
    for spacing in [Spacing::Leading, Spacing::Linspace, Spacing::Trailing] {
        let schedule = spaced(spacing);
        for kind in SamplerKind::ALL {
            for steps in (1..60).chain([333, 500, 998]) {
                let plan = SamplingPlan::new(kind, &schedule, Prediction::Epsilon, steps).unwrap();
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
    let plan = |kind, steps| SamplingPlan::new(kind, &sd15(), Prediction::V, steps).map(|p| p.steps.len());
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
    for prediction in [Prediction::Epsilon, Prediction::V] {
        assert_eq!(prediction.to_string().parse(), Ok(prediction));
    }
    assert_eq!("v_prediction".parse(), Ok(Prediction::V));
    assert!("heun".parse::<SamplerKind>().unwrap_err().to_string().contains("euler_a"));
    assert!("sample".parse::<Prediction>().is_err());
}
