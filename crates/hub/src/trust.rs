//! Whose word is taken for a server: the authorities that the system trusts, or those that the environment names.

use std::path::PathBuf;

use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, RootCerts};

use crate::error::HubError;

const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// As OpenSSL and curl take it. With neither, the system's store; where that is empty, the authorities that browsers trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// `SSL_CERT_FILE`, in the PEM format.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: folders of such files.
    pub folders: Vec<PathBuf>,
}

impl Trust {
    pub(crate) fn of_environment(path: &dyn Fn(&str) -> Option<PathBuf>) -> Trust {
        let folders = path(FOLDERS).map(|list| std::env::split_paths(&list).collect()).unwrap_or_default();
        Trust { file: path(FILE), folders }
    }

    /// # Errors
    /// When the environment names places that hold no certificate.
    pub(crate) fn roots(&self) -> Result<RootCerts, HubError> {
        if self.file.is_none() && self.folders.is_empty() {
            let found = load_native_certs();
            return Ok(if found.certs.is_empty() { RootCerts::WebPki } else { roots(&found) });
        }
        let mut found = load_certs_from_paths(self.file.as_deref(), None);
        for folder in &self.folders {
            let more = load_certs_from_paths(None, Some(folder));
            found.certs.extend(more.certs);
            found.errors.extend(more.errors);
        }
        if found.certs.is_empty() {
            let problem = found.errors.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
            let variable = if self.file.is_some() { FILE } else { FOLDERS };
            let places = self.file.iter().chain(&self.folders).map(|place| place.display().to_string());
            return Err(HubError::NoAuthorities { variable, place: places.collect::<Vec<_>>().join(", "), problem });
        }
        Ok(roots(&found))
    }
}

fn roots(found: &CertificateResult) -> RootCerts {
    found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect::<Vec<_>>().into()
}
