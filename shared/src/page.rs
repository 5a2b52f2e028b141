//! Pages of a list, and the `Link` header (RFC 8288) between them.
//!
//! Links carry a cursor: the sort key of the row at the page's edge. The Query of a cursor starts at that key, so that
//! each page costs the same, and concurrent insertions neither skip nor repeat a row. The Query of a bare `page=N`
//! skips the rows before the page, at most [`MAX_SKIP`] of them. A page behind
//! the end of the list is empty.

mod place;
mod search;
mod skip;

use std::fmt;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::LINK;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Result};
use crate::number::{LARGEST, Number};
use crate::route::List;
use crate::sort::Position;
use crate::table::{Order, Partition, Query, Table, TableError};

pub use self::place::place;
pub use self::search::{Found, Search, SearchMeta, SearchPage};
use self::skip::skip;
pub use crate::sort::Sort;

/// The maximum number of rows before a page that is requested by its number. Skipping them takes a Query per 1 MB and
/// 0.5 capacity units per 4 KB: 5 calls and 610 units for rows of 500 bytes, the usual size, and 41 calls and 5,100
/// units for rows of 4.2 KB, the largest size but for repositories with many deploy rules.
pub const MAX_SKIP: u64 = 10_000;
const MAX_CURSOR_CHARS: usize = 512;

/// The direction of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Oldest first, or A to Z.
    Asc,
    /// Newest first, or Z to A.
    Desc,
}

/// The query parameters of every list.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The page's number, counted from 1.
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, default = 1)]
    page: Number<1, { LARGEST }, 1>,
    /// The number of items per page.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 10)]
    per_page: Number<1, 100, 10>,
    /// The attribute to sort by.
    #[serde(default)]
    #[param(inline, value_type = Sort, required = false)]
    sort: Option<Sort>,
    /// The direction of the sort. Default: descending for `created` and `updated`, ascending for `name`.
    #[param(inline)]
    direction: Option<Direction>,
    /// The start of the page, taken from a `Link` header. It is opaque, and valid only with the other parameters of its
    /// link.
    #[param(value_type = Option<String>, min_length = 1, max_length = 512)]
    cursor: Option<CursorText>,
}

/// A text that can be a cursor.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct CursorText(pub(crate) String);

impl TryFrom<String> for CursorText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            1..=MAX_CURSOR_CHARS => Ok(Self(text)),
            _ => Err(format!("must be 1 to {MAX_CURSOR_CHARS} characters, taken from another page")),
        }
    }
}

/// The request for a page, valid for its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    list: List,
    number: u64,
    per_page: u64,
    sort: Sort,
    direction: Option<Direction>,
    start: Start,
}

/// The place of a page in its list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// After the rows of the pages before it.
    Skipping(u64),
    /// After the row with this sort key.
    After(String),
    /// Up to the row with this sort key.
    Before(String),
    /// The last page.
    End,
}

impl Start {
    /// Returns whether a link can have this start. DynamoDB refuses an empty key, and no row has one.
    fn is_at_a_row(&self) -> bool {
        match self {
            Self::After(key) | Self::Before(key) => !key.is_empty(),
            Self::End => true,
            Self::Skipping(_) => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    /// The version of the format.
    v: u8,
    list: String,
    sort: Sort,
    asc: bool,
    start: Start,
}

impl PageQuery {
    /// Checks the parameters against the list.
    ///
    /// # Errors
    /// Fails with `invalid_request` or `invalid_cursor`.
    pub fn of(self, list: List) -> Result<PageRequest> {
        let sort = self.sort.unwrap_or(list.sorts[0]);
        if !list.sorts.contains(&sort) {
            return Err(Error::invalid("sort", format!("can't be used for {}", list.name)));
        }
        let (number, per_page) = (self.page.get(), self.per_page.get());
        let skipped = (number - 1).saturating_mul(per_page);
        let start = Start::Skipping(skipped);
        let request = PageRequest { list, number, per_page, sort, direction: self.direction, start };
        match self.cursor {
            Some(CursorText(cursor)) => Ok(PageRequest { start: request.decode(&cursor)?, ..request }),
            None => Ok(request),
        }
    }
}

/// The rows of a page, in the order of the list.
#[derive(Debug)]
pub struct Rows<T> {
    rows: Vec<T>,
    more_before: bool,
    more_after: bool,
    /// Whether the page has rows and more than [`MAX_SKIP`] rows before it, and was not read.
    out_of_reach: bool,
}

impl<T> Rows<T> {
    /// Returns the rows of the page, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter()
    }

    /// Pairs each row with what `find` returns for it. Leaves out the rows for which it returns `None`.
    pub fn with<U>(self, mut find: impl FnMut(&T) -> Option<U>) -> Rows<(T, U)> {
        let Self { rows, more_before, more_after, out_of_reach } = self;
        let pair = |row: T| find(&row).map(|found| (row, found));
        Rows { rows: rows.into_iter().filter_map(pair).collect(), more_before, more_after, out_of_reach }
    }
}

impl PageRequest {
    /// Returns the order that the client asked for, or the list's default.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// Reads the page and the row after it, which shows whether there is a next page. One Query returns up to 1 MB, which is
    /// less than 101 rows of the largest size.
    pub async fn read<T>(&self, table: &Table, list: Partition) -> Result<Rows<T>, TableError>
    where
        T: Position + DeserializeOwned,
    {
        let order = self.order();
        let limit = i32::try_from(self.per_page).expect("at most 100") + 1;
        let Partition { source, key: partition } = list;
        let query = |order, after| Query { source, partition: partition.clone(), order, after, limit };
        let read = |query| self.rows::<T>(table, query);
        let mut out_of_reach = false;
        let (mut rows, backward, skipped) = match &self.start {
            Start::Skipping(0) => (read(query(order, None)).await?, false, false),
            Start::Skipping(count) => match skip(table, query(order, None), (*count).min(MAX_SKIP)).await? {
                Some(last) => {
                    let rows = read(query(order, Some(&last))).await?;
                    out_of_reach = *count > MAX_SKIP && !rows.is_empty();
                    (rows, false, true)
                }
                None => (Vec::new(), false, true),
            },
            Start::After(key) => (read(query(order, Some(key))).await?, false, true),
            Start::Before(key) => (read(query(order.reversed(), Some(key))).await?, true, true),
            Start::End => (read(query(order.reversed(), None)).await?, true, false),
        };
        let more = rows.len() > self.per_page as usize;
        rows.truncate(self.per_page as usize);
        if backward {
            rows.reverse();
            Ok(Rows { rows, more_before: more, more_after: skipped, out_of_reach })
        } else {
            Ok(Rows { rows, more_before: skipped, more_after: more, out_of_reach })
        }
    }

    /// Returns as many rows as the Query's limit, if there are so many.
    async fn rows<T: Position + DeserializeOwned>(
        &self,
        table: &Table,
        query: Query<'_>,
    ) -> Result<Vec<T>, TableError> {
        let mut rows = Vec::<T>::new();
        loop {
            let last = rows.last().map(|row| row.position(self.sort));
            let limit = query.limit - i32::try_from(rows.len()).expect("at most the limit");
            let after = last.as_deref().or(query.after);
            let rest = Query { after, limit, partition: query.partition.clone(), ..query };
            let (found, goes_on) = table.query::<T>(rest, T::ATTRIBUTES).await?;
            let ended = found.is_empty() || !goes_on;
            rows.extend(found);
            if ended || rows.len() >= query.limit as usize {
                return Ok(rows);
            }
        }
    }

    /// Cuts the page out of a list that is entirely in memory. Keeps only the first of several rows with the same
    /// position.
    pub fn cut<T: Position>(&self, rows: Vec<T>) -> Rows<T> {
        let mut rows: Vec<(String, T)> = rows.into_iter().map(|row| (row.position(self.sort), row)).collect();
        rows.sort_by(|(a, _), (b, _)| if self.order() == Order::Ascending { a.cmp(b) } else { b.cmp(a) });
        rows.dedup_by(|(a, _), (b, _)| a == b);
        let beyond = |key: &str, row: &str| match self.order() {
            Order::Ascending => row > key,
            Order::Descending => row < key,
        };
        let (size, count) = (self.per_page as usize, rows.len());
        let first_beyond = |key: &String| rows.partition_point(|(row, _)| !beyond(key, row));
        let from = |first: usize| (first.min(count), first.saturating_add(size).min(count));
        let (first, end) = match &self.start {
            Start::Skipping(skipped) => from(usize::try_from(*skipped).unwrap_or(usize::MAX)),
            Start::After(key) => from(first_beyond(key)),
            Start::Before(key) => {
                let end = rows.partition_point(|(row, _)| beyond(row, key));
                (end.saturating_sub(size), end)
            }
            Start::End => (count.saturating_sub(size), count),
        };
        let (more_before, more_after) = (first > 0, end < count);
        let rows = rows.drain(first..end).map(|(_, row)| row).collect();
        Rows { rows, more_before, more_after, out_of_reach: false }
    }

    fn order(&self) -> Order {
        match (self.direction, self.sort) {
            (Some(Direction::Asc), _) | (None, Sort::Name) => Order::Ascending,
            (Some(Direction::Desc), _) | (None, Sort::Created | Sort::Updated) => Order::Descending,
        }
    }

    fn encode(&self, start: Start) -> String {
        let asc = self.order() == Order::Ascending;
        let cursor = Cursor { v: 1, list: self.list.name.to_owned(), sort: self.sort, asc, start };
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).expect("a cursor is plain data"))
    }

    fn decode(&self, text: &str) -> Result<Start> {
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let decoded = decoded.and_then(|json| serde_json::from_slice::<Cursor>(&json).ok());
        let asc = self.order() == Order::Ascending;
        match decoded {
            Some(Cursor { v: 1, list, sort, asc: same_way, start })
                if list == self.list.name && sort == self.sort && same_way == asc && start.is_at_a_row() =>
            {
                Ok(start)
            }
            _ => Err(Error::new(
                ErrorCode::InvalidCursor,
                "The cursor belongs to another list or order; take it from a Link header",
            )),
        }
    }

    /// Returns the response, or refuses a page that was not read. `url` is the list's URL with its filters, and `total` the
    /// exact number of rows.
    pub fn respond<T: Position, B: Serialize>(
        &self,
        rows: Rows<T>,
        total: u64,
        url: &str,
        body: impl Fn(T) -> B,
    ) -> Response {
        self.respond_with(rows, total, url, |rows, meta| Page { data: rows.into_iter().map(body).collect(), meta })
    }

    /// Returns the response as [`PageRequest::respond`] does, with a body of its own.
    pub fn respond_with<T: Position, B: Serialize>(
        &self,
        rows: Rows<T>,
        total: u64,
        url: &str,
        page: impl FnOnce(Vec<T>, Meta) -> B,
    ) -> Response {
        let Rows { mut rows, more_before, more_after, out_of_reach } = rows;
        if out_of_reach {
            let message = format!("must have at most {MAX_SKIP} items before it; follow the Link header to go further");
            return Error::invalid("page", message).into_response();
        }
        let pages = total.div_ceil(self.per_page).max(1);
        let number = if self.start == Start::End { pages } else { self.number };
        if self.start == Start::End {
            // The last page has the remainder, not the last `per_page` rows.
            let on_last = total - (pages - 1) * self.per_page;
            rows.drain(..rows.len().saturating_sub(usize::try_from(on_last).unwrap_or(usize::MAX)));
        }
        let mut links = vec![self.link(url, "first", 1, None)];
        let edge = |row: Option<&T>| row.map(|row| row.position(self.sort));
        if number > 1 || more_before {
            // Beyond the end, the page before is the last one.
            let (number, start) = match edge(rows.first()) {
                Some(key) => (number.saturating_sub(1).max(1), Start::Before(key)),
                None => (pages, Start::End),
            };
            links.push(self.link(url, "prev", number, Some(start)));
        }
        if more_after && let Some(key) = edge(rows.last()) {
            links.push(self.link(url, "next", number.saturating_add(1), Some(Start::After(key))));
        }
        links.push(self.link(url, "last", pages, Some(Start::End)));
        let links = HeaderValue::try_from(links.join(", ")).expect("URLs are ASCII");
        let meta = Meta { total, page: number, per_page: self.per_page };
        ([(LINK, links)], axum::Json(page(rows, meta))).into_response()
    }

    fn link(&self, url: &str, relation: &str, number: u64, start: Option<Start>) -> String {
        let separator = if url.contains('?') { '&' } else { '?' };
        let mut link = format!("<{url}{separator}page={number}&per_page={}", self.per_page);
        let mut add = |name: &str, value: &dyn fmt::Display| link.push_str(&format!("&{name}={value}"));
        if self.sort != self.list.sorts[0] {
            add("sort", &name_of(self.sort));
        }
        if let Some(direction) = self.direction {
            add("direction", &name_of(direction));
        }
        if let Some(start) = start {
            add("cursor", &self.encode(start));
        }
        format!("{link}>; rel=\"{relation}\"")
    }
}

fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("sorts and directions are serialized as their names"),
    }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items of the page.
    pub data: Vec<T>,
    pub(crate) meta: Meta,
}

/// The position of a page in its list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Meta {
    /// The exact number of items on all pages.
    #[schema(examples(42))]
    pub total: u64,
    /// The page's number.
    #[schema(examples(1))]
    pub page: u64,
    /// The maximum number of items on a page.
    #[schema(examples(10))]
    pub per_page: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List { name: "repositories", sorts: &[Sort::Created, Sort::Name] };

    fn query(query: &str) -> Result<PageRequest> {
        crate::input::Input::of_query(query).read::<PageQuery>().map_err(Error::invalid_fields)?.of(LIST)
    }

    #[test]
    fn a_cursor_fits_its_own_list_and_order_only() {
        let request = query("sort=name").unwrap();
        let cursor = request.encode(Start::After("app#repo_x".to_owned()));
        assert_eq!(query(&format!("sort=name&cursor={cursor}")).unwrap().start, Start::After("app#repo_x".to_owned()));
        let other_list =
            PageRequest { list: List { name: "deployments", ..LIST }, ..request.clone() }.encode(Start::End);
        let skipping = request.encode(Start::Skipping(5));
        let nowhere = request.encode(Start::Before(String::new()));
        for bad in [
            format!("cursor={cursor}"),
            format!("sort=name&direction=desc&cursor={cursor}"),
            format!("sort=name&cursor={other_list}"),
            format!("sort=name&cursor={skipping}"),
            format!("sort=name&cursor={nowhere}"),
            "sort=name&cursor=AAAA".to_owned(),
        ] {
            assert_eq!(query(&bad).unwrap_err().code(), ErrorCode::InvalidCursor, "{bad}");
        }
        for bad in ["cursor=".to_owned(), format!("cursor={}", "A".repeat(MAX_CURSOR_CHARS + 1))] {
            assert_eq!(query(&bad).unwrap_err().code(), ErrorCode::InvalidRequest, "{bad}");
        }
    }

    /// A page that is too far is refused when the list turns out to have rows there.
    #[test]
    fn a_page_number_has_no_bound_of_its_own() {
        assert!(query("page=1002&per_page=10").is_ok());
    }
}
