//! Rectified flow: the straight line from picture to noise, `x = (1 - sigma) x0 + sigma noise`. Liu et al. 2022, arXiv
//! 2209.03003; shifts as in Esser et al. 2024, arXiv 2403.03206, section 5.3.2, and in the FLUX code.

use serde_json::Value;

use crate::DiffusionError;
use crate::config::{Fields, wrong};

/// A schedule of a flow model, FLUX and Stable Diffusion 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowSchedule {
    /// The shift when drawing. Training has one of its own.
    pub shift: Shift,
}

impl FlowSchedule {
    /// Shifted by resolution.
    pub const FLUX_DEV: Self = Self { shift: Shift::FLUX };
    /// Not shifted: four steps were trained for.
    pub const FLUX_SCHNELL: Self = Self { shift: Shift::NONE };

    /// Reads diffusers' FlowMatchEulerDiscreteScheduler. Absent and null keys take that class's defaults.
    pub fn from_config(config: &Value) -> Result<Self, DiffusionError> {
        let fields = Fields(config);
        for field in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas"] {
            if fields.flag(field, false)? {
                return Err(wrong(field, true, "false (other spacings are not supported)"));
            }
        }
        if !fields.get("shift_terminal").is_null() {
            return Err(wrong("shift_terminal", fields.get("shift_terminal"), "absent or null (not supported)"));
        }
        if !fields.flag("use_dynamic_shifting", false)? {
            let shift = fields.number("shift", 1.0)?;
            if !(shift > 0.0 && shift.is_finite()) {
                return Err(wrong("shift", shift, "above 0"));
            }
            return Ok(Self { shift: Shift::Constant(shift) });
        }
        match fields.text("time_shift_type", "exponential")? {
            "exponential" => {}
            other => return Err(wrong("time_shift_type", other, "\"exponential\"")),
        }
        let tokens = [fields.count("base_image_seq_len", 256)?, fields.count("max_image_seq_len", 4096)?];
        if tokens[0] == tokens[1] {
            return Err(wrong("max_image_seq_len", tokens[1], "another number than base_image_seq_len"));
        }
        let mu = [fields.number("base_shift", 0.5)?, fields.number("max_shift", 1.15)?];
        Ok(Self { shift: Shift::Resolution { tokens: tokens.map(|n| n as f64), mu } })
    }

    /// Sigma before each of `steps` steps, then 0, for latents of that `[height, width]`.
    pub fn sigmas(&self, steps: usize, size: [usize; 2]) -> Vec<f64> {
        (0..=steps).map(|i| self.shift.apply(1.0 - i as f64 / steps.max(1) as f64, size)).collect()
    }
}

/// Moves noise levels toward noise: `sigma -> s sigma / (1 + (s - 1) sigma)`. More pixels need more noise to hide the same
/// picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shift {
    /// `s` itself; 1 moves nothing.
    Constant(f64),
    /// `s = e^mu`, mu on the straight line through two numbers of image tokens. A token is 2 x 2 latent positions.
    Resolution { tokens: [f64; 2], mu: [f64; 2] },
}

impl Shift {
    pub const NONE: Self = Self::Constant(1.0);
    pub const FLUX: Self = Self::Resolution { tokens: [256.0, 4096.0], mu: [0.5, 1.15] };

    /// `s` for latents of that `[height, width]`.
    pub fn factor(self, [height, width]: [usize; 2]) -> f64 {
        match self {
            Self::Constant(s) => s,
            Self::Resolution { tokens, mu } => {
                let slope = (mu[1] - mu[0]) / (tokens[1] - tokens[0]);
                let n = (height / 2 * (width / 2)) as f64;
                (mu[0] + slope * (n - tokens[0])).exp()
            }
        }
    }

    /// The shifted `sigma`, which is 0 to 1.
    pub fn apply(self, sigma: f64, size: [usize; 2]) -> f64 {
        let s = self.factor(size);
        s * sigma / (1.0 + (s - 1.0) * sigma)
    }
}

/// How often training meets each noise level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimestepSampling {
    pub density: Density,
    /// Of flow models; DDPM ignores it.
    pub shift: Shift,
}

impl TimestepSampling {
    pub const UNIFORM: Self = Self { density: Density::Uniform { from: 0.0, to: 1.0 }, shift: Shift::NONE };

    /// `sigmoid(scale normal)`: the middle more often than the ends.
    pub fn sigmoid(scale: f64) -> Self {
        Self { density: Density::LogitNormal { mean: 0.0, std: scale }, shift: Shift::NONE }
    }
}

/// A distribution over 0, clean, to 1, noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Density {
    /// Any part of the range alike; `to` is excluded.
    Uniform { from: f64, to: f64 },
    /// The sigmoid of a normal number. Esser et al. 2024, formula 19.
    LogitNormal { mean: f64, std: f64 },
}

impl Density {
    /// Only one of the two numbers is used: `uniform` from [0, 1), `normal` from the unit normal distribution.
    pub fn draw(self, uniform: f64, normal: f64) -> f64 {
        match self {
            Self::Uniform { from, to } => from + uniform * (to - from),
            Self::LogitNormal { mean, std } => 1.0 / (1.0 + (-(mean + std * normal)).exp()),
        }
    }
}
