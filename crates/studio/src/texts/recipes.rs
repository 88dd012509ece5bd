//! Two recipes beside each other, on the Training page.

use crate::format::plural;

pub(crate) const TITLE: &str = "Compare recipes";
pub(crate) const CLOSE: &str = "Close comparison";
pub(crate) const READING: &str = "Reading the recipe";
pub(crate) const CHOOSE: &str = "Choose what to compare the settings on this page with";
pub(crate) const RECIPE_FILE: &str = "Recipe file…";
pub(crate) const ALL_THE_SAME: &str = "All settings are the same";
pub(crate) const TAKE_OVER: &str = "Take over";
pub(crate) const WHAT_TO_TEACH: &str = "What to teach";
pub(crate) const SET_IN_RECIPE: &str = "Set in the recipe";

pub(crate) fn compared_with(recipe: &str) -> String {
    format!("Compared with {recipe}")
}

pub(crate) fn differences(n: u64) -> String {
    plural(n, "# difference. Undo takes back what is taken over", "# differences. Undo takes back what is taken over")
}

pub(crate) fn take_over(setting: &str, value: &str) -> String {
    format!("Take over {setting}: {value}")
}

/// A value on the Training page.
pub(crate) fn here(value: &str) -> String {
    format!("Here: {}", or_empty(value))
}

/// The same in the other recipe.
pub(crate) fn there(value: &str) -> String {
    format!("There: {}", or_empty(value))
}

fn or_empty(value: &str) -> &str {
    if value.is_empty() { "empty" } else { value }
}

pub(crate) fn default_for(preset: &str, base: &str, reason: &str) -> String {
    format!("Default for {preset} on {base}: {reason}")
}
