//! Compares counters with the rows that they count, and repairs those that differ.
//!
//! Each transaction that changes a row also changes its counter, so a counter is wrong only after a fault in the code
//! or a change of the table by hand. A recount walks through all counters, some at a time, and then starts again. It
//! finds them by a Scan, because counters of different accounts share no partition.
//!
//! | counter | its rows are read | none of them is missed or counted twice because |
//! |---|---|---|
//! | deployments of a repository | from the index of its list, and again consistently if they have not ended | their numbers have no gap, and what has ended stays so |
//! | repositories; users; teams; a team's members and repositories | from the table, consistently | the counter tells whether a row came or went meanwhile: `changes` goes up with each |
//!
//! A counter is written only if all its numbers are still as they were read. `changes`, which goes up with each transaction, is one
//! of them, because the others can come back: a deployment whose build is refused is queued again. A counter that changes while it
//! is counted is left for the next round. Therefore any number of recounts may run at once, and each may stop anywhere.
//!
//! Counters of tokens, invitations and applications are not compared. Their rows can only be listed by an eventually
//! consistent index, and the rows do not show whether it lags.

mod deployments;
mod rows;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId, RepositoryId, TeamId};
use crate::model::{RepositoryPartition, key};
use crate::table::{Change, Consistency, Item, Key, Numbers, Table, TableError, Values};
use crate::usage::Usage;

/// The number of rows in one read.
const PAGE: i32 = 200;
/// The capacity units after which a walk stops until the next. One walk a minute costs at most 1.10 US dollars a month,
/// and covers ten million rows a week.
const MAX_UNITS: f64 = 200.0;
/// The minimum time between rounds.
const REST: Duration = Duration::from_secs(3600);

/// The position of the recount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recount {
    /// The version of the position. Each walk adds one.
    revision: u64,
    rests_until: Timestamp,
    /// The row at which the Scan stopped. Counters before it wait for the next round.
    after: Option<Key>,
    /// The counter at which the last walk stopped.
    counting: Option<Counting>,
}

/// The result for a counter that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The counter was wrong and has been repaired.
    Repaired {
        /// The counter's numbers before the repair.
        was: Numbers,
        /// The numbers of the rows, which the counter has now.
        is: Numbers,
    },
    /// The counter was not compared, because rows are missing.
    RowsMissing,
}

/// A counter to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Counter {
    Deployments(AccountId, RepositoryId),
    Repositories(AccountId),
    Members(AccountId),
    Teams(AccountId),
    TeamSizes(AccountId, TeamId),
}

/// The state of an unfinished count.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counting {
    counter: Key,
    numbers: Numbers,
    /// The last row that was counted.
    after: Option<String>,
    /// For rows of the table: the current partition, and the counter before the count.
    partition: usize,
    before: Option<Numbers>,
    /// For deployments: the number of the last one, and those that had not ended.
    last_number: u64,
    open: Vec<DeploymentId>,
    /// The number of times that the index lagged behind the counter.
    tries: u32,
}

enum Step {
    /// More rows follow.
    More,
    Done(Option<Finding>),
}

impl Default for Recount {
    fn default() -> Self {
        Self { revision: 0, rests_until: Timestamp::from_millis(0), after: None, counting: None }
    }
}

impl Recount {
    /// Continues where the last walk stopped, until the capacity is used, the time is over or the round is complete.
    /// Reports each counter that was wrong.
    ///
    /// # Errors
    /// Fails if DynamoDB fails. The next walk starts at the old position.
    pub async fn walk(
        table: &Table,
        now: Timestamp,
        has_time: impl Fn() -> bool,
        mut tell: impl FnMut(&Key, Finding),
    ) -> Result<(), TableError> {
        let mut recount: Self = table.get(key::recount(), Consistency::Eventual).await?.unwrap_or_default();
        if recount.rests_until > now {
            return Ok(());
        }
        let before = Usage::so_far().capacity_units;
        let goes_on = || has_time() && Usage::so_far().capacity_units - before < MAX_UNITS;
        let (mut counters, mut page_end) = (VecDeque::new(), None);
        while goes_on() {
            if let Some(counting) = &mut recount.counting {
                if let Step::Done(finding) = counting.step(table).await? {
                    if let Some(finding) = finding {
                        tell(&counting.counter, finding);
                    }
                    recount.after = recount.counting.take().map(|counting| counting.counter);
                }
            } else if let Some(counter) = counters.pop_front() {
                recount.counting = Some(Counting::of(counter));
            } else if let Some(end) = page_end.take() {
                recount.after = Some(end);
            } else {
                let (found, end) = table.scan_for(&SORT_KEYS, recount.after.as_ref(), PAGE).await?;
                (counters, page_end) = (found.into(), end);
                // Removing the counter first guarantees progress, even if the walk stops here.
                if let Some(counter) = counters.pop_front() {
                    recount.counting = Some(Counting::of(counter));
                } else if let Some(end) = page_end.take() {
                    recount.after = Some(end);
                } else {
                    recount.after = None;
                    recount.rests_until = now.plus(REST);
                    break;
                }
            }
        }
        recount.save(table).await
    }

    /// Saves the position. Of two concurrent walks, the first to save wins.
    async fn save(&self, table: &Table) -> Result<(), TableError> {
        let next = Self { revision: self.revision + 1, ..self.clone() };
        let item: Item = serde_dynamo::to_item(&next)?;
        let sets: Vec<_> = item.keys().map(|name| format!("#{name} = :{name}")).collect();
        let names = item.keys().map(|name| (format!("#{name}"), name.clone())).collect();
        let values: Values = item.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        let (condition, values) = match self.revision {
            0 => ("attribute_not_exists(pk)", values),
            revision => ("#revision = :old", values.set(":old", revision)),
        };
        let change = Change {
            expression: format!("SET {}", sets.join(", ")),
            condition: Some(condition),
            names: Some(names),
            values,
        };
        table.update(key::recount(), change).await.map(drop)
    }
}

/// The sort keys of the counters in their partitions.
const SORT_KEYS: [&str; 5] =
    [key::DEPLOYMENT_COUNTS, key::REPOSITORY_COUNT, key::MEMBER_COUNTS, key::TEAM_COUNT, key::TEAM_SIZES];

impl Counter {
    fn of(key: &Key) -> Option<Self> {
        fn id<T: std::str::FromStr>(key: &Key) -> Option<T> {
            key.pk.split('#').find_map(|part| part.parse().ok())
        }
        let account: AccountId = id(key)?;
        let counter = match key.sk.as_str() {
            key::DEPLOYMENT_COUNTS => Self::Deployments(account, id(key)?),
            key::REPOSITORY_COUNT => Self::Repositories(account),
            key::MEMBER_COUNTS => Self::Members(account),
            key::TEAM_COUNT => Self::Teams(account),
            key::TEAM_SIZES => Self::TeamSizes(account, id(key)?),
            _ => return None,
        };
        (counter.key() == *key).then_some(counter)
    }

    fn key(&self) -> Key {
        match self {
            Self::Deployments(account, repository) => RepositoryPartition::new(account, repository).deployment_counts(),
            Self::Repositories(account) => key::repository_count(account),
            Self::Members(account) => key::member_counts(account),
            Self::Teams(account) => key::team_count(account),
            Self::TeamSizes(account, team) => key::team_sizes(account, team),
        }
    }
}

impl Counting {
    fn of(counter: Key) -> Self {
        Self {
            counter,
            numbers: Numbers::new(),
            after: None,
            partition: 0,
            before: None,
            last_number: 0,
            open: Vec::new(),
            tries: 0,
        }
    }

    /// Counts one page of rows. Compares the counter after the last page.
    async fn step(&mut self, table: &Table) -> Result<Step, TableError> {
        let stepped = match Counter::of(&self.counter) {
            Some(Counter::Deployments(account, repository)) => self.deployments(table, &account, &repository).await,
            Some(counter) => self.rows(table, &counter).await,
            None => Ok(Step::Done(None)),
        };
        match stepped {
            // An unreadable row must not stop the other counts.
            Err(TableError::Shape(_)) => Ok(Step::Done(Some(Finding::RowsMissing))),
            stepped => stepped,
        }
    }

    /// Returns the current counter.
    async fn read(&self, table: &Table) -> Result<Option<Numbers>, TableError> {
        let row: Option<HashMap<String, serde_json::Value>> =
            table.get(self.counter.clone(), Consistency::Strong).await?;
        let number = |(name, value): (String, serde_json::Value)| Some((name, value.as_i64()?));
        Ok(row.map(|row| row.into_iter().filter_map(number).collect()))
    }

    /// Writes the counted numbers, unless the counter has changed since it was read. Returns `None` if it has.
    async fn settle(&self, table: &Table, was: Numbers, is: Numbers) -> Result<Option<Step>, TableError> {
        if !differs(&was, &is) {
            return Ok(Some(Step::Done(None)));
        }
        let written = table.swap(self.counter.clone(), &was, &is).await?;
        Ok(written.then_some(Step::Done(Some(Finding::Repaired { was, is }))))
    }
}

fn differs(was: &Numbers, is: &Numbers) -> bool {
    is.iter().any(|(name, number)| was.get(name).unwrap_or(&0) != number)
}
