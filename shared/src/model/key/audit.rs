//! The keys of audit events.

use super::account_partition;
use crate::id::AccountId;
use crate::table::Key;

/// The partition of an account's audit events.
pub(in crate::model) fn audit_events(account: &AccountId) -> String {
    format!("{}#AUDIT", account_partition(account))
}

/// The index partition of the audit events of an actor, by the actor's id.
pub(in crate::model) fn audit_events_by(account: &AccountId, actor: &str) -> String {
    format!("{}#ACTOR#{actor}", audit_events(account))
}

/// The index partition of the audit events of a target, by the target's id.
pub(in crate::model) fn audit_events_on(account: &AccountId, target: &str) -> String {
    format!("{}#TARGET#{target}", audit_events(account))
}

/// The counter of the events with an ordering key. Its sort key sorts after the position of every event.
pub(in crate::model) fn last_audit_event(account: &AccountId, ordering_key: &str) -> Key {
    Key::new(audit_events(account), format!("LAST#{ordering_key}"))
}

/// The end of the range of events. `:` sorts after the digits.
pub(in crate::model) const LAST_AUDIT_EVENT: &str = ":";
