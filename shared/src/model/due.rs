//! The index of all that the sweep looks at.

use crate::clock::Timestamp;
use crate::table::{Index, Order, Query, Source, Table, TableError};

/// The index, whose sort keys begin with the time at which something is due.
pub(super) const DUE: Index = Index::ByDueTime;

/// An entry of the index.
pub trait DueEntry: Sized + Send + Sync {
    /// The number of partitions that have entries of this kind.
    const SHARDS: u8;

    /// Returns the time at which the sweep looks at what the entry is about.
    fn at(&self) -> Timestamp;

    /// Returns the index partition of a shard.
    fn partition(shard: u8) -> String;

    /// Returns the sort key, which begins with the time.
    fn position(&self) -> String;

    /// Reads a sort key. Returns `None` if it is malformed.
    fn parse(position: &str) -> Option<Self>;

    /// Returns a page of the entries of a shard that are due by `now`, the longest overdue first, starting after `after`. An empty
    /// page is the last.
    fn page(
        table: &Table,
        shard: u8,
        now: Timestamp,
        after: Option<&Self>,
        limit: i32,
    ) -> impl Future<Output = Result<Vec<Self>, TableError>> + Send {
        async move {
            let after = after.map(Self::position);
            let query = Query {
                source: Source::Index(DUE),
                partition: Self::partition(shard),
                order: Order::Ascending,
                after: after.as_deref(),
                limit,
            };
            let (positions, _) = table.query_sort_keys(query, due_sort_attribute()).await?;
            let all = positions.iter().map(|position| Self::parse(position).ok_or(TableError::Position));
            let all = all.collect::<Result<Vec<_>, _>>()?;
            Ok(all.into_iter().take_while(|due| due.at() <= now).collect())
        }
    }
}

pub(super) fn due_sort_attribute() -> &'static str {
    DUE.key_attributes().1
}
