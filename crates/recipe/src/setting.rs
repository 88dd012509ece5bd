//! What a setting is: the types of the settings table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of a setting. In JSON and TOML it is the bare value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    /// What kind of value this is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "text",
            Value::List(_) => "a list of texts",
        }
    }

    /// Zero, empty, or off: what [`Setting::zero_means`] speaks of.
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Bool(on) => !on,
            Value::Int(number) => *number == 0,
            Value::Float(number) => *number == 0.0,
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(on) => write!(f, "{on}"),
            Value::Int(number) => write!(f, "{number}"),
            // Debug keeps small numbers short: 1e-8, not 0.00000001.
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Text(text) => write!(f, "\"{text}\""),
            Value::List(items) => write!(f, "{items:?}"),
        }
    }
}

/// A value that can stand in a `static` table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fixed {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    /// The only list that is a default.
    EmptyList,
}

impl From<Fixed> for Value {
    fn from(fixed: Fixed) -> Value {
        match fixed {
            Fixed::Bool(on) => Value::Bool(on),
            Fixed::Int(number) => Value::Int(number),
            Fixed::Float(number) => Value::Float(number),
            Fixed::Text(text) => Value::Text(text.to_owned()),
            Fixed::EmptyList => Value::List(Vec::new()),
        }
    }
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Both ends included. A multiple of `step`, or 0 where the range includes it.
    Int {
        min: i64,
        max: i64,
        step: i64,
    },
    /// Both ends included.
    Float {
        min: f64,
        max: f64,
    },
    Bool,
    Choice(&'static [Choice]),
    Text(TextRule),
    /// One text a line in a form.
    List,
    /// Folders of pictures with their repeats, `3 x pictures/cats`.
    Folders,
}

/// One of the values of a [`Kind::Choice`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// As in TOML.
    pub id: &'static str,
    /// For a form.
    pub label: &'static str,
}

/// What a free text may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRule {
    /// One line.
    Line,
    /// A folder: a form offers a folder dialog.
    Folder,
    /// A base model: `demo`, a folder or a file.
    BasePath,
    /// A part of a model: a folder or a file.
    Weights,
    /// A file name without its ending, legal on every system.
    FileName,
    /// `auto`, `cpu`, `cuda`, `cuda:1`, `vulkan`, `vulkan:1`.
    Device,
}

/// Who sees the setting in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Basic,
    Advanced,
}

/// What the user wants to teach. Chooses defaults; every value can still be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// How pictures look: line, colour, light.
    #[default]
    Style,
    /// One person, animal or figure in any scene.
    Character,
    /// One thing, place or idea.
    Concept,
}

impl Preset {
    pub const ALL: [Preset; 3] = [Preset::Style, Preset::Character, Preset::Concept];

    /// As in TOML.
    pub fn id(self) -> &'static str {
        match self {
            Preset::Style => "style",
            Preset::Character => "character",
            Preset::Concept => "concept",
        }
    }

    /// For a form.
    pub fn label(self) -> &'static str {
        match self {
            Preset::Style => "Style",
            Preset::Character => "Character",
            Preset::Concept => "Concept",
        }
    }

    /// What to choose it for, in one sentence.
    pub fn help(self) -> &'static str {
        match self {
            Preset::Style => "Teaches how pictures look, so that anything can be drawn that way.",
            Preset::Character => "Teaches one person, animal or figure, to be put into any scene.",
            Preset::Concept => "Teaches one thing, place or idea the model does not know.",
        }
    }

    pub fn from_id(id: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.id().eq_ignore_ascii_case(id.trim()))
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Bases that share their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseClass {
    /// The built-in demo base and others of that size: the Stable Diffusion 1 layout, under 50 M UNet parameters.
    Demo,
    /// The built-in base of the FLUX.1 dev layout and others of that size.
    DemoFlux,
    /// Stable Diffusion 1.x at its full size.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    Sdxl,
    FluxDev,
    FluxSchnell,
}

impl BaseClass {
    pub const ALL: [BaseClass; 7] = [
        BaseClass::Demo,
        BaseClass::DemoFlux,
        BaseClass::Sd1,
        BaseClass::Sd2,
        BaseClass::Sdxl,
        BaseClass::FluxDev,
        BaseClass::FluxSchnell,
    ];
    /// Those with a noise schedule of a thousand steps.
    pub const SD: &'static [BaseClass] = &[BaseClass::Demo, BaseClass::Sd1, BaseClass::Sd2, BaseClass::Sdxl];
    /// Those that learned the straight way from picture to noise.
    pub const FLUX: &'static [BaseClass] = &[BaseClass::DemoFlux, BaseClass::FluxDev, BaseClass::FluxSchnell];
    /// Those whose weights can be packed or streamed.
    pub const PACKABLE: &'static [BaseClass] =
        &[BaseClass::DemoFlux, BaseClass::Sdxl, BaseClass::FluxDev, BaseClass::FluxSchnell];
    /// Those too large for many machines.
    pub const LARGE: &'static [BaseClass] = &[BaseClass::Sdxl, BaseClass::FluxDev, BaseClass::FluxSchnell];

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            BaseClass::Demo => "demo base",
            BaseClass::DemoFlux => "demo base of the FLUX layout",
            BaseClass::Sd1 => "SD 1.x",
            BaseClass::Sd2 => "SD 2.x",
            BaseClass::Sdxl => "SDXL",
            BaseClass::FluxDev => "FLUX.1 dev",
            BaseClass::FluxSchnell => "FLUX.1 schnell",
        }
    }

    pub fn is_flux(self) -> bool {
        Self::FLUX.contains(&self)
    }
}

/// A default and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DefaultRow {
    /// `None`: every preset.
    pub preset: Option<Preset>,
    /// Empty: every base.
    pub bases: &'static [BaseClass],
    pub value: Fixed,
    /// A sentence.
    pub reason: &'static str,
}

/// When a setting has an effect; a form hides or greys it otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    Always,
    /// That setting is on, not 0, or not empty.
    Set(&'static str),
    /// That setting is off, 0, or empty.
    Unset(&'static str),
    /// That choice is one of these.
    Is(&'static str, &'static [&'static str]),
    /// The base is one of these.
    On(&'static [BaseClass]),
    /// All of them.
    All(&'static [When]),
}

impl When {
    /// As the end of "In effect ...": `with sample.every`, `on FLUX.1 dev`. Nothing if always. `mark` goes around ids.
    pub fn describe(&self, mark: &str) -> Option<String> {
        Some(match self {
            When::Always => return None,
            When::Set(other) => format!("with {mark}{other}{mark}"),
            When::Unset(other) => format!("without {mark}{other}{mark}"),
            When::Is(other, values) => format!("with {mark}{other}{mark} = {}", values.join(" or ")),
            When::On(bases) => {
                format!("on {}", bases.iter().map(|base| base.label()).collect::<Vec<_>>().join(", "))
            }
            When::All(all) => all.iter().filter_map(|when| when.describe(mark)).collect::<Vec<_>>().join(" and "),
        })
    }

    /// The bases it is limited to, if it is.
    pub fn bases(&self) -> Option<&'static [BaseClass]> {
        match self {
            When::On(bases) => Some(bases),
            When::All(all) => all.iter().find_map(When::bases),
            _ => None,
        }
    }
}

/// One setting. The table of all is [`crate::SETTINGS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// `section.key`, as in TOML and on the command line.
    pub id: &'static str,
    /// For a form.
    pub label: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// `px`, `steps`, ... or empty.
    pub unit: &'static str,
    pub kind: Kind,
    pub level: Level,
    pub when: When,
    /// What 0 or an empty text stands for (`auto`, `off`, ...), or empty if it is a value like others or not allowed.
    pub zero_means: &'static str,
    /// From general to special: the last row that matches holds. The first matches everything.
    pub defaults: &'static [DefaultRow],
}

impl Setting {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.id.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part after the dot.
    pub fn key(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(_, key)| key)
    }

    /// The default with its reason.
    pub fn default_row(&self, preset: Preset, base: BaseClass) -> &'static DefaultRow {
        self.defaults
            .iter()
            .rev()
            .find(|row| row.preset.is_none_or(|p| p == preset) && (row.bases.is_empty() || row.bases.contains(&base)))
            .unwrap_or(&self.defaults[0])
    }

    pub fn default_value(&self, preset: Preset, base: BaseClass) -> Value {
        self.default_row(preset, base).value.into()
    }

    /// The allowed values in words, such as `1 to 256` or `one of constant, cosine, linear`.
    pub fn allowed(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match self.kind {
            Kind::Int { min, max, step: 1 } => format!("{min} to {max}{unit}"),
            Kind::Int { min, max, step } => format!("{min} to {max}{unit}, a multiple of {step}"),
            Kind::Float { min, max } => format!("{} to {}{unit}", bare(min), bare(max)),
            Kind::Bool => "true or false".to_owned(),
            Kind::Choice(choices) => {
                format!("one of {}", choices.iter().map(|choice| choice.id).collect::<Vec<_>>().join(", "))
            }
            Kind::Text(TextRule::Line) => "one line of text".to_owned(),
            Kind::Text(TextRule::Folder) => "a folder".to_owned(),
            Kind::Text(TextRule::BasePath) => "demo, a model folder or a .safetensors file".to_owned(),
            Kind::Text(TextRule::Weights) => "a folder or a .safetensors file".to_owned(),
            Kind::Text(TextRule::FileName) => "a file name without folder and ending".to_owned(),
            Kind::Text(TextRule::Device) => "auto, cpu, cuda, cuda:1, vulkan or vulkan:1".to_owned(),
            Kind::List => "a list of texts".to_owned(),
            Kind::Folders => "a list of folders, with repeats such as \"3 x pictures/cats\"".to_owned(),
        }
    }
}

/// Without `.0`.
fn bare(number: f64) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A group of settings: one table in TOML, one card in a form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section {
    pub id: &'static str,
    /// For a form.
    pub label: &'static str,
    pub settings: &'static [Setting],
}
