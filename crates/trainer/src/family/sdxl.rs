//! SDXL (Podell and others 2023): one UNet, two CLIP text encoders, and what the model is told of a picture's size.

use burn::Tensor;
use burn::tensor::Device;
use lorikeet_adapters::{convolution_targets, text_encoder_targets, transformer_targets};
use lorikeet_checkpoint::{BaseModel, Part};
use lorikeet_models::clip::{
    ClipConfig, ClipTextModel, ClipTokenizer, EOS, Output, PAD_OPEN_CLIP, first_end, join_chunks,
};
use lorikeet_models::unet::UNetConfig;
use lorikeet_nn::{Context, LayerInfo};
use lorikeet_recipe::{DenoiserShape, TextFacts};

use super::sd::{check_tokens, ids, joined_length, load_clip};
use super::{Architecture, CaptionLength, Denoiser, TextEncoders, TextShape, TextStates, unet};
use crate::{Base, TrainError};

const PARTS: [Part; 2] = [Part::TextEncoder, Part::TextEncoder2];

pub(super) struct Sdxl {
    unet: UNetConfig,
    shape: DenoiserShape,
    clips: [ClipConfig; 2],
    pooled: usize,
}

impl Sdxl {
    pub(super) fn read(model: &BaseModel) -> Result<Self, TrainError> {
        let json = model.config(Part::Unet)?;
        let unet = UNetConfig::from_json(json)?;
        let clip = |part| -> Result<ClipConfig, TrainError> {
            let clip = ClipConfig::from_json(model.config(part)?)?;
            check_tokens(&model.path, part, &clip)?;
            Ok(clip)
        };
        let clips = [clip(PARTS[0])?, clip(PARTS[1])?];
        let mismatch = |problem| TrainError::Mismatch { path: model.path.clone(), problem };
        let (reads, [first, second]) = (unet.cross_attention_dim, clips.each_ref().map(|clip| clip.hidden_size));
        if reads != first + second {
            let problem =
                format!("the UNet reads text states of width {reads}, the text encoders give {first} and {second}");
            return Err(mismatch(problem));
        }
        let pooled = clips[1].pooled_width();
        if unet.pooled_width() != Some(pooled) {
            let reads = unet.pooled_width().map_or("no pooled text state".to_owned(), |n| format!("one of width {n}"));
            return Err(mismatch(format!(
                "the second text encoder gives a pooled state of width {pooled}, the UNet reads {reads}"
            )));
        }
        Ok(Self { shape: unet::shape(&unet, json), unet, clips, pooled })
    }
}

impl Architecture for Sdxl {
    fn latent_channels(&self) -> usize {
        self.unet.in_channels
    }

    fn size_multiple(&self) -> usize {
        self.unet.size_multiple()
    }

    fn text_shape(&self, caption: CaptionLength) -> TextShape {
        TextShape {
            tokens: joined_length(caption.clip_rows),
            width: self.unet.cross_attention_dim,
            pooled: Some(self.pooled),
        }
    }

    fn text_key(&self, model: &BaseModel) -> Result<String, TrainError> {
        let [first, second] = [model.part(PARTS[0])?.content_key()?, model.part(PARTS[1])?.content_key()?];
        Ok(format!("sdxl {first} {second}"))
    }

    fn text_facts(&self, model: &BaseModel) -> Result<Vec<TextFacts>, TrainError> {
        PARTS.into_iter().zip(&self.clips).map(|(part, clip)| unet::clip_facts(model, part, clip)).collect()
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
        let [mut first, second] = [unet::clip_layers(model, PARTS[0])?, unet::clip_layers(model, PARTS[1])?];
        first.extend(second);
        Ok(first)
    }

    fn load_denoiser(&self, base: &Base) -> Result<Box<dyn Denoiser>, TrainError> {
        Ok(Box::new(unet::load(&self.unet, base)?))
    }

    fn load_text(&self, base: &Base) -> Result<Box<dyn TextEncoders>, TrainError> {
        Ok(Box::new(TwoClips {
            models: [load_clip(base, PARTS[0], &self.clips[0])?, load_clip(base, PARTS[1], &self.clips[1])?],
            tokenizers: [ClipTokenizer::embedded(EOS)?, ClipTokenizer::embedded(PAD_OPEN_CLIP)?],
            rows: base.caption.clip_rows,
            device: base.device.clone(),
        }))
    }
}

struct TwoClips {
    models: [ClipTextModel; 2],
    tokenizers: [ClipTokenizer; 2],
    /// Of a caption.
    rows: usize,
    device: Device,
}

impl TextEncoders for TwoClips {
    /// The states of both side by side; the pooled state is the second one's, of a long caption that of its first row.
    fn encode(&self, cx: &Context, captions: &[&str]) -> TextStates {
        let [first, second] = [0, 1].map(|i| {
            let rows = captions.iter().flat_map(|caption| self.tokenizers[i].encode_chunks(caption, self.rows));
            let rows: Vec<Vec<u32>> = rows.collect();
            let ends: Vec<usize> = rows.iter().map(|row| first_end(row)).collect();
            let (states, pooled) = self.models[i].encode(cx, ids(rows.into_iter(), &self.device), &ends, &Output::SDXL);
            (join_chunks(states, self.rows), pooled)
        });
        let [_, width] = second.1.dims();
        let pooled = second.1.reshape([captions.len(), self.rows * width]).narrow(1, 0, width);
        TextStates { states: Tensor::cat(vec![first.0, second.0], 2), pooled: Some(pooled) }
    }

    fn targets(&self) -> Vec<LayerInfo> {
        self.models.iter().flat_map(|model| text_encoder_targets(&model.layers())).collect()
    }
}
