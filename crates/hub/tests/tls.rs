//! An encrypted hub on this computer, with an authority that nobody knows.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lorikeet_hub::{Access, Cancel, HubError, RepoName, Repository, Settings, Trust, look_up};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use server::{Request, Server, answer};

/// A server of 127.0.0.1, and the certificate of its authority as PEM.
fn encrypted() -> (Server, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let files = vec![("model_index.json".to_owned(), b"{}".to_vec())];
    let server = Server::over(
        move |stream| Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)),
        move |request: &Request| answer(request, &files),
    );
    (server, authority.pem())
}

fn look(server: &Server, trust: Trust) -> Result<Repository, HubError> {
    let access = Access {
        endpoint: server.url().replacen("http", "https", 1),
        settings: Settings::default(),
        patience: Duration::from_millis(1),
        trust,
        ..Access::default()
    };
    look_up(&access, &RepoName::parse("ann/birds").unwrap(), &Cancel::default())
}

fn file(path: &Path) -> Trust {
    Trust { file: Some(path.to_owned()), ..Trust::default() }
}

#[test]
fn an_unknown_authority_is_told_with_what_to_do_and_one_that_is_named_is_trusted() {
    let (server, authority) = encrypted();
    let error = look(&server, Trust::default()).unwrap_err();
    assert!(matches!(error, HubError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1 shows a certificate") && error.to_string().contains("SSL_CERT_FILE"));
    assert!(server.seen().is_empty(), "nothing is said to a server that is not trusted");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("company.pem");
    std::fs::write(&path, &authority).unwrap();
    assert_eq!(look(&server, file(&path)).unwrap().files.len(), 1);

    // OpenSSL's folders name their files by a checksum.
    let hashed = folder.path().join("certs");
    std::fs::create_dir(&hashed).unwrap();
    std::fs::write(hashed.join("0a1b2c3d.0"), &authority).unwrap();
    let trust = Trust { file: None, folders: vec![folder.path().join("nowhere"), hashed] };
    assert_eq!(look(&server, trust).unwrap().files.len(), 1);

    let (_, other) = encrypted();
    std::fs::write(&path, other).unwrap();
    assert!(matches!(look(&server, file(&path)), Err(HubError::Untrusted { .. })));
}

#[test]
fn a_file_without_certificates_is_told_by_its_variable() {
    let (server, _) = encrypted();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("company.pem");
    for text in [None, Some("no certificate")] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = look(&server, file(&path)).unwrap_err();
        assert!(matches!(error, HubError::NoAuthorities { variable: "SSL_CERT_FILE", .. }), "{error}");
        assert!(error.to_string().contains("company.pem") && error.to_string().contains("unset it"), "{error}");
    }
}
