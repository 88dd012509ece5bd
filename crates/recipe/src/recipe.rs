//! What the user asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::built_in::built_in;
use crate::error::{RecipeError, nearest};
use crate::setting::{BaseClass, Preset, Setting, Value, When};
use crate::table::{SETTINGS, setting};

/// A preset and the values typed over its defaults. Every value in it is allowed for its setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Recipe {
    preset: Preset,
    values: BTreeMap<String, Value>,
}

/// A recipe from JSON before its values are checked.
#[derive(Deserialize)]
struct Unchecked {
    #[serde(default)]
    preset: Preset,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

impl TryFrom<Unchecked> for Recipe {
    type Error = RecipeError;

    fn try_from(unchecked: Unchecked) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::new(unchecked.preset);
        for (id, value) in unchecked.values {
            recipe.set(&id, value)?;
        }
        Ok(recipe)
    }
}

impl Recipe {
    /// The preset's defaults on the demo base, nothing typed.
    pub fn new(preset: Preset) -> Recipe {
        Recipe { preset, values: BTreeMap::new() }
    }

    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// Changes the defaults; what was typed stays.
    pub fn set_preset(&mut self, preset: Preset) {
        self.preset = preset;
    }

    /// Whose defaults hold, as far as the path tells. The plan goes by the base itself.
    pub fn base_class(&self) -> BaseClass {
        match self.values.get("base.path") {
            Some(Value::Text(path)) => built_in(path).map_or(BaseClass::Sd1, |base| base.class),
            _ => BaseClass::Demo,
        }
    }

    /// The value typed, else the default.
    ///
    /// # Panics
    /// If there is no such setting: ids in code are constants. For ids that users type, see [`Recipe::set_text`].
    pub fn get(&self, id: &str) -> Value {
        self.get_on(id, self.base_class())
    }

    /// The value typed, else the default for that base.
    ///
    /// # Panics
    /// If there is no such setting.
    pub fn get_on(&self, id: &str, base: BaseClass) -> Value {
        let Some(setting) = setting(id) else { panic!("there is no setting `{id}`") };
        self.values.get(id).cloned().unwrap_or_else(|| setting.default_value(self.preset, base))
    }

    /// Whether the value was typed.
    pub fn is_set(&self, id: &str) -> bool {
        self.values.contains_key(id)
    }

    /// What was typed, by id.
    pub fn typed(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(id, value)| (id.as_str(), value))
    }

    pub fn set(&mut self, id: &str, value: Value) -> Result<(), RecipeError> {
        let value = known(id)?.check(value)?;
        self.values.insert(id.to_owned(), value);
        Ok(())
    }

    /// For `--set key=value`. The id `preset` chooses the preset.
    pub fn set_text(&mut self, id: &str, text: &str) -> Result<(), RecipeError> {
        let id = id.trim();
        if id == "preset" {
            self.preset = preset_named(text)?;
            return Ok(());
        }
        let value = known(id)?.parse(text)?;
        self.values.insert(id.to_owned(), value);
        Ok(())
    }

    /// Back to the default.
    pub fn unset(&mut self, id: &str) {
        self.values.remove(id);
    }

    /// Whether the setting has an effect with the others as they are.
    pub fn applies(&self, setting: &Setting) -> bool {
        self.applies_on(setting, self.base_class())
    }

    /// As [`Recipe::applies`] for a base whose class is known better than by its path.
    pub fn applies_on(&self, setting: &Setting, base: BaseClass) -> bool {
        self.holds(&setting.when, base)
    }

    fn holds(&self, when: &When, base: BaseClass) -> bool {
        // A setting that has no effect itself counts as unset.
        let value = |id: &str| {
            let applies = setting(id).is_some_and(|setting| self.applies_on(setting, base));
            applies.then(|| self.get_on(id, base))
        };
        match when {
            When::Always => true,
            When::Set(other) => value(other).is_some_and(|value| !value.is_zero()),
            When::Unset(other) => value(other).is_none_or(|value| value.is_zero()),
            When::Is(other, values) => {
                value(other).is_some_and(|value| matches!(value, Value::Text(text) if values.contains(&text.as_str())))
            }
            When::On(bases) => bases.contains(&base),
            When::All(all) => all.iter().all(|when| self.holds(when, base)),
        }
    }
}

pub(crate) fn preset_named(text: &str) -> Result<Preset, RecipeError> {
    Preset::from_id(text).ok_or_else(|| RecipeError::UnknownPreset {
        given: text.trim().to_owned(),
        nearest: nearest(text, Preset::ALL.map(Preset::id)),
    })
}

/// The setting, or an error with the nearest id. A key without its section finds the setting of that key.
pub(crate) fn known(id: &str) -> Result<&'static Setting, RecipeError> {
    setting(id).ok_or_else(|| {
        let same_key = SETTINGS.iter().find(|setting| setting.key() == id).map(|setting| setting.id.to_owned());
        RecipeError::UnknownSetting {
            id: id.to_owned(),
            nearest: same_key.or_else(|| nearest(id, SETTINGS.iter().map(|setting| setting.id))),
        }
    })
}
