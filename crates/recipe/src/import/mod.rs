//! Recipes from the settings of other trainers, with a report of what was taken over and what was not.

mod folders;
mod kohya;
mod onetrainer;

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::error::RecipeError;
use crate::recipe::Recipe;
use crate::setting::{Preset, Value};
use crate::table::setting;

/// The program whose settings were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// kohya's sd-scripts (TOML) and its graphical interface kohya_ss (JSON).
    Kohya,
    OneTrainer,
}

impl Program {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Program::Kohya => "kohya",
            Program::OneTrainer => "OneTrainer",
        }
    }
}

/// What came of another program's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub program: Program,
    pub recipe: Recipe,
    pub taken: Vec<Taken>,
    pub left: Vec<Left>,
}

/// A setting that was taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// As the other program calls it.
    pub key: String,
    /// Empty: it was not in the file, and this is what the other program assumes then.
    pub given: String,
    /// The id of ours.
    pub setting: &'static str,
    pub value: Value,
}

/// A setting that has no effect here.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub key: String,
    pub given: String,
    /// Why, and what to do about it, as a sentence.
    pub why: String,
}

/// What is done with one of their settings.
enum Rule {
    /// It is ours of this id.
    Same(&'static str),
    /// A choice: theirs, and ours or why there is none.
    Choice(&'static str, &'static [(&'static str, Result<&'static str, &'static str>)]),
    /// Worked out together with others.
    With(fn(&mut Reader, &str, &Json)),
    /// Of no concern where it is off or empty; else it is told with this reason.
    Not(&'static str),
    /// How the other program does its work: never told.
    Quiet,
}

/// Reads a file of kohya's or OneTrainer's.
///
/// # Errors
/// When the file cannot be read, or is no settings file of either.
pub fn import(path: &Path, preset: Preset) -> Result<Import, RecipeError> {
    let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
    import_text(&text, preset).map_err(|source| RecipeError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// As [`import`], from the text of a file.
///
/// # Errors
/// When it is neither TOML nor JSON, or holds no setting that either program has.
pub fn import_text(text: &str, preset: Preset) -> Result<Import, RecipeError> {
    let json = match serde_json::from_str::<Json>(text.trim_start_matches('\u{feff}')) {
        Ok(json) => json,
        Err(error) if text.trim_start().starts_with('{') => return Err(RecipeError::Json(error.to_string())),
        Err(_) => from_toml(text)?,
    };
    let Json::Object(map) = json else { return Err(RecipeError::NotSettings) };
    let program = if onetrainer::is(&map) { Program::OneTrainer } else { Program::Kohya };
    let (rules, assumed): (fn(&str) -> Option<Rule>, _) = match program {
        Program::OneTrainer => (onetrainer::rule, onetrainer::ASSUMED),
        Program::Kohya => (kohya::rule, kohya::ASSUMED),
    };
    let mut reader = Reader { recipe: Recipe::new(preset), all: Map::new(), taken: Vec::new(), left: Vec::new() };
    let further = match program {
        Program::Kohya => folders::kohya(&map, &mut reader),
        Program::OneTrainer => folders::onetrainer(&map, &mut reader),
    };
    flatten(program, "", map, &mut reader);
    let all = reader.all.clone();
    let mut known = false;
    for (key, value) in &all {
        let rule = rules(key);
        known |= rule.is_some();
        reader.apply(key, value, rule);
    }
    if !known {
        return Err(RecipeError::NotSettings);
    }
    for (key, rule, value) in assumed {
        if !all.contains_key(*key) {
            reader.assume(key, rule, value);
        }
    }
    if !further.is_empty() {
        let given = further.iter().map(|folder| folder.path.clone()).collect::<Vec<_>>().join(", ");
        let list = further.iter().map(ToString::to_string).collect();
        let key = if program == Program::Kohya { "subsets" } else { "concepts" };
        reader.put(key, given, "dataset.more_folders", Value::List(list));
    }
    Ok(Import { program, recipe: reader.recipe, taken: reader.taken, left: reader.left })
}

/// One level of keys. OneTrainer's parts keep their names (`unet.train`), kohya's sections are only for people.
fn flatten(program: Program, prefix: &str, map: Map<String, Json>, reader: &mut Reader) {
    for (key, value) in map {
        let name = if prefix.is_empty() || program == Program::Kohya { key } else { format!("{prefix}.{key}") };
        match value {
            Json::Object(inner) => flatten(program, &name, inner, reader),
            Json::Array(items) if items.iter().any(Json::is_object) => {
                // Of folders the others are taken too, see `folders.rs`.
                let folders = ["datasets", "subsets", "concepts"].contains(&name.as_str());
                if items.len() > 1 && name != "samples" && !folders {
                    reader.leave(&name, &Json::from(items.len()), "only the first is taken; add the others by hand");
                }
                if name == "samples" {
                    reader.all.insert(name, Json::Array(items));
                } else if let Some(Json::Object(first)) = items.into_iter().next() {
                    flatten(program, &name, first, reader);
                }
            }
            value => {
                reader.all.insert(name, value);
            }
        }
    }
}

fn from_toml(text: &str) -> Result<Json, RecipeError> {
    let document = text.parse::<toml_edit::DocumentMut>().map_err(|error| {
        let (line, column) = crate::toml_file::position(text, error.span().map_or(0, |span| span.start));
        RecipeError::Toml { line, column, message: error.message().to_owned() }
    })?;
    Ok(table(document.as_table()))
}

fn table(table: &dyn toml_edit::TableLike) -> Json {
    Json::Object(table.iter().map(|(key, item)| (key.to_owned(), item_json(item))).collect())
}

fn item_json(item: &toml_edit::Item) -> Json {
    match item {
        toml_edit::Item::None => Json::Null,
        toml_edit::Item::Value(value) => value_json(value),
        toml_edit::Item::Table(inner) => table(inner),
        toml_edit::Item::ArrayOfTables(tables) => tables.iter().map(|inner| table(inner)).collect(),
    }
}

fn value_json(value: &toml_edit::Value) -> Json {
    match value {
        toml_edit::Value::String(text) => Json::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Json::from(*number.value()),
        toml_edit::Value::Float(number) => Json::from(*number.value()),
        toml_edit::Value::Boolean(on) => Json::from(*on.value()),
        toml_edit::Value::Datetime(date) => Json::from(date.to_string()),
        toml_edit::Value::Array(items) => items.iter().map(value_json).collect(),
        toml_edit::Value::InlineTable(inner) => table(inner),
    }
}

/// What was read so far.
struct Reader {
    recipe: Recipe,
    all: Map<String, Json>,
    taken: Vec<Taken>,
    left: Vec<Left>,
}

impl Reader {
    fn apply(&mut self, key: &str, value: &Json, rule: Option<Rule>) {
        match rule {
            Some(Rule::Same(id)) if !is_off(value) || matches!(value, Json::Bool(_) | Json::Number(_)) => {
                self.set(key, value, id, &text(value));
            }
            Some(Rule::Choice(id, choices)) if !is_off(value) => {
                let theirs = text(value);
                match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(theirs.trim())) {
                    Some((_, Ok(ours))) => self.set(key, value, id, ours),
                    Some((_, Err(why))) => self.leave(key, value, why),
                    None => self.leave(key, value, "Lorikeet has no such choice"),
                }
            }
            Some(Rule::With(read)) => read(self, key, value),
            Some(Rule::Not(why)) if !is_off(value) => self.leave(key, value, why),
            Some(_) => {}
            None if is_off(value) => {}
            None => self.leave(key, value, "Lorikeet has nothing like it"),
        }
    }

    /// Takes a value, or tells why it is refused.
    fn set(&mut self, key: &str, given: &Json, id: &'static str, ours: &str) {
        let Some(setting) = setting(id) else { return };
        match setting.parse(ours) {
            Ok(value) => self.put(key, text(given), id, value),
            Err(error) => self.leave(key, given, &error.to_string()),
        }
    }

    fn put(&mut self, key: &str, given: String, id: &'static str, value: Value) {
        // What was parsed for the setting is allowed for it.
        if self.recipe.set(id, value.clone()).is_ok() {
            self.taken.retain(|taken| taken.setting != id);
            self.taken.push(Taken { key: key.to_owned(), given, setting: id, value });
        }
    }

    /// What the other program does when its file does not say.
    fn assume(&mut self, key: &str, id: &'static str, ours: &str) {
        if !self.recipe.is_set(id)
            && let Some(value) = setting(id).and_then(|setting| setting.parse(ours).ok())
        {
            self.put(key, String::new(), id, value);
        }
    }

    fn leave(&mut self, key: &str, given: &Json, why: &str) {
        self.left.push(Left { key: key.to_owned(), given: text(given), why: why.to_owned() });
    }

    fn number(&self, key: &str) -> Option<f64> {
        number(self.all.get(key)?)
    }

    fn is_on(&self, key: &str) -> bool {
        self.all.get(key).is_some_and(|value| !is_off(value))
    }
}

/// As it would be typed. Whole numbers are written so, however they came.
fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// Some files keep numbers as text.
fn number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
}

/// Off, zero, empty, or written so.
fn is_off(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(on) => !on,
        Json::Number(_) => number(value) == Some(0.0),
        Json::String(text) => {
            matches!(text.trim().to_lowercase().as_str(), "" | "none" | "false" | "off") || number(value) == Some(0.0)
        }
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
    }
}

const EPOCHS: &str =
    "runs are counted in steps here: an epoch is pictures times repeats, divided by the batch size; the plan tells";
const MEMORY: &str = "Lorikeet chooses by itself what fits the memory";
const OPTIMISER: &str = "AdamW is used instead, with the same learning rate; the others are to come";
