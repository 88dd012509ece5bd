//! Every sampler here is linear in the latent, the network's output and the noise, so a sampling is a table of numbers.

use crate::ddpm::LEAST_ALPHA_BAR;
use crate::{DiffusionError, FlowSchedule, NoiseSchedule, Prediction, SamplerKind, Schedule, Spacing};

/// The numbers of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The timestep that the network is told. Not whole with Euler samplers and [`Spacing::Linspace`]; sigma for flow.
    pub timestep: f64,
    /// The network's input is `x` times this.
    pub input_scale: f64,
    /// The clean latent is estimated as `x0 = x * x0_from_x + output * x0_from_output`.
    pub x0_from_x: f64,
    pub x0_from_output: f64,
    /// The next latent is `x * keep + x0 * towards + x0_of_the_step_before * before + noise * noise`.
    pub keep: f64,
    pub towards: f64,
    pub before: f64,
    pub noise: f64,
}

/// A whole sampling as numbers, before any tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingPlan {
    /// The first latent is unit normal noise times this.
    pub initial_scale: f64,
    /// Noise to signal before each step, then after the last.
    pub sigmas: Vec<f64>,
    pub steps: Vec<Step>,
}

impl SamplingPlan {
    /// For latents of that `[height, width]`, which only flow schedules read.
    pub fn new(
        kind: SamplerKind,
        schedule: &Schedule,
        prediction: Prediction,
        steps: usize,
        size: [usize; 2],
    ) -> Result<Self, DiffusionError> {
        match schedule {
            Schedule::Ddpm(schedule) => Self::ddpm(kind, schedule, prediction, steps),
            Schedule::Flow(schedule) if prediction == Prediction::Flow => Self::flow(kind, schedule, steps, size),
            Schedule::Flow(_) => Err(DiffusionError::Prediction { prediction, choices: "flow" }),
        }
    }

    /// The numbers are those of diffusers' DDIMScheduler (eta 0), EulerDiscreteScheduler,
    /// EulerAncestralDiscreteScheduler and DPMSolverMultistepScheduler (dpmsolver++, order 2, last sigma zero).
    pub fn ddpm(
        kind: SamplerKind,
        schedule: &NoiseSchedule,
        prediction: Prediction,
        steps: usize,
    ) -> Result<Self, DiffusionError> {
        if prediction == Prediction::Flow {
            return Err(DiffusionError::Prediction { prediction, choices: "epsilon or v" });
        }
        let times = timesteps(kind, schedule, steps)?;
        if kind == SamplerKind::Ddim {
            return Ok(ddim(schedule, prediction, &times));
        }
        let mut sigmas: Vec<f64> = times.iter().map(|&t| sigma_between(schedule, t)).collect();
        sigmas.push(0.0);
        let steps = (0..steps)
            .map(|i| match kind {
                SamplerKind::Dpmpp2m => dpmpp_2m(prediction, times[i], &sigmas, i),
                _ => euler(prediction, times[i], sigmas[i], sigmas[i + 1], kind == SamplerKind::EulerAncestral),
            })
            .collect();
        let initial_scale = match (kind, schedule.settings().timestep_spacing) {
            (SamplerKind::Dpmpp2m, _) => 1.0,
            (_, Spacing::Leading) => sigmas[0].hypot(1.0),
            _ => sigmas[0],
        };
        Ok(Self { initial_scale, sigmas, steps })
    }

    /// The numbers are those of diffusers' FlowMatchEulerDiscreteScheduler when its pipelines give it evenly spaced sigmas.
    pub fn flow(
        kind: SamplerKind,
        schedule: &FlowSchedule,
        steps: usize,
        size: [usize; 2],
    ) -> Result<Self, DiffusionError> {
        if kind != SamplerKind::Euler {
            return Err(DiffusionError::NotForFlow { sampler: kind });
        }
        if !(1..=MOST_FLOW_STEPS).contains(&steps) {
            return Err(DiffusionError::Steps { steps, most: MOST_FLOW_STEPS });
        }
        let sigmas = schedule.sigmas(steps, size);
        let steps = sigmas.windows(2).map(|pair| straight(pair[0], pair[1])).collect();
        Ok(Self { initial_scale: 1.0, sigmas, steps })
    }

    pub fn timesteps(&self) -> impl Iterator<Item = f64> {
        self.steps.iter().map(|step| step.timestep)
    }
}

/// As many as flow models have timesteps in training; more make no other picture.
const MOST_FLOW_STEPS: usize = 1000;

/// Here `x` is `(1 - sigma) x0 + sigma noise`, and the output the direction from x0 to noise: `x += (next - sigma) output`.
fn straight(sigma: f64, next: f64) -> Step {
    Step {
        timestep: sigma,
        input_scale: 1.0,
        x0_from_x: 1.0,
        x0_from_output: -sigma,
        keep: next / sigma,
        towards: 1.0 - next / sigma,
        before: 0.0,
        noise: 0.0,
    }
}

/// From the noisiest to the cleanest. The solver of DPM divides by one step more than it takes.
fn timesteps(kind: SamplerKind, schedule: &NoiseSchedule, steps: usize) -> Result<Vec<f64>, DiffusionError> {
    let settings = schedule.settings();
    let (total, last) = (schedule.timesteps(), schedule.timesteps() - 1);
    let multistep = usize::from(kind == SamplerKind::Dpmpp2m);
    if steps == 0 || steps + multistep > total {
        return Err(DiffusionError::Steps { steps, most: total - multistep });
    }
    let intervals = steps + multistep;
    let times: Vec<f64> = match settings.timestep_spacing {
        Spacing::Leading => {
            let ratio = total / intervals;
            (multistep..intervals).rev().map(|i| (i * ratio + settings.steps_offset) as f64).collect()
        }
        Spacing::Linspace => {
            let gap = if intervals > 1 { last as f64 / (intervals - 1) as f64 } else { 0.0 };
            let rounds = matches!(kind, SamplerKind::Ddim | SamplerKind::Dpmpp2m);
            // The product may land a hair beside the last timestep.
            let at = |i: usize| if i > 0 && i + 1 == intervals { last as f64 } else { i as f64 * gap };
            let times = (multistep..intervals).rev().map(at);
            times.map(|t| if rounds { t.round_ties_even() } else { t }).collect()
        }
        Spacing::Trailing => {
            let ratio = total as f64 / steps as f64;
            (0..steps).map(|i| (total as f64 - i as f64 * ratio).round_ties_even() - 1.0).collect()
        }
    };
    match times.first() {
        Some(&first) if first > last as f64 => {
            Err(DiffusionError::PastTheEnd { steps, offset: settings.steps_offset, timestep: first as usize, last })
        }
        _ => Ok(times),
    }
}

/// Sigma at a timestep that need not be whole, by linear interpolation in sigma.
fn sigma_between(schedule: &NoiseSchedule, t: f64) -> f64 {
    let below = t as usize;
    let above = (below + 1).min(schedule.timesteps() - 1);
    let low = schedule.sigma(below);
    low + (schedule.sigma(above) - low) * (t - below as f64)
}

/// Here `x` is `x0 + sigma noise`. Karras et al. 2022, arXiv 2206.00364, algorithm 1 without churn; ancestral: part of
/// the way down is taken further and filled up with new noise, as in k-diffusion.
fn euler(prediction: Prediction, timestep: f64, sigma: f64, next: f64, ancestral: bool) -> Step {
    let variance = sigma * sigma + 1.0;
    let (x0_from_x, x0_from_output) = match prediction {
        Prediction::V => (1.0 / variance, -sigma / variance.sqrt()),
        _ => (1.0, -sigma),
    };
    let up = if ancestral { next * (1.0 - (next / sigma).powi(2)).sqrt() } else { 0.0 };
    let down = if ancestral { next * next / sigma } else { next };
    Step {
        timestep,
        input_scale: 1.0 / variance.sqrt(),
        x0_from_x,
        x0_from_output,
        keep: down / sigma,
        towards: 1.0 - down / sigma,
        before: 0.0,
        noise: up,
    }
}

/// Here `x` is `sqrt(abar) x0 + sqrt(1 - abar) noise`. Lu et al. 2022, arXiv 2211.01095, algorithm 2 (2M); the first
/// and the last step are of first order.
fn dpmpp_2m(prediction: Prediction, timestep: f64, sigmas: &[f64], i: usize) -> Step {
    let (sigma, next) = (sigmas[i], sigmas[i + 1]);
    let (alpha, alpha_next) = (1.0 / sigma.hypot(1.0), 1.0 / next.hypot(1.0));
    let (x0_from_x, x0_from_output) = estimate(prediction, alpha, sigma * alpha);
    let whole = alpha_next * (1.0 - next / sigma);
    // How far x0 is extrapolated past this step's estimate, in units of its change since the step before.
    let ahead =
        if i == 0 || i + 2 == sigmas.len() { 0.0 } else { 0.5 * (sigma / next).ln() / (sigmas[i - 1] / sigma).ln() };
    Step {
        timestep,
        input_scale: 1.0,
        x0_from_x,
        x0_from_output,
        keep: (next * alpha_next) / (sigma * alpha),
        towards: whole * (1.0 + ahead),
        before: -whole * ahead,
        noise: 0.0,
    }
}

/// Here `x` is `sqrt(abar) x0 + sqrt(1 - abar) noise`. Song et al. 2020, arXiv 2010.02502, formula 12 with eta 0.
fn ddim(schedule: &NoiseSchedule, prediction: Prediction, times: &[f64]) -> SamplingPlan {
    // A step always goes down by this many timesteps, even where linspace puts the next one elsewhere.
    let stride = schedule.timesteps() / times.len();
    let end = if schedule.settings().set_alpha_to_one { 1.0 } else { schedule.alpha_bar(0) };
    let mut sigmas = Vec::with_capacity(times.len() + 1);
    let mut last = 0.0;
    let steps = times
        .iter()
        .map(|&timestep| {
            let t = timestep as usize;
            let now = schedule.alpha_bar(t);
            let next = t.checked_sub(stride).map_or(end, |t| schedule.alpha_bar(t));
            let (x0_from_x, x0_from_output) = estimate(prediction, now.sqrt(), (1.0 - now).sqrt());
            let keep = ((1.0 - next) / (1.0 - now)).sqrt();
            sigmas.push(schedule.sigma(t));
            last = ((1.0 - next) / next).sqrt();
            Step {
                timestep,
                input_scale: 1.0,
                x0_from_x,
                x0_from_output,
                keep,
                towards: next.sqrt() - now.sqrt() * keep,
                before: 0.0,
                noise: 0.0,
            }
        })
        .collect();
    sigmas.push(last);
    SamplingPlan { initial_scale: 1.0, sigmas, steps }
}

/// The factors of `x` and of the output in x0, where `x = signal x0 + spread noise` and the squares of both sum to 1.
fn estimate(prediction: Prediction, signal: f64, spread: f64) -> (f64, f64) {
    match prediction {
        Prediction::V => (signal, -spread),
        _ => {
            let signal = signal.max(LEAST_ALPHA_BAR.sqrt());
            (1.0 / signal, -spread / signal)
        }
    }
}
