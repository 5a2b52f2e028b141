//! The keys of permits, of the deployments that wait for one, and of build minutes.

use crate::id::{AccountId, DeploymentId};
use crate::model::Month;
use crate::table::Key;

use super::account_partition;

const PERMITS: &str = "PERMITS";

/// The range of the sort keys of deployments that wait for a permit. `~` sorts after the digits.
pub(in crate::model) const PERMIT_QUEUE: (&str, &str) = ("WAIT#", "WAIT#~");

/// The partition of an account's permits, of its deployments that wait for one, and of its build minutes.
pub(in crate::model) fn capacity_partition(account: &AccountId) -> String {
    format!("{}#CAPACITY", account_partition(account))
}

pub(in crate::model) fn permits(account: &AccountId) -> Key {
    Key::new(capacity_partition(account), PERMITS)
}

/// The permits of all accounts together.
pub(in crate::model) fn stack_permits() -> Key {
    Key::new("CAPACITY", PERMITS)
}

/// A deployment that waits for a permit. Its place comes first, so that the first to join is the first.
pub(in crate::model) fn waiting_for_permit(account: &AccountId, place: u64, deployment: &DeploymentId) -> Key {
    Key::new(capacity_partition(account), format!("WAIT#{place:012}#{deployment}"))
}

pub(in crate::model) fn build_minutes(account: &AccountId, month: Month) -> Key {
    Key::new(capacity_partition(account), format!("MINUTES#{month}"))
}

/// The range of the sort keys from an account's build minutes of a month to its permits.
pub(in crate::model) fn usage_range(month: Month) -> (String, &'static str) {
    (format!("MINUTES#{month}"), PERMITS)
}
