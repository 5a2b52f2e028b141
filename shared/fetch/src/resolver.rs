//! Name resolution that allows no forbidden address.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};
use http::Uri;
use shared::hosts::Hosts;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The maximum number of addresses that ureq takes.
const MAX_ADDRESSES: usize = 16;

/// Resolves a host like the system, and fails if any of its addresses is not allowed. Unlike ureq's resolver, tells a host
/// that does not exist from a lookup that failed.
#[derive(Debug)]
pub(super) struct AllowedAddresses {
    hosts: Hosts,
    look_up: LookUp,
}

/// Returns the addresses of a host.
type LookUp = fn(&str) -> Result<Vec<SocketAddr>, LookupError>;

/// The cause of a connection's failure if the host has an address that [`Hosts`] does not allow.
#[derive(Debug, thiserror::Error)]
#[error("the host has an address that is not allowed")]
pub struct Forbidden;

impl AllowedAddresses {
    pub(super) fn new(hosts: Hosts) -> Self {
        Self { hosts, look_up }
    }
}

impl Resolver for AllowedAddresses {
    /// Fails with `HostNotFound` only if the host does not exist.
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let (sender, receiver) = mpsc::sync_channel(1);
        // The system's lookup can't be interrupted, so the thread may outlive the time limit.
        let (name, look_up) = (host.clone(), self.look_up);
        thread::spawn(move || sender.send(look_up(&name)));
        let found = match receiver.recv_timeout(*timeout.after) {
            Ok(found) => found.map_err(failed)?,
            Err(RecvTimeoutError::Timeout) => return Err(ureq::Error::Timeout(timeout.reason)),
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the lookup panicked").into()),
        };
        if !found.iter().all(|address| self.hosts.may_connect(&host, address.ip())) {
            return Err(ureq::Error::Other(Forbidden.into()));
        }
        let mut addresses = self.empty();
        for mut address in found.into_iter().take(MAX_ADDRESSES) {
            address.set_port(port);
            addresses.push(address);
        }
        Ok(addresses)
    }
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints))?;
    Ok(found.map(|found| found.map(|found| found.sockaddr)).collect::<Result<_, io::Error>>()?)
}

/// Returns the failure of a lookup. Only an answer of DNS proves that a host does not exist; no answer (`EAI_AGAIN`) proves
/// nothing.
fn failed(error: LookupError) -> ureq::Error {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => ureq::Error::HostNotFound,
        _ => ureq::Error::Io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use ureq::Agent;
    use ureq::unversioned::transport::{ConnectionDetails, Connector};

    use super::*;

    /// Notes the addresses that it is told to connect to, and connects to none.
    #[derive(Clone, Debug, Default)]
    struct Connections(Arc<Mutex<Vec<String>>>);

    impl Connector for Connections {
        type Out = ();

        fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<()>, ureq::Error> {
            self.0.lock().unwrap().extend(details.addrs.iter().map(ToString::to_string));
            Err(ureq::Error::ConnectionFailed)
        }
    }

    /// The name leads to a public address when it is looked up first, and to private ones from then on. A second lookup, for the
    /// connection, would lead to a private one.
    #[test]
    fn the_addresses_that_were_checked_are_those_that_are_connected_to() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        let look_up = |_: &str| {
            let address = match LOOKUPS.fetch_add(1, Ordering::Relaxed) {
                0 => "93.184.215.14:0",
                1 => "169.254.169.254:0",
                _ => "10.0.0.1:0",
            };
            Ok(vec![address.parse().unwrap()])
        };
        let resolver = AllowedAddresses { hosts: Hosts::PublicHttps, look_up };
        let connections = Connections::default();
        let agent = Agent::with_parts(Agent::config_builder().build(), connections.clone(), resolver);
        let first = agent.get("https://rebinding.example.com/").call().unwrap_err();
        assert!(matches!(first, ureq::Error::ConnectionFailed), "{first:?}");
        assert_eq!(*connections.0.lock().unwrap(), ["93.184.215.14:443"]);
        for lookups in [2, 3] {
            let later = agent.get("https://rebinding.example.com/").call().unwrap_err();
            assert!(matches!(&later, ureq::Error::Other(cause) if cause.is::<Forbidden>()), "{later:?}");
            assert_eq!(LOOKUPS.load(Ordering::Relaxed), lookups, "one request looks the name up once");
        }
        assert_eq!(connections.0.lock().unwrap().len(), 1);
    }

    /// The codes of `getaddrinfo` in Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn only_an_answer_of_dns_proves_that_a_host_does_not_exist() {
        let [no_name, no_data, again, fail, system] = [-2, -5, -3, -4, -11];
        for (code, exists_not) in [(no_name, true), (no_data, true), (again, false), (fail, false), (system, false)] {
            let error = failed(LookupError::new(code));
            assert_eq!(matches!(error, ureq::Error::HostNotFound), exists_not, "{code}: {error:?}");
        }
    }
}
