//! Counters of rows that have partitions of their own in the table.

use super::{Counter, Counting, PAGE, Step, differs};
use crate::model::key;
use crate::permission::Role;
use crate::table::{Item, Table, TableError};

/// The counter's attribute that grows with each change.
const CHANGES: &str = "changes";

/// An attribute of a counter, and whether it counts a row.
type Count = (&'static str, fn(&Item) -> bool);

/// The rows to count: those of a partition whose sort keys begin with a prefix.
struct Rows {
    partition: String,
    prefix: &'static str,
    counts: &'static [Count],
}

impl Counter {
    fn rows(&self) -> Vec<Rows> {
        match self {
            Self::Deployments(..) => Vec::new(),
            Self::Repositories(account) => vec![Rows {
                partition: key::account_partition(account),
                prefix: key::REPOSITORY_PREFIX,
                counts: &[("repositories", |_| true)],
            }],
            Self::Members(account) => vec![Rows {
                partition: key::account_partition(account),
                prefix: key::USER_PREFIX,
                counts: &[("members", |_| true), ("owners", is_owner)],
            }],
            Self::Teams(account) => vec![Rows {
                partition: key::account_partition(account),
                prefix: key::TEAM_PREFIX,
                counts: &[("teams", |_| true)],
            }],
            Self::TeamSizes(account, team) => vec![
                Rows {
                    partition: key::team_members(account, team),
                    prefix: key::USER_PREFIX,
                    counts: &[("members", |_| true)],
                },
                Rows {
                    partition: key::team_grants(account, team),
                    prefix: key::REPOSITORY_PREFIX,
                    counts: &[("repositories", |_| true)],
                },
            ],
        }
    }
}

impl Counting {
    pub(super) async fn rows(&mut self, table: &Table, counter: &Counter) -> Result<Step, TableError> {
        let partitions = counter.rows();
        if self.before.is_none() {
            let Some(before) = self.read(table).await? else { return Ok(Step::Done(None)) };
            let counted = partitions.iter().flat_map(|rows| rows.counts);
            self.numbers = counted.map(|(attribute, _)| ((*attribute).to_owned(), 0)).collect();
            self.before = Some(before);
        }
        let Rows { partition, prefix, counts } = &partitions[self.partition];
        // `~` sorts after every character of an id.
        let range = (*prefix, &*format!("{prefix}~"));
        let (rows, more) = table.range_after(partition, range, self.after.as_deref(), Some(PAGE)).await?;
        for row in &rows {
            for (attribute, _) in counts.iter().filter(|(_, counts)| counts(row)) {
                *self.numbers.entry((*attribute).to_owned()).or_default() += 1;
            }
        }
        if more {
            self.after = rows.last().and_then(sort_key);
            return Ok(Step::More);
        }
        self.after = None;
        self.partition += 1;
        if self.partition < partitions.len() {
            return Ok(Step::More);
        }
        let was = self.before.take().unwrap_or_default();
        let mut is = std::mem::take(&mut self.numbers);
        if differs(&was, &is) {
            is.insert(CHANGES.to_owned(), was.get(CHANGES).unwrap_or(&0) + 1);
        }
        Ok(self.settle(table, was, is).await?.unwrap_or(Step::Done(None)))
    }
}

fn sort_key(row: &Item) -> Option<String> {
    row.get("sk").and_then(|sk| sk.as_s().ok()).cloned()
}

fn is_owner(row: &Item) -> bool {
    row.get("role").and_then(|role| role.as_s().ok()).is_some_and(|role| role == Role::Owner.as_str())
}
