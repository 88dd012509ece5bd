//! Models from the Hugging Face hub, by name: what a repository holds, which of it Lorikeet reads, and fetching that into the
//! cache that the hub's own programs share.
//!
//! [`Access`] says how the hub is reached, [`look_up`] what is there, [`choose`] what to fetch, [`fetch`] fetches it. All of it
//! waits for a network or a disk: not for a window's thread. Without [`Access::is_offline`] nothing else decides whether the
//! network is used, and no request is made but by these functions.

mod access;
mod cache;
mod cancel;
mod choose;
mod error;
mod fetch;
mod http;
mod listing;
mod name;
mod pace;
mod trust;

pub use access::{Access, OuterOffline, Settings, Token};
pub use cancel::Cancel;
pub use choose::{Selection, choose};
pub use error::HubError;
pub use fetch::{Progress, already_there, fetch};
pub use listing::{Digest, RemoteFile, Repository, look_up};
pub use name::RepoName;
pub use pace::Pace;
pub use trust::Trust;
