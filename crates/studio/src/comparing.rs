//! Another recipe beside the draft: which settings differ, and why each is what it is.

use std::path::{Path, PathBuf};

use lorikeet_recipe::{BaseClass, Preset, Recipe, SETTINGS, Setting, Value, built_in};

use crate::app::StudioApp;
use crate::draft::Load;
use crate::pages::setting_in_words;
use crate::texts;
use crate::work::{Read, read_recipe};

/// What is done with another recipe.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CompareAction {
    /// Shows what there is to choose from.
    Pick,
    /// Of a run folder or a file.
    With(PathBuf),
    /// The value of this setting, or of the preset.
    Take(&'static str),
    Close,
}

/// A recipe to compare with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) recipe: Recipe,
    /// Whose defaults hold in it, as far as its base can be looked at.
    class: Option<BaseClass>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// `preset`, or of the setting.
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) here: Side,
    pub(crate) there: Side,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Side {
    /// In the words of the form.
    pub(crate) value: String,
    pub(crate) why: String,
}

#[derive(Default)]
pub(crate) struct Comparing {
    pub(crate) open: bool,
    pub(crate) other: Load<Other>,
    /// What the rows were made of: made anew when it changes, not in every frame.
    made_of: Option<(Recipe, BaseClass, Other)>,
    rows: Vec<Row>,
}

impl Comparing {
    /// Of the draft and the other; none while there is no other.
    pub(crate) fn rows(&mut self, draft: &Recipe, class: BaseClass) -> &[Row] {
        let Load::Ready(other) = &self.other else { return &[] };
        let same = self.made_of.as_ref().is_some_and(|(a, b, c)| a == draft && *b == class && c == other);
        if !same {
            self.rows = differences(draft, class, other);
            self.made_of = Some((draft.clone(), class, other.clone()));
        }
        &self.rows
    }
}

/// A base of the same path is the same base, and what is known of it here holds there.
fn class_of(other: &Other, draft: &Recipe, class: BaseClass) -> BaseClass {
    let same = other.recipe.get("base.path") == draft.get("base.path");
    if same { class } else { other.class.unwrap_or_else(|| other.recipe.base_class()) }
}

fn differences(draft: &Recipe, class: BaseClass, other: &Other) -> Vec<Row> {
    let there_class = class_of(other, draft, class);
    let preset = (draft.preset() != other.recipe.preset()).then(|| {
        let side = |preset: Preset| Side { value: preset.label().to_owned(), why: preset.help().to_owned() };
        Row {
            id: "preset",
            label: texts::recipes::WHAT_TO_TEACH,
            here: side(draft.preset()),
            there: side(other.recipe.preset()),
        }
    });
    let row = |setting: &'static Setting| {
        let values = (draft.get_on(setting.id, class), other.recipe.get_on(setting.id, there_class));
        (values.0 != values.1).then(|| Row {
            id: setting.id,
            label: setting.label,
            here: side(setting, draft, class, &values.0),
            there: side(setting, &other.recipe, there_class, &values.1),
        })
    };
    preset.into_iter().chain(SETTINGS.iter().filter_map(row)).collect()
}

fn side(setting: &'static Setting, recipe: &Recipe, class: BaseClass, value: &Value) -> Side {
    let why = if recipe.is_set(setting.id) {
        texts::recipes::SET_IN_RECIPE.to_owned()
    } else {
        let reason = setting.default_row(recipe.preset(), class).reason;
        texts::recipes::default_for(recipe.preset().label(), class.label(), reason.trim_end_matches('.'))
    };
    Side { value: setting_in_words(setting, value), why }
}

/// The draft with one value of the other; nothing where that cannot be.
fn taken(draft: &Recipe, class: BaseClass, other: &Other, id: &'static str) -> Result<Recipe, String> {
    let mut recipe = draft.clone();
    let Some(setting) = lorikeet_recipe::setting(id) else {
        recipe.set_preset(other.recipe.preset());
        return Ok(recipe);
    };
    let value = other.recipe.get_on(id, class_of(other, draft, class));
    if value == setting.default_value(recipe.preset(), class) {
        recipe.unset(id);
    } else {
        recipe.set(id, value).map_err(|error| error.to_string())?;
    }
    Ok(recipe)
}

/// On the work thread. A run folder stands for the recipe in it.
pub(crate) fn read(path: &Path) -> Result<Other, String> {
    let file = if path.is_dir() { path.join("recipe.toml") } else { path.to_owned() };
    let recipe = match read_recipe(&file)? {
        Read::Recipe(recipe) => *recipe,
        Read::Import(import) => import.recipe,
    };
    let named = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = named.unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let class = match recipe.get("base.path") {
        // Of a built-in one the recipe itself knows.
        Value::Text(base) if built_in(&base).is_none() => {
            let found = crate::base::inspect(Path::new(&base), &Default::default()).ok();
            found.and_then(|base| base.class)
        }
        _ => None,
    };
    Ok(Other { name, recipe, class })
}

impl StudioApp {
    pub(crate) fn compare_action(&mut self, action: CompareAction) {
        match action {
            CompareAction::Pick => {
                self.comparing = Comparing { open: true, ..Comparing::default() };
                self.perform(crate::actions::Action::ListRuns);
            }
            CompareAction::With(path) => {
                self.comparing.open = true;
                self.comparing.other = Load::Loading(self.work.read_other(path));
            }
            CompareAction::Take(id) => {
                let Load::Ready(other) = &self.comparing.other else { return };
                match taken(&self.draft.recipe, self.draft.class(), other, id) {
                    Ok(recipe) => self.replace_recipe(recipe),
                    Err(error) => self.toasts.add(crate::kit::Tone::Error, crate::pages::sentence(&error)),
                }
            }
            CompareAction::Close => self.comparing = Comparing::default(),
        }
    }

    pub(crate) fn other_read(&mut self, ticket: u64, result: Result<Other, String>) {
        if self.comparing.other.awaits(ticket) {
            self.comparing.other = result.map_or_else(Load::Failed, Load::Ready);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_reasons_and_can_be_taken_over() {
        let mut draft = Recipe::new(Preset::Style);
        draft.set_text("train.batch", "3").unwrap();
        let mut recipe = Recipe::new(Preset::Character);
        recipe.set_text("train.batch", "5").unwrap();
        let other = Other { name: "other".to_owned(), recipe, class: Some(BaseClass::Demo) };
        let mut comparing = Comparing { other: Load::Ready(other.clone()), ..Comparing::default() };
        let rows = comparing.rows(&draft, BaseClass::Demo).to_vec();
        assert_eq!((rows[0].id, rows[0].there.value.as_str()), ("preset", "Character"));
        let batch = rows.iter().find(|row| row.id == "train.batch").unwrap();
        assert_eq!((batch.here.why.as_str(), batch.there.value.as_str()), ("Set in the recipe", "5 pictures"));
        let flip = rows.iter().find(|row| row.id == "dataset.flip").unwrap();
        assert!(flip.here.value == "on" && flip.here.why.starts_with("Default for Style"), "{flip:?}");
        assert!(rows.iter().all(|row| row.here.value != row.there.value), "{rows:?}");

        // Taken one by one, nothing is left that differs.
        while let Some(id) = comparing.rows(&draft, BaseClass::Demo).first().map(|row| row.id) {
            draft = taken(&draft, BaseClass::Demo, &other, id).unwrap();
        }
        assert_eq!(draft, other.recipe, "defaults stay defaults");
    }
}
