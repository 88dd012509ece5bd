//! What a run sets up before its first step.

use std::path::Path;

use lorikeet_adapters::{LoraSet, text_encoder_targets, transformer_targets};
use lorikeet_models::unet::UNet2DConditionModel;
use lorikeet_recipe::Plan;

use crate::{Base, Host, Pictures, TextStates, TrainError};

/// The states of every caption and prompt of the run, and an encoder where captions will differ from epoch to epoch.
pub(crate) fn text_states(
    base: &Base,
    plan: &Plan,
    pictures: &Pictures,
    cache: &Path,
    host: &mut dyn Host,
) -> Result<TextStates, TrainError> {
    let settings = &plan.settings;
    let mut captions = pictures.all_captions();
    captions.push(settings.sample.negative.clone());
    captions.extend(settings.sample.prompts.iter().cloned());
    let states = TextStates::build(base, &captions, cache, host)?;
    Ok(if settings.dataset.shuffle_tags { states.with_encoder(base.load_text()?) } else { states })
}

pub(crate) fn adapters(
    plan: &Plan,
    base: &Base,
    unet: &UNet2DConditionModel,
    encoder: Option<&crate::TextEncoder>,
) -> LoraSet {
    let mut layers = transformer_targets(&unet.layers());
    if let Some(encoder) = encoder {
        layers.extend(text_encoder_targets(&encoder.model.layers()));
    }
    let network = &plan.settings.network;
    let seed = plan.settings.train.seed;
    LoraSet::new(&layers, network.rank as usize, network.alpha as f32, network.dropout, seed, &base.device)
}

pub(crate) fn segments(plan: &Plan) -> lorikeet_nn::segmented::Segments {
    match plan.segments {
        lorikeet_recipe::Segments::One => lorikeet_nn::segmented::Segments::One,
        lorikeet_recipe::Segments::PerBlock => lorikeet_nn::segmented::Segments::PerBlock,
    }
}
