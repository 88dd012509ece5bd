//! Errors as a terminal shows them.

use std::fmt;

use lorikeet_protocol::Failure;
use lorikeet_recipe::RecipeError;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// What ends the program early, and its exit code.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub failure: Failure,
    pub code: u8,
}

impl Trouble {
    /// The work was begun or tried, and did not succeed.
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display, todo: impl Into<String>) -> Trouble {
        Trouble::new(FAILED, what, why, todo)
    }

    /// The command itself makes no sense.
    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display, todo: impl Into<String>) -> Trouble {
        Trouble::new(USAGE, what, why, todo)
    }

    fn new(code: u8, what: impl Into<String>, why: impl fmt::Display, todo: impl Into<String>) -> Trouble {
        let failure = Failure { what: what.into(), why: why.to_string(), todo: todo.into(), last_save: None };
        Trouble { failure, code }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble { failure, code: FAILED }
    }
}

impl From<RecipeError> for Trouble {
    fn from(error: RecipeError) -> Trouble {
        let todo = match &error {
            RecipeError::Folder { path } => {
                format!("`lorikeet new style \"{}\"` writes a recipe for the pictures in it", path.display())
            }
            _ => "Correct it; `lorikeet settings` lists every setting".to_owned(),
        };
        Trouble::usage("The recipe cannot be used", error, todo)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { what, why, todo, last_save } = &self.failure;
        write!(f, "error: {what}\n  why:         {why}\n  what to do:  {todo}")?;
        if let Some(save) = last_save {
            write!(f, "\n  last save:   {}", save.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let trouble = Trouble::failed("Saving failed", "the disk is full", "Make room");
        assert_eq!(
            trouble.to_string(),
            "error: Saving failed\n  why:         the disk is full\n  what to do:  Make room"
        );
        assert_eq!(trouble.code, 1);
        assert_eq!(Trouble::from(RecipeError::NoFolder).code, 2);
    }
}
