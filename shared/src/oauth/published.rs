//! The metadata and the keys that an issuer publishes. They are fetched when a token needs them.

use std::time::Duration;

use serde::Deserialize;

use super::{Header, KeySet, Refused};
use crate::clock::Timestamp;
use crate::hosts::secure;

/// The age at which keys are fetched again, so that a withdrawn key is forgotten.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// The maximum age of keys that can't be fetched again.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// The minimum time between fetches that tokens with unknown keys cause.
const REFETCH: Duration = Duration::from_secs(60);
/// The time limit of one fetch of the metadata or the keys.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// The maximum size of the metadata, and of the keys.
pub const MAX_PUBLISHED_BYTES: usize = 256 * 1024;

/// The members of the metadata that are used (OpenID Connect Discovery section 3).
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    issuer: String,
    jwks_uri: String,
    // An issuer that nobody signs in at lacks some of the endpoints.
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) userinfo_endpoint: Option<String>,
}

/// The metadata and the keys of an issuer.
#[derive(Clone, Debug)]
pub struct Published {
    /// The issuer's metadata.
    pub metadata: Metadata,
    /// The issuer's keys.
    pub keys: KeySet,
}

/// The metadata and the keys that an issuer published when it was last asked. Asks it again as seldom as tokens allow.
#[derive(Debug)]
pub struct Remembered {
    published: Option<(Published, Timestamp)>,
    tried_at: Option<Timestamp>,
    /// The minimum time between fetches while nothing is known.
    retry: Duration,
}

/// The reasons why a fetch from an issuer failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum FetchFailed {
    #[error("it did not answer in time, or not since the last attempt")]
    Late,
    #[error("it can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answered {0}")]
    Status(u16),
    #[error("its response is malformed")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("its metadata has no {0}")]
    Missing(&'static str),
    #[error("{0} is not at an https URL without credentials")]
    Insecure(&'static str),
    #[error("its metadata names another issuer")]
    Mixed,
}

impl Metadata {
    /// Returns the address of an issuer's metadata.
    pub fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads an issuer's metadata.
    ///
    /// # Errors
    /// Fails if the text is no metadata, or is another issuer's.
    pub fn parse(issuer: &str, json: &[u8]) -> Result<Self, FetchFailed> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| FetchFailed::Answer(error.into()))?;
        if metadata.issuer != issuer {
            return Err(FetchFailed::Mixed);
        }
        Ok(metadata)
    }

    /// Returns the address of the issuer's keys.
    ///
    /// # Errors
    /// Fails if the keys are at no URL from which answers can be trusted.
    pub fn keys_address(&self) -> Result<String, FetchFailed> {
        secure(&self.jwks_uri).map(String::from).ok_or(FetchFailed::Insecure("jwks_uri"))
    }
}

impl Remembered {
    /// Returns a memory of nothing. While an issuer can't be reached, it is asked once in the time `retry`.
    pub fn nothing(retry: Duration) -> Self {
        Self { published: None, tried_at: None, retry }
    }

    /// Returns the issuer's keys. Fetches them if they are old, or if the key that a header names is not
    /// among them.
    ///
    /// # Errors
    /// Fails with [`Refused::Unavailable`] if there are no keys that are young enough.
    pub async fn keys(
        &mut self,
        header: &Header,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<Published, FetchFailed>,
    ) -> Result<&KeySet, Refused> {
        let has_key = |published: &Published| published.keys.has(&header.kid);
        let published = self.current(has_key, now, fetch).await.map_err(Refused::Unavailable)?;
        Ok(&published.keys)
    }

    /// Returns the issuer's metadata. Fetches it if it is old.
    pub(super) async fn metadata(
        &mut self,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<Published, FetchFailed>,
    ) -> Result<&Metadata, FetchFailed> {
        Ok(&self.current(|_| true, now, fetch).await?.metadata)
    }

    /// Returns the issuer's metadata as it was last fetched.
    pub(super) fn last_metadata(&self) -> Option<&Metadata> {
        self.published.as_ref().map(|(published, _)| &published.metadata)
    }

    /// Returns what the issuer publishes. Fetches it if it is old, or if it lacks what is needed.
    async fn current(
        &mut self,
        suffices: impl Fn(&Published) -> bool,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<Published, FetchFailed>,
    ) -> Result<&Published, FetchFailed> {
        let is_fresh = |(published, at): &(Published, Timestamp)| now.since(*at) < FRESH && suffices(published);
        let mut failed = FetchFailed::Late;
        if !self.published.as_ref().is_some_and(is_fresh) {
            let pause = if self.published.is_some() { REFETCH } else { self.retry };
            if self.tried_at.is_none_or(|at| now.since(at) >= pause) {
                self.tried_at = Some(now);
                match fetch().await {
                    Ok(published) => self.published = Some((published, now)),
                    Err(error) => failed = error,
                }
            }
        }
        match &self.published {
            Some((published, at)) if now.since(*at) < USABLE => Ok(published),
            _ => Err(failed),
        }
    }
}
