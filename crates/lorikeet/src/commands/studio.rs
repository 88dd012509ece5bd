//! No subcommand: the window.

use lorikeet_nn::device;
use lorikeet_session::ThreadEngine;
use lorikeet_studio::{DeviceChoice, Example, StartUp, StudioError};

use crate::shipped::{self, EXAMPLES};
use crate::trouble::Trouble;

pub(crate) fn open() -> Result<(), Trouble> {
    let engine = ThreadEngine::new().map_err(|error| Trouble::from(error.failure()))?;
    lorikeet_studio::run(Box::new(engine), start_up()).map_err(|error| {
        let what = match error {
            StudioError::NoDisplay => "The studio needs a display",
            StudioError::Window(_) => "The studio's window cannot be opened",
        };
        let todo = "Without a window, try `cargo run --release -- demo` (or `lorikeet demo`): it trains the example in \
                    this terminal. `lorikeet --help` lists everything else";
        Trouble::failed(what, error, todo)
    })
}

fn start_up() -> StartUp {
    let examples = EXAMPLES.iter().filter_map(|shipped| {
        Some(Example {
            title: shipped.title.to_owned(),
            preset: shipped.preset,
            folder: shipped::example(shipped)?,
            trigger: shipped.trigger.to_owned(),
            blurb: shipped.blurb.to_owned(),
        })
    });
    let devices = device::list().into_iter().map(|found| DeviceChoice {
        id: found.kind.to_string(),
        label: found.name,
        available: found.unusable.is_none(),
        why_not: found.unusable.map(|(why, todo)| format!("{why}. {todo}")),
    });
    StartUp {
        demo_base: lorikeet_trainer::asset_folder("demo-base").unwrap_or_default(),
        examples: examples.collect(),
        devices: devices.collect(),
        runs_folder: std::path::absolute("runs").unwrap_or_else(|_| "runs".into()),
    }
}
