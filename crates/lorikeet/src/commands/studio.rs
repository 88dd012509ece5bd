//! No subcommand: the window.

use lorikeet_nn::device;
use lorikeet_protocol::Workplace;
use lorikeet_session::{RoutingEngine, WorkerProgram};
use lorikeet_studio::{DeviceChoice, Elsewhere, Example, StartUp, StudioError};

use crate::shipped::{self, EXAMPLES};
use crate::trouble::Trouble;

pub(crate) fn open(offline: bool) -> Result<(), Trouble> {
    let fixed = wanted_workplace()?;
    let start = start_up(fixed, offline);
    // `auto` takes the first device that works.
    let has_card = start.devices.iter().find(|device| device.available).is_some_and(|device| device.id != "cpu");
    let engine = WorkerProgram::this().and_then(|program| RoutingEngine::new(program, fixed, has_card));
    let engine = engine.map_err(|error| Trouble::from(error.failure()))?;
    lorikeet_studio::run(Box::new(engine), start).map_err(|error| {
        let what = match error {
            StudioError::NoDisplay => "The studio needs a display",
            StudioError::Window(_) => "The studio's window cannot be opened",
        };
        let todo = "Without a window, try `cargo run --release -- demo` (or `lorikeet demo`): it trains the example in \
                    this terminal. `lorikeet --help` lists everything else";
        Trouble::failed(what, error, todo)
    })
}

/// Says where runs work, over what Settings say.
const WORKPLACE: &str = "LORIKEET_WORKER";

fn wanted_workplace() -> Result<Option<Workplace>, Trouble> {
    let Some(text) = std::env::var_os(WORKPLACE).filter(|text| !text.is_empty()) else { return Ok(None) };
    Workplace::from_id(&text.to_string_lossy()).map(Some).ok_or_else(|| {
        let why = format!("{WORKPLACE} is {}", text.display());
        Trouble::usage("Where runs are to work is not known", why, format!("Set {WORKPLACE} to child, thread or auto"))
    })
}

fn start_up(workplace: Option<Workplace>, offline: bool) -> StartUp {
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
        workplace,
        go_on: Some(super::queue::go_on_after),
        hub: lorikeet_hub::Access::of_this_computer(offline),
        elsewhere: Elsewhere::of_this_computer(),
        runs_folder: std::path::absolute("runs").unwrap_or_else(|_| "runs".into()),
    }
}
