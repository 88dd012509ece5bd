use std::io;
use std::path::PathBuf;

/// Everything that can go wrong with the hub. Each message says what happened, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("'{typed}' is no name of a model on the hub: {problem}. Copy it from the top of the model's page.")]
    Name { typed: String, problem: String },
    /// Nothing was asked of the network.
    #[error("{what} was not fetched: {why}. {todo}.")]
    Offline { what: String, why: &'static str, todo: &'static str },
    #[error(
        "{id} is not on {host}, or not open to everyone. Check the spelling; a private model needs a token with access to it."
    )]
    NoSuchModel { id: String, host: String },
    #[error("{id} has no revision '{revision}'. Leave it out, or look for branches and tags on the model's page.")]
    NoSuchRevision { id: String, revision: String },
    #[error("{id} has no file '{file}'. {}", known_files(known))]
    NoSuchFile { id: String, file: String, known: Vec<String> },
    /// The owner wants to be asked first.
    #[error("{id} asks for its licence to be accepted. Open {page} in a browser, log in and accept it{}.",
        if *had_token { ", with the account whose token is set here" } else { "; then make a token with read access there and set it in Settings or as HF_TOKEN" })]
    Gated { id: String, page: String, had_token: bool },
    #[error("{host} did not accept the token. Make a new one with read access and set it in Settings, or remove it.")]
    BadToken { host: String },
    #[error("{url} answered with status {status}. Try again later.")]
    Status { url: String, status: u16 },
    #[error(
        "{url} answered with something else than expected: {problem}. Try again later; if HF_ENDPOINT is set, check it."
    )]
    Answer { url: String, problem: String },
    #[error("{host} cannot be reached: {reason}. Check the connection and try again: what was fetched is kept.")]
    Network { host: String, reason: String },
    /// Its certificate is by an authority that is not known here.
    #[error(
        "{host} shows a certificate by an authority that this computer does not trust. If it is that of your company's network, \
         add its certificate to the system's store, or set SSL_CERT_FILE to a file with it in the PEM format."
    )]
    Untrusted { host: String },
    #[error("no certificate of an authority was found in {place} ({problem}). Correct {variable}, or unset it.")]
    NoAuthorities { variable: &'static str, place: String, problem: String },
    #[error("the redirect of {from} to {to} was not followed: {problem}. If HF_ENDPOINT is set, check it.")]
    Redirect { from: String, to: String, problem: &'static str },
    #[error(
        "a file of {id} is called '{file}', which could reach out of its folder. Nothing was fetched; choose another model."
    )]
    UnsafeFile { id: String, file: String },
    #[error("{id} holds nothing that Lorikeet trains: {problem}.")]
    Nothing { id: String, problem: String },
    /// Several files could each be the model.
    #[error("{id} holds several models. Name one of its files: {}.", files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))]
    Several { id: String, files: Vec<(String, u64)> },
    #[error(
        "{} of space are needed on the disk of '{}' and {} are free. Make room, or set HF_HOME to a folder on another disk.",
        size(*needed), place.display(), size(*free)
    )]
    DiskFull { needed: u64, free: u64, place: PathBuf },
    #[error(
        "'{file}' arrived damaged: its checksum is {found}, and the hub says {expected}. It was removed; fetch it again."
    )]
    Checksum { file: String, expected: String, found: String },
    #[error("'{file}' is being fetched by another program. Wait for it, then try again.")]
    Busy { file: String },
    #[error("cannot write '{}': {source}.", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read '{}': {problem}. Correct it, or remove it.", path.display())]
    Settings { path: PathBuf, problem: String },
    #[error(
        "there is no folder for the hub's cache: neither HF_HOME nor a home folder is known. Set HF_HOME to a folder."
    )]
    NoCache,
    #[error("the download was cancelled. What was fetched is kept; the next one goes on from there.")]
    Cancelled,
}

impl HubError {
    pub(crate) fn write(path: &std::path::Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

fn known_files(known: &[String]) -> String {
    match known {
        [] => "It holds no .safetensors file.".to_owned(),
        known => format!("It holds {}.", known.join(", ")),
    }
}

/// `4.27 GB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
