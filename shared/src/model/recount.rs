//! Counters compared with the rows that they count, and set right where they differ.
//!
//! Each transaction that changes a row changes its counter too, so a counter is only wrong by a fault in the code or by a hand
//! at the table. A recount walks through all of them, some at a time, and begins again when it is through. What it has to
//! read it finds by a Scan, because counters of different accounts have nothing in common that a Query could ask for.
//!
//! | counter | its rows are read | none of them is missed or counted twice because |
//! |---|---|---|
//! | deployments of a repository | from the index of its list, and again consistently if they have not ended | their numbers have no gap, and what has ended stays so |
//! | repositories; users; teams; a team's members and repositories | from the table, consistently | the counter tells whether a row came or went meanwhile: `changes` goes up with each, or the counter itself where rows only come |
//!
//! A counter is only written if all its numbers still are as they were read. What changes while it is counted is left as it
//! is for the next round. So it does not matter how many recounts run at once, or where one stops.
//!
//! Tokens, invitations and applications have indexes only, which may be behind, and nothing in a row that would tell: their
//! counters are not compared.

mod deployments;
mod rows;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId, RepositoryId, TeamId};
use crate::model::{RepositoryPartition, key};
use crate::table::{Change, Consistency, Item, Key, Numbers, Table, TableError};
use crate::usage::Usage;

/// Rows that are read at once.
const PAGE: i32 = 200;
/// The capacity units after which a walk stops until the next. Once a minute these are 1.10 US dollars a month at most,
/// and ten million rows a week.
const MAX_UNITS: f64 = 200.0;
/// The least time from one round's end to the next.
const REST: Duration = Duration::from_secs(3600);

/// How far the recount has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recount {
    /// Raised by each walk.
    revision: u64,
    rests_until: Timestamp,
    /// The row that the Scan was at. None before this one is looked for again.
    after: Option<Key>,
    /// The counter that the last walk stopped at.
    counting: Option<Counting>,
}

/// What a counter was found to be, if it is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was wrong, and has been set right.
    Repaired { was: Numbers, is: Numbers },
    /// It was not compared, because rows are not where they should be.
    RowsMissing,
}

/// A counter that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Counter {
    Deployments(AccountId, RepositoryId),
    Repositories(AccountId),
    Members(AccountId),
    Teams(AccountId),
    TeamSizes(AccountId, TeamId),
}

/// What has been counted of a counter's rows so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counting {
    counter: Key,
    numbers: Numbers,
    /// The last row that was counted.
    after: Option<String>,
    /// For rows of the table: the partition that is counted, and the counter as it was before.
    partition: usize,
    before: Option<Numbers>,
    /// For deployments: the last one's number, and those that had not ended.
    last_number: u64,
    open: Vec<DeploymentId>,
    /// How often the index was behind the counter.
    tries: u32,
}

enum Step {
    /// There are more rows.
    More,
    Done(Option<Finding>),
}

impl Default for Recount {
    fn default() -> Self {
        Self { revision: 0, rests_until: Timestamp::from_millis(0), after: None, counting: None }
    }
}

impl Recount {
    /// Walks on from where the last walk stopped, until it has read enough, there is no time left, or the round is over.
    /// Tells of each counter that was not right.
    ///
    /// # Errors
    /// When DynamoDB fails. The next walk starts from the same place.
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
                // So that even a walk that stops here has come further.
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

    /// Of two walks at once the first to come is kept.
    async fn save(&self, table: &Table) -> Result<(), TableError> {
        let next = Self { revision: self.revision + 1, ..self.clone() };
        let item: Item = serde_dynamo::to_item(&next)?;
        let sets: Vec<_> = item.keys().map(|name| format!("#{name} = :{name}")).collect();
        let names = item.keys().map(|name| (format!("#{name}"), name.clone())).collect();
        let mut values: Item = item.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        let condition = match self.revision {
            0 => "attribute_not_exists(pk)",
            _ => {
                values.insert(":old".to_owned(), serde_dynamo::to_attribute_value(self.revision)?);
                "#revision = :old"
            }
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

/// What the counters are called in their partitions.
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

    /// Counts one page of rows, and after the last page compares.
    async fn step(&mut self, table: &Table) -> Result<Step, TableError> {
        let stepped = match Counter::of(&self.counter) {
            Some(Counter::Deployments(account, repository)) => self.deployments(table, &account, &repository).await,
            Some(counter) => self.rows(table, &counter).await,
            None => Ok(Step::Done(None)),
        };
        match stepped {
            // One row that nobody can read must not keep the others from being counted.
            Err(TableError::Shape(_)) => Ok(Step::Done(Some(Finding::RowsMissing))),
            stepped => stepped,
        }
    }

    /// The counter as it is now.
    async fn read(&self, table: &Table) -> Result<Option<Numbers>, TableError> {
        let row: Option<HashMap<String, serde_json::Value>> =
            table.get(self.counter.clone(), Consistency::Strong).await?;
        let number = |(name, value): (String, serde_json::Value)| Some((name, value.as_i64()?));
        Ok(row.map(|row| row.into_iter().filter_map(number).collect()))
    }

    /// Writes what was counted, unless the counter has changed since it was read. `None`: it has.
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
