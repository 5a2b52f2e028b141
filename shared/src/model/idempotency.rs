//! Idempotency keys. A key is chosen by the client and stands for one change.

mod response;

pub(crate) use response::KeptResponse;

use std::str::FromStr;
use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::hex::hex;
use crate::id::{AccountId, DeploymentId, UserId};
use crate::model::key;
use crate::table::{CLAIM_LEASE, Change, Key, Table, TableError, Value, Values, Write, read_item};

/// The time that a key stands for its change. Each use of the key checks the time, so it does not matter when
/// DynamoDB deletes the item.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// An idempotency key: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The error for an idempotency key with another length or other characters.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 255 printable ASCII characters")]
pub struct InvalidKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if (1..=255).contains(&text.len()) && printable { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }
}

impl IdempotencyKey {
    /// Returns the key of a request, if the request has one.
    ///
    /// # Errors
    /// Fails if the header is no key.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let key = String::from_utf8_lossy(value.as_bytes()).parse::<Self>();
        key.map(Some).map_err(|error| Error::invalid("Idempotency-Key", error.to_string()))
    }

    /// Returns the hash that tells requests apart. The hash covers the key, which is not stored, so that a reader of
    /// the table can't use the hash to guess values of variables.
    fn fingerprint(&self, request: &[u8]) -> String {
        hash(&[self.0.as_bytes(), b"\n", request])
    }
}

impl Error {
    /// Refuses a request whose `Idempotency-Key` was used with a different one.
    pub fn key_reused() -> Self {
        let message = "A different request used this Idempotency-Key in the last 24 hours; use a new key";
        Self::new(ErrorCode::IdempotencyKeyReused, message)
    }
}

/// The requests among which a key stands for one change: those of one actor to one endpoint about one resource. So nobody
/// can take keys that another actor will use.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyScope<'a> {
    /// The account that is changed.
    pub account: &'a AccountId,
    /// The user who makes the change, or who stands for the application, the trust or the hook.
    pub actor: &'a UserId,
    /// The name of the endpoint's function.
    pub endpoint: &'a str,
    /// The resource below which something is created: its id, or the path of the request.
    pub resource: &'a str,
}

impl IdempotencyScope<'_> {
    /// Returns the item of a key. No part but the last contains a line break.
    fn item(&self, client_key: &IdempotencyKey) -> Key {
        let Self { account, actor, endpoint, resource } = self;
        let parts = format!("{actor}\n{endpoint}\n{resource}\n{}", client_key.0);
        key::idempotency(account, &hash(&[parts.as_bytes()]))
    }
}

/// A claim on a key by a request in progress. The transaction of the change completes the claim if it still holds.
#[derive(Clone, Debug)]
pub struct IdempotencyClaim {
    key: Key,
    started_at: Timestamp,
    nonce: String,
}

/// The result of a claim on an idempotency key.
#[derive(Debug)]
pub enum Idempotency {
    /// The key is unused.
    New(IdempotencyClaim),
    /// The request has been carried out.
    Done(Completed),
    /// The request is already being processed. If it died, the key is free after this time.
    InFlight(Duration),
    /// The key was used with another request.
    Reused,
}

/// A request that has been carried out.
#[derive(Debug)]
pub struct Completed {
    /// The ID of the resource that the request created or changed. `None` if it changed nothing.
    pub target_id: Option<String>,
    /// The time for which the request may still run, and keep its response.
    lease: Duration,
    nonce: String,
    sealed_response: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Row {
    fingerprint: String,
    started_at: Timestamp,
    nonce: String,
    target_id: Option<String>,
    sealed_response: Option<ByteBuf>,
}

impl Row {
    /// Returns the request, which may run for another `lease`, if it was carried out.
    fn completed(self, lease: Duration) -> Option<Completed> {
        let Self { target_id, sealed_response, nonce, .. } = self;
        let is_done = target_id.is_some() || sealed_response.is_some();
        is_done.then(|| Completed { target_id, lease, nonce, sealed_response: sealed_response.map(ByteBuf::into_vec) })
    }
}

impl IdempotencyClaim {
    /// Claims the key for a request, in one UpdateItem.
    pub async fn take(
        table: &Table,
        scope: IdempotencyScope<'_>,
        client_key: &IdempotencyKey,
        request: &[u8],
        now: Timestamp,
    ) -> Result<Idempotency, TableError> {
        let fingerprint = client_key.fingerprint(request);
        let claim = Self { key: scope.item(client_key), started_at: now, nonce: DeploymentId::random().to_string() };
        let before = |duration: Duration| now.as_millis().saturating_sub(duration.as_millis() as i64);
        let change = Change {
            expression: "SET fingerprint = :fingerprint, started_at = :now, nonce = :nonce, expires_at = :expires \
                         REMOVE target_id, sealed_response"
                .to_owned(),
            condition: Some(
                "attribute_not_exists(pk) OR started_at <= :old \
                 OR (attribute_not_exists(target_id) AND attribute_not_exists(sealed_response) AND started_at <= :dead)",
            ),
            names: None,
            values: Values::new()
                .set(":fingerprint", fingerprint.clone())
                .set(":now", now)
                .set(":nonce", claim.nonce.clone())
                .set(":expires", now.plus(2 * KEPT).as_seconds())
                .set(":old", before(KEPT))
                .set(":dead", before(CLAIM_LEASE)),
        };
        let Err(failed) = table.update(claim.key.clone(), change).await? else { return Ok(Idempotency::New(claim)) };
        let Some(row) = failed.current.map(read_item::<Row>).transpose()? else {
            return Ok(Idempotency::InFlight(CLAIM_LEASE));
        };
        if row.fingerprint != fingerprint {
            return Ok(Idempotency::Reused);
        }
        let lease = CLAIM_LEASE.saturating_sub(now.since(row.started_at));
        Ok(row.completed(lease).map_or(Idempotency::InFlight(lease), Idempotency::Done))
    }

    /// Releases the key after a request that changed nothing.
    pub async fn release(self, table: &Table) -> Result<(), TableError> {
        let change = Change {
            expression: "SET started_at = :never".to_owned(),
            condition: Some("nonce = :nonce AND attribute_not_exists(target_id)"),
            names: None,
            values: Values::new().set(":never", 0).set(":nonce", self.nonce),
        };
        table.update(self.key, change).await.map(drop)
    }

    /// Returns the write that completes the claim, which belongs in the transaction of the change.
    pub(crate) fn complete(&self, target: &str) -> Write {
        let change = Change {
            expression: "SET target_id = :target".to_owned(),
            condition: Some("nonce = :nonce AND started_at = :started AND attribute_not_exists(target_id)"),
            names: None,
            values: Values::new()
                .set(":target", target)
                .set(":nonce", self.nonce.clone())
                .set(":started", self.started_at),
        };
        Write::Update { key: self.key.clone(), change }
    }

    /// Keeps the response of the request, for its repetitions. `credential` is the secret with which the request came.
    pub(crate) async fn keep(
        self,
        table: &Table,
        credential: &[u8],
        response: &KeptResponse,
    ) -> Result<(), TableError> {
        let sealed = response.seal(&self.nonce, credential);
        let change = Change {
            expression: "SET sealed_response = :response".to_owned(),
            condition: Some("nonce = :nonce AND started_at = :started"),
            names: None,
            values: Values::new()
                .set(":response", Value::bytes(sealed))
                .set(":nonce", self.nonce)
                .set(":started", self.started_at),
        };
        table.update(self.key, change).await.map(drop)
    }
}

/// The reasons why a response can't be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoResponse {
    /// The change is made, and the request is about to keep its response. If it died, this is known after the time.
    NotYet(Duration),
    /// The response was lost, or the request came with another credential.
    Never,
}

impl Completed {
    /// Returns the response of the request.
    pub(crate) fn response(&self, credential: &[u8]) -> Result<KeptResponse, NoResponse> {
        let opened = match &self.sealed_response {
            None if !self.lease.is_zero() => return Err(NoResponse::NotYet(self.lease)),
            None => None,
            Some(sealed) => KeptResponse::open(sealed.clone(), &self.nonce, credential),
        };
        opened.ok_or(NoResponse::Never)
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_printable_ascii() {
        for key in ["a", "5f0c1c7e-6a5e-4d26-8f7a-1d2e3c4b5a69", &"x".repeat(255), " ", "~"] {
            assert!(key.parse::<IdempotencyKey>().is_ok(), "{key}");
        }
        for key in ["", &"x".repeat(256), "é", "a\tb", "a\u{7f}"] {
            assert!(key.parse::<IdempotencyKey>().is_err(), "{key}");
        }
    }
}
