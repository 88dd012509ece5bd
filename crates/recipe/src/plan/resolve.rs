//! Settings against the base: what `auto` and 0 stand for, sizes the base can take, and notes on all of it.

use std::path::Path;

use super::dataset::{self, DatasetSettings};
use super::settings::{
    BaseSettings, Memory, NetworkSettings, Optimiser, PlanSettings, Precision, Reader, RunSettings, SampleSettings,
    SampleUnit, Sampler, SaveDtype, SaveSettings, Schedule, TrainSettings, ValidationSettings,
};
use super::{Decision, loss};
use crate::check::as_file_name;
use crate::error::RecipeError;
use crate::facts::BaseFacts;
use crate::memory::{Placement, Quantise};
use crate::recipe::Recipe;
use crate::setting::BaseClass;
use crate::table::setting;

/// Collects decisions and warnings.
pub(super) struct Notes<'a> {
    recipe: &'a Recipe,
    base: BaseClass,
    pub(super) decisions: Vec<Decision>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(reader: &Reader<'a>) -> Notes<'a> {
        Notes { recipe: reader.recipe(), base: reader.base(), decisions: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn base(&self) -> BaseClass {
        self.base
    }

    pub(super) fn decide(&mut self, what: &str, value: String, reason: String) {
        let reason = reason.trim_end_matches('.');
        self.decisions.push(Decision { what: what.to_owned(), value, reason: format!("{}.", capital(reason)) });
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(format!("{}.", capital(warning.trim_end_matches('.'))));
    }

    /// The reason of the default, or that the user chose the value.
    pub(super) fn why(&self, id: &str) -> String {
        match setting(id) {
            Some(setting) if !self.recipe.is_set(id) => {
                setting.default_row(self.recipe.preset(), self.base).reason.to_owned()
            }
            _ => format!("{id} is set in the recipe"),
        }
    }
}

/// The sentence with a capital first letter, unless it starts with the id of a setting, which is a name.
fn capital(sentence: &str) -> String {
    if sentence.split(' ').next().is_some_and(|word| setting(word).is_some()) {
        return sentence.to_owned();
    }
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The settings as far as they can be known without the pictures: enough to scan the folder and sort it into buckets.
pub fn settings(recipe: &Recipe, base: &BaseFacts) -> Result<PlanSettings, RecipeError> {
    let reader = Reader::new(recipe, base.class());
    resolve(&reader, base, &mut Notes::new(&reader))
}

pub(super) fn resolve(r: &Reader<'_>, base: &BaseFacts, notes: &mut Notes<'_>) -> Result<PlanSettings, RecipeError> {
    for (id, _) in r.recipe().typed() {
        let bases = setting(id).and_then(|setting| setting.when.bases());
        if bases.is_some_and(|bases| !bases.contains(&r.base())) {
            notes.warn(format!("{id} is set, but has no effect on {}", base.display_name));
        }
    }
    let dataset = dataset::resolve(r, base, notes)?;
    let network = network(r, notes);
    let train = train(r, notes, &network);
    let loss = loss::resolve(r, base, notes)?;
    let sample = sample(r, base, notes, dataset.resolution);
    let save = save(r, &dataset);
    let precision = if r.text("run.precision") == "f32" { Precision::F32 } else { Precision::Auto };
    let run = RunSettings { device: r.text("run.device"), precision, fusion: r.on("run.fusion") };
    Ok(PlanSettings {
        preset: r.recipe().preset(),
        base: base_settings(r),
        dataset,
        network,
        train,
        loss,
        sample,
        validation: ValidationSettings { every: r.whole("validation.every") },
        save,
        run,
    })
}

fn base_settings(r: &Reader<'_>) -> BaseSettings {
    BaseSettings {
        path: r.text("base.path"),
        vae: r.text("base.vae"),
        text_encoder: r.text("base.text_encoder"),
        text_encoder_2: r.text("base.text_encoder_2"),
        quantise: match (r.text("base.quantise").as_str(), r.applies("base.quantise")) {
            ("auto", true) => None,
            ("int8", true) => Some(Quantise::Int8),
            ("int4", true) => Some(Quantise::Int4),
            _ => Some(Quantise::None),
        },
        quantise_text: match (r.text("base.quantise_text").as_str(), r.applies("base.quantise_text")) {
            ("none", true) => Some(Quantise::None),
            ("int8", true) => Some(Quantise::Int8),
            ("int4", true) => Some(Quantise::Int4),
            _ => None,
        },
    }
}

fn network(r: &Reader<'_>, notes: &mut Notes<'_>) -> NetworkSettings {
    let rank = r.small("network.rank").max(1);
    let asked = r.number("network.alpha");
    let alpha = if asked == 0.0 { f64::from(rank) } else { asked };
    let (conv_rank, conv_alpha) = (r.small("network.conv_rank"), r.number("network.conv_alpha"));
    let convolutions = (conv_rank > 0 && r.applies("network.conv_rank"))
        .then(|| (conv_rank, if conv_alpha == 0.0 { f64::from(conv_rank) } else { conv_alpha }));
    let network = NetworkSettings {
        rank,
        alpha,
        convolutions,
        dropout: r.number("network.dropout"),
        text_encoder: r.on("network.text_encoder"),
    };
    notes.decide("Rank", rank.to_string(), notes.why("network.rank"));
    notes.decide(
        "Scale of the LoRA",
        format!("alpha {alpha} / rank {rank} = {}", short(network.scale())),
        notes.why("network.alpha"),
    );
    if let Some((rank, alpha)) = convolutions {
        notes.decide("Convolutions", format!("trained, rank {rank}, alpha {alpha}"), notes.why("network.conv_rank"));
    }
    notes.decide(
        "Text encoder",
        if network.text_encoder { "trained".to_owned() } else { "left as it is".to_owned() },
        notes.why("network.text_encoder"),
    );
    network
}

fn train(r: &Reader<'_>, notes: &mut Notes<'_>, network: &NetworkSettings) -> TrainSettings {
    let learning_rate = r.number("train.learning_rate");
    let asked_text_lr = r.number("train.text_encoder_lr");
    let text_encoder_lr = if asked_text_lr == 0.0 { learning_rate / 2.0 } else { asked_text_lr };
    let schedule = match r.text("train.schedule").as_str() {
        "constant" => Schedule::Constant,
        "linear" => Schedule::Linear,
        _ => Schedule::Cosine,
    };
    let clip_norm = r.number("train.clip_norm");
    let train = TrainSettings {
        steps: r.whole("train.steps"),
        batch: r.small("train.batch").max(1),
        accumulation: r.small("train.accumulation").max(1),
        learning_rate,
        text_encoder_lr,
        schedule,
        warmup: r.whole("train.warmup"),
        optimiser: match r.text("train.optimiser").as_str() {
            "adamw8bit" => Optimiser::AdamW8Bit,
            _ => Optimiser::AdamW,
        },
        weight_decay: r.number("train.weight_decay"),
        beta1: r.number("train.beta1"),
        beta2: r.number("train.beta2"),
        epsilon: r.number("train.epsilon"),
        clip_norm: (clip_norm > 0.0).then_some(clip_norm),
        seed: r.whole("train.seed"),
        memory: match r.text("train.memory").as_str() {
            "low" => Memory::Low,
            "fast" => Memory::Fast,
            _ => Memory::Auto,
        },
        weights: match (r.text("memory.weights").as_str(), r.applies("memory.weights")) {
            ("auto", true) => None,
            ("stream", true) => Some(Placement::Stream),
            ("host", true) => Some(Placement::Host),
            _ => Some(Placement::Resident),
        },
        memory_limit: Some(r.number("memory.limit")).filter(|limit| *limit > 0.0).map(|limit| (limit * 1e9) as u64),
    };
    notes.decide("Learning rate", format!("{learning_rate:?}"), notes.why("train.learning_rate"));
    if network.text_encoder {
        notes.decide("Text encoder's rate", format!("{text_encoder_lr:?}"), notes.why("train.text_encoder_lr"));
    }
    let batch = if train.accumulation == 1 {
        train.batch.to_string()
    } else {
        format!("{} x {} = {}", train.batch, train.accumulation, u64::from(train.batch) * u64::from(train.accumulation))
    };
    notes.decide("Batch", batch, notes.why(if train.accumulation == 1 { "train.batch" } else { "train.accumulation" }));
    train
}

fn sample(r: &Reader<'_>, base: &BaseFacts, notes: &mut Notes<'_>, resolution: u32) -> SampleSettings {
    let multiple = base.size_multiple.max(1);
    let mut side = |id: &'static str| match r.small(id) {
        0 => resolution,
        asked => fit(asked, multiple, id, notes),
    };
    let (width, height) = (side("sample.width"), side("sample.height"));
    let named = r.text("sample.sampler");
    if r.base().is_flux() && named != "euler" {
        notes.warn(format!("sample.sampler = {named} does not draw with FLUX; Euler is taken"));
    }
    let told = r.number("sample.guidance");
    SampleSettings {
        prompts: r.list("sample.prompts"),
        negative: r.text("sample.negative"),
        every: r.whole("sample.every"),
        unit: if r.text("sample.unit") == "epochs" { SampleUnit::Epochs } else { SampleUnit::Steps },
        every_steps: 0,
        steps: r.small("sample.steps").max(1),
        cfg: r.number("sample.cfg"),
        guidance: r.applies("sample.guidance").then_some(told),
        sampler: match named.as_str() {
            _ if r.base().is_flux() => Sampler::Euler,
            "euler" => Sampler::Euler,
            "euler_a" => Sampler::EulerA,
            "ddim" => Sampler::Ddim,
            _ => Sampler::DpmPp2m,
        },
        width,
        height,
        seed: r.whole("sample.seed"),
    }
}

fn save(r: &Reader<'_>, dataset: &DatasetSettings) -> SaveSettings {
    let asked = r.text("save.name");
    let folder = dataset.folders().into_iter().next().map(|folder| folder.path).unwrap_or_default();
    let folder_name = || Path::new(&folder).file_name().map(|name| name.to_string_lossy().into_owned());
    let name = match (asked.is_empty(), dataset.trigger.is_empty()) {
        (false, _) => asked,
        (true, false) => as_file_name(&dataset.trigger),
        (true, true) => as_file_name(&folder_name().unwrap_or_default()),
    };
    SaveSettings {
        every: r.whole("save.every"),
        keep: r.small("save.keep"),
        dtype: match r.text("save.dtype").as_str() {
            "bf16" => SaveDtype::Bf16,
            "f32" => SaveDtype::F32,
            _ => SaveDtype::F16,
        },
        name,
        folder: r.text("save.folder"),
    }
}

/// The nearest size not above that the base can take, but at least one multiple.
pub(super) fn fit(asked: u32, multiple: u32, id: &str, notes: &mut Notes<'_>) -> u32 {
    let fitted = (asked / multiple * multiple).max(multiple);
    if fitted != asked {
        notes.warn(format!(
            "{id} = {asked} px is taken as {fitted}: the base takes sides that are multiples of {multiple} px"
        ));
    }
    fitted
}

pub(super) fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// Up to four decimals, none that are zero.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
