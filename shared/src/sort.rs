//! The order of lists.

use serde::{Deserialize, Serialize};

/// The attribute that a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = "created")]
pub enum Sort {
    /// Newest first.
    #[default]
    Created,
    /// Latest change first.
    Updated,
    /// A to Z.
    Name,
}

/// A row with a place in a list.
pub trait Position {
    /// The attributes that a list reads, as a projection expression, or `None` for all. It leaves out the keys of the indexes,
    /// which are half of the bytes that DynamoDB would send. The cost is the same.
    const ATTRIBUTES: Option<&'static str> = None;

    /// Returns the row's sort key in the list's index.
    fn position(&self, sort: Sort) -> String;
}

/// A row with data that was read separately.
impl<T: Position, U> Position for (T, U) {
    fn position(&self, sort: Sort) -> String {
        self.0.position(sort)
    }
}

/// Returns the attributes that a list of `T` reads.
#[cfg(test)]
pub(crate) fn attributes_read<T: Position>() -> std::collections::BTreeSet<String> {
    T::ATTRIBUTES.unwrap().split(", ").map(|name| name.trim_start_matches('#').to_owned()).collect()
}
