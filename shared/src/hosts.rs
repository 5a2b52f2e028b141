//! The hosts that users may name: those of repositories and of issuers. The setting `CLONE_HOSTS` says which are allowed.

mod address;
mod listed;

use std::net::IpAddr;

use url::{Host, Url};

use crate::settings::{CLONE_HOSTS, Settings};
use address::is_public;

pub use listed::{InvalidItem, ListedHosts};

/// The hosts that users may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// `https://` URLs of hosts that resolve to public addresses only.
    PublicHttps,
    /// Public hosts, and also `https://` URLs of the private hosts in a list.
    AlsoListed(&'static ListedHosts),
    /// Public hosts, and also `http://`, loopback addresses, `file://` and absolute paths, for a stack on one machine.
    AlsoLocal,
}

/// The error for a `CLONE_HOSTS` that can't be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "CLONE_HOSTS must be 'public', 'local', or host names and networks such as 10.20.0.0/16, separated by commas: {0}"
)]
pub struct UnknownHosts(#[from] InvalidItem);

impl Hosts {
    /// Reads the setting `CLONE_HOSTS`, which defaults to public hosts. A list stays in memory for the rest of the process, as the
    /// settings do.
    ///
    /// # Errors
    /// Fails if an item of a list is neither the name of a host nor a network.
    pub fn of(settings: &Settings) -> Result<Self, UnknownHosts> {
        match settings.get(CLONE_HOSTS) {
            None | Some("public") => Ok(Self::PublicHttps),
            Some("local") => Ok(Self::AlsoLocal),
            Some(list) => Ok(Self::AlsoListed(Box::leak(Box::new(list.parse()?)))),
        }
    }

    /// Returns whether a URL may be requested, as far as it tells. If it has the name of a host and not an address, the name's
    /// addresses are checked when it is resolved.
    pub(crate) fn may_name(self, url: &Url) -> bool {
        let may_reach = match url.host() {
            Some(Host::Ipv4(address)) => self.may_reach(address.into()),
            Some(Host::Ipv6(address)) => self.may_reach(address.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        };
        may_reach && (url.scheme() == "https" || !self.only_https())
    }

    /// Returns whether a connection to an address is allowed, whatever the name of its host.
    pub fn may_reach(self, address: IpAddr) -> bool {
        let is_allowed = match self {
            Self::PublicHttps => false,
            Self::AlsoListed(listed) => listed.has_address(address),
            Self::AlsoLocal => address.is_loopback(),
        };
        is_allowed || is_public(address)
    }

    /// Returns whether a connection to the host of this name is allowed at this address, which it resolves to.
    pub fn may_connect(self, name: &str, address: IpAddr) -> bool {
        let is_listed = match self {
            Self::AlsoListed(listed) => listed.has_name_at(name, address),
            Self::PublicHttps | Self::AlsoLocal => false,
        };
        is_listed || self.may_reach(address)
    }

    /// Returns whether only `https://` URLs are allowed.
    pub fn only_https(self) -> bool {
        self != Self::AlsoLocal
    }
}

/// Parses a URL from which answers can be trusted: `https`, or `http` on this machine. Returns `None` for any other. Hosts are
/// compared as they are connected to, after parsing.
pub(crate) fn secure(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_trusted = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    (is_trusted && !has_credentials).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_secure() {
        for text in [
            "https://login.example.com",
            "HTTPS://login.example.com/keys?kind=rsa",
            "https://login.example.com:8443/",
            "http://127.0.0.1:8080/keys",
            "http://localhost:8080",
            "http://LOCALHOST/keys",
            "http://[::1]:8080/keys",
        ] {
            assert!(secure(text).is_some(), "{text}");
        }
        for text in [
            "",
            "login.example.com",
            "http://login.example.com/keys",
            "http://localhost:x@evil.example/",
            "http://localhost:8080@evil.example/",
            "http://127.0.0.1:8080@evil.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://10.0.0.1:8080/",
            "http://[::ffff:10.0.0.1]/",
            "https://user:password@login.example.com/",
            "https://user@login.example.com/",
            "ftp://localhost/",
            "file:///etc/passwd",
        ] {
            assert!(secure(text).is_none(), "{text}");
        }
    }
}
