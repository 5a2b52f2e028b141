//! Credentials of git hosts.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::Authority;
use http::{HeaderValue, Uri};

use crate::clone_url::{CloneUrl, Location};

/// A user name and password that one git host asks for. It is sent to that host and port only, and only where nobody can read
/// it on the way.
#[derive(Clone)]
pub struct Credential {
    host: Authority,
    authorization: HeaderValue,
    source: String,
}

impl Credential {
    /// Returns the credential for a host, which may name a port: `git.example.com:8443`. Failures name the credential's `source`,
    /// as a noun: `the connection GitHub`.
    pub fn new(host: Authority, username: &str, password: &str, source: impl Into<String>) -> Self {
        let basic = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        let mut authorization = HeaderValue::from_str(&basic).expect("base64 is ASCII");
        authorization.set_sensitive(true);
        Self { host, authorization, source: source.into() }
    }

    /// Returns the value of the `Authorization` header of a request, or `None` if the request is not for the credential's host
    /// or could be read on the way.
    pub(crate) fn authorization_for(&self, uri: &Uri) -> Option<&HeaderValue> {
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") if is_loopback(uri.host()?) => 80,
            _ => return None,
        };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
        let asked = uri.authority()?;
        let is_its_host = asked.host().eq_ignore_ascii_case(self.host.host()) && port(asked) == port(&self.host);
        is_its_host.then_some(&self.authorization)
    }

    /// Returns the texts that nobody but the host may read: the credential as it is sent, and the password.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let basic = self.authorization.to_str().unwrap_or_default().trim_start_matches("Basic ");
        let pair = STANDARD.decode(basic).ok().and_then(|pair| String::from_utf8(pair).ok());
        let password = pair.and_then(|pair| Some(pair.split_once(':')?.1.to_owned()));
        [Some(basic.to_owned()), password].into_iter().flatten().collect()
    }

    /// Returns whether requests to a repository at this URL get the credential.
    pub fn may_be_sent_to(&self, url: &CloneUrl) -> bool {
        matches!(url.location(), Location::Http(uri) if self.authorization_for(uri).is_some())
    }

    /// Returns the noun that names the origin of the credential in failures.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("host", &self.host).finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sent(host: &'static str, uri: &'static str) -> bool {
        let credential = Credential::new(Authority::from_static(host), "robot", "secret", "it");
        credential.authorization_for(&Uri::from_static(uri)).is_some()
    }

    #[test]
    fn is_sent_to_its_own_host_and_port_only() {
        for (host, uri) in [
            ("git.example.com", "https://git.example.com/acme/app/info/refs"),
            ("git.example.com", "https://GIT.example.com:443/acme/app"),
            ("git.example.com:443", "https://git.example.com/acme/app"),
            ("git.example.com:8443", "https://git.example.com:8443/acme/app"),
        ] {
            assert!(is_sent(host, uri), "{host} {uri}");
        }
        for (host, uri) in [
            ("git.example.com", "https://example.com/acme/app"),
            ("example.com", "https://git.example.com/acme/app"),
            ("git.example.com", "https://git.example.com:8443/acme/app"),
            ("git.example.com:8443", "https://git.example.com/acme/app"),
            ("git.example.com", "https://git.example.com.evil.example/acme/app"),
        ] {
            assert!(!is_sent(host, uri), "{host} {uri}");
        }
    }

    #[test]
    fn is_sent_without_tls_on_this_machine_only() {
        for (host, uri, sent) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/app.git", true),
            ("localhost:8080", "http://localhost:8080/app.git", true),
            ("[::1]:8080", "http://[::1]:8080/app.git", true),
            ("git.example.com", "http://git.example.com/acme/app", false),
            ("10.0.0.1:80", "http://10.0.0.1:80/app.git", false),
            ("localhost.example.com", "http://localhost.example.com/app.git", false),
        ] {
            assert_eq!(is_sent(host, uri), sent, "{uri}");
        }
    }

    #[test]
    fn its_secrets_are_known() {
        let credential = Credential::new(Authority::from_static("git.example.com"), "robot", "sec:ret", "it");
        assert_eq!(credential.secrets(), [STANDARD.encode("robot:sec:ret"), "sec:ret".to_owned()]);
    }

    #[test]
    fn its_password_is_not_printed() {
        let credential = Credential::new(Authority::from_static("git.example.com"), "robot", "secret", "it");
        let printed = format!("{credential:?} {:?}", credential.authorization);
        assert!(printed.contains("git.example.com"), "{printed}");
        assert!(!printed.contains("secret") && !printed.contains(&STANDARD.encode("robot:secret")), "{printed}");
    }
}
