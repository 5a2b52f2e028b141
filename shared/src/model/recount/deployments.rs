//! The counter of a repository's deployments, by environment and status.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Counting, PAGE, Step};
use crate::id::{AccountId, RepositoryId};
use crate::model::deployment::{LAST_NUMBER, count_name, sort_key};
use crate::model::{Deployment, Environment, Finding, RepositoryPartition, Status};
use crate::sort::Position;
use crate::table::{Index, Numbers, Order, Query, Source, Table, TableError};

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
            let is = self.counted(&was, &open);
            if let Some(done) = self.settle(table, was, is).await? {
                return Ok(done);
            }
        }
        Ok(Step::Done(None))
    }

    /// Returns the counter's right value.
    fn counted(&self, was: &Numbers, open: &[Deployment]) -> Numbers {
        let mut all = self.numbers.clone();
        for row in open {
            *all.entry(count_name(row.environment, row.status)).or_default() += 1;
        }
        let names =
            Environment::BUILT_IN.into_iter().flat_map(|e| Status::ALL.into_iter().map(move |s| count_name(e, s)));
        for name in names.filter(|name| was.contains_key(name)) {
            all.entry(name).or_default();
        }
        all.insert(LAST_NUMBER.to_owned(), i64::try_from(self.last_number).expect("a number has 12 digits at most"));
        all
    }
}
