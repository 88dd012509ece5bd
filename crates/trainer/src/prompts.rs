//! The prompts of a run's previews, which can be changed while it goes on.

use std::fs;
use std::path::Path;

use lorikeet_checkpoint::write_atomically;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// In a run folder, once prompts were changed.
const FILE: &str = "prompts.json";

/// Every prompt that a run was asked to draw, in the order in which they came. A preview's index is the place of its
/// prompt here, and its noise comes from the index: so the pictures of one index are of one prompt, however often prompts
/// are changed and the run is resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompts {
    all: Vec<String>,
    /// Those of the regular previews, as places in `all`.
    now: Vec<usize>,
}

impl Prompts {
    /// As the run left them; those of the recipe if they were never changed.
    pub(crate) fn load(run_dir: &Path, recipe: &[String]) -> Self {
        let kept = fs::read_to_string(run_dir.join(FILE)).ok();
        let kept: Option<Self> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let whole = |kept: &Self| kept.now.iter().all(|index| *index < kept.all.len());
        // A damaged file costs the change, not the run.
        kept.filter(whole).unwrap_or_else(|| Self { all: recipe.to_vec(), now: (0..recipe.len()).collect() })
    }

    /// # Errors
    /// When the run folder cannot be written to.
    pub(crate) fn save(&self, run_dir: &Path) -> Result<(), TrainError> {
        let text = serde_json::json!(self);
        Ok(write_atomically(&run_dir.join(FILE), |out| write!(out, "{text:#}"))?)
    }

    /// The places of these prompts; those that are new get the next ones.
    pub(crate) fn places(&mut self, prompts: &[String]) -> Vec<usize> {
        let mut places = Vec::new();
        for prompt in prompts.iter().map(|prompt| prompt.trim()).filter(|prompt| !prompt.is_empty()) {
            let place = self.all.iter().position(|known| known == prompt).unwrap_or_else(|| {
                self.all.push(prompt.to_owned());
                self.all.len() - 1
            });
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Regular previews are of these from now on.
    pub(crate) fn set(&mut self, places: Vec<usize>) {
        self.now = places;
    }

    pub(crate) fn now(&self) -> &[usize] {
        &self.now
    }

    pub(crate) fn get(&self, places: &[usize]) -> Vec<String> {
        places.iter().filter_map(|place| self.all.get(*place).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_prompt_keeps_its_place_through_changes_and_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = texts(&["cat", "house"]);
        let mut prompts = Prompts::load(folder.path(), &recipe);
        assert_eq!(prompts.now(), [0, 1]);
        let places = prompts.places(&texts(&[" heron ", "house", "", "heron"]));
        assert_eq!(places, [2, 1]);
        prompts.set(places);
        prompts.save(folder.path()).unwrap();
        let mut again = Prompts::load(folder.path(), &recipe);
        assert_eq!(again, prompts);
        assert_eq!(again.get(again.now()), ["heron", "house"]);
        assert_eq!(again.places(&texts(&["cat", "boat"])), [0, 3]);
    }

    #[test]
    fn a_damaged_file_leaves_the_recipes_prompts() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["{\"all\": [\"a\"", "{\"all\": [\"a\"], \"now\": [1]}"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(Prompts::load(folder.path(), &texts(&["cat"])).get(&[0]), ["cat"]);
        }
    }
}
