//! The keys of webhooks, of their deliveries and of the outboxes that feed them.

use super::account_partition;
use crate::id::{AccountId, DeliveryId, WebhookId};
use crate::table::Key;

const WEBHOOK_PREFIX: &str = "WEBHOOK#";
/// The range of the sort keys of an account's webhooks. `~` sorts after every character of an ID.
pub(in crate::model) const WEBHOOKS: (&str, &str) = (WEBHOOK_PREFIX, "WEBHOOK#~");

/// The partition of an account's webhooks, in the table and in the index.
pub(in crate::model) fn webhooks(account: &AccountId) -> String {
    format!("{}#WEBHOOKS", account_partition(account))
}

pub(in crate::model) fn webhook(account: &AccountId, webhook: &WebhookId) -> Key {
    Key::new(webhooks(account), format!("{WEBHOOK_PREFIX}{webhook}"))
}

/// The partition of a webhook's deliveries and of what is known about its receiver.
fn webhook_partition(account: &AccountId, webhook: &WebhookId) -> String {
    format!("{}#WEBHOOK#{webhook}", account_partition(account))
}

/// The leases of the functions that send deliveries to an account's webhooks.
pub(in crate::model) fn sending_slots(account: &AccountId) -> Key {
    Key::new(webhooks(account), "SENDING")
}

/// The knowledge about a webhook's receiver.
pub(in crate::model) fn sending(account: &AccountId, webhook: &WebhookId) -> Key {
    Key::new(webhook_partition(account, webhook), "SENDING")
}

pub(in crate::model) fn webhook_delivery(account: &AccountId, webhook: &WebhookId, delivery: &DeliveryId) -> Key {
    Key::new(webhook_partition(account, webhook), format!("DELIVERY#{delivery}"))
}

/// The index partition of a webhook's deliveries.
pub(in crate::model) fn webhook_deliveries(account: &AccountId, webhook: &WebhookId) -> String {
    format!("{}#DELIVERIES", webhook_partition(account, webhook))
}

/// The index partition of a shard of the deliveries to webhooks that are pending.
pub(in crate::model) fn due_webhook_deliveries(shard: u8) -> String {
    format!("WEBHOOKS#{shard}")
}

/// The partition of the outboxes of all accounts that have had webhooks.
pub(in crate::model) fn outboxes() -> String {
    "OUTBOXES".to_owned()
}

pub(in crate::model) fn outbox(account: &AccountId) -> Key {
    Key::new(outboxes(), account.to_string())
}
