//! What the unit tests share.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use lorikeet_nn::DeviceKind;
use lorikeet_protocol::{Command, Event, Stage};
use lorikeet_recipe::{Recipe, Value};

use crate::{Base, Host};

/// Keeps what it is told; hands out commands one at a time.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
    pub(crate) commands: VecDeque<Command>,
}

impl Host for Recorder {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn wait(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }
}

impl Recorder {
    pub(crate) fn warnings(&self) -> Vec<&str> {
        let warnings = self.events.iter().filter_map(|event| match event {
            Event::Warning { message } => Some(message.as_str()),
            _ => None,
        });
        warnings.collect()
    }

    pub(crate) fn loaded_a_model(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Stage { stage: Stage::LoadModel, .. }))
    }
}

pub(crate) fn demo() -> Base {
    Base::open("demo", DeviceKind::Cpu).unwrap()
}

/// A PNG with a gradient, and a caption beside it.
pub(crate) fn picture(folder: &Path, name: &str, side: u32, tint: u8, caption: &str) -> PathBuf {
    let path = folder.join(name);
    let shade = |at: u32| u8::try_from(at * 255 / side).unwrap_or(255);
    RgbImage::from_fn(side, side, |x, y| Rgb([shade(x), shade(y), tint])).save(&path).unwrap();
    std::fs::write(path.with_extension("txt"), caption).unwrap();
    path
}

/// Damages the pixel data of a PNG; its header and end stay whole.
pub(crate) fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let data = bytes.windows(4).position(|window| window == b"IDAT").unwrap();
    for byte in &mut bytes[data + 8..data + 24] {
        *byte ^= 0x5a;
    }
    std::fs::write(path, bytes).unwrap();
}

/// The style preset on the demo base at 64 px, with nothing held out.
pub(crate) fn recipe(folder: &Path) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.set("dataset.folder", Value::Text(folder.display().to_string())).unwrap();
    for (id, text) in [
        ("dataset.resolution", "64"),
        ("dataset.validation_split", "0"),
        ("dataset.trigger", "ink"),
        ("run.device", "cpu"),
    ] {
        recipe.set_text(id, text).unwrap();
    }
    recipe
}
