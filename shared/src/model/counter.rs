//! Counters that transactions update.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::{Change, Item, Key, Write};

/// Returns the write that adds to an attribute of a counter. The counter also counts its changes, so that a recount
/// notices them.
pub(super) fn add(key: Key, attribute: &str, by: i64) -> Write {
    let number = |n: i64| AttributeValue::N(n.to_string());
    let change = Change {
        expression: format!("ADD {attribute} :by, changes :one"),
        values: Item::from([(":by".to_owned(), number(by)), (":one".to_owned(), number(1))]),
        ..Change::default()
    };
    Write::Update { key, change }
}
