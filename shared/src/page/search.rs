//! Pages of a list that no single index has: several partitions are merged, and items that don't match are left out.
//!
//! A page costs a bounded number of reads. If they find fewer items than the page may have, the page is short, and `Link`
//! continues where the search stopped.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::LINK;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Meta, PageRequest, Start};
use crate::error::{Error, Result};
use crate::sort::Position;
use crate::table::{Order, Partition, Query, Table, TableError};

/// The maximum number of reads of each partition for one page.
const MAX_ROUNDS: usize = 4;
/// The number of items that one read of a partition examines if not all of them match.
const EXAMINED: usize = 250;
/// The maximum number of items that one read of a partition examines to skip the pages before.
const SKIPPED: usize = 1000;

/// The items of a search: the partitions that list them, and the conditions on them.
#[derive(Debug)]
pub struct Search<M> {
    /// The partitions, which have one kind of sort key.
    pub lists: Vec<Partition>,
    /// The attributes of a listed item, as a projection expression. `None` for all.
    pub attributes: Option<&'static str>,
    /// The condition on a listed item. `None` if all match.
    pub matches: Option<M>,
    /// Whether the row of an item may not match although the item does.
    pub rows_decide: bool,
    /// Whether the caller may see all items, so that a cursor may name one that is on no page.
    pub is_visible: bool,
}

/// The rows that a search found, each with its sort key.
#[derive(Debug)]
pub struct Found<T> {
    rows: Vec<(String, T)>,
    more_before: bool,
    more_after: bool,
    /// The sort key of the last examined item, if the search has stopped before the end of the page.
    stopped: Option<String>,
    /// The number of all matching items, if the search has seen all of them.
    seen_all: Option<u64>,
    /// Whether the search has stopped before it came to the page.
    out_of_reach: bool,
}

/// A page of a list that may be filtered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SearchPage<T> {
    /// The items of the page.
    pub data: Vec<T>,
    pub(crate) meta: SearchMeta,
}

/// The position of a page in a list whose length may be unknown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SearchMeta {
    /// The exact number of items on all pages. Null if the API would have to examine too many items to know it.
    #[schema(required, examples(42))]
    total: Option<u64>,
    /// The page's number.
    #[schema(examples(1))]
    page: u64,
    /// The maximum number of items on a page.
    #[schema(examples(10))]
    per_page: u64,
}

impl From<Meta> for SearchMeta {
    fn from(Meta { total, page, per_page }: Meta) -> Self {
        Self { total: Some(total), page, per_page }
    }
}

impl<T> Found<T> {
    /// Returns the page of a list without items.
    pub fn nothing() -> Self {
        Self {
            rows: Vec::new(),
            more_before: false,
            more_after: false,
            stopped: None,
            seen_all: Some(0),
            out_of_reach: false,
        }
    }

    /// Returns the rows, in the order of the list.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|(_, row)| row)
    }
}

impl PageRequest {
    /// Reads the page of a search. `load` returns the row of each item that it is given, or `None` for an item that has none
    /// that matches.
    pub async fn search<E, T, F>(
        &self,
        table: &Table,
        Search { lists, attributes, matches, rows_decide, is_visible }: Search<impl Fn(&E) -> bool>,
        load: impl Fn(Vec<E>) -> F,
    ) -> Result<Found<T>>
    where
        E: DeserializeOwned,
        F: Future<Output = Result<Vec<Option<T>>>>,
    {
        let size = self.per_page as usize;
        let (order, mut after, mut to_skip, backward) = match &self.start {
            Start::Skipping(count) => (self.order(), None, usize::try_from(*count).unwrap_or(usize::MAX), false),
            Start::After(key) => (self.order(), Some(key.clone()), 0, false),
            Start::Before(key) => (self.order().reversed(), Some(key.clone()), 0, true),
            Start::End => (self.order().reversed(), None, 0, true),
        };
        let (skips, starts_inside) = (to_skip, after.is_some() || to_skip > 0);
        let limit =
            if matches.is_some() || rows_decide { EXAMINED } else { to_skip.saturating_add(size + 1).min(SKIPPED) };
        let (mut rows, mut ended) = (Vec::new(), false);
        for _ in 0..MAX_ROUNDS {
            let (mut items, last) = examine::<E>(table, &lists, attributes, order, after.as_deref(), limit).await?;
            if let Some(matches) = &matches {
                items.retain(|(_, item)| matches(item));
            }
            if !rows_decide {
                let skipped = to_skip.min(items.len());
                items.drain(..skipped);
                to_skip -= skipped;
            }
            while !items.is_empty() && rows.len() <= size {
                let count = (size + 1 - rows.len()).saturating_add(to_skip).min(100).min(items.len());
                let (keys, items): (Vec<_>, Vec<_>) = items.drain(..count).unzip();
                for row in keys.into_iter().zip(load(items).await?).filter_map(|(key, row)| Some((key, row?))) {
                    match to_skip {
                        0 => rows.push(row),
                        _ => to_skip -= 1,
                    }
                }
            }
            ended = last.is_none();
            after = last.or(after);
            if ended || rows.len() > size {
                break;
            }
        }
        let more = rows.len() > size;
        let seen_all = (ended && !more && self.start == Start::Skipping(skips as u64))
            .then(|| (skips - to_skip + rows.len()) as u64);
        rows.truncate(size);
        let stopped = after.filter(|_| !ended && !more);
        let stopped = stopped.map(|key| if is_visible { key } else { resumption(order, key, &rows) });
        let beyond = more || stopped.is_some();
        let out_of_reach = to_skip > 0 && stopped.is_some();
        if backward {
            rows.reverse();
            return Ok(Found { rows, more_before: beyond, more_after: starts_inside, stopped, seen_all, out_of_reach });
        }
        Ok(Found { rows, more_before: starts_inside, more_after: beyond, stopped, seen_all, out_of_reach })
    }

    /// Returns the response to a request for those rows of a list that match, with as many of them as a bounded search finds. The
    /// caller may see all rows of the list.
    pub async fn matching<T, B>(
        &self,
        table: &Table,
        list: Partition,
        matches: impl Fn(&T) -> bool,
        url: &str,
        body: impl Fn(T) -> B,
    ) -> Result<Response>
    where
        T: Position + DeserializeOwned,
        B: Serialize,
    {
        let search = Search {
            lists: vec![list],
            attributes: T::ATTRIBUTES,
            matches: Some(matches),
            rows_decide: false,
            is_visible: true,
        };
        let found = self.search(table, search, |rows| async { Ok(rows.into_iter().map(Some).collect()) }).await?;
        let page = |rows: Vec<T>, meta| SearchPage { data: rows.into_iter().map(body).collect(), meta };
        Ok(self.respond_to_search(found, None, url, page))
    }

    /// Returns the response to a search, or refuses a page that the search did not reach. `total` is the exact number of
    /// items if it is known, and `page` makes the body of the rows.
    pub fn respond_to_search<T, B: Serialize>(
        &self,
        found: Found<T>,
        total: Option<u64>,
        url: &str,
        page: impl FnOnce(Vec<T>, SearchMeta) -> B,
    ) -> Response {
        let Found { mut rows, more_before, more_after, stopped, seen_all, out_of_reach } = found;
        if out_of_reach {
            let message = "has too many items before it; follow the Link header to go further";
            return Error::invalid("page", message).into_response();
        }
        let total = total.or(seen_all);
        let pages = total.map(|total| total.div_ceil(self.per_page).max(1));
        let at_end = self.start == Start::End;
        let number = pages.filter(|_| at_end).unwrap_or(self.number);
        if let Some((total, pages)) = total.zip(pages).filter(|_| at_end) {
            // The last page has the remainder, not the last `per_page` rows.
            let on_last = usize::try_from(total.saturating_sub((pages - 1) * self.per_page)).unwrap_or(usize::MAX);
            rows.drain(..rows.len().saturating_sub(on_last));
        }
        let backward = matches!(self.start, Start::Before(_) | Start::End);
        let edge = |row: Option<&(String, T)>, goes_on: bool| match &stopped {
            Some(key) if goes_on => Some(key.clone()),
            _ => row.map(|(key, _)| key.clone()),
        };
        let mut links = vec![self.link(url, "first", 1, None)];
        if number > 1 || more_before {
            let (number, start) = match edge(rows.first(), backward) {
                Some(key) => (number.saturating_sub(1).max(1), Start::Before(key)),
                None => (pages.unwrap_or(1), Start::End),
            };
            links.push(self.link(url, "prev", number, Some(start)));
        }
        if more_after && let Some(key) = edge(rows.last(), !backward) {
            links.push(self.link(url, "next", number.saturating_add(1), Some(Start::After(key))));
        }
        if let Some(pages) = pages {
            links.push(self.link(url, "last", pages, Some(Start::End)));
        }
        let links = HeaderValue::try_from(links.join(", ")).expect("URLs are ASCII");
        let meta = SearchMeta { total, page: number, per_page: self.per_page };
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        ([(LINK, links)], axum::Json(page(rows, meta))).into_response()
    }
}

/// Returns the next items of all partitions in one order, and the sort key up to which every partition was read, or `None` at
/// the end. An item that moves to another partition meanwhile is returned once.
async fn examine<E: DeserializeOwned>(
    table: &Table,
    lists: &[Partition],
    attributes: Option<&str>,
    order: Order,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, E)>, Option<String>), TableError> {
    let limit = i32::try_from(limit).expect("at most 1,000");
    let read = |Partition { source, key }: &Partition| {
        table.query_with_keys::<E>(Query { source: *source, partition: key.clone(), order, after, limit }, attributes)
    };
    let parts = futures_util::future::try_join_all(lists.iter().map(read)).await?;
    let ends = parts.iter().filter(|(_, more)| *more).filter_map(|(rows, _)| Some(rows.last()?.0.clone()));
    let last = match order {
        Order::Ascending => ends.min(),
        Order::Descending => ends.max(),
    };
    let mut items: Vec<_> = parts.into_iter().flat_map(|(rows, _)| rows).collect();
    items.sort_by(|(a, _), (b, _)| if order == Order::Ascending { a.cmp(b) } else { b.cmp(a) });
    items.dedup_by(|(a, _), (b, _)| a == b);
    if let Some(last) = &last {
        items.retain(|(key, _)| if order == Order::Ascending { key <= last } else { key >= last });
    }
    Ok((items, last))
}

/// Returns the sort key from which the search goes on after the last examined item. The caller may not be allowed to see that
/// item, so the key has its time and not its id. Items of the same time are examined again, unless the page ends among them.
fn resumption<T>(order: Order, last: String, rows: &[(String, T)]) -> String {
    let Some((time, _)) = last.split_once('#') else { return last };
    match rows.last() {
        Some((shown, _)) if shown.starts_with(&format!("{time}#")) => shown.clone(),
        // `~` sorts after every id, and nothing sorts before the bare separator.
        _ if order == Order::Descending => format!("{time}#~"),
        _ => format!("{time}#"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumption_names_no_item_that_is_not_on_the_page() {
        let shown = [("07#deploy_b".to_owned(), ())];
        for (order, rows, last, expected) in [
            (Order::Descending, &shown[..], "05#deploy_x", "05#~"),
            (Order::Ascending, &shown[..], "09#deploy_x", "09#"),
            (Order::Descending, &shown[..], "07#deploy_a", "07#deploy_b"),
            (Order::Descending, &[], "05#deploy_x", "05#~"),
            (Order::Descending, &[], "000000000012", "000000000012"),
        ] {
            assert_eq!(resumption(order, last.to_owned(), rows), expected);
        }
    }
}
