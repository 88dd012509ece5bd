//! The schedule of Stable Diffusion: noise added in a thousand steps that hardly show. Ho et al. 2020, arXiv 2006.11239.

use burn::Tensor;
use serde_json::Value;

use crate::config::{Fields, wrong};
use crate::{DiffusionError, NoiseLevel, Prediction, add_noise, target};

/// The least alpha bar used as a divisor. A schedule with zero terminal SNR ends in 0; diffusers puts the same number
/// there, the smallest positive f16.
pub(crate) const LEAST_ALPHA_BAR: f64 = 1.0 / (1u64 << 24) as f64;

/// How a sampler's timesteps lie among those of training. Table 2 of Lin et al. 2023, arXiv 2305.08891.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Whole multiples of `timesteps / steps`, plus the offset. Stable Diffusion 1.x.
    Leading,
    /// Evenly from the first to the last.
    Linspace,
    /// Evenly, always starting at the last.
    Trailing,
}

/// The settings of a schedule under the names of diffusers' scheduler_config.json.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSettings {
    pub num_train_timesteps: usize,
    pub beta_start: f64,
    pub beta_end: f64,
    /// Betas are evenly spaced in their square root ("scaled_linear"), otherwise in themselves ("linear").
    pub scaled: bool,
    pub steps_offset: usize,
    /// Whether DDIM's last step goes to alpha bar 1 rather than that of timestep 0.
    pub set_alpha_to_one: bool,
    pub timestep_spacing: Spacing,
    pub prediction: Prediction,
    /// Stretches the schedule until no signal is left at the last timestep. Lin et al. 2023, algorithm 1.
    pub rescale_betas_zero_snr: bool,
}

impl Default for ScheduleSettings {
    /// Stable Diffusion 1.5.
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.00085,
            beta_end: 0.012,
            scaled: true,
            steps_offset: 1,
            set_alpha_to_one: false,
            timestep_spacing: Spacing::Leading,
            prediction: Prediction::Epsilon,
            rescale_betas_zero_snr: false,
        }
    }
}

impl ScheduleSettings {
    /// Reads a scheduler_config.json. Keys that are absent or null take the values of Stable Diffusion 1.5; keys that
    /// belong to one sampler only are ignored.
    pub fn from_config(config: &Value) -> Result<Self, DiffusionError> {
        let default = Self::default();
        let fields = Fields(config);
        if !fields.get("trained_betas").is_null() {
            return Err(wrong(
                "trained_betas",
                fields.get("trained_betas"),
                "absent or null (lists are not supported)",
            ));
        }
        let scaled = match fields.text("beta_schedule", "scaled_linear")? {
            "scaled_linear" => true,
            "linear" => false,
            other => return Err(wrong("beta_schedule", other, "\"scaled_linear\" or \"linear\"")),
        };
        let timestep_spacing = match fields.text("timestep_spacing", "leading")? {
            "leading" => Spacing::Leading,
            "linspace" => Spacing::Linspace,
            "trailing" => Spacing::Trailing,
            other => return Err(wrong("timestep_spacing", other, "\"leading\", \"linspace\" or \"trailing\"")),
        };
        let prediction = match fields.text("prediction_type", "epsilon")? {
            "epsilon" => Prediction::Epsilon,
            "v_prediction" => Prediction::V,
            other => return Err(wrong("prediction_type", other, "\"epsilon\" or \"v_prediction\"")),
        };
        Ok(Self {
            num_train_timesteps: fields.count("num_train_timesteps", default.num_train_timesteps)?,
            beta_start: fields.number("beta_start", default.beta_start)?,
            beta_end: fields.number("beta_end", default.beta_end)?,
            scaled,
            steps_offset: fields.count("steps_offset", default.steps_offset)?,
            set_alpha_to_one: fields.flag("set_alpha_to_one", default.set_alpha_to_one)?,
            timestep_spacing,
            prediction,
            rescale_betas_zero_snr: fields.flag("rescale_betas_zero_snr", default.rescale_betas_zero_snr)?,
        })
    }
}

/// How much noise each timestep of training has.
#[derive(Clone, Debug)]
pub struct NoiseSchedule {
    settings: ScheduleSettings,
    alphas_cumprod: Vec<f64>,
}

impl NoiseSchedule {
    pub fn new(settings: ScheduleSettings) -> Result<Self, DiffusionError> {
        let n = settings.num_train_timesteps;
        // The bound keeps a damaged file from asking for all memory.
        if !(2..=1_000_000).contains(&n) {
            return Err(wrong("num_train_timesteps", n, "between 2 and 1000000"));
        }
        for (field, beta) in [("beta_start", settings.beta_start), ("beta_end", settings.beta_end)] {
            if !(beta > 0.0 && beta < 1.0) {
                return Err(wrong(field, beta, "above 0 and below 1"));
            }
        }
        if settings.steps_offset >= n {
            return Err(wrong("steps_offset", settings.steps_offset, &format!("below num_train_timesteps, {n}")));
        }
        let mut product = 1.0;
        let mut alphas_cumprod: Vec<f64> = (0..n)
            .map(|i| {
                let at = i as f64 / (n - 1) as f64;
                let between = |first: f64, last: f64| first + (last - first) * at;
                let beta = if settings.scaled {
                    between(settings.beta_start.sqrt(), settings.beta_end.sqrt()).powi(2)
                } else {
                    between(settings.beta_start, settings.beta_end)
                };
                product *= 1.0 - beta;
                product
            })
            .collect();
        if settings.rescale_betas_zero_snr {
            let (first, last) = (alphas_cumprod[0].sqrt(), alphas_cumprod[n - 1].sqrt());
            for value in &mut alphas_cumprod {
                *value = ((value.sqrt() - last) * first / (first - last)).powi(2);
            }
        }
        Ok(Self { settings, alphas_cumprod })
    }

    /// From the JSON of the model's scheduler; see [`ScheduleSettings::from_config`].
    pub fn from_config(config: &Value) -> Result<Self, DiffusionError> {
        Self::new(ScheduleSettings::from_config(config)?)
    }

    pub fn settings(&self) -> &ScheduleSettings {
        &self.settings
    }

    /// What the model's own configuration says that it predicts.
    pub fn prediction(&self) -> Prediction {
        self.settings.prediction
    }

    /// The number of timesteps of training, 1000 as a rule. The timesteps are 0 to this, exclusive.
    pub fn timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// `abar` of every timestep.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// The part of the signal's variance that is left at `t`, which must be below [`timesteps`](Self::timesteps).
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alphas_cumprod[t]
    }

    /// Noise to signal, `sqrt((1 - abar) / abar)`; 4096 rather than infinite where no signal is left.
    pub fn sigma(&self, t: usize) -> f64 {
        let alpha_bar = self.alpha_bar(t).max(LEAST_ALPHA_BAR);
        ((1.0 - alpha_bar) / alpha_bar).sqrt()
    }

    /// Signal to noise in variance, `abar / (1 - abar)`.
    pub fn snr(&self, t: usize) -> f64 {
        self.alpha_bar(t) / (1.0 - self.alpha_bar(t))
    }

    /// How noisy a sample is at `t`, which must be below [`timesteps`](Self::timesteps).
    pub fn level(&self, t: usize) -> NoiseLevel {
        let alpha_bar = self.alpha_bar(t);
        NoiseLevel { timestep: t as f64, signal: alpha_bar.sqrt(), spread: (1.0 - alpha_bar).sqrt() }
    }

    /// [`add_noise`] with one timestep for each sample of the batch.
    pub fn add_noise(&self, x0: Tensor<4>, noise: Tensor<4>, t: &[usize]) -> Tensor<4> {
        add_noise(x0, noise, &self.levels(t))
    }

    /// [`target`] with one timestep for each sample of the batch.
    pub fn target(&self, prediction: Prediction, x0: Tensor<4>, noise: Tensor<4>, t: &[usize]) -> Tensor<4> {
        target(prediction, x0, noise, &self.levels(t))
    }

    fn levels(&self, t: &[usize]) -> Vec<NoiseLevel> {
        t.iter().map(|&t| self.level(t)).collect()
    }
}
