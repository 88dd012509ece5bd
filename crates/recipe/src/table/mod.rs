//! The settings table: each setting once. The form, the command line, the comments in a recipe and `docs/settings.md`
//! are made from it.
//!
//! To tune a default, change its row; the last row of a setting that matches preset and base holds.

mod dataset;
mod loss;
mod memory;
mod output;
mod steps;
mod train;

use crate::setting::{BaseClass, DefaultRow, Fixed, Preset, Section, Setting};

pub use steps::{AutoSteps, auto_steps};

/// The sections, in the order of a form and of a recipe file.
pub static SECTIONS: &[Section] = &[
    Section { id: "base", label: "Base model", settings: &dataset::BASE },
    Section { id: "dataset", label: "Pictures", settings: &dataset::DATASET },
    Section { id: "network", label: "LoRA", settings: &train::NETWORK },
    Section { id: "train", label: "Training", settings: &train::TRAIN },
    Section { id: "memory", label: "Memory", settings: &memory::MEMORY },
    Section { id: "loss", label: "Loss", settings: &loss::LOSS },
    Section { id: "sample", label: "Previews", settings: &output::SAMPLE },
    Section { id: "validation", label: "Validation", settings: &output::VALIDATION },
    Section { id: "save", label: "Saving", settings: &output::SAVE },
    Section { id: "run", label: "Computer", settings: &output::RUN },
];

/// All settings, in the order of [`SECTIONS`].
pub static SETTINGS: &[Setting] = &ALL;

const PARTS: [&[Setting]; 10] = [
    &dataset::BASE,
    &dataset::DATASET,
    &train::NETWORK,
    &train::TRAIN,
    &memory::MEMORY,
    &loss::LOSS,
    &output::SAMPLE,
    &output::VALIDATION,
    &output::SAVE,
    &output::RUN,
];
static ALL: [Setting; count()] = join();

const fn count() -> usize {
    let mut count = 0;
    let mut part = 0;
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
}

const fn join() -> [Setting; count()] {
    let mut all = [dataset::BASE[0]; count()];
    let (mut part, mut at) = (0, 0);
    while part < PARTS.len() {
        let mut index = 0;
        while index < PARTS[part].len() {
            all[at] = PARTS[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    all
}

/// The setting of that id.
pub fn setting(id: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.id == id)
}

/// Both built-in bases.
const DEMOS: &[BaseClass] = &[BaseClass::Demo, BaseClass::DemoFlux];
const DEMO: &[BaseClass] = &[BaseClass::Demo];
/// Those that are told their guidance.
const FLUX_DEV: &[BaseClass] = &[BaseClass::DemoFlux, BaseClass::FluxDev];
const UNETS: &[BaseClass] = &[BaseClass::Demo, BaseClass::Sd1, BaseClass::Sd2, BaseClass::Sdxl];
/// Stable Diffusion at its full size.
const SD_FULL: &[BaseClass] = &[BaseClass::Sd1, BaseClass::Sd2, BaseClass::Sdxl];

const fn any(value: Fixed, reason: &'static str) -> DefaultRow {
    DefaultRow { preset: None, bases: &[], value, reason }
}

const fn on(bases: &'static [BaseClass], value: Fixed, reason: &'static str) -> DefaultRow {
    DefaultRow { preset: None, bases, value, reason }
}

const fn to(preset: Preset, value: Fixed, reason: &'static str) -> DefaultRow {
    DefaultRow { preset: Some(preset), bases: &[], value, reason }
}

const fn to_on(preset: Preset, bases: &'static [BaseClass], value: Fixed, reason: &'static str) -> DefaultRow {
    DefaultRow { preset: Some(preset), bases, value, reason }
}
