//! Name resolution that allows no forbidden address.

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::clone_url::Hosts;

/// Resolves a host like the system, and fails if any of its addresses is not allowed.
#[derive(Debug)]
pub(super) struct AllowedAddresses {
    hosts: Hosts,
    system: DefaultResolver,
}

#[derive(Debug, thiserror::Error)]
#[error("the host has an address that is not allowed")]
pub(super) struct Forbidden;

impl AllowedAddresses {
    pub(super) fn new(hosts: Hosts) -> Self {
        Self { hosts, system: DefaultResolver::default() }
    }
}

impl Resolver for AllowedAddresses {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        if found.iter().all(|address| self.hosts.may_reach(address.ip())) {
            Ok(found)
        } else {
            Err(ureq::Error::Other(Forbidden.into()))
        }
    }
}
