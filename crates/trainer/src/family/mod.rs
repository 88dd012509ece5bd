//! What the loop needs of a model family. One file a family; nothing outside this folder asks which it is.

mod flux;
mod sd;
mod sdxl;
mod unet;

use burn::Tensor;
use lorikeet_checkpoint::{BaseModel, Family, Part};
use lorikeet_nn::segmented::{self, Blocks, Side};
use lorikeet_nn::{Context, LayerInfo, LayerKind, Storage};
use lorikeet_recipe::{DenoiserShape, TargetFacts, TextFacts};

use crate::{Base, TrainError};

/// What captions became.
#[derive(Clone, Debug)]
pub struct TextStates {
    /// `[b, tokens, width]`, in the dtype of computation.
    pub states: Tensor<3>,
    /// `[b, width]`, where the family has it.
    pub pooled: Option<Tensor<2>>,
}

impl TextStates {
    pub fn cat(rows: Vec<Self>) -> Self {
        let pooled: Option<Vec<_>> = rows.iter().map(|row| row.pooled.clone()).collect();
        Self {
            states: Tensor::cat(rows.into_iter().map(|row| row.states).collect(), 0),
            pooled: pooled.map(|rows| Tensor::cat(rows, 0)),
        }
    }
}

/// What the denoiser is told beside latents and timesteps.
#[derive(Clone, Debug)]
pub struct Condition {
    pub text: TextStates,
    /// One a sample.
    pub sizes: Vec<Sizes>,
    /// How strongly FLUX.1 dev shall follow the text; other models are not told.
    pub guidance: f32,
}

/// What SDXL is told about a picture's origin, px (Podell and others 2023, 2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Before it was resized: height, width.
    pub original: [f32; 2],
    /// What was cut off at the top and at the left.
    pub crop: [f32; 2],
    /// Of the picture as the model sees it: height, width.
    pub target: [f32; 2],
}

impl Sizes {
    /// A picture that is wanted as it is.
    pub fn whole(width: u32, height: u32) -> Self {
        let size = [height as f32, width as f32];
        Self { original: size, crop: [0.0; 2], target: size }
    }

    /// In the order that the network reads them.
    fn time_ids(&self) -> [f32; 6] {
        let Self { original: [height, width], crop: [top, left], target } = *self;
        [height, width, top, left, target[0], target[1]]
    }
}

/// A loaded denoiser.
pub trait Denoiser: Blocks + Send {
    /// What all its blocks read. Differentiable with respect to the text states.
    fn side(&self, timesteps: &[f32], condition: &Condition) -> Side;
    /// Which of them depend on the text states.
    fn side_of_text(&self) -> Vec<bool>;
    /// The layers that an adapter goes on, in the order of the forward pass.
    fn targets(&self) -> Vec<LayerInfo>;
    /// Those it goes on besides where convolutions are trained; none in a transformer.
    fn convolution_targets(&self) -> Vec<LayerInfo>;
}

impl dyn Denoiser + '_ {
    /// `latents` `[b, c, h, w]` → `[b, c, h, w]`.
    pub fn forward(&self, cx: &Context, latents: Tensor<4>, timesteps: &[f32], condition: &Condition) -> Tensor<4> {
        segmented::forward(self, cx, latents, &self.side(timesteps, condition))
    }
}

/// A family's text encoders with their tokenizers.
pub trait TextEncoders: Send {
    fn encode(&self, cx: &Context, captions: &[&str]) -> TextStates;
    /// The layers that an adapter goes on when the text encoders are trained too.
    fn targets(&self) -> Vec<LayerInfo>;
}

/// How much of a caption the text encoders read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionLength {
    /// Rows of 75 tokens that CLIP reads.
    pub clip_rows: usize,
    /// Tokens that T5 reads; `None`: as many as the base learned with.
    pub t5_tokens: Option<usize>,
}

impl Default for CaptionLength {
    fn default() -> Self {
        Self { clip_rows: 1, t5_tokens: None }
    }
}

/// Sizes of what a caption becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextShape {
    pub tokens: usize,
    pub width: usize,
    pub pooled: Option<usize>,
}

/// A base's configurations, read as its family has them.
pub trait Architecture: Send {
    /// Channels of the latents that the denoiser takes and gives.
    fn latent_channels(&self) -> usize;
    /// Sides of latents must be a multiple of this.
    fn size_multiple(&self) -> usize;
    fn text_shape(&self, caption: CaptionLength) -> TextShape;
    fn text_facts(&self, model: &BaseModel) -> Result<Vec<TextFacts>, TrainError>;
    /// What the states of a caption depend on beside the caption: names the weights and how they are used.
    fn text_key(&self, model: &BaseModel) -> Result<String, TrainError>;
    fn denoiser(&self) -> Part;
    fn shape(&self) -> DenoiserShape;
    /// Every layer of the denoiser that asks its context for a delta, from the file's header.
    fn denoiser_layers(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError>;
    /// Those of them that training puts an adapter on.
    fn denoiser_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError>;
    /// Those it goes on besides where convolutions are trained.
    fn convolution_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError>;
    /// Every layer of the text encoders that an adapter may go on, from the file's header.
    fn text_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError>;
    fn load_denoiser(&self, base: &Base) -> Result<Box<dyn Denoiser>, TrainError>;
    fn load_text(&self, base: &Base) -> Result<Box<dyn TextEncoders>, TrainError>;
}

/// Weights in matrices that are packed or streamed where a run asks for it.
pub(crate) fn matrices(layers: &[LayerInfo]) -> u64 {
    let size = |layer: &LayerInfo| match layer.kind {
        LayerKind::Linear { inputs, outputs } => inputs * outputs,
        LayerKind::Conv2d { .. } => 0,
    };
    layers.iter().map(size).filter(|size| *size >= Storage::SMALLEST).map(|size| size as u64).sum()
}

/// As plans count them.
pub(crate) fn target_facts(layers: &[LayerInfo]) -> Vec<TargetFacts> {
    let facts = |layer: &LayerInfo| {
        let (inputs, outputs, kernel) = match layer.kind {
            LayerKind::Linear { inputs, outputs } => (inputs, outputs, 1),
            LayerKind::Conv2d { inputs, outputs, kernel } => (inputs, outputs, kernel),
        };
        TargetFacts { outputs: outputs as u64, inputs: inputs as u64, kernel: kernel as u64 }
    };
    layers.iter().map(facts).collect()
}

/// The family by the names of recipes.
pub(crate) fn recipe_family(family: Family) -> lorikeet_recipe::Family {
    match family {
        Family::Sd2 => lorikeet_recipe::Family::Sd2,
        Family::Sdxl => lorikeet_recipe::Family::Sdxl,
        Family::Flux1Dev => lorikeet_recipe::Family::FluxDev,
        Family::Flux1Schnell => lorikeet_recipe::Family::FluxSchnell,
        _ => lorikeet_recipe::Family::Sd1,
    }
}

/// The family by the names of files.
pub(crate) fn file_family(family: lorikeet_recipe::Family) -> Family {
    match family {
        lorikeet_recipe::Family::Sd1 => Family::Sd1,
        lorikeet_recipe::Family::Sd2 => Family::Sd2,
        lorikeet_recipe::Family::Sdxl => Family::Sdxl,
        lorikeet_recipe::Family::FluxDev => Family::Flux1Dev,
        lorikeet_recipe::Family::FluxSchnell => Family::Flux1Schnell,
    }
}

/// Reads the configurations of a base.
///
/// # Errors
/// When they lack something or do not fit together, or when the family cannot be trained.
pub(crate) fn architecture(model: &BaseModel) -> Result<Box<dyn Architecture>, TrainError> {
    Ok(match model.family {
        Family::Sdxl => Box::new(sdxl::Sdxl::read(model)?),
        Family::Flux1Dev | Family::Flux1Schnell => Box::new(flux::Flux::read(model)?),
        _ => Box::new(sd::StableDiffusion::read(model)?),
    })
}
