//! FLUX.1 dev and schnell: a transformer over picture and text together; CLIP gives it one vector, T5 the text states.

use burn::tensor::Device;
use lorikeet_checkpoint::{BaseModel, Family, Part};
use lorikeet_models::clip::{ClipConfig, ClipTextModel, ClipTokenizer, EOS, Output, first_end};
use lorikeet_models::flux::{FluxConfig, FluxTransformer};
use lorikeet_models::t5::{T5Config, T5EncoderModel, T5Tokenizer};
use lorikeet_nn::segmented::{Blocks, Side, State};
use lorikeet_nn::{Context, LayerInfo, Linear};
use lorikeet_recipe::{DenoiserShape, FluxShape, TextFacts};

use super::sd::{check_tokens, ids, load_clip};
use super::{Architecture, CaptionLength, Condition, Denoiser, TextEncoders, TextShape, TextStates, matrices, unet};
use crate::base::Weights;
use crate::{Base, TrainError};

pub(super) struct Flux {
    config: FluxConfig,
    clip: ClipConfig,
    t5: T5Config,
    /// Tokens of a caption that T5 reads.
    tokens: usize,
}

impl Flux {
    pub(super) fn read(model: &BaseModel) -> Result<Self, TrainError> {
        let config = FluxConfig::from_json(model.config(Part::Transformer)?)?;
        let clip = ClipConfig::from_json(model.config(Part::TextEncoder)?)?;
        check_tokens(&model.path, Part::TextEncoder, &clip)?;
        let t5 = T5Config::from_json(model.config(Part::TextEncoder2)?)?;
        for (what, reads, gives) in [
            ("text states", config.context_in_dim, t5.d_model),
            ("a pooled text state", config.vec_in_dim, clip.pooled_width()),
        ] {
            if reads != gives {
                let problem = format!("the transformer reads {what} of width {reads}, the text encoder gives {gives}");
                return Err(TrainError::Mismatch { path: model.path.clone(), problem });
            }
        }
        // What the two were trained with; `n_positions` is in the configurations of some T5 only, ours among them.
        let released = if model.family == Family::Flux1Schnell { 256 } else { 512 };
        let learned = model.config(Part::TextEncoder2)?["n_positions"].as_u64().map(|n| n as usize);
        let tokens = learned.map_or(released, |n| n.clamp(1, released));
        Ok(Self { config, clip, t5, tokens })
    }
}

impl Architecture for Flux {
    fn latent_channels(&self) -> usize {
        self.config.in_channels / 4
    }

    fn size_multiple(&self) -> usize {
        self.config.size_multiple()
    }

    fn text_shape(&self, caption: CaptionLength) -> TextShape {
        TextShape {
            tokens: caption.t5_tokens.unwrap_or(self.tokens),
            width: self.config.context_in_dim,
            pooled: Some(self.config.vec_in_dim),
        }
    }

    fn text_key(&self, model: &BaseModel) -> Result<String, TrainError> {
        let [clip, t5] = [Part::TextEncoder, Part::TextEncoder2].map(|part| model.part(part));
        Ok(format!("flux {} {} {}", clip?.content_key()?, t5?.content_key()?, self.tokens))
    }

    fn text_facts(&self, model: &BaseModel) -> Result<Vec<TextFacts>, TrainError> {
        let weights = model.part(Part::TextEncoder2)?;
        let inside = |path: &str| path.contains(".layer.");
        let t5 = TextFacts {
            params: weights.parameters(),
            matrices: matrices(&unet::layers(weights, Part::TextEncoder2.folder(), inside, |_| None)),
            layers: self.t5.num_layers as u64,
            width: self.t5.d_model as u64,
            tokens: self.tokens as u64,
            targets: Vec::new(),
        };
        Ok(vec![unet::clip_facts(model, Part::TextEncoder, &self.clip)?, t5])
    }

    fn denoiser(&self) -> Part {
        Part::Transformer
    }

    fn shape(&self) -> DenoiserShape {
        DenoiserShape::Flux(FluxShape {
            hidden: self.config.hidden_size as u64,
            heads: self.config.num_heads as u64,
            double_blocks: self.config.depth as u64,
            single_blocks: self.config.depth_single_blocks as u64,
            mlp_ratio: 4,
            context_width: self.config.context_in_dim as u64,
            guidance: self.config.guidance_embed,
        })
    }

    fn denoiser_layers(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        let weights = model.part(Part::Transformer)?;
        let inside = |path: &str| !["time_in.", "vector_in.", "guidance_in."].iter().any(|out| path.starts_with(out));
        Ok(unet::layers(weights, "transformer", inside, |_| None))
    }

    fn denoiser_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        Ok(targets(self.denoiser_layers(model)?))
    }

    fn convolution_targets(&self, _model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        Ok(Vec::new())
    }

    /// CLIP only, as kohya does: T5 is not trained.
    fn text_targets(&self, model: &BaseModel) -> Result<Vec<LayerInfo>, TrainError> {
        unet::clip_layers(model, Part::TextEncoder)
    }

    fn load_denoiser(&self, base: &Base) -> Result<Box<dyn Denoiser>, TrainError> {
        let weights = Weights(base.model.part(Part::Transformer)?);
        let loader = base.loader(&weights, Part::Transformer);
        Ok(Box::new(Transformer(FluxTransformer::load(&self.config, &loader)?)))
    }

    fn load_text(&self, base: &Base) -> Result<Box<dyn TextEncoders>, TrainError> {
        let weights = Weights(base.model.part(Part::TextEncoder2)?);
        Ok(Box::new(ClipAndT5 {
            clip: load_clip(base, Part::TextEncoder, &self.clip)?,
            t5: T5EncoderModel::load(&self.t5, &base.loader(&weights, Part::TextEncoder2))?,
            tokenizers: (ClipTokenizer::embedded(EOS)?, T5Tokenizer::embedded()?),
            tokens: base.caption.t5_tokens.unwrap_or(self.tokens),
            device: base.device.clone(),
        }))
    }
}

/// The 304 layers that kohya's `networks.lora_flux` trains.
fn targets(layers: Vec<LayerInfo>) -> Vec<LayerInfo> {
    layers.into_iter().filter(|layer| layer.name.contains("_blocks.")).collect()
}

struct Transformer(FluxTransformer);

impl Blocks for Transformer {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn linears(&self, block: usize) -> Vec<&Linear> {
        self.0.linears(block)
    }

    fn run(&self, cx: &Context, block: usize, state: State, side: &Side) -> State {
        self.0.run(cx, block, state, side)
    }
}

impl Denoiser for Transformer {
    fn side(&self, timesteps: &[f32], condition: &Condition) -> Side {
        let TextStates { states, pooled } = condition.text.clone();
        // A family with a pooled state has it in every condition; an empty one would show as a wrong width at once.
        let pooled = pooled
            .unwrap_or_else(|| burn::Tensor::zeros([timesteps.len(), self.0.config().vec_in_dim], &states.device()));
        self.0.side(timesteps, Some(condition.guidance), states, pooled)
    }

    fn side_of_text(&self) -> Vec<bool> {
        vec![true, true]
    }

    fn targets(&self) -> Vec<LayerInfo> {
        targets(self.0.layers())
    }

    fn convolution_targets(&self) -> Vec<LayerInfo> {
        Vec::new()
    }
}

struct ClipAndT5 {
    clip: ClipTextModel,
    t5: T5EncoderModel,
    tokenizers: (ClipTokenizer, T5Tokenizer),
    tokens: usize,
    device: Device,
}

impl TextEncoders for ClipAndT5 {
    fn encode(&self, cx: &Context, captions: &[&str]) -> TextStates {
        let rows: Vec<Vec<u32>> = captions.iter().map(|caption| self.tokenizers.0.encode(caption)).collect();
        let ends: Vec<usize> = rows.iter().map(|row| first_end(row)).collect();
        let output = Output { clip_skip: 1, final_norm: true };
        let (_, pooled) = self.clip.encode(cx, ids(rows.into_iter(), &self.device), &ends, &output);
        let rows = captions.iter().map(|caption| self.tokenizers.1.encode(caption, self.tokens));
        // Padding is read too, as the models were trained.
        let states = self.t5.forward(cx, ids(rows, &self.device), None);
        TextStates { states, pooled: Some(pooled) }
    }

    fn targets(&self) -> Vec<LayerInfo> {
        lorikeet_adapters::text_encoder_targets(&self.clip.layers())
    }
}
