//! What a repository holds.

use std::io::Read as _;

use serde::Deserialize;
use serde_json::Value;

use crate::access::Access;
use crate::cancel::Cancel;
use crate::error::HubError;
use crate::http::{Client, Fault, escaped};
use crate::name::{RepoName, is_safe};

/// The largest repositories list some thousand files in a few hundred bytes each.
const LARGEST_ANSWER: u64 = 16 << 20;

/// The checksum that the hub gives for a file. It also names the file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Of large files.
    Sha256(String),
    /// Git's, of small ones.
    Git(String),
}

impl Digest {
    pub(crate) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Inside the repository, with slashes.
    pub path: String,
    pub size: u64,
    pub digest: Digest,
}

/// A repository at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub name: RepoName,
    pub commit: String,
    pub files: Vec<RemoteFile>,
    /// As the model card says, if it does.
    pub licence: Option<String>,
    /// Whether its licence has to be accepted before anything is given out.
    pub gated: bool,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    gated: Value,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
}

#[derive(Deserialize, Default)]
struct Card {
    #[serde(default)]
    license: Value,
    #[serde(default)]
    license_name: Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

/// Asks the hub for the files of a repository, with sizes and checksums.
///
/// # Errors
/// Offline; no such model or revision; no answer, or one that is not to be trusted.
pub fn look_up(access: &Access, name: &RepoName, cancel: &Cancel) -> Result<Repository, HubError> {
    let client = Client::new(access, cancel, &name.id())?;
    let (id, revision) = (name.id(), name.revision());
    let path = format!("/api/models/{id}/revision/{}?blobs=true", escaped(revision, false));
    let url = format!("{}{path}", access.endpoint);
    let text = client.patiently(|| {
        let mut response = client.get(&path, 0).map_err(|fault| (fault, false))?;
        if !response.status().is_success() {
            return Err((client.refusal(&id, revision, "", &response), false));
        }
        let mut text = Vec::new();
        let read = response.body_mut().as_reader().take(LARGEST_ANSWER + 1).read_to_end(&mut text);
        read.map_err(|error| (Fault::Passing(client.network(&url, &error), None), false))?;
        Ok(text)
    })?;
    let nonsense = |problem: String| HubError::Answer { url: url.clone(), problem };
    if text.len() as u64 > LARGEST_ANSWER {
        return Err(nonsense(format!("a list of files of more than {} MB", LARGEST_ANSWER >> 20)));
    }
    let info: Info = serde_json::from_slice(&text).map_err(|error| nonsense(error.to_string()))?;
    if !is_hex(&info.sha, 40) {
        return Err(nonsense("it names no commit".to_owned()));
    }
    let mut files = Vec::with_capacity(info.siblings.len());
    for sibling in info.siblings {
        if !is_safe(&sibling.rfilename) {
            return Err(HubError::UnsafeFile { id, file: sibling.rfilename });
        }
        let (size, digest) = match (sibling.lfs, sibling.size, sibling.blob_id) {
            (Some(lfs), ..) if is_hex(&lfs.sha256, 64) => (lfs.size, Digest::Sha256(lfs.sha256)),
            (None, Some(size), Some(blob)) if is_hex(&blob, 40) => (size, Digest::Git(blob)),
            _ => return Err(nonsense(format!("it gives no size and checksum for '{}'", sibling.rfilename))),
        };
        files.push(RemoteFile { path: sibling.rfilename, size, digest });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let gated = !matches!(info.gated, Value::Null | Value::Bool(false));
    let licence = info.card.and_then(|card| licence(&card));
    Ok(Repository { name: name.clone(), commit: info.sha, files, licence, gated })
}

/// `other` says nothing; the name beside it does.
fn licence(card: &Card) -> Option<String> {
    let words = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => Some(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        _ => None,
    };
    let plain = words(&card.license).filter(|text| text != "other" && !text.is_empty());
    plain.or_else(|| words(&card.license_name)).map(|text| text.chars().take(80).collect())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
