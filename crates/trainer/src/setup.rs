//! What a run sets up before its first step.

use std::path::Path;

use lorikeet_adapters::{LoraSet, Size};
use lorikeet_nn::LayerKind;
use lorikeet_recipe::Plan;

use crate::{Base, Denoiser, Host, Pictures, TextCache, TextEncoders, TrainError};

/// The states of every caption and prompt of the run, and an encoder where captions will differ from epoch to epoch.
pub(crate) fn text_cache(
    base: &Base,
    plan: &Plan,
    pictures: &Pictures,
    prompts: &[String],
    cache: &Path,
    host: &mut dyn Host,
) -> Result<TextCache, TrainError> {
    let settings = &plan.settings;
    let mut captions = pictures.all_captions();
    captions.push(settings.sample.negative.clone());
    captions.extend(prompts.iter().cloned());
    let states = TextCache::build(base, &captions, cache, host)?;
    Ok(if settings.dataset.shuffle_tags { states.with_encoders(base.load_text()?) } else { states })
}

pub(crate) fn adapters(
    plan: &Plan,
    base: &Base,
    denoiser: &dyn Denoiser,
    encoders: Option<&dyn TextEncoders>,
) -> LoraSet {
    let network = &plan.settings.network;
    let mut layers = denoiser.targets();
    if network.convolutions.is_some() {
        layers.extend(denoiser.convolution_targets());
    }
    layers.extend(encoders.into_iter().flat_map(TextEncoders::targets));
    let seed = plan.settings.train.seed;
    let size = |kind| {
        let (rank, alpha) = network.size(matches!(kind, LayerKind::Conv2d { kernel: 2.., .. }));
        Size { rank: rank as usize, alpha: alpha as f32 }
    };
    LoraSet::new(&layers, size, network.dropout, seed, &base.device)
}

pub(crate) fn segments(plan: &Plan) -> lorikeet_nn::segmented::Segments {
    match plan.segments {
        lorikeet_recipe::Segments::One => lorikeet_nn::segmented::Segments::One,
        lorikeet_recipe::Segments::PerBlock => lorikeet_nn::segmented::Segments::PerBlock,
    }
}
