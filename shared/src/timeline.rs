//! Long lists that are read from the newest row on and are not counted: their rows expire by themselves, so no counter
//! can be exact.
//!
//! A page is filtered while it is read. It may have fewer rows than requested, even none, although there is a next page.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Result};
use crate::number::Number;
use crate::page::CursorText;
use crate::sort::{Position, Sort};
use crate::table::{Order, Partition, Query, Table};

/// The maximum number of Queries for one page, each of at most 1 MB and [`EXAMINED`] rows.
const MAX_QUERIES: usize = 5;
/// The rows that a Query of a filtered list reads at once.
const EXAMINED: i32 = 500;
const CURSOR_PREFIX: &str = "1:";

/// The query parameters of a timeline.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// The maximum number of items on the page.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 10)]
    per_page: Number<1, 100, 10>,
    /// The start of the page: `meta.next_cursor` of the page before. It is opaque, and valid only with the other parameters
    /// of that page.
    #[param(value_type = Option<String>, min_length = 1, max_length = 512)]
    cursor: Option<CursorText>,
}

/// A page of a timeline, newest item first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Timeline<T> {
    /// The items of the page. A page of a filtered list may have fewer than requested, even none, although there is a next
    /// page.
    pub data: Vec<T>,
    /// The position of the page.
    pub meta: TimelineMeta,
}

/// The position of a page in its timeline.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TimelineMeta {
    /// The maximum number of items on a page.
    #[schema(examples(10))]
    pub per_page: u64,
    /// The `cursor` of the next page. Null on the last page.
    #[schema(required, examples("MTowMDE3NjcyNjg4MDAwMDAjZXZlbnRfazN2eXEydzd4NW00bjZwYQ"))]
    pub next_cursor: Option<String>,
}

/// The rows to return: those between two positions, as far as they match.
pub(crate) struct Selection<'a, T> {
    pub list: Partition,
    /// The position before which the rows end, if any. Positions of rows are greater, except for older rows.
    pub from: Option<String>,
    /// The position before which the rows begin, if any.
    pub until: Option<String>,
    pub matches: &'a (dyn Fn(&T) -> bool + Sync),
    /// Whether each row matches, so that no more rows than requested are read.
    pub matches_all: bool,
}

impl TimelineQuery {
    /// Reads the page.
    ///
    /// # Errors
    /// Fails with `invalid_cursor`.
    pub(crate) async fn read<T>(&self, table: &Table, selection: Selection<'_, T>) -> Result<Timeline<T>>
    where
        T: Position + DeserializeOwned,
    {
        let Selection { list: Partition { source, key: partition }, from, until, matches, matches_all } = selection;
        let per_page = self.per_page.get();
        let size = usize::try_from(per_page).expect("at most 100");
        let limit = if matches_all { i32::try_from(per_page).expect("at most 100") } else { EXAMINED };
        let mut after = match &self.cursor {
            Some(CursorText(cursor)) => Some(decode(cursor)?),
            None => until,
        };
        let mut data = Vec::with_capacity(size);
        let mut next = None;
        for query in 1..=MAX_QUERIES {
            let page = Query {
                source,
                partition: partition.clone(),
                order: Order::Descending,
                after: after.as_deref(),
                limit,
            };
            let (rows, more) = table.query::<T>(page, T::ATTRIBUTES).await?;
            let mut rows = rows.into_iter();
            let mut ended = false;
            for row in rows.by_ref() {
                let position = row.position(Sort::Created);
                if from.as_ref().is_some_and(|from| position < *from) {
                    ended = true;
                    break;
                }
                after = Some(position);
                if matches(&row) {
                    data.push(row);
                }
                if data.len() == size {
                    break;
                }
            }
            let is_last = ended || (!more && rows.len() == 0);
            if is_last {
                break;
            }
            if data.len() == size || query == MAX_QUERIES {
                next = after.as_deref().map(encode);
                break;
            }
        }
        Ok(Timeline { data, meta: TimelineMeta { per_page, next_cursor: next } })
    }
}

impl<T> Timeline<T> {
    /// Converts the items.
    pub fn map<B>(self, body: impl Fn(T) -> B) -> Timeline<B> {
        Timeline { data: self.data.into_iter().map(body).collect(), meta: self.meta }
    }
}

fn encode(position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{CURSOR_PREFIX}{position}"))
}

fn decode(cursor: &str) -> Result<String> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position =
        text.as_deref().and_then(|text| text.strip_prefix(CURSOR_PREFIX)).filter(|position| !position.is_empty());
    position.map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorCode::InvalidCursor, "The cursor belongs to another list; take it from meta.next_cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_others_are_refused() {
        assert_eq!(decode(&encode("001767268800000#event_x")).unwrap(), "001767268800000#event_x");
        for bad in ["", "AAAA", "%", &encode(""), &BASE64_URL_SAFE_NO_PAD.encode("2:001767268800000")] {
            assert_eq!(decode(bad).unwrap_err().code(), ErrorCode::InvalidCursor, "{bad}");
        }
    }
}
