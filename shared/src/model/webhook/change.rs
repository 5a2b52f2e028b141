//! Changes of webhooks.

use serde_bytes::ByteBuf;

use super::{Disabled, Webhook, WebhookFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, WebhookId};
use crate::model::{Action, AuditEvent, Author, PreviousSecret};
use crate::name::{DisplayName, WebhookUrl};
use crate::table::{Table, TableError, Transaction};

/// The requested changes of a webhook. `None` keeps the current value.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// The new name.
    pub name: Option<DisplayName>,
    /// The new URL.
    pub url: Option<WebhookUrl>,
    /// The events that are sent.
    pub filter: Option<WebhookFilter>,
    /// Whether events are sent.
    pub enabled: Option<bool>,
}

impl Webhook {
    /// Changes the webhook if it meets the precondition `expected`. Retries after concurrent changes. A change that changes
    /// nothing writes nothing.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the webhook is gone.
    pub async fn change(
        self,
        table: &Table,
        change: WebhookChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&before)?;
            let after = before.changed(&change, author, now);
            if after == before {
                return Ok(before);
            }
            let after = Self { updated_at: now, revision: before.revision + 1, ..after };
            let event = author
                .event(Action::WebhookUpdated, before.target(), now)
                .changing("name", &before.name, &after.name)
                .changing("url", before.url.origin(), after.url.origin())
                .changing("events", &before.filter.events, &after.filter.events)
                .changing("repositories", &before.filter.repositories, &after.filter.repositories)
                .changing("environments", &before.filter.environments, &after.filter.environments)
                .changing("enabled", before.disabled.is_none(), after.disabled.is_none());
            let write = after.replaces(before.revision)?;
            match Transaction::new().by(author, &event)?.write(write).or(|_| ()).commit(table).await? {
                Ok(()) => return Ok(after),
                Err(()) => before = Self::current(table, &before).await?,
            }
        }
        Err(TableError::Contended.into())
    }

    /// Replaces the secret. Messages are signed with the replaced one too until the given time, and no longer with the one before it.
    ///
    /// # Errors
    /// Fails with `not_found` if the webhook is gone.
    pub async fn rotate(
        self,
        table: &Table,
        sealed: Vec<u8>,
        old_until: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let replaced = before.sealed.clone().filter(|_| old_until > now);
            let after = Self {
                sealed: Some(ByteBuf::from(sealed.clone())),
                previous: replaced.map(|sealed| PreviousSecret { sealed, until: old_until }),
                updated_at: now,
                revision: before.revision + 1,
                ..before.clone()
            };
            let event = author.event(Action::WebhookRotated, after.target(), now);
            let write = after.replaces(before.revision)?;
            match Transaction::new().by(author, &event)?.write(write).or(|_| ()).commit(table).await? {
                Ok(()) => return Ok(after),
                Err(()) => before = Self::current(table, &before).await?,
            }
        }
        Err(TableError::Contended.into())
    }

    /// Disables a webhook for this reason, as the API does by itself. Returns `false` if the webhook is gone or is disabled already.
    pub async fn disable(
        table: &Table,
        account: &AccountId,
        id: &WebhookId,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let found = Self::load(table, account, id).await?;
            let Some(before) = found.filter(|webhook| webhook.disabled.is_none()) else { return Ok(false) };
            let disabled = Some(Disabled { at: now, reason: reason.to_owned() });
            let after = Self { disabled, updated_at: now, revision: before.revision + 1, ..before.clone() };
            let event =
                AuditEvent::by_system(account, before.audit_retention, Action::WebhookDisabled, before.target(), now)
                    .changing("enabled", true, false)
                    .setting("reason", reason);
            let transaction = Transaction::new().recording(&event)?.write(after.replaces(before.revision)?).or(|_| ());
            if transaction.commit(table).await?.is_ok() {
                return Ok(true);
            }
        }
        Err(TableError::Contended)
    }

    pub(super) async fn current(table: &Table, before: &Self) -> Result<Self> {
        let found = Self::load(table, &before.account_id, &before.id).await?;
        found.ok_or_else(|| Error::not_found("Webhook"))
    }

    fn changed(&self, change: &WebhookChange, author: &Author, now: Timestamp) -> Self {
        let (disabled, since) = match (change.enabled, &self.disabled) {
            (Some(true), Some(_)) => (None, now),
            (Some(false), None) => {
                let reason = format!("Disabled by {}", author.actor().name);
                (Some(Disabled { at: now, reason }), self.since)
            }
            _ => (self.disabled.clone(), self.since),
        };
        Self {
            name: change.name.clone().unwrap_or_else(|| self.name.clone()),
            url: change.url.clone().unwrap_or_else(|| self.url.clone()),
            filter: change.filter.clone().unwrap_or_else(|| self.filter.clone()),
            disabled,
            since,
            ..self.clone()
        }
    }
}
