//! Undo and redo, for the recipe and for caption files.

use std::path::PathBuf;

use lorikeet_dataset::CaptionChange;
use lorikeet_recipe::{Recipe, SETTINGS};

use crate::texts;

/// Steps that are remembered. Captions of thousands of pictures may be in one.
const MOST: usize = 200;
/// Seconds within which changes of one setting are one step: a slider that is dragged, a name that is typed.
const TOGETHER: f64 = 1.5;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Recipe { before: Box<Recipe>, after: Box<Recipe> },
    Files { what: String, changes: Vec<FileChange> },
}

/// What was done to files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FileChange {
    Caption(CaptionChange),
    Mask(CaptionChange),
    /// Where files were, and where they are.
    Moved(Vec<(PathBuf, PathBuf)>),
}

#[derive(Default)]
pub(crate) struct History {
    undo: Vec<Step>,
    redo: Vec<Step>,
    /// The recipe after the last step.
    seen: Recipe,
    /// When the recipe changed last, in egui's seconds.
    at: f64,
}

impl History {
    /// Takes the recipe as it is for the beginning.
    pub(crate) fn start(recipe: &Recipe) -> Self {
        Self { seen: recipe.clone(), ..Self::default() }
    }

    /// To be called when the recipe may have changed.
    pub(crate) fn note(&mut self, recipe: &Recipe, now: f64) {
        if *recipe == self.seen {
            return;
        }
        let before = std::mem::replace(&mut self.seen, recipe.clone());
        let soon = now - std::mem::replace(&mut self.at, now) < TOGETHER;
        self.redo.clear();
        if let Some(Step::Recipe { before: first, after }) = self.undo.last_mut()
            && soon
            && **after == before
            && changed(first, &before) == changed(&before, recipe)
        {
            **after = recipe.clone();
            return;
        }
        self.push(Step::Recipe { before: Box::new(before), after: Box::new(recipe.clone()) });
    }

    /// Files that were changed.
    pub(crate) fn files(&mut self, what: String, changes: Vec<FileChange>) {
        if !changes.is_empty() {
            self.redo.clear();
            self.push(Step::Files { what, changes });
        }
    }

    fn push(&mut self, step: Step) {
        self.undo.push(step);
        if self.undo.len() > MOST {
            self.undo.remove(0);
        }
    }

    /// What the next undo takes back, and the next redo does again, in words.
    pub(crate) fn next(&self, redo: bool) -> Option<String> {
        let steps = if redo { &self.redo } else { &self.undo };
        steps.last().map(describe)
    }

    /// The step to take back, or to do again. It counts as done.
    pub(crate) fn take(&mut self, redo: bool) -> Option<Step> {
        let (from, to) = if redo { (&mut self.redo, &mut self.undo) } else { (&mut self.undo, &mut self.redo) };
        let step = from.pop()?;
        to.push(step.clone());
        if let Step::Recipe { before, after } = &step {
            self.seen = if redo { (**after).clone() } else { (**before).clone() };
        }
        // What is typed next is a step of its own.
        self.at = f64::NEG_INFINITY;
        Some(step)
    }
}

/// Labels of the settings that differ; the preset counts as one.
fn changed(a: &Recipe, b: &Recipe) -> Vec<&'static str> {
    let preset = (a.preset() != b.preset()).then_some(texts::training::PRESET);
    let typed = |recipe: &Recipe, id: &str| recipe.is_set(id).then(|| recipe.get(id));
    let settings = SETTINGS.iter().filter(|setting| typed(a, setting.id) != typed(b, setting.id));
    preset.into_iter().chain(settings.map(|setting| setting.label)).collect()
}

fn describe(step: &Step) -> String {
    match step {
        Step::Files { what, .. } => what.clone(),
        Step::Recipe { before, after } => match changed(before, after).as_slice() {
            [one] => texts::training::change_of(&one.to_lowercase()),
            many => texts::training::change_of_settings(many.len() as u64),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn recipe(rank: &str) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.set_text("network.rank", rank).unwrap();
        recipe
    }

    #[test]
    fn changes_of_one_setting_in_a_row_are_one_step() {
        let mut history = History::start(&Recipe::default());
        for (rank, at) in [("8", 10.0), ("9", 10.2), ("10", 11.0), ("20", 30.0)] {
            history.note(&recipe(rank), at);
        }
        let mut other = recipe("20");
        other.set_text("train.batch", "2").unwrap();
        history.note(&other, 30.1);
        assert_eq!(history.next(false).as_deref(), Some("change of batch size"));
        let before = |step| if let Some(Step::Recipe { before, .. }) = step { *before } else { panic!("a recipe") };
        assert_eq!(before(history.take(false)), recipe("20"));
        assert_eq!(before(history.take(false)), recipe("10"));
        assert_eq!(before(history.take(false)), Recipe::default());
        assert_eq!(history.take(false), None);
        assert_eq!(history.next(true).as_deref(), Some("change of rank"));
        history.take(true);
        history.note(&recipe("10"), 31.0);
        assert!(history.next(true).is_some(), "what redo brought is no new change");
        history.note(&recipe("11"), 31.1);
        assert_eq!(history.next(true), None, "a new change ends redo");
        assert_eq!(before(history.take(false)), recipe("10"), "and is a step of its own");
    }
}
