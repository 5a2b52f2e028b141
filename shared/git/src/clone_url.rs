//! The URL of a repository, checked before any connection.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use shared::hosts::Hosts;
use shared::name::{GitHost, find_unseen, unseen};

const MAX_LENGTH: usize = 2048;

/// The URL of a repository that its [`Hosts`] allow. It contains no credentials. The addresses of its host are
/// checked later, by the resolver of each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneUrl {
    hosts: Hosts,
    location: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Http(Uri),
    Path(PathBuf),
}

/// The reason why a text is not a [`CloneUrl`]. The message is meant for API clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum InvalidCloneUrl {
    #[error("must be at most {MAX_LENGTH} bytes long")]
    TooLong,
    #[error("must be an https:// URL of a repository")]
    NotHttps,
    #[error("must be a valid URL of a repository")]
    Malformed,
    #[error("must not contain a user name or password")]
    Credentials,
    #[error("must not contain a query or a fragment")]
    Query,
    #[error("must name a host on the public internet")]
    NotPublic,
    #[error("{}", unseen(*.0))]
    Unseen(char),
}

impl CloneUrl {
    /// Parses a user's URL of a repository.
    pub fn parse(text: &str, hosts: Hosts) -> Result<Self, InvalidCloneUrl> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidCloneUrl::TooLong);
        }
        // The others that can't be seen are malformed.
        if let Some(char) = find_unseen(text).filter(|char| !char.is_ascii()) {
            return Err(InvalidCloneUrl::Unseen(char));
        }
        if hosts == Hosts::AlsoLocal {
            let path = text.strip_prefix("file://").unwrap_or(text);
            if path.starts_with('/') && !path.contains(char::is_control) {
                let location = Location::Path(path.into());
                return Ok(CloneUrl { hosts, location });
            }
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("https") => {}
            Some("http") if !hosts.only_https() => {}
            _ => return Err(InvalidCloneUrl::NotHttps),
        }
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| InvalidCloneUrl::Malformed)?;
        if text.contains(['?', '#']) {
            return Err(InvalidCloneUrl::Query);
        }
        let authority = uri.authority().ok_or(InvalidCloneUrl::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(InvalidCloneUrl::Credentials);
        }
        let host = authority.host();
        let after_host = &authority.as_str()[host.len()..];
        let port_is_valid = after_host.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
        if host.is_empty() || !port_is_valid || uri.path() == "/" {
            return Err(InvalidCloneUrl::Malformed);
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !hosts.may_reach(address)) {
            return Err(InvalidCloneUrl::NotPublic);
        }
        let location = Location::Http(uri);
        Ok(CloneUrl { hosts, location })
    }

    /// Returns whether the repository is at this host. A folder of this machine is at none.
    pub fn is_at(&self, host: &GitHost) -> bool {
        let Location::Http(uri) = &self.location else { return false };
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        uri.host().is_some_and(|name| host.is_at(name, uri.port_u16(), default))
    }

    /// Returns the path of the URL, or `None` for a folder of this machine.
    pub fn path(&self) -> Option<&str> {
        match &self.location {
            Location::Http(uri) => Some(uri.path()),
            Location::Path(_) => None,
        }
    }

    pub(crate) fn hosts(&self) -> Hosts {
        self.hosts
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }
}

impl fmt::Display for CloneUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Http(uri) => uri.fmt(f),
            Location::Path(path) => Path::display(path).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_takes_https_urls_of_public_hosts() {
        for (text, shown) in [
            ("https://github.com/acme/app", "https://github.com/acme/app"),
            ("https://github.com/acme/app.git/", "https://github.com/acme/app.git"),
            ("HTTPS://github.com/acme/app", "https://github.com/acme/app"),
            ("https://git.example.com:8443/app.git", "https://git.example.com:8443/app.git"),
            ("https://[2606:50c0:8000::153]/app", "https://[2606:50c0:8000::153]/app"),
        ] {
            let url = CloneUrl::parse(text, Hosts::PublicHttps).unwrap();
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn public_https_refuses_everything_else() {
        use InvalidCloneUrl::*;
        for (text, why) in [
            ("", NotHttps),
            ("acme/app", NotHttps),
            ("/srv/git/app.git", NotHttps),
            ("file:///srv/git/app.git", NotHttps),
            ("http://github.com/acme/app", NotHttps),
            ("ssh://git@github.com/acme/app", NotHttps),
            ("git@github.com:acme/app.git", NotHttps),
            ("git://github.com/acme/app", NotHttps),
            ("ext::sh -c id", NotHttps),
            ("https://", Malformed),
            ("https://github.com", Malformed),
            ("https://github.com/", Malformed),
            ("https://github.com:/acme", Malformed),
            ("https://github.com:0/acme", Malformed),
            ("https://github.com:65536/acme", Malformed),
            ("https://github.com/a b", Malformed),
            ("https://github.com/a\nb", Malformed),
            ("https://token@github.com/acme/app", Credentials),
            ("https://user:password@github.com/acme/app", Credentials),
            ("https://@github.com/acme/app", Credentials),
            ("https://github.com/acme/app?x=1", Query),
            ("https://github.com/acme/app#main", Query),
            ("https://127.0.0.1/app", NotPublic),
            ("https://[::1]/app", NotPublic),
            ("https://[::ffff:169.254.169.254]/app", NotPublic),
            ("https://169.254.169.254/latest", NotPublic),
            ("https://10.0.0.1:8443/app", NotPublic),
            ("https://github.com/acme/app\u{200b}", Unseen('\u{200b}')),
            ("https://github.com/\u{202e}ppa/acme", Unseen('\u{202e}')),
        ] {
            assert_eq!(CloneUrl::parse(text, Hosts::PublicHttps), Err(why), "{text:?}");
        }
        let long = format!("https://github.com/{}", "a".repeat(MAX_LENGTH));
        assert_eq!(CloneUrl::parse(&long, Hosts::PublicHttps), Err(TooLong));
    }

    #[test]
    fn also_local_adds_http_loopback_and_paths_only() {
        for (text, shown) in [
            ("http://127.0.0.1:8080/app.git", "http://127.0.0.1:8080/app.git"),
            ("http://localhost:8080/app", "http://localhost:8080/app"),
            ("https://[::1]/app", "https://[::1]/app"),
            ("/srv/git/app.git", "/srv/git/app.git"),
            ("file:///srv/git/my app", "/srv/git/my app"),
        ] {
            let url = CloneUrl::parse(text, Hosts::AlsoLocal).unwrap();
            assert_eq!(url.to_string(), shown);
        }
        for text in ["http://10.0.0.1/app", "http://169.254.169.254/app", "srv/git", "file://host/app", "ssh://h/app"] {
            assert!(CloneUrl::parse(text, Hosts::AlsoLocal).is_err(), "{text}");
        }
    }
}
