//! Recipes as TOML files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use toml_edit::{Array, Document, Item};

use crate::error::RecipeError;
use crate::recipe::{Recipe, known, preset_named};
use crate::setting::{BaseClass, Preset, Setting, Value};
use crate::table::SECTIONS;

impl Recipe {
    /// Reads what [`Recipe::to_toml`] writes. Errors tell the line.
    pub fn from_toml(text: &str) -> Result<Recipe, RecipeError> {
        let document = Document::parse(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            RecipeError::Toml { line, column, message: error.message().to_owned() }
        })?;
        let at = |span: Option<std::ops::Range<usize>>, source: RecipeError| RecipeError::AtLine {
            line: position(text, span.map_or(0, |span| span.start)).0,
            source: Box::new(source),
        };
        let mut recipe = Recipe::default();
        for (name, item) in document.as_table() {
            let name_span = || document.as_table().key(name).and_then(|key| key.span());
            if name == "preset" {
                let text = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                recipe.set_preset(preset_named(&text).map_err(|error| at(item.span(), error))?);
                continue;
            }
            let Some(section) = item.as_table_like() else {
                return Err(at(name_span(), known(name).err().unwrap_or(unknown(name))));
            };
            for (key, item) in section.iter() {
                let id = format!("{name}.{key}");
                let span = || section.key(key).and_then(|key| key.span());
                let setting = known(&id).map_err(|error| at(span(), error))?;
                let value = value_of(setting, item).map_err(|error| at(span(), error))?;
                recipe.set(&id, value).map_err(|error| at(span(), error))?;
            }
            if section.is_empty() && !SECTIONS.iter().any(|section| section.id == name) {
                return Err(at(name_span(), unknown(name)));
            }
        }
        Ok(recipe)
    }

    pub fn load(path: &Path) -> Result<Recipe, RecipeError> {
        if path.is_dir() {
            return Err(RecipeError::Folder { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Recipe::from_toml(&text)
            .map_err(|source| RecipeError::InFile { path: path.to_owned(), source: Box::new(source) })
    }

    /// A file that explains itself: every setting with its help; those not typed are commented out with their default.
    pub fn to_toml(&self) -> String {
        self.to_toml_on(self.base_class())
    }

    /// As [`Recipe::to_toml`], with the defaults for a base whose class is known better than by its path.
    pub fn to_toml_on(&self, base: BaseClass) -> String {
        let mut text = String::from(
            "# A Lorikeet recipe. A line that starts with # is not in effect: it shows the default.\n\
             # Remove the # before a setting to change it.\n\n",
        );
        let presets = Preset::ALL.map(Preset::id).join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# One of {presets}: {}\npreset = \"{}\"", self.preset().help(), self.preset().id());
        for section in SECTIONS {
            let _ = writeln!(text, "\n# {}\n[{}]", section.label, section.id);
            for setting in section.settings {
                self.write_setting(&mut text, setting, base);
            }
        }
        text
    }

    /// Writes [`Recipe::to_toml`] beside the file first, so that a full disk leaves the old recipe whole.
    pub fn save(&self, path: &Path) -> Result<(), RecipeError> {
        let failed = |source| RecipeError::Write { path: path.to_owned(), source };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        fs::write(&part, self.to_toml())
            .and_then(|()| fs::rename(&part, path))
            .inspect_err(|_| {
                // The failure itself is what the user must hear of.
                fs::remove_file(&part).ok();
            })
            .map_err(failed)
    }

    fn write_setting(&self, text: &mut String, setting: &Setting, base: BaseClass) {
        let row = setting.default_row(self.preset(), base);
        let default: Value = row.value.into();
        let mut facts = vec![format!("Allowed: {}", setting.allowed())];
        if !setting.zero_means.is_empty() && !matches!(default, Value::Bool(_)) {
            let zero = if matches!(default, Value::Int(_) | Value::Float(_)) { "0" } else { "empty" };
            facts.push(format!("{zero}: {}", setting.zero_means));
        }
        facts.extend(setting.when.describe("").map(|when| format!("in effect {when}")));
        let _ = writeln!(text, "\n# {}\n# {}.", setting.help, facts.join("; "));
        if self.is_set(setting.id) {
            let value = self.get(setting.id);
            if value != default {
                let _ = writeln!(text, "# Default: {}. {}", as_toml(&default, false), row.reason);
            }
            let _ = writeln!(text, "{} = {}", setting.key(), as_toml(&value, true));
        } else {
            let _ = writeln!(text, "# {}\n# {} = {}", row.reason, setting.key(), as_toml(&default, false));
        }
    }
}

fn unknown(name: &str) -> RecipeError {
    let sections = SECTIONS.iter().map(|section| section.id);
    RecipeError::UnknownSetting { id: name.to_owned(), nearest: crate::error::nearest(name, sections) }
}

fn value_of(setting: &'static Setting, item: &Item) -> Result<Value, RecipeError> {
    let wrong = |given| setting.wrong_type(given, item.to_string().trim().to_owned());
    match item.as_value() {
        Some(toml_edit::Value::String(text)) => Ok(Value::Text(text.value().clone())),
        Some(toml_edit::Value::Integer(number)) => Ok(Value::Int(*number.value())),
        Some(toml_edit::Value::Float(number)) => Ok(Value::Float(*number.value())),
        Some(toml_edit::Value::Boolean(on)) => Ok(Value::Bool(*on.value())),
        Some(toml_edit::Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Value::List)
            .ok_or_else(|| wrong("a list with other things than texts")),
        Some(toml_edit::Value::Datetime(_)) => Err(wrong("a date")),
        Some(toml_edit::Value::InlineTable(_)) | None => Err(wrong("a table")),
    }
}

/// `lines`: a list of several texts goes one a line.
fn as_toml(value: &Value, lines: bool) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => quoted(text),
        Value::List(items) if lines && items.len() > 1 => {
            format!("[\n{}]", items.iter().map(|item| format!("    {},\n", quoted(item))).collect::<String>())
        }
        Value::List(items) => items.iter().collect::<Array>().to_string(),
    }
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Line and column of a byte, from 1.
pub(crate) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
