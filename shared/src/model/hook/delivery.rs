//! Deliveries to hooks, and what each did.
//!
//! The endpoint writes the row and sends a message that names it. The message is only a hint: the row says whether there is
//! something to do. A delivery that waits is in an index by the time at which the sweep sends its message again. So neither a
//! lost message nor a git host that does not answer loses a delivery.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Hook, Push};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{AccountId, DeliveryId, DeploymentId, HookId, RepositoryId, RequestId};
use crate::model::due::{DUE, DueEntry};
use crate::model::{RequestOrigin, key};
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Partition, Table, TableError, Transaction, Value, Values, Write, read_item,
};
use crate::timeline::{Selection, Timeline, TimelineQuery};

/// The time for which a delivery is kept.
pub const DELIVERY_RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The time for which a delivery is tried while the git host can't be read.
pub const DELIVERY_TRIED_FOR: Duration = Duration::from_secs(6 * 60 * 60);
/// The precision of a hook's last delivery.
pub const LAST_DELIVERY_PRECISION: Duration = Duration::from_secs(60);
/// The time that a delivery's message may take before the sweep sends it again.
const PICKED_UP_WITHIN: Duration = Duration::from_secs(60);
/// The longest wait between two attempts. Each is twice as long as the one before.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// The row of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The delivery's ID. A delivery that its sender repeats has the same.
    pub id: DeliveryId,
    /// The hook that received the delivery.
    pub hook_id: HookId,
    /// The account of the hook.
    pub account_id: AccountId,
    /// The repository of the hook.
    pub repository_id: RepositoryId,
    /// The sender's own ID of the delivery. `None` if the sender gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_delivery_id: Option<String>,
    /// The kind of the event, as the sender calls it.
    pub event: String,
    /// The full name of the first ref.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// The commit of the first ref: the one that was deployed, or else the one that the sender told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// The time at which the delivery was received.
    pub received_at: Timestamp,
    /// The address that the request came from.
    pub source_address: IpAddr,
    /// The request that brought the delivery.
    pub request_id: RequestId,
    /// The result.
    pub outcome: Outcome,
    /// The reason for the result, in sentences for people.
    pub reason: String,
    /// The deployments that the delivery created.
    #[serde(default)]
    pub deployments: Vec<DeploymentId>,
    /// The number of times that the git host could not be read.
    #[serde(default)]
    pub attempts: u32,
    /// The changes of refs. Those of a delivery that was handled are not kept, unless it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushes: Vec<Push>,
    /// The time at which the sweep sends the message again. `None` once the delivery was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    expires_at: i64,
}

/// The result of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The delivery waits to be handled.
    Queued,
    /// It created deployments.
    Deployed,
    /// Nothing had to be done.
    Skipped,
    /// The newest commit had been deployed before.
    AlreadyDeployed,
    /// It canceled the queued deployments of a ref that was deleted.
    Canceled,
    /// It could not be handled.
    Failed,
}

/// The message of a sender, once its signature is verified.
#[derive(Clone, Debug)]
pub struct Received {
    /// The sender's own ID of the delivery.
    pub sent_as: Option<String>,
    /// The kind of the event.
    pub event: String,
    /// The changes of refs to follow. Empty if there is nothing to do.
    pub pushes: Vec<Push>,
    /// The reason why there is nothing to do, if so.
    pub skipped: Option<String>,
}

/// The result of handling a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The result.
    pub outcome: Outcome,
    /// The reason, in sentences.
    pub reason: String,
    /// The deployments that the delivery created.
    pub deployments: Vec<DeploymentId>,
    /// The commit that the first ref pointed to, if it was read.
    pub sha: Option<String>,
}

impl Delivery {
    /// Returns the delivery of a message to a hook. It waits to be handled, unless there is nothing to do.
    pub fn new(hook: &Hook, received: Received, origin: &RequestOrigin, now: Timestamp) -> Self {
        let Received { sent_as, event, pushes, skipped } = received;
        let id = match &sent_as {
            Some(sent_as) => DeliveryId::of(&hook.id, sent_as),
            None => DeliveryId::random(),
        };
        let waits = skipped.is_none();
        Self {
            id,
            hook_id: hook.id.clone(),
            account_id: hook.account_id.clone(),
            repository_id: hook.repository_id.clone(),
            provider_delivery_id: sent_as,
            event,
            ref_name: pushes.first().map(|push| push.ref_name.clone()),
            sha: pushes.first().and_then(|push| push.sha.clone()),
            received_at: now,
            source_address: origin.source_address,
            request_id: origin.request_id.clone(),
            outcome: if waits { Outcome::Queued } else { Outcome::Skipped },
            reason: skipped.unwrap_or_else(|| "The delivery waits to be handled".to_owned()),
            deployments: Vec::new(),
            attempts: 0,
            pushes,
            due_at: waits.then(|| now.plus(PICKED_UP_WITHIN)),
            expires_at: now.plus(DELIVERY_RETENTION).as_seconds(),
        }
    }

    /// Returns the request that brought the delivery.
    pub fn origin(&self) -> RequestOrigin {
        RequestOrigin { source_address: self.source_address, request_id: self.request_id.clone() }
    }

    /// Returns a delivery that a queue message names, or the sweep found.
    pub async fn load(table: &Table, hook: &HookId, id: &DeliveryId) -> Result<Option<Self>, TableError> {
        table.get(key::delivery(hook, id), Consistency::Strong).await
    }

    /// Writes the delivery, unless its sender has sent it before. Returns the delivery as it is now. One that failed waits again.
    pub async fn record(self, table: &Table, hook: &Hook) -> Result<Self, TableError> {
        let transaction: Transaction<'_, _> = Transaction::new();
        let written = transaction
            .write(Write::create(self.key(), &self, self.index_keys())?)
            .or(|current| current.map(read_item::<Self>))
            .commit(table)
            .await?;
        let known = match written {
            Ok(()) => {
                hook.note_delivery(table, self.received_at).await?;
                return Ok(self);
            }
            Err(known) => known.transpose()?.ok_or(TableError::Contended)?,
        };
        if known.outcome != Outcome::Failed {
            return Ok(known);
        }
        hook.note_delivery(table, self.received_at).await?;
        Ok(self.replace(table, &known).await?.unwrap_or(known))
    }

    /// Records the result. Returns `false` if somebody else has recorded one.
    pub async fn finish(&self, table: &Table, handled: Handled) -> Result<bool, TableError> {
        let Handled { outcome, reason, deployments, sha } = handled;
        let done = Self {
            pushes: if outcome == Outcome::Failed { self.pushes.clone() } else { Vec::new() },
            sha: sha.or_else(|| self.sha.clone()),
            outcome,
            reason,
            deployments,
            due_at: None,
            ..self.clone()
        };
        Ok(done.replace(table, self).await?.is_some())
    }

    /// Postpones the delivery because the git host can't be read, for this reason. Returns `None` if there is no time left for
    /// another attempt.
    pub async fn postpone(&self, table: &Table, reason: &str, now: Timestamp) -> Result<Option<Timestamp>, TableError> {
        let wait = PICKED_UP_WITHIN.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        let due_at = now.plus(wait);
        if due_at > self.received_at.plus(DELIVERY_TRIED_FOR) {
            return Ok(None);
        }
        let waits = Self {
            attempts: self.attempts + 1,
            reason: format!("{reason}. The delivery is tried again"),
            due_at: Some(due_at),
            ..self.clone()
        };
        waits.replace(table, self).await?;
        Ok(Some(due_at))
    }

    /// Postpones the sweep's next look. Returns `false` if the delivery was handled, or another sweep came first.
    pub async fn put_off(&self, table: &Table, now: Timestamp) -> Result<bool, TableError> {
        let later = Self { due_at: Some(now.plus(PICKED_UP_WITHIN * 5)), ..self.clone() };
        Ok(later.replace(table, self).await?.is_some())
    }

    /// Returns whether no attempt will follow: the delivery has waited longer than the git host is tried.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now > self.received_at.plus(2 * DELIVERY_TRIED_FOR)
    }

    /// Replaces the row if it still is as it was read. Returns `None` if it is not.
    async fn replace(self, table: &Table, was: &Self) -> Result<Option<Self>, TableError> {
        let values = Values::new()
            .set(":outcome", Value::of(&was.outcome)?)
            .set(":attempts", was.attempts)
            .set_if(":due", was.due_at);
        let condition = match was.due_at {
            Some(_) => "outcome = :outcome AND attempts = :attempts AND due_at = :due",
            None => "outcome = :outcome AND attempts = :attempts AND attribute_not_exists(due_at)",
        };
        let put = Write::put_if(self.key(), &self, self.index_keys(), condition, values)?;
        let transaction: Transaction<'_, ()> = Transaction::new();
        let written = transaction.write(put).or(|_| ()).commit(table).await?;
        Ok(written.is_ok().then_some(self))
    }

    /// Returns a page of a hook's deliveries, newest first.
    ///
    /// # Errors
    /// Fails with `invalid_cursor`.
    pub async fn page(
        table: &Table,
        hook: &Hook,
        outcome: Option<Outcome>,
        page: &TimelineQuery,
    ) -> Result<Timeline<Self>> {
        let list = Partition::of_index(Index::ByCreation, key::deliveries(&hook.id));
        let matches = |delivery: &Self| outcome.is_none_or(|outcome| delivery.outcome == outcome);
        let matches_all = outcome.is_none();
        page.read(table, Selection { list, from: None, until: None, matches: &matches, matches_all }).await
    }

    fn key(&self) -> crate::table::Key {
        key::delivery(&self.hook_id, &self.id)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let listed = IndexKey {
            index: Index::ByCreation,
            partition: key::deliveries(&self.hook_id),
            sort: self.position(Sort::Created),
        };
        let due = self.due_at.map(|at| {
            let due = DueDelivery { at, hook_id: self.hook_id.clone(), delivery_id: self.id.clone() };
            IndexKey { index: DUE, partition: key::due_deliveries(), sort: due.position() }
        });
        [listed].into_iter().chain(due).collect()
    }
}

impl Hook {
    /// Records the time of a delivery, if the recorded one is older than the precision.
    async fn note_delivery(&self, table: &Table, at: Timestamp) -> Result<(), TableError> {
        if self.last_delivery_at.is_some_and(|last| at.since(last) < LAST_DELIVERY_PRECISION) {
            return Ok(());
        }
        let change = Change {
            expression: "SET last_delivery_at = :at".to_owned(),
            condition: Some("attribute_exists(pk)"),
            names: None,
            values: Values::new().set(":at", at),
        };
        table.update(key::hook(&self.id), change).await.map(drop)
    }
}

impl Position for Delivery {
    const ATTRIBUTES: Option<&'static str> = Some(
        "id, hook_id, account_id, repository_id, provider_delivery_id, event, ref_name, sha, received_at, source_address, \
         request_id, outcome, reason, deployments, attempts, due_at, expires_at",
    );

    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.received_at.as_millis(), self.id)
    }
}

/// A delivery's entry in the index of deliveries that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// The time at which the sweep looks at the delivery.
    pub at: Timestamp,
    /// The hook that received the delivery.
    pub hook_id: HookId,
    /// The delivery, which was not handled yet.
    pub delivery_id: DeliveryId,
}

impl DueEntry for DueDelivery {
    const SHARDS: u8 = 1;

    fn at(&self) -> Timestamp {
        self.at
    }

    fn partition(_: u8) -> String {
        key::due_deliveries()
    }

    fn position(&self) -> String {
        format!("{:015}#{}#{}", self.at.as_millis(), self.hook_id, self.delivery_id)
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        Some(Self { at, hook_id: parts.next()?.parse().ok()?, delivery_id: parts.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_all_attributes_but_the_pushes() {
        let mut full: crate::table::Item = serde_dynamo::to_item(Delivery {
            id: DeliveryId::random(),
            hook_id: HookId::random(),
            account_id: AccountId::random(),
            repository_id: RepositoryId::random(),
            provider_delivery_id: Some(String::new()),
            event: String::new(),
            ref_name: Some(String::new()),
            sha: Some(String::new()),
            received_at: Timestamp::from_millis(0),
            source_address: IpAddr::from([127, 0, 0, 1]),
            request_id: RequestId::random(),
            outcome: Outcome::Queued,
            reason: String::new(),
            deployments: Vec::new(),
            attempts: 0,
            pushes: vec![Push {
                ref_name: String::new(),
                sha: None,
                skips: false,
                paths: crate::model::ChangedPaths::unknown(""),
                context: crate::model::PushContext::default(),
            }],
            due_at: Some(Timestamp::from_millis(0)),
            expires_at: 0,
        })
        .unwrap();
        assert!(full.remove("pushes").is_some());
        assert_eq!(crate::sort::attributes_read::<Delivery>(), full.into_keys().collect());
    }

    #[test]
    fn a_position_among_what_is_due_is_ordered_by_time_and_read_again() {
        let due = |at| DueDelivery {
            at: Timestamp::from_millis(at),
            hook_id: "hook_b5jnd3s7uyg2kq4v".parse().unwrap(),
            delivery_id: "dlv_t6mwz4hq2c7rfx3e".parse().unwrap(),
        };
        assert!(due(999).position() < due(1_767_268_800_000).position());
        assert_eq!(DueDelivery::parse(&due(1_767_268_800_000).position()), Some(due(1_767_268_800_000)));
        for malformed in ["", "1", "x#hook_b5jnd3s7uyg2kq4v#dlv_t6mwz4hq2c7rfx3e", "1#hook_b5jnd3s7uyg2kq4v#x"] {
            assert_eq!(DueDelivery::parse(malformed), None, "{malformed}");
        }
    }
}
