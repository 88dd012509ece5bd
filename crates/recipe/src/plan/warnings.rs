//! What may go wrong though the recipe is valid.

use super::display::{bytes, plural};
use super::{Plan, SampleUnit};
use crate::facts::{BaseFacts, DatasetFacts, MachineFacts};
use crate::memory::{MemoryStage, Placement, Segments};
use crate::setting::BaseClass;

/// A rate at scale 1 above which LoRAs of the class usually break.
fn high_rate(class: BaseClass) -> f64 {
    match class {
        BaseClass::Demo | BaseClass::DemoFlux => 5e-3,
        _ => 1e-3,
    }
}

pub(super) fn add(plan: &mut Plan, base: &BaseFacts, data: &DatasetFacts, machine: &MachineFacts) {
    let mut found = pictures(plan, data);
    found.extend(numbers(plan, base));
    found.extend(limits(plan, base.class(), machine));
    plan.warnings.extend(found);
}

fn pictures(plan: &Plan, data: &DatasetFacts) -> Vec<String> {
    let dataset = &plan.settings.dataset;
    let mut found = Vec::new();
    if let Some((path, reason)) = data.skipped.first() {
        let more = data.skipped.len() - 1;
        let more = if more > 0 { format!(", and {} more", plural(more as u64, "file")) } else { String::new() };
        found.push(format!("{} was left out ({reason}){more}.", path.display()));
    }
    if plan.images < 5 {
        found.push(format!(
            "There {} only {}: the LoRA will know little else. 10 to 30 are better.",
            if plan.images == 1 { "is" } else { "are" },
            plural(plan.images, "picture")
        ));
    }
    let uncaptioned = data.captions_missing;
    if uncaptioned >= plan.images {
        let instead = if dataset.trigger.is_empty() {
            "set dataset.trigger, or write captions in .txt files beside the pictures"
        } else {
            "the trigger word alone is used; captions that say what else is to be seen keep it out of the LoRA"
        };
        found.push(format!("No picture has a caption: {instead}."));
    } else if uncaptioned > 0 {
        let verb = if uncaptioned == 1 { "has" } else { "have" };
        found.push(format!("{uncaptioned} of {} {verb} no caption.", plural(plan.images, "picture")));
    }
    if dataset.trigger.is_empty() && uncaptioned < plan.images {
        found.push(
            "There is no trigger word: the LoRA will colour everything drawn with it. Set dataset.trigger to call it by \
             a word, unless your captions already share one."
                .to_owned(),
        );
    }
    let small = data.images.iter().filter(|image| {
        u64::from(image.width) * u64::from(image.height) * 4
            < u64::from(dataset.resolution) * u64::from(dataset.resolution)
    });
    let small: Vec<_> = small.collect();
    if let Some(first) = small.first().filter(|_| !dataset.no_upscale) {
        found.push(format!(
            "{} smaller than half the resolution and will be blurry, such as {} ({} x {}).",
            if small.len() == 1 { "1 picture is".to_owned() } else { format!("{} pictures are", small.len()) },
            first.path.display(),
            first.width,
            first.height
        ));
    }
    if !dataset.validation_folder.is_empty() && data.validation_images == 0 {
        found.push(format!(
            "No usable picture is in dataset.validation_folder, so nothing is validated: {}",
            dataset.validation_folder
        ));
    }
    found
}

fn numbers(plan: &Plan, base: &BaseFacts) -> Vec<String> {
    let settings = &plan.settings;
    let mut found = Vec::new();
    let scale = settings.network.scale();
    if scale > 2.0 {
        found.push(format!(
            "network.alpha = {} makes the LoRA count {scale:.1} times; above 2 it often breaks pictures.",
            settings.network.alpha
        ));
    } else if scale < 0.1 {
        found.push(format!(
            "network.alpha = {} makes the LoRA count only {scale:.3} times; it may learn very little.",
            settings.network.alpha
        ));
    }
    let limit = high_rate(base.class());
    let rate = settings.train.learning_rate;
    if rate > limit {
        found.push(format!(
            "train.learning_rate = {rate:?} is very high; above {limit:?} a LoRA for this base often breaks pictures."
        ));
    }
    if settings.loss.prediction != base.prediction {
        found.push(format!(
            "loss.prediction = {} though {} says {}: a wrong choice gives noise.",
            settings.loss.prediction.id(),
            base.display_name,
            base.prediction.id()
        ));
    }
    let native = base.native_resolution;
    // FLUX learned at many sizes.
    let least = if base.class().is_flux() { native.min(512) } else { native };
    if settings.dataset.resolution * 3 < least * 2 || settings.dataset.resolution * 2 > native * 3 {
        found.push(format!(
            "dataset.resolution = {} is far from the {native} px that {} learned at.",
            settings.dataset.resolution, base.display_name
        ));
    }
    if settings.sample.every_steps > plan.steps {
        let unit = if settings.sample.unit == SampleUnit::Epochs { "epochs" } else { "steps" };
        found.push(format!(
            "sample.every = {} {unit} is longer than the run: previews come only at step 0 and at the end.",
            settings.sample.every
        ));
    }
    found
}

fn limits(plan: &Plan, class: BaseClass, machine: &MachineFacts) -> Vec<String> {
    let mut found: Vec<String> = plan.lack_of_memory(BaseClass::PACKABLE.contains(&class)).into_iter().collect();
    let (runs, caches) = (plan.disk_bytes - plan.cache_bytes, plan.cache_bytes);
    if runs > plan.disk_free_bytes {
        found.push(format!(
            "About {} will be written, but only {} are free in {}: set save.keep lower, or choose another save.folder.",
            bytes(runs),
            bytes(plan.disk_free_bytes),
            plan.settings.save.folder
        ));
    }
    if caches > machine.cache_free_bytes {
        found.push(format!(
            "Encoded pictures and captions take about {}, but only {} are free in {}: those that find no room are kept in \
             memory and encoded again next time. Free some space, or set LORIKEET_CACHE to another folder.",
            bytes(caches),
            bytes(machine.cache_free_bytes),
            machine.cache_folder.display()
        ));
    }
    found
}

impl Plan {
    /// What is needed, what there is, and what to do, when the device has too little memory for the way that was chosen.
    /// `large`: whether the base's weights can be streamed and quantised.
    pub fn lack_of_memory(&self, large: bool) -> Option<String> {
        if self.lacks_host_memory() {
            return Some(format!(
                "About {} of the computer's memory is needed for weights, but it has {}: set memory.weights to stream, or base.quantise to int8 or int4.",
                bytes(self.memory.host_bytes),
                bytes(self.host_memory_bytes)
            ));
        }
        let has = self.settings.train.memory_limit.unwrap_or(self.memory_bytes);
        if self.memory.needed_bytes <= has {
            return None;
        }
        // Streamed they would take as much: nothing.
        let in_file = self.memory.parts.iter().any(|part| part.stage == MemoryStage::Mapped);
        let remedy = match (self.segments, self.settings.train.batch) {
            (Segments::One, _) => "set train.memory to low",
            _ if large && self.placement == Placement::Resident && !in_file => "set memory.weights to stream",
            (_, 2..) => "set train.batch to 1 and train.accumulation higher",
            _ if self.settings.sample.every > 0 && self.previews_need_most() => {
                "set sample.every to 0, or sample.width and sample.height lower"
            }
            _ => "set dataset.resolution or network.rank lower",
        };
        let whose = match self.settings.train.memory_limit {
            Some(_) => "memory.limit allows".to_owned(),
            None => format!("{} has", self.device),
        };
        let needed = bytes(self.memory.needed_bytes);
        Some(format!("About {needed} of memory is needed, but {whose} {}: {remedy}.", bytes(has)))
    }

    /// Whether weights that are to wait in the computer's memory do not fit there.
    pub fn lacks_host_memory(&self) -> bool {
        self.host_memory_bytes > 0 && self.memory.host_bytes > self.host_memory_bytes
    }

    fn previews_need_most(&self) -> bool {
        let sum =
            |stage| self.memory.parts.iter().filter(|part| part.stage == stage).map(|part| part.bytes).sum::<u64>();
        sum(MemoryStage::Previews) > sum(MemoryStage::Training)
    }
}
