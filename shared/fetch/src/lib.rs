//! HTTP requests to hosts that users name. Neither a host nor its address can be trusted, so [`Hosts`] is checked for every
//! connection once the name of its host is resolved.

mod resolver;

use std::time::Duration;

use http::{HeaderMap, header};
use shared::clock::Timestamp;
use shared::hosts::Hosts;
use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;

pub use resolver::Forbidden;

const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Returns a client that connects to allowed addresses only. It follows no redirect, and an answer of any status is no error.
pub fn agent(hosts: Hosts, user_agent: &str) -> Agent {
    let config = Agent::config_builder()
        // A proxy would resolve names itself and bypass the resolver.
        .proxy(None)
        .https_only(hosts.only_https())
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIME))
        .user_agent(user_agent)
        .build();
    Agent::with_parts(config, DefaultConnector::default(), resolver::AllowedAddresses::new(hosts))
}

/// Returns the time that a server asks to wait by `Retry-After`. A date counts from the server's own `Date`, and for nothing without
/// one.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let value: &str = text(header::RETRY_AFTER)?;
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Timestamp::of_http_date(text(header::DATE)?)?.wait_of(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_asks_to_wait_for_seconds_or_until_a_date_of_its_own() {
        const NOW: &str = "Fri, 31 Dec 1999 23:59:58 GMT";
        let asked = |value: &str, date: Option<&str>| {
            let value = [(header::RETRY_AFTER, value.parse().unwrap())];
            let date = date.map(|date| (header::DATE, date.parse().unwrap()));
            retry_after(&value.into_iter().chain(date).collect()).map(|wait| wait.as_secs())
        };
        for (value, date, expected) in [
            ("7", None, Some(7)),
            ("Sat, 01 Jan 2000 00:00:28 GMT", Some(NOW), Some(30)),
            ("Fri, 31 Dec 1999 23:00:00 GMT", Some(NOW), Some(0)),
            ("Sat, 01 Jan 2000 00:00:28 GMT", None, None),
            ("soon", Some(NOW), None),
            ("-1", Some(NOW), None),
        ] {
            assert_eq!(asked(value, date), expected, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
