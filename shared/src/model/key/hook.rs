//! The keys of hooks and their deliveries.

use crate::id::{DeliveryId, HookId};
use crate::table::Key;

pub(in crate::model) fn hook(hook: &HookId) -> Key {
    Key::new(hook_partition(hook), "HOOK")
}

pub(in crate::model) fn delivery(hook: &HookId, delivery: &DeliveryId) -> Key {
    Key::new(hook_partition(hook), format!("DELIVERY#{delivery}"))
}

/// The index partition of a hook's deliveries.
pub(in crate::model) fn deliveries(hook: &HookId) -> String {
    format!("{}#DELIVERIES", hook_partition(hook))
}

pub(in crate::model) fn hook_partition(hook: &HookId) -> String {
    format!("HOOK#{hook}")
}

/// The index partition of the deliveries that wait to be handled.
pub(in crate::model) fn due_deliveries() -> String {
    "DUE#DELIVERIES".to_owned()
}
