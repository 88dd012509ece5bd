//! Requests. The token goes to the hub's own address and nowhere else, wherever it redirects to.

use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::access::Access;
use crate::cancel::Cancel;
use crate::error::HubError;

/// A server that says nothing for so long is taken to be gone.
const SILENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
const REDIRECTS: usize = 8;
/// In a row, without a byte in between.
const TRIES: u32 = 5;
/// A server may ask for more patience than we have.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Client<'a> {
    pub(crate) access: &'a Access,
    pub(crate) cancel: &'a Cancel,
    agent: Agent,
}

/// Why a request came to nothing.
pub(crate) enum Fault {
    /// Worth another try, after that time if the server named one.
    Passing(HubError, Option<Duration>),
    Lasting(HubError),
}

impl<'a> Client<'a> {
    /// # Errors
    /// Offline: then there is no client, hence no request.
    pub(crate) fn new(access: &'a Access, cancel: &'a Cancel, what: &str) -> Result<Client<'a>, HubError> {
        access.check_online(what)?;
        let mut config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(access.trust.roots()?).build())
            .user_agent(concat!("lorikeet/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Followed here, where it is known which host may see the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_idle_connections_per_host(1);
        let host = access.host();
        if ["localhost", "127.0.0.1", "[::1]"].contains(&host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host))
        {
            // A mirror on this computer is not behind the proxy.
            config = config.proxy(None);
        }
        let agent = config.build().new_agent();
        cancel.watch(&agent);
        Ok(Client { access, cancel, agent })
    }

    /// What is at a path of the hub, from a byte on.
    pub(crate) fn get(&self, path: &str, from: u64) -> Result<Response<Body>, Fault> {
        let home = format!("{}{path}", self.access.endpoint);
        let mut url = home.clone();
        for _ in 0..=REDIRECTS {
            if self.cancel.is_cancelled() {
                return Err(Fault::Lasting(HubError::Cancelled));
            }
            let mut request = self.agent.get(&url);
            if let Some(token) = self.access.token().filter(|_| origin(&url) == origin(&self.access.endpoint)) {
                if !token.is_sound() {
                    return Err(Fault::Lasting(HubError::BadToken { host: self.access.host() }));
                }
                request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| self.fault(&url, &error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = text(&response, header::LOCATION.as_str()).unwrap_or_default();
            let refuse = |problem| {
                let (from, to) = (shown(&url), shown(&to));
                Fault::Lasting(HubError::Redirect { from, to, problem })
            };
            let next = joined(&url, &to).ok_or_else(|| refuse("that is no address"))?;
            if url.starts_with("https://") && !next.starts_with("https://") {
                return Err(refuse("it leaves the encrypted connection"));
            }
            url = next;
        }
        let (from, to) = (shown(&home), shown(&url));
        Err(Fault::Lasting(HubError::Redirect { from, to, problem: "there were too many of them" }))
    }

    /// Does something until it works, is cancelled, or has come to nothing too often in a row. The job says whether a try
    /// that failed still brought it further.
    pub(crate) fn patiently<T>(&self, mut job: impl FnMut() -> Result<T, (Fault, bool)>) -> Result<T, HubError> {
        let mut tries = 0;
        loop {
            let (fault, further) = match job() {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            if self.cancel.is_cancelled() {
                return Err(HubError::Cancelled);
            }
            let (error, asked) = match fault {
                Fault::Lasting(error) => return Err(error),
                Fault::Passing(error, asked) => (error, asked),
            };
            tries = if further { 1 } else { tries + 1 };
            if tries >= TRIES {
                return Err(error);
            }
            let wait = asked.unwrap_or(self.access.patience * 2_u32.pow(tries - 1)).min(LONGEST_WAIT);
            if self.cancel.wait(wait) {
                return Err(HubError::Cancelled);
            }
        }
    }

    /// A status that is no success, told by what the hub says of it.
    pub(crate) fn refusal(&self, id: &str, revision: &str, file: &str, response: &Response<Body>) -> Fault {
        let status = response.status();
        let code = text(response, "x-error-code").unwrap_or_default();
        let had_token = self.access.token().is_some();
        let host = self.access.host();
        let id = id.to_owned();
        let error = match (status, code.as_str()) {
            (_, "GatedRepo") => HubError::Gated { page: format!("{}/{id}", self.access.endpoint), id, had_token },
            (_, "RevisionNotFound") => HubError::NoSuchRevision { id, revision: revision.to_owned() },
            (_, "EntryNotFound") => HubError::NoSuchFile { id, file: file.to_owned(), known: Vec::new() },
            (_, "RepoNotFound") => HubError::NoSuchModel { id, host },
            (StatusCode::UNAUTHORIZED, _) if had_token => HubError::BadToken { host },
            // Without the hub's word for it: that is how it answers for what only some may see.
            (StatusCode::FORBIDDEN, _) => {
                HubError::Gated { page: format!("{}/{id}", self.access.endpoint), id, had_token }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) => HubError::NoSuchModel { id, host },
            _ => {
                let error = HubError::Status { url: host, status: status.as_u16() };
                let passing = status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                let asked = text(response, header::RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
                return if passing {
                    Fault::Passing(error, asked.map(Duration::from_secs))
                } else {
                    Fault::Lasting(error)
                };
            }
        };
        Fault::Lasting(error)
    }

    /// An error below HTTP.
    fn fault(&self, url: &str, error: &ureq::Error) -> Fault {
        if self.cancel.is_cancelled() {
            return Fault::Lasting(HubError::Cancelled);
        }
        let told = self.network(url, error);
        if matches!(told, HubError::Untrusted { .. }) {
            return Fault::Lasting(told);
        }
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                Fault::Lasting(told)
            }
            _ => Fault::Passing(told, None),
        }
    }

    pub(crate) fn network(&self, url: &str, error: &dyn std::fmt::Display) -> HubError {
        let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let (host, reason) = (host.unwrap_or_else(|| self.access.host()), error.to_string());
        // In rustls' words, which come wrapped in several ways. The second: an authority of a name that is known, with another key.
        let untrusted = ["UnknownIssuer", "BadSignature"].iter().any(|word| reason.contains(word));
        if untrusted { HubError::Untrusted { host } } else { HubError::Network { host, reason } }
    }
}

/// A header as text.
pub(crate) fn text(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Scheme, host and port: what decides whether it is the same server.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    Some((scheme, uri.host()?.to_lowercase(), uri.port_u16().unwrap_or(usual)))
}

/// Where a redirect leads.
fn joined(from: &str, to: &str) -> Option<String> {
    if to.starts_with("https://") || to.starts_with("http://") {
        return origin(to).map(|_| to.to_owned());
    }
    let uri: Uri = from.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    match to.strip_prefix("//") {
        Some(rest) => origin(&format!("{scheme}://{rest}")).map(|_| format!("{scheme}://{rest}")),
        None => to.starts_with('/').then(|| format!("{scheme}://{authority}{to}")),
    }
}

/// An address without its query, which may be signed.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().chars().take(200).collect()
}

/// A path for an address: what is not plain is escaped, slashes are kept where they may be.
pub(crate) fn escaped(path: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b'/' if slashes => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_and_servers_told_apart() {
        let from = "https://hub.example/a/b?c";
        assert_eq!(joined(from, "/x?y").as_deref(), Some("https://hub.example/x?y"));
        assert_eq!(joined(from, "//cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(joined(from, "http://cdn.example/x").as_deref(), Some("http://cdn.example/x"));
        assert_eq!(joined(from, "ftp://cdn.example/x"), None);
        assert_eq!(joined(from, ""), None);
        assert_eq!(origin("https://Hub.example/x"), origin("https://hub.example:443"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("http://127.0.0.1:1"), origin("http://127.0.0.1:2"));
        assert_ne!(origin("https://hub.example@evil.example/"), origin("https://hub.example"));
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped("a b/ä.x", true), "a%20b/%C3%A4.x");
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
