//! Idempotency keys. A key is chosen by the client and stands for one creation.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::hex::hex;
use crate::id::{AccountId, DeploymentId, RepositoryId, UserId};
use crate::model::key;
use crate::table::{Change, Key, Table, TableError, Values, Write, read_item};

/// The time that a key stands for its creation. Each use of the key checks the time, so it does not matter when
/// DynamoDB deletes the item.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The lease of a claim, as long as a creation can take: its function runs for at most 29 seconds, and the clocks of two
/// functions may be a second apart. An older claim belongs to a creation that died.
pub(super) const IN_FLIGHT: Duration = Duration::from_secs(30);

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
    /// Returns the hash that tells requests apart. The hash covers the key, which is not stored, so that a reader of
    /// the table can't use the hash to guess values of variables.
    fn fingerprint(&self, request: &[u8]) -> String {
        hash(&[self.0.as_bytes(), b"\n", request])
    }
}

/// The requests among which a key stands for one creation: those of one actor to one endpoint of one repository. So nobody
/// can take keys that another actor will use.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyScope<'a> {
    /// The account of the repository.
    pub account: &'a AccountId,
    /// The user who creates, or who stands for the application.
    pub actor: &'a UserId,
    /// The name of the endpoint's function.
    pub endpoint: &'static str,
    /// The repository that is deployed.
    pub repository: &'a RepositoryId,
}

impl IdempotencyScope<'_> {
    /// Returns the item of a key. No part but the last contains a line break.
    fn item(&self, client_key: &IdempotencyKey) -> Key {
        let Self { account, actor, endpoint, repository } = self;
        let parts = format!("{actor}\n{endpoint}\n{repository}\n{}", client_key.0);
        key::idempotency(account, &hash(&[parts.as_bytes()]))
    }
}

/// A claim on a key by a creation in progress. The creation's transaction records the result if the claim still holds.
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
    /// The request has already created this deployment.
    Done(DeploymentId),
    /// The request is already being processed. If that creation died, the key is free after this time.
    InFlight(Duration),
    /// The key was used with another request.
    Reused,
}

#[derive(Deserialize)]
struct Row {
    fingerprint: String,
    started_at: Timestamp,
    deployment_id: Option<DeploymentId>,
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
                         REMOVE deployment_id"
                .to_owned(),
            condition: Some(
                "attribute_not_exists(pk) OR started_at <= :old \
                 OR (attribute_not_exists(deployment_id) AND started_at <= :dead)",
            ),
            names: None,
            values: Values::new()
                .set(":fingerprint", fingerprint.clone())
                .set(":now", now)
                .set(":nonce", claim.nonce.clone())
                .set(":expires", now.plus(2 * KEPT).as_seconds())
                .set(":old", before(KEPT))
                .set(":dead", before(IN_FLIGHT)),
        };
        let Err(failed) = table.update(claim.key.clone(), change).await? else { return Ok(Idempotency::New(claim)) };
        let Some(row) = failed.current.map(read_item::<Row>).transpose()? else {
            return Ok(Idempotency::InFlight(IN_FLIGHT));
        };
        Ok(match row.deployment_id {
            _ if row.fingerprint != fingerprint => Idempotency::Reused,
            Some(id) => Idempotency::Done(id),
            None => Idempotency::InFlight(IN_FLIGHT.saturating_sub(now.since(row.started_at))),
        })
    }

    /// Releases the key after a request that created nothing.
    pub async fn release(self, table: &Table) -> Result<(), TableError> {
        let change = Change {
            expression: "SET started_at = :never".to_owned(),
            condition: Some("nonce = :nonce AND attribute_not_exists(deployment_id)"),
            names: None,
            values: Values::new().set(":never", 0).set(":nonce", self.nonce),
        };
        table.update(self.key, change).await.map(drop)
    }

    pub(super) fn complete(&self, id: &DeploymentId) -> Write {
        let change = Change {
            expression: "SET deployment_id = :id".to_owned(),
            condition: Some("nonce = :nonce AND started_at = :started AND attribute_not_exists(deployment_id)"),
            names: None,
            values: Values::new()
                .set(":id", id.as_str())
                .set(":nonce", self.nonce.clone())
                .set(":started", self.started_at),
        };
        Write::Update { key: self.key.clone(), change }
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
