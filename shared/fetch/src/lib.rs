//! HTTP requests to hosts that users name. Neither a host nor its address can be trusted, so [`Hosts`] is checked for every
//! connection once the name of its host is resolved.

mod resolver;

use std::time::Duration;

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
