//! Against diffusers 0.42.1: see tests/reference/README.md. `--nocapture` prints the largest error of each sampler.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_diffusion::{
    DiffusionError, FlowSchedule, NoiseSchedule, Prediction, SamplerKind, SamplingPlan, ScheduleSettings, Shift,
    Spacing, pyramid_noise, sample,
};
use safetensors::SafeTensors;

/// Relative to the largest entry. Both sides compute in f32; diffusers' schedule is f32 too and ours f64.
const TOLERANCE: f64 = 2e-5;

struct Fixture(Vec<u8>);

impl Fixture {
    fn open(name: &str) -> Self {
        let path = format!("../../tests/fixtures/parity/samplers/{name}.safetensors");
        Self(std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap())
    }

    fn read(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (view.shape().to_vec(), values)
    }

    fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).is_ok()
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.read(name).1
    }

    fn tensor(&self, name: &str) -> Tensor<4> {
        let (shape, values) = self.read(name);
        Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
    }
}

/// The largest difference over the largest expected entry.
fn error(found: impl IntoIterator<Item = f64>, expected: &[f32]) -> f64 {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f64, |m, &e| m.max(f64::from(e).abs()));
    let difference = found.iter().zip(expected).map(|(f, &e)| (f - f64::from(e)).abs());
    // max() drops NaN, which must fail.
    difference.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) }) / largest
}

fn entries(tensor: &Tensor<4>) -> Vec<f64> {
    tensor.to_data().try_to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

fn schedule() -> NoiseSchedule {
    NoiseSchedule::new(ScheduleSettings::default()).unwrap()
}

#[test]
fn schedule_agrees() {
    let (ours, fixture) = (schedule(), Fixture::open("schedule"));
    let expected = fixture.values("alphas_cumprod");
    for (t, (found, expected)) in ours.alphas_cumprod().iter().zip(&expected).enumerate() {
        assert!((found / f64::from(*expected) - 1.0).abs() < TOLERANCE, "{t}: {found} {expected}");
    }
    assert_eq!(ours.timesteps(), expected.len());

    let t: Vec<usize> = fixture.values("timesteps").iter().map(|&t| t as usize).collect();
    let (x0, noise) = (fixture.tensor("latents"), fixture.tensor("noise"));
    let noisy = error(entries(&ours.add_noise(x0.clone(), noise.clone(), &t)), &fixture.values("noisy"));
    let v = error(entries(&ours.target(Prediction::V, x0.clone(), noise.clone(), &t)), &fixture.values("velocity"));
    let epsilon = error(entries(&ours.target(Prediction::Epsilon, x0, noise, &t)), &fixture.values("noise"));
    println!("add_noise {noisy:.1e}, velocity {v:.1e}");
    assert!(noisy < TOLERANCE && v < TOLERANCE && epsilon == 0.0, "{noisy} {v} {epsilon}");
}

/// The network of the fixtures: 0.3 x cos(t / 100) + 0.1 sin(3 x).
fn formula(x: Tensor<4>, t: f64) -> Tensor<4> {
    x.clone() * (0.3 * (t / 100.0).cos()) + (x * 3.0).sin() * 0.1
}

/// The largest error of timesteps, sigmas, inputs and latents of one whole sampling.
fn whole_run(plan: &SamplingPlan, fixture: &Fixture, at: &str) -> f64 {
    let name = |part: &str| format!("{at}.{part}");
    let steps = plan.steps.len();
    let mut worst = error([plan.initial_scale], &fixture.values(&name("init_noise_sigma")));
    if fixture.has(&name("sigmas")) {
        worst = worst.max(error(plan.sigmas.iter().copied(), &fixture.values(&name("sigmas"))));
    }
    let (mut inputs, mut latents) = (Vec::new(), Vec::new());
    let last = sample::<DiffusionError>(
        plan,
        fixture.tensor(&name("init_noise")),
        &mut |i| fixture.tensor(&name(&format!("noise{i}"))),
        &mut |x, t| {
            inputs.push(x.clone());
            Ok(formula(x, t))
        },
        &mut |done, x| latents.push((done, x.clone())),
    )
    .unwrap();
    assert_eq!((inputs.len(), latents.len()), (steps, steps));
    assert_eq!(entries(&last), entries(&latents[steps - 1].1));
    for (i, input) in inputs.iter().enumerate() {
        worst = worst.max(error(entries(input), &fixture.values(&name(&format!("input{i}")))));
    }
    for (done, x) in &latents {
        worst = worst.max(error(entries(x), &fixture.values(&name(&format!("x{done}")))));
    }
    worst
}

fn same_timesteps(plan: &SamplingPlan, fixture: &Fixture, at: &str) {
    assert_eq!(error(plan.timesteps(), &fixture.values(&format!("{at}.timesteps"))), 0.0, "timesteps of {at}");
}

/// The first of 25 steps on random tensors.
fn one_step(kind: SamplerKind, prediction: Prediction, fixture: &Fixture, at: &str) -> f64 {
    let name = |part: &str| format!("{at}.one.{part}");
    let plan = SamplingPlan::ddpm(kind, &schedule(), prediction, 25).unwrap();
    assert_eq!(plan.steps[0].timestep, f64::from(fixture.values(&name("timestep"))[0]));
    let mut after = None;
    let stopped = sample::<DiffusionError>(
        &plan,
        fixture.tensor(&name("sample")) * (1.0 / plan.initial_scale),
        &mut |_| fixture.tensor(&name("noise")),
        &mut |_, t| {
            // The second step ends it, as a stop command would.
            if t == plan.steps[0].timestep {
                Ok(fixture.tensor(&name("model_output")))
            } else {
                Err(DiffusionError::Steps { steps: 1, most: 1 })
            }
        },
        &mut |_, x| after = Some(x.clone()),
    );
    assert_eq!(stopped.err(), Some(DiffusionError::Steps { steps: 1, most: 1 }));
    error(entries(&after.unwrap()), &fixture.values(&name("next")))
}

#[test]
fn samplers_agree_at_every_step() {
    for kind in SamplerKind::ALL {
        let fixture = Fixture::open(kind.name());
        let mut worst: f64 = 0.0;
        for (prediction, at) in [(Prediction::Epsilon, "epsilon"), (Prediction::V, "v_prediction")] {
            for steps in [4, 7] {
                let plan = SamplingPlan::ddpm(kind, &schedule(), prediction, steps).unwrap();
                let at = format!("{at}.{steps}");
                same_timesteps(&plan, &fixture, &at);
                worst = worst.max(whole_run(&plan, &fixture, &at));
            }
            worst = worst.max(one_step(kind, prediction, &fixture, at));
        }
        println!("{kind}: largest error {worst:.1e}");
        assert!(worst < TOLERANCE, "{kind}: {worst}");
    }
}

/// Velocity, timesteps from the very last, where no signal is left.
#[test]
fn samplers_agree_without_signal_at_the_end() {
    let settings = ScheduleSettings {
        rescale_betas_zero_snr: true,
        timestep_spacing: Spacing::Trailing,
        prediction: Prediction::V,
        ..ScheduleSettings::default()
    };
    let (schedule, fixture) = (NoiseSchedule::new(settings).unwrap(), Fixture::open("zero_snr"));
    let expected = fixture.values("alphas_cumprod");
    let worst = error(schedule.alphas_cumprod().iter().copied(), &expected);
    println!("alphas without terminal signal: largest error {worst:.1e}");
    assert!(worst < TOLERANCE, "{worst}");
    for kind in SamplerKind::ALL {
        let plan = SamplingPlan::ddpm(kind, &schedule, Prediction::V, 5).unwrap();
        same_timesteps(&plan, &fixture, kind.name());
        let worst = whole_run(&plan, &fixture, kind.name());
        println!("{kind} without terminal signal: largest error {worst:.1e}");
        // diffusers subtracts numbers of the size of the first sigma, 4096, in f32.
        assert!(worst < 1e-4, "{kind}: {worst}");
    }
}

#[test]
fn flow_agrees_at_every_step() {
    let fixture = Fixture::open("flow");
    // Latents of 512 x 512 and of 768 x 1344, whose numbers of tokens the fixture has in mu.
    for (at, shift, size) in [
        ("square", Shift::FLUX, [64, 64]),
        ("tall", Shift::FLUX, [168, 96]),
        ("static", Shift::Constant(3.0), [4, 6]),
        ("schnell", Shift::NONE, [4, 6]),
    ] {
        for steps in [4, 7] {
            let at = format!("{at}.{steps}");
            let plan = SamplingPlan::flow(SamplerKind::Euler, &FlowSchedule { shift }, steps, size).unwrap();
            let thousandths = plan.timesteps().map(|t| t * 1000.0);
            let worst =
                whole_run(&plan, &fixture, &at).max(error(thousandths, &fixture.values(&format!("{at}.timesteps"))));
            println!("flow {at}: largest error {worst:.1e}");
            assert!(worst < TOLERANCE, "{at}: {worst}");
        }
    }
}

#[test]
fn coarse_noise_agrees() {
    let fixture = Fixture::open("pyramid");
    let (shape, mut noise) = fixture.read("noise");
    let uniforms = fixture.values("uniforms");
    let (mut drawn, mut layers) = (0, 0);
    pyramid_noise(
        &mut noise,
        [shape[1], shape[2], shape[3]],
        6,
        0.4,
        &mut || {
            drawn += 1;
            f64::from(uniforms[drawn - 1])
        },
        &mut |n| {
            layers += 1;
            let layer = fixture.values(&format!("layer{}", layers - 1));
            assert_eq!(layer.len(), n);
            layer
        },
    );
    assert!(!fixture.has(&format!("layer{layers}")), "a layer is missing");
    let worst = error(noise.iter().map(|&v| f64::from(v)), &fixture.values("out"));
    println!("pyramid noise: largest error {worst:.1e}");
    assert!(worst < TOLERANCE, "{worst}");
}
