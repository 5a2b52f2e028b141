//! Counters that transactions update.

use crate::table::{Change, Key, Values, Write};

/// Returns the write that adds to an attribute of a counter. The counter also counts its changes, so that a recount
/// notices them.
pub(super) fn add(key: Key, attribute: &str, by: i64) -> Write {
    let change = Change {
        expression: format!("ADD {attribute} :by, changes :one"),
        values: Values::new().set(":by", by).set(":one", 1),
        ..Change::default()
    };
    Write::Update { key, change }
}
