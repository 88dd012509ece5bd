//! Stable Diffusion 1.x and 2.x: one UNet, one CLIP text encoder.

use std::path::Path;

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use lorikeet_adapters::{convolution_targets, text_encoder_targets, transformer_targets};
use lorikeet_checkpoint::{BaseModel, Family, Part};
use lorikeet_models::clip::{
    ClipConfig, ClipTextModel, ClipTokenizer, EOS, LENGTH, PAD_OPEN_CLIP, TEXT_LENGTH, join_chunks,
};
use lorikeet_models::unet::UNetConfig;
use lorikeet_nn::{Context, LayerInfo};
use lorikeet_recipe::{DenoiserShape, TextFacts};

use super::{Architecture, CaptionLength, Denoiser, TextEncoders, TextShape, TextStates, unet};
use crate::base::Weights;
use crate::{Base, TrainError};

/// All layers of the text encoder: SD1.x was trained so, and files of SD2.x leave out the layer that it skips.
const CLIP_SKIP: usize = 1;

pub(super) struct StableDiffusion {
    unet: UNetConfig,
    shape: DenoiserShape,
    clip: ClipConfig,
    padding: u32,
}

impl StableDiffusion {
    pub(super) fn read(model: &BaseModel) -> Result<Self, TrainError> {
        let json = model.config(Part::Unet)?;
        let unet = UNetConfig::from_json(json)?;
        let clip = ClipConfig::from_json(model.config(Part::TextEncoder)?)?;
        if unet.cross_attention_dim != clip.hidden_size {
            let problem = format!(
                "the UNet reads text states of width {}, the text encoder gives {}",
                unet.cross_attention_dim, clip.hidden_size
            );
            return Err(TrainError::Mismatch { path: model.path.clone(), problem });
        }
        check_tokens(&model.path, Part::TextEncoder, &clip)?;
        let padding = if model.family == Family::Sd2 { PAD_OPEN_CLIP } else { EOS };
        Ok(Self { shape: unet::shape(&unet, json), unet, clip, padding })
    }
}

/// # Errors
/// When the tokenizer makes tokens that the text encoder does not know.
pub(super) fn check_tokens(path: &Path, part: Part, clip: &ClipConfig) -> Result<(), TrainError> {
    if clip.max_position_embeddings < LENGTH || clip.vocab_size < 49_408 {
        let problem = format!(
            "the {part} knows {} tokens at {} places, where CLIP's tokenizer makes 49408 at {LENGTH}",
            clip.vocab_size, clip.max_position_embeddings
        );
        return Err(TrainError::Mismatch { path: path.to_owned(), problem });
    }
    Ok(())
}

/// Layers are named by the part's folder and the transformers path.
pub(super) fn load_clip(base: &Base, part: Part, config: &ClipConfig) -> Result<ClipTextModel, TrainError> {
    let weights = Weights(base.model.part(part)?);
    Ok(ClipTextModel::load(config, &base.loader(&weights, part))?)
}

impl Architecture for StableDiffusion {
    fn latent_channels(&self) -> usize {
        self.unet.in_channels
    }

    fn size_multiple(&self) -> usize {
        self.unet.size_multiple()
    }

    fn text_shape(&self, caption: CaptionLength) -> TextShape {
        TextShape { tokens: joined_length(caption.clip_rows), width: self.clip.hidden_size, pooled: None }
    }

    fn text_facts(&self, model: &BaseModel) -> Result<Vec<TextFacts>, TrainError> {
        Ok(vec![unet::clip_facts(model, Part::TextEncoder, &self.clip)?])
    }

    fn text_key(&self, model: &BaseModel) -> Result<String, TrainError> {
        Ok(format!("{} {CLIP_SKIP}", model.part(Part::TextEncoder)?.content_key()?))
    }

    fn denoiser(&self) -> Part {
        Part::Unet
    }

    fn shape(&self) -> DenoiserShape {
        self.shape.clone()
    }

    fn denoiser_layers(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        unet::layers_in(model)
    }

    fn denoiser_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        Ok(transformer_targets(&unet::layers_in(model)?))
    }

    fn convolution_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        Ok(convolution_targets(&unet::layers_in(model)?))
    }

    fn text_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        unet::clip_layers(model, Part::TextEncoder)
    }

    fn load_denoiser(&self, base: &Base) -> Result<Box<dyn Denoiser>, TrainError> {
        Ok(Box::new(unet::load(&self.unet, base)?))
    }

    fn load_text(&self, base: &Base) -> Result<Box<dyn TextEncoders>, TrainError> {
        Ok(Box::new(Clip {
            model: load_clip(base, Part::TextEncoder, &self.clip)?,
            tokenizer: ClipTokenizer::embedded(self.padding)?,
            rows: base.caption.clip_rows,
            device: base.device.clone(),
        }))
    }
}

struct Clip {
    model: ClipTextModel,
    tokenizer: ClipTokenizer,
    /// Of a caption.
    rows: usize,
    device: Device,
}

impl TextEncoders for Clip {
    fn encode(&self, cx: &Context, captions: &[&str]) -> TextStates {
        let rows = captions.iter().flat_map(|caption| self.tokenizer.encode_chunks(caption, self.rows));
        let states = self.model.forward(cx, ids(rows, &self.device), CLIP_SKIP);
        TextStates { states: join_chunks(states, self.rows), pooled: None }
    }

    fn targets(&self) -> Vec<LayerInfo> {
        text_encoder_targets(&self.model.layers())
    }
}

/// Tokens of a caption that CLIP reads in so many rows, see [`join_chunks`].
pub(super) fn joined_length(rows: usize) -> usize {
    rows * TEXT_LENGTH + 2
}

/// Rows of equal length as `[rows, length]`.
pub(super) fn ids(rows: impl Iterator<Item = Vec<u32>>, device: &Device) -> Tensor<2, Int> {
    let rows: Vec<Vec<i32>> =
        rows.map(|row| row.into_iter().map(|id| i32::try_from(id).unwrap_or(0)).collect()).collect();
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}
