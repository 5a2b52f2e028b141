//! The issuers of trusts: their keys, fetched from hosts that nobody has checked.
//!
//! Metadata and keys are remembered, and so is a failure to fetch them. An execution environment asks an issuer at most once a
//! minute for keys that it lacks, and once in 30 seconds while it can't be reached, whatever tokens it is sent.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use shared::Result;
use shared::cache::Cache;
use shared::clock::Timestamp;
use shared::hosts::Hosts;
use shared::model::IssuerUrl;
use shared::oauth::{FetchFailed, Header, Jwt, KeySet, MAX_PUBLISHED_BYTES, Metadata, Published, Remembered};
use tokio::sync::Mutex;
use ureq::Agent;

use crate::subject_token::refused;

/// The maximum number of remembered issuers in one execution environment.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(200).unwrap();
/// The minimum time between fetches while an issuer can't be reached.
const RETRY: Duration = Duration::from_secs(30);
/// The time limit of both fetches together.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("git-api/", env!("CARGO_PKG_VERSION"));

/// The issuers that tokens were exchanged of.
#[derive(Debug)]
pub(crate) struct Issuers {
    agent: Agent,
    known: Cache<IssuerUrl, Arc<Mutex<Known>>>,
}

#[derive(Debug)]
struct Known(Remembered);

impl Default for Known {
    fn default() -> Self {
        Self(Remembered::nothing(RETRY))
    }
}

impl Issuers {
    pub(crate) fn new(hosts: Hosts) -> Self {
        Self { agent: fetch::agent(hosts, USER_AGENT), known: Cache::new(REMEMBERED) }
    }

    /// Verifies the signature of a token by the issuer's keys, and returns the token's claims.
    ///
    /// # Errors
    /// Fails with `invalid_grant`, or with `remote_unavailable` if the issuer can't be reached.
    pub(crate) async fn verified(
        &self,
        issuer: &IssuerUrl,
        jwt: &Jwt,
        header: &Header,
        now: Timestamp,
    ) -> Result<Map<String, Value>> {
        let known = self.known.with(issuer, |known| Arc::clone(known));
        // The lock is held over the fetch, so that concurrent requests wait for it and don't fetch too.
        let mut known = known.lock().await;
        let fetch = async || {
            let (agent, issuer) = (self.agent.clone(), issuer.clone());
            let fetched = tokio::task::spawn_blocking(move || published(&agent, &issuer)).await;
            fetched.unwrap_or_else(|error| Err(FetchFailed::Unreachable(error.into())))
        };
        let keys = known.0.keys(header, now, fetch).await.map_err(refused)?;
        keys.verify(jwt, header).map_err(refused)
    }
}

/// Fetches the metadata and the keys of an issuer.
fn published(agent: &Agent, issuer: &IssuerUrl) -> Result<Published, FetchFailed> {
    let metadata = Metadata::parse(issuer.as_str(), &get(agent, &Metadata::address(issuer.as_str()))?)?;
    let keys = get(agent, &metadata.keys_address()?)?;
    let keys = KeySet::parse(&keys).map_err(|error| FetchFailed::Answer(error.into()))?;
    Ok(Published { metadata, keys })
}

/// Reads a document of an issuer. An answer that is a redirect is a failure.
fn get(agent: &Agent, url: &str) -> Result<Vec<u8>, FetchFailed> {
    let unreachable = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => FetchFailed::Late,
        error => FetchFailed::Unreachable(error.into()),
    };
    let request = agent.get(url).header("accept", "application/json").config().timeout_global(Some(FETCH_LIMIT / 2));
    let response = request.build().call().map_err(unreachable)?;
    if response.status() != 200 {
        return Err(FetchFailed::Status(response.status().as_u16()));
    }
    let body = response.into_body().into_with_config().limit(MAX_PUBLISHED_BYTES as u64).read_to_vec();
    body.map_err(unreachable)
}
