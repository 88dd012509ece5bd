//! Folders of pictures with their repeats, as a recipe holds them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::RecipeError;
use crate::recipe::Recipe;
use crate::setting::Value;

const MORE: &str = "dataset.more_folders";
/// As `dataset.repeats` allows.
const MOST_REPEATS: u32 = 1000;

/// A folder of pictures. In a recipe `3 x pictures/cats`; without a number it is shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureFolder {
    pub path: String,
    /// How often an epoch shows each of its pictures, from 1.
    pub repeats: u32,
}

impl PictureFolder {
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains(['\n', '\r', '\0']) {
            return Err("it has more than one line or a zero byte".to_owned());
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = text.split_at(digits);
        // Folders may begin with a number too: only one with "x" and blanks behind it is a number of repeats.
        let behind = rest.trim_start().strip_prefix(['x', '×']).filter(|path| path.starts_with(char::is_whitespace));
        let (repeats, path) = match behind {
            Some(path) if !number.is_empty() => {
                let repeats = number.parse::<u32>().ok().filter(|repeats| (1..=MOST_REPEATS).contains(repeats));
                let why = || format!("a folder is shown 1 to {MOST_REPEATS} times an epoch, not {number}");
                (repeats.ok_or_else(why)?, path.trim())
            }
            _ => (1, text),
        };
        if path.is_empty() {
            return Err("it names no folder".to_owned());
        }
        Ok(Self { path: path.to_owned(), repeats })
    }
}

impl fmt::Display for PictureFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.repeats, self.path)
    }
}

impl Recipe {
    /// All folders of pictures: `dataset.folder` with `dataset.repeats`, then `dataset.more_folders`.
    pub fn folders(&self) -> Vec<PictureFolder> {
        let repeats = if let Value::Int(repeats) = self.get("dataset.repeats") { repeats } else { 1 };
        let first = if let Value::Text(path) = self.get("dataset.folder") { path } else { String::new() };
        let more = if let Value::List(items) = self.get(MORE) { items } else { Vec::new() };
        folders(first, u32::try_from(repeats).unwrap_or(1), &more)
    }

    /// Writes all folders of pictures.
    ///
    /// # Errors
    /// When a path or number of repeats is none that a recipe can hold; the recipe is as it was then.
    pub fn set_folders(&mut self, folders: &[PictureFolder]) -> Result<(), RecipeError> {
        let mut new = self.clone();
        for id in ["dataset.folder", "dataset.repeats", MORE] {
            new.unset(id);
        }
        if let Some((first, more)) = folders.split_first() {
            new.set("dataset.folder", Value::Text(first.path.clone()))?;
            if first.repeats != 1 {
                new.set("dataset.repeats", Value::Int(first.repeats.into()))?;
            }
            if !more.is_empty() {
                new.set(MORE, Value::List(more.iter().map(ToString::to_string).collect()))?;
            }
        }
        *self = new;
        Ok(())
    }
}

/// `more` as the recipe holds it.
pub(crate) fn folders(first: String, repeats: u32, more: &[String]) -> Vec<PictureFolder> {
    let more = more.iter().filter_map(|text| PictureFolder::parse(text).ok());
    std::iter::once(PictureFolder { path: first, repeats }).chain(more).filter(|f| !f.path.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn folder(path: &str, repeats: u32) -> PictureFolder {
        PictureFolder { path: path.to_owned(), repeats }
    }

    #[test]
    fn a_folder_is_read_with_and_without_a_number() {
        let read = |text: &str| PictureFolder::parse(text);
        assert_eq!(read("pictures/cats"), Ok(folder("pictures/cats", 1)));
        assert_eq!(read(" 3 x C:\\my cats "), Ok(folder("C:\\my cats", 3)));
        assert_eq!(read("12× dogs"), Ok(folder("dogs", 12)));
        for path in ["10_cat", "2024", "3x/dogs", "3 xylophones", "x y"] {
            assert_eq!(read(path), Ok(folder(path, 1)));
        }
        assert!(read("0 x cats").unwrap_err().contains("1 to 1000"));
        assert!(read("9999999999999 x cats").is_err() && read("").is_err() && read("a\nb").is_err());
        for one in [folder("a b", 7), folder("3 x odd", 1)] {
            assert_eq!(read(&one.to_string()), Ok(one));
        }
    }

    #[test]
    fn folders_are_kept_in_three_settings_of_which_the_first_two_are_as_ever() {
        let mut recipe = Recipe::default();
        assert_eq!(recipe.folders(), []);
        let all = [folder("a", 1), folder("b", 3), folder("c", 1)];
        recipe.set_folders(&all).unwrap();
        assert_eq!(recipe.folders(), all);
        assert!(!recipe.is_set("dataset.repeats"));
        let read = Recipe::from_toml(&recipe.to_toml()).unwrap();
        assert_eq!((read.folders(), &read), (all.to_vec(), &recipe));
        recipe.set_folders(&all[1..2]).unwrap();
        assert_eq!(recipe, Recipe::from_toml("dataset = { folder = 'b', repeats = 3 }").unwrap());
        assert!(recipe.set_folders(&[folder("a", 0)]).is_err());
        assert_eq!(recipe.folders(), all[1..2]);
        // Written by hand, the first may be missing.
        recipe.set_folders(&[]).unwrap();
        recipe.set_text("dataset.more_folders", "2 x a | b").unwrap();
        assert_eq!(recipe.folders(), [folder("a", 2), folder("b", 1)]);
        let error = Recipe::from_toml("[dataset]\nmore_folders = ['b', '0 x c']").unwrap_err().to_string();
        assert!(error.starts_with("line 2: dataset.more_folders = \"0 x c\" cannot be used"), "{error}");
    }
}
