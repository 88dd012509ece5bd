//! How the hub is reached: its address, where its files are kept, the token, and whether the network may be used at all.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::HubError;
use crate::trust::Trust;

/// Where the hub is, unless `HF_ENDPOINT` names a mirror.
const ENDPOINT: &str = "https://huggingface.co";

/// A secret: shown by nobody, not even when debugging.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    pub fn new(text: &str) -> Token {
        Token(text.trim().to_owned())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it can be sent at all: what a line of a request may hold.
    pub fn is_sound(&self) -> bool {
        self.0.chars().all(|c| c.is_ascii_graphic())
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Token(none)" } else { "Token(…)" })
    }
}

/// What is set in Lorikeet, kept in a file that only its owner can read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub offline: bool,
    pub token: Token,
}

/// Who says that the network is not to be used, beside the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterOffline {
    /// `HF_HUB_OFFLINE`.
    Variable,
    /// `--offline`.
    Flag,
}

impl OuterOffline {
    /// `HF_HUB_OFFLINE is set`.
    pub fn why(self) -> &'static str {
        match self {
            OuterOffline::Variable => "HF_HUB_OFFLINE is set",
            OuterOffline::Flag => "--offline was given",
        }
    }
}

/// How the hub is reached.
#[derive(Clone, Debug)]
pub struct Access {
    pub endpoint: String,
    /// The cache that the hub's programs share; none where no home folder is known.
    pub cache: Option<PathBuf>,
    pub settings: Settings,
    /// Where the settings are kept; none: nowhere.
    pub settings_file: Option<PathBuf>,
    /// What the environment or the hub's own login brings, and where from.
    pub outer_token: Option<(Token, &'static str)>,
    /// Who says so for this program alone.
    pub outer_offline: Option<OuterOffline>,
    /// Whose word is taken for a server.
    pub trust: Trust,
    /// Why the settings could not be read.
    pub problem: Option<String>,
    /// Before the first retry; doubled for each further one.
    pub patience: Duration,
    /// Free bytes of the disk that a folder is on, where the system tells. To be replaced in tests.
    pub free: fn(&Path) -> Option<u64>,
}

impl Default for Access {
    /// Nothing known, and offline: whoever wants the network says so.
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            cache: None,
            settings: Settings { offline: true, token: Token::default() },
            settings_file: None,
            outer_token: None,
            outer_offline: None,
            trust: Trust::default(),
            problem: None,
            patience: Duration::from_secs(1),
            free: free_bytes,
        }
    }
}

impl Access {
    /// As the environment and the user's settings file say; `offline` even if they do not.
    pub fn of_this_computer(offline: bool) -> Access {
        let folder = directories::ProjectDirs::from("", "", "lorikeet").map(|dirs| dirs.config_dir().to_owned());
        let mut access = Access::read(folder.map(|folder| folder.join("hub.json")), &|name| std::env::var_os(name));
        if offline {
            access.outer_offline = Some(OuterOffline::Flag);
        }
        access
    }

    fn read(settings_file: Option<PathBuf>, variable: &dyn Fn(&str) -> Option<OsString>) -> Access {
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let (settings, problem) = match settings_file.as_deref().map(read_settings) {
            None => (Settings::default(), None),
            Some(Ok(settings)) => (settings, None),
            // What cannot be read may have said offline, so it is taken to have.
            Some(Err(error)) => (Settings { offline: true, ..Settings::default() }, Some(error.to_string())),
        };
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = lorikeet_checkpoint::hub_cache(&path);
        let from_environment =
            ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|name| Some((Token::new(&text(name)?), *name)));
        let login = || {
            let beside = || Some(lorikeet_checkpoint::hub_home(&path)?.join("token"));
            let token = Token::new(&fs::read_to_string(path("HF_TOKEN_PATH").or_else(beside)?).ok()?);
            (!token.is_empty()).then_some((token, "the hub's own login"))
        };
        Access {
            endpoint: text("HF_ENDPOINT")
                .map_or_else(|| ENDPOINT.to_owned(), |url| url.trim_end_matches('/').to_owned()),
            outer_token: from_environment.or_else(login),
            outer_offline: text("HF_HUB_OFFLINE").filter(|value| is_yes(value)).map(|_| OuterOffline::Variable),
            trust: Trust::of_environment(&path),
            cache,
            settings,
            settings_file,
            problem,
            patience: Duration::from_secs(1),
            free: free_bytes,
        }
    }

    /// That of the settings before any other.
    pub fn token(&self) -> Option<&Token> {
        let own = Some(&self.settings.token).filter(|token| !token.is_empty());
        own.or(self.outer_token.as_ref().map(|(token, _)| token))
    }

    pub fn is_offline(&self) -> bool {
        self.settings.offline || self.outer_offline.is_some()
    }

    /// Keeps the settings for the next start.
    ///
    /// # Errors
    /// When the file cannot be written, or nobody knows where it should be.
    pub fn save(&self) -> Result<(), HubError> {
        let Some(path) = &self.settings_file else { return Ok(()) };
        let failed = |error| HubError::write(path, error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(&self.settings).map_err(|error| failed(error.into()))?;
        let part = path.with_extension("part");
        // One of an earlier try may have other rights.
        fs::remove_file(&part).ok();
        private(&part).and_then(|mut file| file.write_all(&text)).map_err(failed)?;
        fs::rename(&part, path).map_err(failed)
    }

    pub(crate) fn host(&self) -> String {
        let rest = self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn check_online(&self, what: &str) -> Result<(), HubError> {
        let (why, todo) = if self.settings.offline {
            ("Lorikeet is set to stay offline", "Allow the network in Settings")
        } else {
            match self.outer_offline {
                Some(OuterOffline::Variable) => (OuterOffline::Variable.why(), "Unset it"),
                Some(OuterOffline::Flag) => (OuterOffline::Flag.why(), "Leave it out"),
                None => return Ok(()),
            }
        };
        Err(HubError::Offline { what: what.to_owned(), why, todo })
    }
}

fn read_settings(path: &Path) -> Result<Settings, HubError> {
    let wrong = |problem: String| HubError::Settings { path: path.to_owned(), problem };
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// A new file that only its owner can read, from the start.
fn private(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// As huggingface_hub takes it.
fn is_yes(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
}

fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find_map(|folder| folder.canonicalize().ok())?;
    let disks = sysinfo::Disks::new_with_refreshed_list().ok()?;
    let holding = disks.iter().filter(|disk| existing.starts_with(disk.mount_point()));
    let nearest = holding.max_by_key(|disk| disk.mount_point().components().count());
    nearest.map(sysinfo::Disk::available_space)
}

#[cfg(test)]
#[path = "access_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
