//! Deliveries of events to webhooks, and how they went.
//!
//! A delivery is made once for each event and webhook, whoever finds the event: its ID is a digest of both. It is in the index of
//! what is due until it has succeeded or failed for good. Messages name deliveries and decide nothing: the row says whether there is
//! something to send. So neither a lost message nor a function that dies loses a delivery.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Webhook;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, AuditEventId, DeliveryId, WebhookId};
use crate::model::deployment::shard_of;
use crate::model::due::{DUE, DueEntry};
use crate::model::{Action, AuditEvent, Author, Due, key};
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Key, Partition, Table, TableError, Transaction, Values, Write};
use crate::timeline::{Selection, Timeline, TimelineQuery};

/// The time for which a delivery is kept.
pub const WEBHOOK_DELIVERY_RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The shortest pauses between the attempts of a delivery, which Standard Webhooks recommend. They make three days and four hours.
/// Each is up to a tenth longer, so that deliveries that failed together are not sent again together.
pub const RETRY_PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
    Duration::from_secs(14 * 60 * 60),
    Duration::from_secs(20 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];
/// The longest pause that a receiver can ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The time after which a delivery is not tried any more, however few attempts a silent receiver has left it.
pub const TRIED_FOR: Duration = Duration::from_secs(86 * 60 * 60);
/// The maximum size of the part of a response that is kept, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 1024;

/// The row of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDelivery {
    /// The delivery's ID.
    pub id: DeliveryId,
    /// The account of the webhook.
    pub account_id: AccountId,
    /// The webhook that the event is sent to.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: AuditEventId,
    /// The time of the event, which is part of the key of its row.
    pub event_at: Timestamp,
    /// The type of the event.
    pub event_type: Action,
    /// The state of the delivery.
    pub status: DeliveryStatus,
    /// The time at which the delivery was made.
    pub created_at: Timestamp,
    /// The time from which the attempts count: that of the delivery, or of its last redelivery.
    pub tried_since: Timestamp,
    /// The number of attempts since then.
    pub attempts: u32,
    /// The last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
    /// The time of the next attempt. `None` once the delivery has succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The number of changes of the row, which each conditional write checks.
    pub version: u64,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    expires_at: i64,
}

/// The state of a delivery to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// The receiver has not accepted the event yet. It is sent again.
    Pending,
    /// The receiver has accepted the event.
    Succeeded,
    /// The receiver has not accepted the event, and it is not sent again.
    Failed,
}

/// An attempt to send an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The time of the attempt.
    pub at: Timestamp,
    /// The time until the response, in milliseconds.
    pub took_ms: u64,
    /// The HTTP status of the response. `None` without a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_status: Option<u16>,
    /// The first bytes of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    /// The reason why the event was not accepted, as a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl WebhookDelivery {
    /// Returns the delivery of an event. It is due since the event, so that the oldest event is announced first.
    pub(super) fn of(webhook: &Webhook, event: &AuditEvent, now: Timestamp) -> Self {
        Self {
            id: DeliveryId::of_event(&webhook.id, &event.id),
            account_id: webhook.account_id.clone(),
            webhook_id: webhook.id.clone(),
            event_id: event.id.clone(),
            event_at: event.created_at,
            event_type: event.action,
            status: DeliveryStatus::Pending,
            created_at: now,
            tried_since: now,
            attempts: 0,
            last_attempt: None,
            due_at: Some(event.created_at),
            version: 1,
            expires_at: now.plus(WEBHOOK_DELIVERY_RETENTION).as_seconds(),
        }
    }

    /// Returns a delivery, as the last write of it left it.
    pub async fn load(
        table: &Table,
        account: &AccountId,
        webhook: &WebhookId,
        id: &DeliveryId,
    ) -> Result<Option<Self>, TableError> {
        table.get(key::webhook_delivery(account, webhook, id), Consistency::Strong).await
    }

    /// Writes the delivery. Returns `false` if it exists.
    pub(super) async fn create(&self, table: &Table) -> Result<bool, TableError> {
        let written = table.put(self.key(), self, self.index_keys(), "attribute_not_exists(pk)", Values::new()).await?;
        Ok(written.is_ok())
    }

    /// Makes a delivery of a test event to a webhook, whatever events it wants.
    ///
    /// # Errors
    /// Fails with `not_found` if the webhook was deleted meanwhile.
    pub async fn test(webhook: &Webhook, table: &Table, author: &Author, now: Timestamp) -> Result<Self> {
        let event = author.event(Action::WebhookTested, webhook.target(), now);
        let delivery = Self::of(webhook, &event, now);
        let exists = Write::Check { key: webhook.key(), condition: "attribute_exists(pk)", names: None, values: None };
        Transaction::new()
            .by(author, &event)?
            .write(exists)
            .or(|_| Error::not_found("Webhook"))
            .write(Write::create(delivery.key(), &delivery, delivery.index_keys())?)
            .commit(table)
            .await??;
        Ok(delivery)
    }

    /// Makes the delivery pending again, from its first attempt on.
    ///
    /// # Errors
    /// Fails with `service_unavailable` if an attempt ends at the same time.
    pub async fn redeliver(self, webhook: &Webhook, table: &Table, author: &Author, now: Timestamp) -> Result<Self> {
        let event = author.event(Action::WebhookRedelivered, webhook.target(), now).about("delivery_id", &self.id);
        let again = Self {
            status: DeliveryStatus::Pending,
            tried_since: now,
            attempts: 0,
            due_at: Some(now),
            version: self.version + 1,
            ..self.clone()
        };
        let write = Write::replace(again.key(), &again, again.index_keys(), "version = :version", self.version)?;
        Transaction::new()
            .by(author, &event)?
            .write(write)
            .or(|_| Error::from(TableError::Contended))
            .commit(table)
            .await??;
        Ok(again)
    }

    /// Returns whether the delivery may be sent.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Returns whether the delivery has waited longer than it is tried.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now.since(self.tried_since) > TRIED_FOR
    }

    /// Records that the receiver accepted the event. Returns `None` if the delivery has changed since it was read.
    pub async fn succeed(self, table: &Table, attempt: Attempt) -> Result<Option<Self>, TableError> {
        let attempts = self.attempts + 1;
        let after =
            Self { status: DeliveryStatus::Succeeded, attempts, last_attempt: Some(attempt), due_at: None, ..self };
        after.replace(table).await
    }

    /// Records an attempt that failed. The delivery is tried again after the pause that follows, and not before the receiver wants
    /// it, unless that was the last attempt. Returns `None` if the delivery has changed since it was read.
    pub async fn postpone(
        self,
        table: &Table,
        attempt: Attempt,
        wait: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Self>, TableError> {
        let attempts = self.attempts + 1;
        let (status, due_at) = match self.pause().filter(|_| !self.is_overdue(now)) {
            Some(pause) => (DeliveryStatus::Pending, Some(now.plus(pause.max(wait.unwrap_or_default())))),
            None => (DeliveryStatus::Failed, None),
        };
        Self { status, attempts, last_attempt: Some(attempt), due_at, ..self }.replace(table).await
    }

    /// Returns the pause after the attempt that follows, or `None` if it is the last one. The part that is random for each delivery
    /// and attempt is a checksum of both.
    fn pause(&self) -> Option<Duration> {
        let shortest = RETRY_PAUSES.get(self.attempts as usize)?;
        let checksum = crc32fast::hash(format!("{}/{}", self.id, self.attempts).as_bytes());
        Some(shortest.mul_f64(1.0 + f64::from(checksum) / f64::from(u32::MAX) / 10.0))
    }

    /// Records that the event is not sent any more, with the attempt or the reason that ends it. Returns `None` if the delivery has
    /// changed since it was read.
    pub async fn fail(self, table: &Table, end: Ending, now: Timestamp) -> Result<Option<Self>, TableError> {
        let (attempts, last_attempt) = match end {
            Ending::Attempt(attempt) => (self.attempts + 1, attempt),
            Ending::Reason(reason) => {
                let none = Attempt { at: now, took_ms: 0, response_status: None, response_body: None, error: None };
                let last = self.last_attempt.clone().unwrap_or(none);
                (self.attempts, Attempt { error: Some(reason), ..last })
            }
        };
        let last_attempt = Some(last_attempt);
        Self { status: DeliveryStatus::Failed, attempts, last_attempt, due_at: None, ..self }.replace(table).await
    }

    /// Replaces the row if it still has the version that was read.
    async fn replace(self, table: &Table) -> Result<Option<Self>, TableError> {
        let after = Self { version: self.version + 1, ..self };
        let values = Values::new().set(":version", after.version - 1);
        let written = table.put(after.key(), &after, after.index_keys(), "version = :version", values).await?;
        Ok(written.is_ok().then_some(after))
    }

    /// Returns a page of a webhook's deliveries, newest first: those in a state and of a type, if they are given.
    ///
    /// # Errors
    /// Fails with `invalid_cursor`.
    pub async fn page(
        table: &Table,
        webhook: &Webhook,
        (status, event_type): (Option<DeliveryStatus>, Option<Action>),
        page: &TimelineQuery,
    ) -> Result<Timeline<Self>> {
        let list = Partition::of_index(Index::ByCreation, key::webhook_deliveries(&webhook.account_id, &webhook.id));
        let matches = |delivery: &Self| {
            status.is_none_or(|status| delivery.status == status)
                && event_type.is_none_or(|event_type| delivery.event_type == event_type)
        };
        let matches_all = status.is_none() && event_type.is_none();
        page.read(table, Selection { list, from: None, until: None, matches: &matches, matches_all }).await
    }

    pub(super) fn key(&self) -> Key {
        key::webhook_delivery(&self.account_id, &self.webhook_id, &self.id)
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let listed = IndexKey {
            index: Index::ByCreation,
            partition: key::webhook_deliveries(&self.account_id, &self.webhook_id),
            sort: self.position(Sort::Created),
        };
        let due = self.due_at.map(|at| {
            let (account_id, webhook_id) = (self.account_id.clone(), self.webhook_id.clone());
            DueWebhookDelivery { at, account_id, webhook_id, delivery_id: self.id.clone() }.index_key()
        });
        [listed].into_iter().chain(due).collect()
    }
}

/// The end of a delivery that failed.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The attempt whose response asks for no other one.
    Attempt(Attempt),
    /// The reason why there is no other attempt, as a sentence for people.
    Reason(String),
}

impl Position for WebhookDelivery {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

/// A delivery's entry in the index of deliveries that are pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueWebhookDelivery {
    /// The time of the next attempt.
    pub at: Timestamp,
    /// The account of the webhook.
    pub account_id: AccountId,
    /// The webhook that the event is sent to.
    pub webhook_id: WebhookId,
    /// The delivery.
    pub delivery_id: DeliveryId,
}

impl DueWebhookDelivery {
    fn index_key(&self) -> IndexKey {
        // The deliveries of a webhook are in one shard, so that they are announced in order.
        let shard = shard_of(self.webhook_id.as_str());
        IndexKey { index: DUE, partition: Self::partition(shard), sort: self.position() }
    }
}

impl DueEntry for DueWebhookDelivery {
    const SHARDS: u8 = Due::SHARDS;

    fn at(&self) -> Timestamp {
        self.at
    }

    fn partition(shard: u8) -> String {
        key::due_webhook_deliveries(shard)
    }

    fn position(&self) -> String {
        let Self { at, account_id, webhook_id, delivery_id } = self;
        format!("{:015}#{account_id}#{webhook_id}#{delivery_id}", at.as_millis())
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let (account_id, webhook_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { at, account_id, webhook_id, delivery_id: parts.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_for_three_days_and_no_longer() {
        let all: Duration = RETRY_PAUSES.iter().sum();
        assert!(all > Duration::from_secs(3 * 24 * 60 * 60) && all.mul_f64(1.1) < TRIED_FOR, "{all:?}");
        assert!(TRIED_FOR < WEBHOOK_DELIVERY_RETENTION);
    }

    #[test]
    fn a_position_among_what_is_due_is_ordered_by_time_and_read_again() {
        let due = |at| DueWebhookDelivery {
            at: Timestamp::from_millis(at),
            account_id: "acct_b5jnd3s7uyg2kq4v".parse().unwrap(),
            webhook_id: "webhook_b5jnd3s7uyg2kq4v".parse().unwrap(),
            delivery_id: "dlv_t6mwz4hq2c7rfx3e".parse().unwrap(),
        };
        assert!(due(999).position() < due(1_767_268_800_000).position());
        assert_eq!(DueWebhookDelivery::parse(&due(1_767_268_800_000).position()), Some(due(1_767_268_800_000)));
        for malformed in ["", "1", "1#acct_b5jnd3s7uyg2kq4v#webhook_b5jnd3s7uyg2kq4v#x"] {
            assert_eq!(DueWebhookDelivery::parse(malformed), None, "{malformed}");
        }
    }
}
