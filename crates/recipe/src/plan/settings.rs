//! Every setting as a field of its own type, resolved against the base.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::dataset::DatasetSettings;
use crate::facts::Prediction;
use crate::memory::{Placement, Quantise};
use crate::recipe::Recipe;
use crate::setting::{BaseClass, Preset, Value};

/// All settings. What `auto` and 0 stand for is filled in, except where a field says when it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSettings {
    pub preset: Preset,
    pub base: BaseSettings,
    pub dataset: DatasetSettings,
    pub network: NetworkSettings,
    pub train: TrainSettings,
    pub loss: LossSettings,
    pub sample: SampleSettings,
    pub validation: ValidationSettings,
    pub save: SaveSettings,
    pub run: RunSettings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseSettings {
    /// `demo`, a folder or a file.
    pub path: String,
    /// A folder or a file each; empty: that of the base.
    pub vae: String,
    pub text_encoder: String,
    pub text_encoder_2: String,
    /// As asked for, `None`: auto; [`crate::Plan::quantise`] is what was chosen.
    pub quantise: Option<Quantise>,
    /// `None`: as the base.
    #[serde(default)]
    pub quantise_text: Option<Quantise>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSettings {
    pub rank: u32,
    /// Never 0.
    pub alpha: f64,
    /// Of the 3x3 convolutions, where they are trained: rank and alpha, which is never 0.
    pub convolutions: Option<(u32, f64)>,
    pub dropout: f64,
    pub text_encoder: bool,
}

impl NetworkSettings {
    /// Rank and alpha of a layer. As in kohya's `conv_dim`, a 1x1 convolution counts as a linear layer.
    pub fn size(&self, large_kernel: bool) -> (u32, f64) {
        self.convolutions.filter(|_| large_kernel).unwrap_or((self.rank, self.alpha))
    }

    /// How many times the LoRA counts.
    pub fn scale(&self) -> f64 {
        self.alpha / f64::from(self.rank)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    Cosine,
    Linear,
}

/// How AdamW keeps its averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimiser {
    /// In f32.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// In 8 bits and an f32 scale for each 256.
    #[serde(rename = "adamw8bit")]
    AdamW8Bit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    Low,
    Auto,
    Fast,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// 0 (auto) until the plan knows the pictures.
    pub steps: u64,
    pub batch: u32,
    pub accumulation: u32,
    pub learning_rate: f64,
    pub text_encoder_lr: f64,
    pub schedule: Schedule,
    /// Steps. Fewer than `steps` in a plan.
    pub warmup: u64,
    #[serde(default)]
    pub optimiser: Optimiser,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// `None`: off.
    pub clip_norm: Option<f64>,
    pub seed: u64,
    /// As asked for; [`crate::Plan::segments`] is what was chosen.
    pub memory: Memory,
    /// As asked for, `None`: auto; [`crate::Plan::placement`] is what was chosen.
    pub weights: Option<Placement>,
    /// Bytes the run may use, if that is told; [`crate::Plan::budget_bytes`] is what holds.
    #[serde(default)]
    pub memory_limit: Option<u64>,
}

/// How the distance from the target counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    #[default]
    L2,
    Huber {
        schedule: HuberSchedule,
        c: f64,
    },
    SmoothL1 {
        schedule: HuberSchedule,
        c: f64,
    },
}

/// How the Huber threshold depends on the noise level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HuberSchedule {
    Constant,
    Exponential,
    Snr,
}

/// How much a sample's loss counts by its noise level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    None,
    MinSnr,
    Debiased,
    SigmaSqrt,
    #[serde(rename = "cosmap")]
    CosMap,
}

/// How often training meets each noise level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSampling {
    Uniform,
    Sigmoid,
    Shift,
    FluxShift,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossSettings {
    pub prediction: Prediction,
    /// `None`: as the base says.
    pub zero_terminal_snr: Option<bool>,
    #[serde(default)]
    pub kind: LossKind,
    pub weighting: Weighting,
    /// With [`Weighting::MinSnr`] only.
    pub min_snr_gamma: Option<f64>,
    /// 0: off.
    pub noise_offset: f64,
    /// Layers of coarser noise. 0: off.
    #[serde(default)]
    pub pyramid_iterations: u32,
    #[serde(default)]
    pub pyramid_discount: f64,
    /// Uniform but for FLUX.
    pub timestep_sampling: TimestepSampling,
    pub sigmoid_scale: f64,
    /// Used by [`TimestepSampling::Shift`].
    pub flow_shift: f64,
    /// What the model is told; `None` if it takes none.
    pub guidance: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleUnit {
    Steps,
    Epochs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    Euler,
    EulerA,
    #[serde(rename = "dpmpp_2m")]
    DpmPp2m,
    Ddim,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSettings {
    /// Empty (auto) until the plan knows the captions; empty in a plan only when previews are off.
    pub prompts: Vec<String>,
    pub negative: String,
    /// In `unit`. 0: no previews at all.
    pub every: u64,
    pub unit: SampleUnit,
    /// `every` in optimiser steps, whatever the unit. 0 until the plan knows the pictures, and when previews are off.
    pub every_steps: u64,
    pub steps: u32,
    pub cfg: f64,
    /// What the model is told; `None` if it takes none.
    pub guidance: Option<f64>,
    pub sampler: Sampler,
    /// Multiples of the base's `size_multiple`, px.
    pub width: u32,
    pub height: u32,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationSettings {
    /// Steps. 0: never, or no pictures to measure on.
    pub every: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveDtype {
    F16,
    Bf16,
    F32,
}

impl SaveDtype {
    /// As in TOML.
    pub fn id(self) -> &'static str {
        match self {
            SaveDtype::F16 => "f16",
            SaveDtype::Bf16 => "bf16",
            SaveDtype::F32 => "f32",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        if self == SaveDtype::F32 { 4 } else { 2 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaveSettings {
    /// Steps. 0: at the end only.
    pub every: u64,
    /// 0: all.
    pub keep: u32,
    pub dtype: SaveDtype,
    /// Never empty: a legal file name without ending.
    pub name: String,
    pub folder: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// As asked for: `auto`, `cpu`, `cuda:0`, ...
    pub device: String,
    #[serde(default)]
    pub precision: Precision,
    /// On cards, operations are joined into fewer kernels.
    #[serde(default = "fused")]
    pub fusion: bool,
}

/// The number format of computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As the device is best used.
    #[default]
    Auto,
    F32,
}

/// Of a plan from before there was the setting.
fn fused() -> bool {
    true
}

/// Reads a recipe and remembers which settings were asked for, so that a test can tell those that no one uses.
pub(crate) struct Reader<'a> {
    recipe: &'a Recipe,
    base: BaseClass,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(recipe: &'a Recipe, base: BaseClass) -> Reader<'a> {
        Reader { recipe, base, read: RefCell::default() }
    }

    pub(crate) fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    pub(crate) fn base(&self) -> BaseClass {
        self.base
    }

    /// Whether the setting has an effect on this base.
    pub(crate) fn applies(&self, id: &str) -> bool {
        crate::setting(id).is_some_and(|setting| self.recipe.applies_on(setting, self.base))
    }

    fn value(&self, id: &'static str) -> Value {
        self.read.borrow_mut().insert(id);
        self.recipe.get_on(id, self.base)
    }

    /// A whole number that is never negative, as the table's ranges say.
    pub(crate) fn whole(&self, id: &'static str) -> u64 {
        match self.value(id) {
            Value::Int(number) => number.unsigned_abs(),
            other => mismatch(id, &other),
        }
    }

    /// As [`Reader::whole`], for settings whose range fits.
    pub(crate) fn small(&self, id: &'static str) -> u32 {
        u32::try_from(self.whole(id)).unwrap_or(u32::MAX)
    }

    pub(crate) fn number(&self, id: &'static str) -> f64 {
        match self.value(id) {
            Value::Float(number) => number,
            other => mismatch(id, &other),
        }
    }

    pub(crate) fn on(&self, id: &'static str) -> bool {
        match self.value(id) {
            Value::Bool(on) => on,
            other => mismatch(id, &other),
        }
    }

    pub(crate) fn text(&self, id: &'static str) -> String {
        match self.value(id) {
            Value::Text(text) => text,
            other => mismatch(id, &other),
        }
    }

    pub(crate) fn list(&self, id: &'static str) -> Vec<String> {
        match self.value(id) {
            Value::List(items) => items,
            other => mismatch(id, &other),
        }
    }

    #[cfg(test)]
    pub(crate) fn not_read(&self) -> Vec<&'static str> {
        let read = self.read.borrow();
        crate::SETTINGS.iter().map(|setting| setting.id).filter(|id| !read.contains(id)).collect()
    }
}

/// The table and the reading code disagree, which the tests rule out: a recipe holds only values of their setting's kind.
fn mismatch(id: &str, value: &Value) -> ! {
    unreachable!("{id} is read as another kind than {value:?}")
}
