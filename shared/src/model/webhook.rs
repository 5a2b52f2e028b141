//! Webhooks: the addresses to which an account's events are sent.
//!
//! The audit events are the outbox. No change of the account writes anything else for webhooks: [`Outbox`] finds the events, and
//! makes a [`WebhookDelivery`] of each event for each webhook that wants it.

mod change;
mod delivery;
mod filter;
mod outbox;
mod sending;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, WebhookId};
use crate::model::{Action, AuditActor, AuditEvent, AuditRetention, Author, PreviousSecret, Target, TargetKind, key};
use crate::name::{DisplayName, WebhookUrl};
use crate::permitted::TenantId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Key, Partition, Table, TableError, Transaction, Write, read_items};

pub use change::WebhookChange;
pub use delivery::*;
pub use filter::{EventPattern, InvalidEventPattern, WebhookFilter};
pub use outbox::*;
pub use sending::*;

/// The maximum number of webhooks of an account.
pub const MAX_WEBHOOKS: u64 = 20;

/// The row of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The webhook's ID.
    pub id: WebhookId,
    /// The account whose events are sent.
    pub account_id: AccountId,
    /// The name that its creator chose.
    pub name: DisplayName,
    /// The URL that events are posted to.
    pub url: WebhookUrl,
    /// The form of the messages.
    pub format: WebhookFormat,
    /// The events that are sent.
    #[serde(flatten)]
    pub filter: WebhookFilter,
    /// The encrypted secret that signs the messages. `None` for a format whose messages are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<ByteBuf>,
    /// The secret that a rotation replaced, while messages are signed with it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
    /// The time from which events are sent: that of the creation, or of the last time that the webhook was enabled.
    pub since: Timestamp,
    /// The reason why nothing is sent, if the webhook is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// Whoever created the webhook.
    pub created_by: AuditActor,
    /// The time at which the webhook was created.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The version that each conditional write checks, and that of the ETag. Each change adds one.
    pub revision: u64,
    /// The account's time for audit events at creation.
    #[serde(default, skip_serializing_if = "AuditRetention::is_default")]
    pub audit_retention: AuditRetention,
}

/// The end of a webhook's deliveries, until somebody enables the webhook again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// The time from which nothing is sent.
    pub at: Timestamp,
    /// The reason, as a sentence for people.
    pub reason: String,
}

/// The form of a webhook's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The event in JSON, signed as Standard Webhooks say.
    Standard,
    /// A message for an incoming webhook of Slack, unsigned.
    Slack,
    /// A card for an incoming webhook of Microsoft Teams, unsigned.
    Teams,
}

impl WebhookFormat {
    /// Returns whether messages of the format are signed.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Standard)
    }
}

impl Webhook {
    /// Returns the context to which the secrets are sealed, so that no other webhook can open them.
    pub fn sealing_context(account: &AccountId, id: &WebhookId) -> String {
        format!("{account}/{id}")
    }

    /// Returns the encrypted secrets that messages are signed with at a time, the current one first.
    pub fn sealed_secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8]> {
        let previous = self.previous.as_ref().filter(move |previous| previous.until > now);
        self.sealed.iter().map(|sealed| sealed.as_slice()).chain(previous.map(|previous| previous.sealed.as_slice()))
    }

    /// Returns whether an event is sent to the webhook.
    pub(crate) fn wants(&self, event: &AuditEvent) -> bool {
        self.disabled.is_none() && event.created_at >= self.since && self.filter.selects(event)
    }

    /// Returns a webhook of an account. The queue's policy vouches for the message that names it.
    pub async fn load(table: &Table, account: &AccountId, id: &WebhookId) -> Result<Option<Self>, TableError> {
        table.get(key::webhook(account, id), Consistency::Strong).await
    }

    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &WebhookId) -> Result<Option<Self>, TableError> {
        Self::load(table, tenant, id).await
    }

    /// Returns every webhook of an account.
    pub(crate) async fn all(table: &Table, account: &AccountId) -> Result<Vec<Self>, TableError> {
        let (items, _) = table.range(key::webhooks(account), key::WEBHOOKS, None).await?;
        read_items(items)
    }

    /// Writes the webhook, and the outbox of the account if it is the first one.
    ///
    /// # Errors
    /// Fails with `limit_reached` if the account has [`MAX_WEBHOOKS`] webhooks.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::WebhookCreated, self.target(), self.created_at)
            .setting("url", self.url.origin())
            .setting("format", self.format)
            .setting("events", &self.filter.events)
            .setting("repositories", &self.filter.repositories)
            .setting("environments", &self.filter.environments);
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(self.key(), self, self.index_keys())?)
            .write(Outbox::counting_one_more(&self.account_id, self.created_at))
            .or(|_| {
                let message =
                    format!("The account has {MAX_WEBHOOKS} webhooks, the most that it may have; delete one first");
                Error::new(ErrorCode::LimitReached, message)
            })
            .commit(table)
            .await?
    }

    /// Deletes the webhook with its secrets if it meets the precondition `expected`. Nothing is sent to it any more. Retries after
    /// concurrent changes.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the webhook was deleted meanwhile.
    pub async fn delete(
        self,
        table: &Table,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<()> {
        let mut current = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&current)?;
            let event = author.event(Action::WebhookDeleted, current.target(), now);
            let row = Write::delete(current.key(), "revision = :version", current.revision);
            let transaction = Transaction::new()
                .by(author, &event)?
                .write(row)
                .or(|_| ())
                .write(Outbox::counting_one_less(&current.account_id));
            match transaction.commit(table).await? {
                Ok(()) => return Ok(()),
                Err(()) => current = Self::current(table, &current).await?,
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the index partition that lists an account's webhooks.
    pub fn listed(tenant: &TenantId) -> Partition {
        Partition::of_index(Index::ByCreation, key::webhooks(tenant))
    }

    /// Returns the number of an account's webhooks, from a counter that the transaction of each creation and deletion updates.
    pub async fn total(table: &Table, tenant: &TenantId) -> Result<u64, TableError> {
        let outbox = Outbox::load(table, tenant).await?;
        Ok(outbox.map_or(0, |outbox| outbox.webhooks))
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Webhook, &self.id, Some(&self.name))
    }

    pub(super) fn key(&self) -> Key {
        key::webhook(&self.account_id, &self.id)
    }

    pub(super) fn index_keys(&self) -> Vec<IndexKey> {
        let partition = key::webhooks(&self.account_id);
        vec![IndexKey { index: Index::ByCreation, partition, sort: self.position(Sort::Created) }]
    }

    /// Returns the write that replaces the webhook's row, if it still has this revision.
    pub(super) fn replaces(&self, revision: u64) -> Result<Write, TableError> {
        Write::replace(self.key(), self, self.index_keys(), "revision = :version", revision)
    }
}

impl Position for Webhook {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}
