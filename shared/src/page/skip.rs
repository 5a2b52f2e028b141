//! Rows before a page that is requested by its number.

use crate::table::{Query, Table, TableError};

/// Returns the sort key of row number `count`, or `None` if there are fewer rows.
pub(super) async fn skip(table: &Table, query: Query<'_>, count: u64) -> Result<Option<String>, TableError> {
    let (_, sort_key) = query.source.key_attributes();
    let mut after: Option<String> = None;
    let mut left = i32::try_from(count).expect("at most MAX_SKIP");
    while left > 0 {
        let step = Query { after: after.as_deref(), limit: left, partition: query.partition.clone(), ..query };
        let (keys, more) = table.query_sort_keys(step, sort_key).await?;
        left -= i32::try_from(keys.len()).expect("at most the limit");
        match keys.into_iter().next_back() {
            Some(key) => after = Some(key),
            None if !more => return Ok(None),
            None => {}
        }
        if left > 0 && !more {
            return Ok(None);
        }
    }
    Ok(after)
}
