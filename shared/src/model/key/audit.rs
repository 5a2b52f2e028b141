//! The keys of audit events.

use super::account_partition;
use crate::id::AccountId;

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
