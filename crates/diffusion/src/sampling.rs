use std::fmt;
use std::str::FromStr;

use burn::Tensor;

use crate::{DiffusionError, SamplingPlan};

/// A way from noise to a latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplerKind {
    /// Deterministic, first order; the only one for flow models.
    Euler,
    /// Euler with new noise at every step.
    EulerAncestral,
    /// DPM-Solver++ of second order: good pictures in few steps.
    Dpmpp2m,
    /// The deterministic one that diffusers' own pipelines start from.
    Ddim,
}

impl SamplerKind {
    pub const ALL: [Self; 4] = [Self::Euler, Self::EulerAncestral, Self::Dpmpp2m, Self::Ddim];

    /// The name in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::EulerAncestral => "euler_a",
            Self::Dpmpp2m => "dpmpp_2m",
            Self::Ddim => "ddim",
        }
    }
}

impl FromStr for SamplerKind {
    type Err = DiffusionError;

    fn from_str(text: &str) -> Result<Self, DiffusionError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| DiffusionError::Unknown {
            what: "sampler",
            found: text.into(),
            choices: "euler, euler_a, dpmpp_2m, ddim",
        })
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Draws latents `[b, c, h, w]` from `noise`, which is unit normal and sets shape, device and dtype of all arithmetic
/// here; f32 is meant, whatever the network computes in.
///
/// `model` gets the scaled input and the timestep, and does guidance itself ([`guided`]); its error ends the sampling,
/// which is also the way to stop early. `step_noise` gives unit normal noise of the same shape for a step counted from
/// 0; only [`SamplerKind::EulerAncestral`] asks, and not at its last step. `after_step` gets the number of steps done
/// and the latent, which is in the sampler's own scale until the last step.
pub fn sample<E>(
    plan: &SamplingPlan,
    noise: Tensor<4>,
    step_noise: &mut dyn FnMut(usize) -> Tensor<4>,
    model: &mut dyn FnMut(Tensor<4>, f64) -> Result<Tensor<4>, E>,
    after_step: &mut dyn FnMut(usize, &Tensor<4>),
) -> Result<Tensor<4>, E> {
    let dtype = noise.dtype();
    let mut x = noise * plan.initial_scale;
    let mut x0_before: Option<Tensor<4>> = None;
    for (i, step) in plan.steps.iter().enumerate() {
        let output = model(x.clone() * step.input_scale, step.timestep)?.cast(dtype);
        let x0 = x.clone() * step.x0_from_x + output * step.x0_from_output;
        x = x * step.keep + x0.clone() * step.towards;
        if let Some(before) = x0_before.filter(|_| step.before != 0.0) {
            x = x + before * step.before;
        }
        if step.noise != 0.0 {
            x = x + step_noise(i).cast(dtype) * step.noise;
        }
        x0_before = Some(x0);
        after_step(i + 1, &x);
    }
    Ok(x)
}

/// Classifier-free guidance: `unconditional + scale (conditional - unconditional)`. Ho and Salimans 2022.
pub fn guided(unconditional: Tensor<4>, conditional: Tensor<4>, scale: f64) -> Tensor<4> {
    unconditional.clone() + (conditional - unconditional) * scale
}
