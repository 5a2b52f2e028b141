//! The counter of a repository's deployments, by environment and status.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Counting, PAGE, Step};
use crate::id::{AccountId, RepositoryId};
use crate::model::deployment::{ENVIRONMENTS, LAST_NUMBER, count_name, deleted_count_name, mark, sort_key};
use crate::model::{Deployment, Environment, Finding, RepositoryPartition, Status, key};
use crate::sort::Position;
use crate::table::{Index, Item, Key, Numbers, Order, Query, Source, Table, TableError, read_item};

/// The maximum number of open deployments that are read again at the end. A repository with more waits for another
/// round.
const MAX_OPEN: usize = 1000;
const AT_ONCE: usize = 8;
/// The number of times that the counter may change, or the index may lag, before the counter waits for another round.
const MAX_TRIES: u32 = 3;

impl Counting {
    pub(super) async fn deployments(
        &mut self,
        table: &Table,
        account: &AccountId,
        repository: &RepositoryId,
    ) -> Result<Step, TableError> {
        let query = Query {
            source: Source::Index(Index::ByCreation),
            partition: RepositoryPartition::new(account, repository).deployments(None, None),
            order: Order::Ascending,
            after: self.after.as_deref(),
            limit: PAGE,
        };
        let (rows, more) = table.query::<Deployment>(query, Deployment::ATTRIBUTES).await?;
        for row in rows {
            if row.number != self.last_number + 1 {
                return Ok(Step::Done(Some(Finding::RowsMissing)));
            }
            self.last_number = row.number;
            self.after = Some(sort_key(row.number));
            if row.status.is_final() {
                *self.numbers.entry(count_name(row.environment, row.status)).or_default() += 1;
            } else if self.open.len() < MAX_OPEN {
                self.open.push(row.id);
            } else {
                return Ok(Step::Done(None));
            }
        }
        if more {
            return Ok(Step::More);
        }
        for _ in 0..MAX_TRIES {
            let Some(was) = self.read(table).await? else { return Ok(Step::Done(None)) };
            let last_number = i64::try_from(self.last_number).expect("a number has 12 digits at most");
            if was.get(LAST_NUMBER).is_some_and(|known| *known > last_number) {
                // The deployment was created meanwhile, and the next page has it. A lost number is never assigned
                // again.
                self.tries += 1;
                return Ok(if self.tries < MAX_TRIES { Step::More } else { Step::Done(Some(Finding::RowsMissing)) });
            }
            let load = async |id| Deployment::load(table, account, &id).await;
            let open = stream::iter(self.open.clone()).map(load);
            let open: Vec<_> = open.buffer_unordered(AT_ONCE).try_collect().await?;
            let Some(open) = open.into_iter().collect::<Option<Vec<_>>>() else {
                return Ok(Step::Done(Some(Finding::RowsMissing)));
            };
            // They are read after the counter. A deletion in between changes the counter, which is then counted again.
            let deleted = deleted_counts(table, &RepositoryPartition::new(account, repository)).await?;
            let is = self.counted(&was, &open, &deleted);
            if let Some(done) = self.settle(table, was, is).await? {
                return Ok(done);
            }
        }
        Ok(Step::Done(None))
    }

    /// Returns the counter's right value. It has the numbers of the environments that it marks as existing, without those of an
    /// environment of the name that was deleted before, and the numbers of all others together.
    fn counted(&self, was: &Numbers, open: &[Deployment], deleted: &Numbers) -> Numbers {
        let mut all = self.numbers.clone();
        for row in open {
            *all.entry(count_name(row.environment, row.status)).or_default() += 1;
        }
        let exists = |environment: &str| {
            environment.parse().is_ok_and(|name: Environment| name.is_built_in() || was.contains_key(&mark(name)))
        };
        let mut counted = Numbers::new();
        for (name, number) in all {
            let (environment, status) = name.rsplit_once('.').expect("the name of a number has a status");
            let kept = deleted.get(&name).copied().unwrap_or(0);
            match exists(environment) {
                true => {
                    *counted.entry(deleted_name(status)).or_default() += kept;
                    counted.insert(name, number - kept);
                }
                false => *counted.entry(deleted_name(status)).or_default() += number,
            }
        }
        for name in was.keys().filter(|name| name.contains('.')) {
            counted.entry(name.clone()).or_default();
        }
        counted.retain(|name, number| *number != 0 || was.contains_key(name));
        if was.contains_key(ENVIRONMENTS) {
            let marks = was.keys().filter_map(|name| name.strip_suffix(".queued"));
            let environments = marks.filter(|name| name.parse().is_ok_and(|name: Environment| !name.is_built_in()));
            counted.insert(ENVIRONMENTS.to_owned(), i64::try_from(environments.count()).expect("a counter is small"));
        }
        counted
            .insert(LAST_NUMBER.to_owned(), i64::try_from(self.last_number).expect("a number has 12 digits at most"));
        counted
    }
}

fn deleted_name(status: &str) -> String {
    let status = Status::ALL.into_iter().find(|known| known.as_str() == status);
    deleted_count_name(status.expect("the name of a number has a status"))
}

/// Returns the numbers that environments had when they were deleted.
async fn deleted_counts(table: &Table, partition: &RepositoryPartition) -> Result<Numbers, TableError> {
    let (mut numbers, mut after) = (Numbers::new(), None);
    loop {
        let page = table.range_after(&partition.items(), key::DELETED_COUNTS, after.as_deref(), None).await?;
        let (rows, more): (Vec<Item>, bool) = page;
        after = rows.last().map(|row| read_item::<Key>(row.clone())).transpose()?.map(|key| key.sk);
        for row in rows {
            let row: HashMap<String, serde_json::Value> = read_item(row)?;
            numbers.extend(row.into_iter().filter_map(|(name, value)| Some((name, value.as_i64()?))));
        }
        if !more {
            return Ok(numbers);
        }
    }
}
