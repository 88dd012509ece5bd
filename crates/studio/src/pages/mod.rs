//! The pages in the order one works through them.

mod compare;
mod dataset;
mod dialogs;
mod draw;
mod export;
mod export_more;
mod fields;
mod hub;
mod import;
mod load;
mod log;
mod longer;
mod memory;
mod model;
mod monitor;
mod overlays;
mod picture;
mod plan;
mod prompts;
mod queue;
mod recipes;
mod runs;
mod samples;
mod settings;
mod training;
mod welcome;

use egui::Ui;

use crate::app::StudioApp;
use crate::kit::Icon;
use crate::texts;

pub(crate) use compare::Compare;
pub(crate) use dataset::sentence;
pub(crate) use dataset::{FolderCounts, Shapes};
pub(crate) use dialogs::dialogs;
pub(crate) use export::ExportForm;
pub(crate) use export_more::Copies;
pub(crate) use fields::{in_form as settings_in_form, shown as setting_in_words};
pub(crate) use longer::LongerForm;
pub(crate) use prompts::PromptForm;
pub(crate) use training::AdvancedView;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Dataset,
    Model,
    Training,
    Monitor,
    Samples,
    Runs,
    Settings,
}

impl Page {
    pub const ALL: [Page; 7] =
        [Page::Dataset, Page::Model, Page::Training, Page::Monitor, Page::Samples, Page::Runs, Page::Settings];

    pub fn label(self) -> &'static str {
        match self {
            Page::Dataset => texts::shell::DATASET,
            Page::Model => texts::shell::MODEL,
            Page::Training => texts::shell::TRAINING,
            Page::Monitor => texts::shell::MONITOR,
            Page::Samples => texts::shell::SAMPLES,
            Page::Runs => texts::shell::RUNS,
            Page::Settings => texts::shell::SETTINGS,
        }
    }

    pub(crate) fn icon(self) -> Icon {
        match self {
            Page::Dataset => Icon::Images,
            Page::Model => Icon::Boxes,
            Page::Training => Icon::Sliders,
            Page::Monitor => Icon::Activity,
            Page::Samples => Icon::Sparkles,
            Page::Runs => Icon::History,
            Page::Settings => Icon::Settings,
        }
    }
}

pub(crate) fn show(app: &mut StudioApp, ui: &mut Ui) {
    match app.page {
        Page::Dataset => dataset::show(app, ui),
        Page::Model => model::show(app, ui),
        Page::Training => training::show(app, ui),
        Page::Monitor => monitor::show(app, ui),
        Page::Samples => samples::show(app, ui),
        Page::Runs => runs::show(app, ui),
        Page::Settings => settings::show(app, ui),
    }
}

/// At the right of the pages that prepare a run.
pub(crate) fn rail(app: &mut StudioApp, ui: &mut Ui) {
    if app.page == Page::Dataset {
        dataset::rail(app, ui);
    } else {
        monitor::rail(app, ui);
    }
}
