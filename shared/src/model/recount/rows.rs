//! Counters of rows that the table itself has in partitions of their own.

use super::{Counter, Counting, PAGE, Step, differs};
use crate::model::{member, repository, team};
use crate::table::{Item, Table, TableError};

/// The attribute of such a counter that goes up with each change.
const CHANGES: &str = "changes";

/// An attribute of a counter, and whether it counts a row.
type Count = (&'static str, fn(&Item) -> bool);

/// Rows that are counted: those of a partition whose sort keys begin with this.
pub(in crate::model) struct Rows {
    pub partition: String,
    pub prefix: &'static str,
    pub counts: &'static [Count],
}

impl Counter {
    pub(super) fn rows(&self) -> Vec<Rows> {
        match self {
            Self::Deployments(..) => Vec::new(),
            Self::Repositories(account) => vec![repository::counted(account)],
            Self::Members(account) => vec![member::counted(account)],
            Self::Teams(account) => vec![team::counted(account)],
            Self::TeamSizes(account, team) => team::counted_in(account, team).into(),
        }
    }
}

impl Counting {
    pub(super) async fn rows(&mut self, table: &Table, partitions: &[Rows]) -> Result<Step, TableError> {
        if self.before.is_none() {
            let Some(before) = self.read(table).await? else { return Ok(Step::Done(None)) };
            let counted = partitions.iter().flat_map(|rows| rows.counts);
            self.numbers = counted.map(|(attribute, _)| ((*attribute).to_owned(), 0)).collect();
            self.before = Some(before);
        }
        let Rows { partition, prefix, counts } = &partitions[self.partition];
        // `~` comes after whatever an id has.
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
