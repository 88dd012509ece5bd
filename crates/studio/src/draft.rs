//! The recipe being written, with what the disk says about its folder and base.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lorikeet_checkpoint::PartFiles;
use lorikeet_dataset::{Dataset, Folder};
use lorikeet_recipe::{BaseClass, BuiltIn, Preset, Recipe, Setting, Value, built_in};

use crate::base::Base;
use crate::texts;

/// Something that a thread reads.
#[derive(Debug, Default)]
pub(crate) enum Load<T> {
    #[default]
    Nothing,
    /// The answer with this ticket is awaited.
    Loading(u64),
    Ready(T),
    Failed(String),
}

impl<T> Load<T> {
    pub(crate) fn ready(&self) -> Option<&T> {
        match self {
            Load::Ready(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn awaits(&self, ticket: u64) -> bool {
        matches!(self, Load::Loading(t) if *t == ticket)
    }
}

/// Text in a field that is being typed, or that does not hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    pub text: String,
    pub error: Option<String>,
}

#[derive(Default)]
pub(crate) struct Draft {
    pub recipe: Recipe,
    pub data: Load<Arc<Dataset>>,
    /// Counts the changes of `data`.
    pub generation: u64,
    /// The folders that `data` was, or is being, made of.
    pub scanned: Vec<Folder>,
    /// The folder is looked at again meanwhile; the answer has this ticket.
    pub refreshing: Option<u64>,
    pub base: Load<Base>,
    pub typed: HashMap<&'static str, Typed>,
    /// Of the examples at start.
    pub example: Option<usize>,
    changed: bool,
}

impl Draft {
    pub(crate) fn new(recipe: Recipe, generation: u64) -> Self {
        Self { recipe, generation, ..Self::default() }
    }

    pub(crate) fn text(&self, id: &str) -> String {
        match self.recipe.get_on(id, self.class()) {
            Value::Text(text) => text,
            other => other.to_string(),
        }
    }

    pub(crate) fn int(&self, id: &str) -> i64 {
        match self.recipe.get_on(id, self.class()) {
            Value::Int(number) => number,
            _ => 0,
        }
    }

    pub(crate) fn float(&self, id: &str) -> f64 {
        match self.recipe.get_on(id, self.class()) {
            Value::Float(number) => number,
            Value::Int(number) => number as f64,
            _ => 0.0,
        }
    }

    /// The first of them.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        self.recipe.folders().into_iter().next().map(|folder| folder.path.into())
    }

    /// The built-in base that is chosen, if one is.
    pub(crate) fn built_in(&self) -> Option<&'static BuiltIn> {
        built_in(&self.text("base.path"))
    }

    /// Where the base lies, and the files of its parts that lie elsewhere. `demo`: the folder of the first built-in base, which
    /// the others lie beside.
    pub(crate) fn base_files(&self, demo: &Path) -> (PathBuf, PartFiles) {
        let Some(base) = self.built_in() else {
            return (PathBuf::from(self.text("base.path")), self.part_files());
        };
        let path = demo.with_file_name(base.folder);
        let files = self.part_files();
        let files = match base.shares {
            Some(shared) => files.or_shared(&path, &demo.with_file_name(shared)),
            None => files,
        };
        (path, files)
    }

    /// The files that the settings name for parts of the base.
    pub(crate) fn part_files(&self) -> PartFiles {
        let path = |id: &str| match self.recipe.get(id) {
            Value::Text(text) if !text.is_empty() => Some(PathBuf::from(text)),
            _ => None,
        };
        PartFiles {
            vae: path("base.vae"),
            text_encoder: path("base.text_encoder"),
            text_encoder_2: path("base.text_encoder_2"),
        }
    }

    /// Whose defaults hold: as the base's own header tells, else as far as its path does.
    pub(crate) fn class(&self) -> BaseClass {
        self.base.ready().and_then(|base| base.class).unwrap_or_else(|| self.recipe.base_class())
    }

    pub(crate) fn is_demo(&self) -> bool {
        self.built_in().is_some()
    }

    /// Typed by the user, or back to the default. The error is for below the field.
    pub(crate) fn set(&mut self, setting: &Setting, value: Value) -> Result<(), String> {
        let default = setting.default_value(self.recipe.preset(), self.class());
        if value == default {
            self.recipe.unset(setting.id);
        } else {
            self.recipe.set(setting.id, value).map_err(|error| error.to_string())?;
        }
        self.typed.remove(setting.id);
        self.changed = true;
        Ok(())
    }

    pub(crate) fn set_text(&mut self, id: &str, text: impl Into<String>) -> Result<(), String> {
        self.recipe.set(id, Value::Text(text.into())).map_err(|error| error.to_string())?;
        self.typed.remove(id);
        self.changed = true;
        Ok(())
    }

    pub(crate) fn reset(&mut self, id: &str) {
        self.recipe.unset(id);
        self.typed.remove(id);
        self.changed = true;
    }

    pub(crate) fn set_preset(&mut self, preset: Preset) {
        self.recipe.set_preset(preset);
        self.changed = true;
    }

    /// The recipe with only what says what is trained, not how.
    pub(crate) fn emptied(&self) -> Recipe {
        const KEPT: [&str; 10] = [
            "base.path",
            "base.vae",
            "base.text_encoder",
            "base.text_encoder_2",
            "dataset.folder",
            "dataset.repeats",
            "dataset.more_folders",
            "dataset.trigger",
            "dataset.validation_folder",
            "save.name",
        ];
        let mut recipe = Recipe::new(self.recipe.preset());
        for id in KEPT.into_iter().filter(|id| self.recipe.is_set(id)) {
            // It held in the recipe it comes from.
            recipe.set(id, self.recipe.get(id)).ok();
        }
        recipe
    }

    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether anything changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What the run is called: as typed, else after the folder.
    pub(crate) fn name(&self) -> String {
        let typed = self.text("save.name");
        if !typed.is_empty() {
            return typed;
        }
        self.folder()
            .and_then(|folder| folder.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| texts::common::UNTITLED.to_owned())
    }

    /// Why training cannot start yet, as what to do about it.
    pub(crate) fn missing(&self) -> Option<String> {
        if let Some(error) = self.typed.values().find_map(|typed| typed.error.clone()) {
            return Some(error);
        }
        match &self.data {
            Load::Nothing => return Some(texts::training::CHOOSE_PICTURES.to_owned()),
            Load::Loading(_) => return Some(texts::training::STILL_LOOKING_AT_PICTURES.to_owned()),
            Load::Failed(error) => return Some(error.clone()),
            Load::Ready(data) if data.images.is_empty() => {
                return Some(texts::training::NO_PICTURE.to_owned());
            }
            Load::Ready(_) => {}
        }
        match &self.base {
            Load::Nothing => Some(texts::training::CHOOSE_BASE.to_owned()),
            Load::Loading(_) => Some(texts::training::STILL_LOOKING_AT_BASE.to_owned()),
            Load::Failed(error) => Some(error.clone()),
            Load::Ready(base) => base.problem.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use lorikeet_recipe::setting;

    #[test]
    fn a_value_equal_to_the_default_is_not_kept_as_typed() {
        let mut draft = Draft::default();
        let rank = setting("network.rank").unwrap();
        let Value::Int(default) = draft.recipe.get("network.rank") else { panic!("rank is a whole number") };
        draft.set(rank, Value::Int(default + 1)).unwrap();
        assert!(draft.recipe.is_set("network.rank"));
        assert!(draft.take_changed());
        assert!(!draft.take_changed());
        draft.set(rank, Value::Int(default)).unwrap();
        assert!(!draft.recipe.is_set("network.rank"));
        assert!(draft.set(rank, Value::Int(-1)).is_err());
    }

    #[test]
    fn what_is_missing_is_said_in_working_order() {
        let mut draft = Draft::default();
        assert_eq!(draft.missing().as_deref(), Some("Choose a folder of pictures first"));
        draft.data = Load::Failed("the folder is empty".to_owned());
        assert_eq!(draft.missing().as_deref(), Some("the folder is empty"));
        assert_eq!(draft.name(), "Untitled");
        draft.set_text("dataset.folder", "/pictures/Blåbär and more").unwrap();
        assert_eq!(draft.name(), "Blåbär and more");
    }
}
