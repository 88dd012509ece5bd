//! Names of repositories and of the files in them. Both become parts of paths on this computer, so neither is taken on trust.

use std::fmt;
use std::path::{Component, Path};

use crate::error::HubError;

/// `owner/name` of the hub, with a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoName {
    owner: String,
    name: String,
    revision: String,
    /// The one file that an address was of.
    file: Option<String>,
}

/// The hub's own limit for each half.
const LONGEST: usize = 96;

impl RepoName {
    /// Takes `owner/name`, `owner/name@revision`, or the address of a model's page or of one of its files.
    ///
    /// # Errors
    /// [`HubError::Name`] for anything else.
    pub fn parse(typed: &str) -> Result<RepoName, HubError> {
        let typed = typed.trim();
        let wrong = |problem: &str| HubError::Name { typed: typed.to_owned(), problem: problem.to_owned() };
        let (path, is_address) = match typed.split_once("://") {
            // Whatever the host: a mirror has other names, and only the one that is set is ever asked.
            Some((_, rest)) => (rest.split_once('/').map_or("", |(_, path)| path), true),
            None => (typed, false),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let (path, revision) = match path.split_once('@') {
            Some((path, revision)) if !is_address => (path, Some(revision)),
            _ => (path, None),
        };
        let mut pieces = path.split('/');
        let (owner, name) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
        if owner.is_empty() || name.is_empty() {
            return Err(wrong("a name on the hub is owner/name"));
        }
        if matches!(owner, "datasets" | "spaces") {
            return Err(wrong("that is no model: a data set or a space"));
        }
        for half in [owner, name] {
            if let Some(problem) = wrong_half(half) {
                return Err(wrong(problem));
            }
        }
        let mut found = RepoName {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.filter(|revision| !revision.is_empty()).unwrap_or("main").to_owned(),
            file: None,
        };
        let rest: Vec<&str> = pieces.collect();
        match rest.as_slice() {
            [] => {}
            ["tree", revision, ..] if is_address => found.revision = (*revision).to_owned(),
            ["blob" | "resolve", revision, file @ ..] if is_address && !file.is_empty() => {
                found.revision = (*revision).to_owned();
                found.file = Some(file.join("/").replace("%20", " "));
            }
            _ => return Err(wrong("a name on the hub has one slash: owner/name")),
        }
        if !is_safe(&found.revision) {
            return Err(wrong("that is no revision: a branch, a tag or a commit"));
        }
        Ok(found)
    }

    #[must_use]
    pub fn at(mut self, revision: &str) -> Self {
        self.revision = revision.to_owned();
        self
    }

    /// `owner/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The file that the address was of, if it was of one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The folder of the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => write!(f, "{}", self.id()),
            revision => write!(f, "{}@{revision}", self.id()),
        }
    }
}

fn wrong_half(half: &str) -> Option<&'static str> {
    if half.len() > LONGEST {
        Some("it is too long")
    } else if !half.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        Some("a name on the hub has only letters, digits, '-', '_' and '.'")
    } else if half.starts_with(['-', '.']) || half.ends_with(['-', '.']) || half.contains("--") || half.contains("..") {
        Some("a name on the hub does not start or end with '-' or '.', and has neither '--' nor '..'")
    } else {
        None
    }
}

/// Whether a path from the hub stays inside the folder that it is put into, on every system.
pub(crate) fn is_safe(path: &str) -> bool {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let piece_is_safe = |piece: &str| !matches!(piece, "" | "." | "..");
    plain
        && path.split('/').all(piece_is_safe)
        && path.len() < 1_000
        && !path.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_understood() {
        let told = |typed: &str| {
            let name = RepoName::parse(typed).unwrap();
            (name.to_string(), name.file().map(str::to_owned))
        };
        assert_eq!(told(" ann/birds "), ("ann/birds".to_owned(), None));
        assert_eq!(told("ann/birds@v1.0"), ("ann/birds@v1.0".to_owned(), None));
        assert_eq!(told("https://hub.example/ann/birds/"), ("ann/birds".to_owned(), None));
        assert_eq!(told("https://hub.example/ann/birds/tree/fp16"), ("ann/birds@fp16".to_owned(), None));
        let file = told("https://hub.example/ann/birds/blob/main/a/b.safetensors?download=true");
        assert_eq!(file, ("ann/birds".to_owned(), Some("a/b.safetensors".to_owned())));
        assert_eq!(RepoName::parse("ann/birds").unwrap().folder(), "models--ann--birds");
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for typed in
            ["", "birds", "ann/", "/", "a/b/c", "ann/../etc", "../etc", "an n/birds", "ann/b--c", "datasets/x/y"]
        {
            let error = RepoName::parse(typed).unwrap_err().to_string();
            assert!(
                error.contains("owner/name") || error.contains("hub") || error.contains("model"),
                "{typed}: {error}"
            );
        }
        assert!(RepoName::parse("ann/birds@../../x").is_err());
    }

    #[test]
    fn only_paths_that_stay_inside_are_safe() {
        for path in ["model_index.json", "unet/config.json", "a b/ä.safetensors", "refs/pr/1"] {
            assert!(is_safe(path), "{path}");
        }
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "C:\\x", "a\\..\\b", "./x", "a\nb", "", "nul:"] {
            assert!(!is_safe(path), "{path}");
        }
    }
}
