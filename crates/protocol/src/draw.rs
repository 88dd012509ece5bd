//! Pictures on request, and what a picture was drawn with.

use std::path::PathBuf;

use lorikeet_recipe::{Family, Precision, Prediction, Sampler};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Pictures to draw without a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrawRequest {
    /// `demo`, a folder or a file.
    pub base: String,
    pub parts: BaseParts,
    /// `auto`, `cpu`, `cuda:0`, ...
    pub device: String,
    pub precision: Precision,
    /// Drawn one after the other. Base and LoRAs are loaded once for all of them.
    pub pictures: Vec<ToDraw>,
    pub out_dir: PathBuf,
    /// Kept with each picture, so that what was asked for together is found together again.
    pub set: u64,
    /// Where to write the starting noise of the first picture, as tensor `noise` `[1, c, h, w]` of a safetensors file, for
    /// other programs.
    pub noise_out: Option<PathBuf>,
}

impl Default for DrawRequest {
    fn default() -> Self {
        Self {
            base: "demo".to_owned(),
            parts: BaseParts::default(),
            device: "auto".to_owned(),
            precision: Precision::Auto,
            pictures: Vec::new(),
            out_dir: PathBuf::new(),
            set: 0,
            noise_out: None,
        }
    }
}

/// Parts of a base that lie elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaseParts {
    pub vae: Option<PathBuf>,
    pub text_encoder: Option<PathBuf>,
    pub text_encoder_2: Option<PathBuf>,
}

/// One picture. What is `None`, or 0 of width and height, is as suits the base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToDraw {
    pub prompt: String,
    pub negative: String,
    /// All are added up.
    pub loras: Vec<LoraUse>,
    pub seed: u64,
    /// px.
    pub width: u32,
    pub height: u32,
    pub steps: Option<u32>,
    /// Classifier-free guidance; at 1 there is none and a step costs half.
    pub cfg: Option<f64>,
    /// What FLUX.1 dev is told.
    pub guidance: Option<f64>,
    pub sampler: Option<Sampler>,
}

/// A LoRA at a strength.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraUse {
    /// A LoRA file, or the folder of a save.
    pub path: PathBuf,
    /// What it adds to each layer is multiplied by this: 1 as it was trained, 0 the base alone.
    pub strength: f32,
    /// What it is called beside the picture; empty: after the file.
    pub name: String,
}

/// What a picture was drawn with. Names only, no paths: pictures are passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PictureSettings {
    pub prompt: String,
    pub negative: String,
    /// The base's name, for people.
    pub base: String,
    pub base_file: String,
    pub family: Family,
    /// `None`: as the family has it.
    pub prediction: Option<Prediction>,
    pub loras: Vec<UsedLora>,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub cfg: f64,
    pub guidance: Option<f64>,
    pub sampler: Option<Sampler>,
    pub spacing: StepSpacing,
    /// Of a preview: optimiser steps done.
    pub step: Option<u64>,
    /// See [`DrawRequest::set`].
    pub set: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsedLora {
    /// Its file name without the ending.
    pub name: String,
    pub strength: f32,
}

/// Which timesteps a sampling of few steps takes of the many in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSpacing {
    /// Whole multiples from the cleanest on.
    #[default]
    Leading,
    /// Evenly from the noisiest to the cleanest.
    Linspace,
    /// Whole multiples from the noisiest on.
    Trailing,
    /// Evenly along the way of a flow model, shifted as the model wants it.
    Flow,
}

/// A picture of a [`DrawRequest`] is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// Into [`DrawRequest::pictures`].
    pub index: usize,
    pub settings: PictureSettings,
    pub path: PathBuf,
}

/// A [`DrawRequest`] is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawEnd {
    /// Of the request.
    pub set: u64,
    /// Pictures drawn; fewer than asked for when it was stopped or failed.
    pub drawn: usize,
    pub failure: Option<Failure>,
}
