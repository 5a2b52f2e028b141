//! The place at which the log of a build goes on.
//!
//! CloudWatch Logs delivers the lines of a build in batches: each at least once, several at a time, and in any order. One conditional
//! write gives a batch the numbers of its lines, and only then are the lines stored. So no two batches have the same numbers, and a
//! batch that comes again has the numbers that it had.

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::clock::Timestamp;
use crate::model::key;
use crate::table::{Change, Consistency, Table, TableError, Value, Values};

/// The number of batches that are remembered. A batch that comes again after this many others is taken for a new one, because a late batch
/// is more likely than a second delivery so late.
const REMEMBERED: usize = 32;
/// The time after the end of a deployment in which lines of its build are still taken. Lambda repeats a delivery that failed within
/// minutes.
const LATE_LINES_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);

/// The place at which the log of an attempt's build goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLogPlace {
    /// The number of the last line.
    pub last_number: u64,
    /// The size of the lines so far, up to the size that a log keeps from its beginning.
    pub head_bytes: u64,
    /// The parts after the beginning that are kept, oldest first.
    #[serde(default)]
    pub tail: Vec<TailPart>,
    /// The last batches, in the order of their numbers.
    #[serde(default)]
    batches: Vec<LogBatch>,
    #[serde(default)]
    revision: u64,
}

/// Consecutive lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPart {
    /// The number before that of the first line.
    pub after: u64,
    /// The number of the last line.
    pub to: u64,
    /// The size of the lines.
    pub bytes: u64,
}

/// A batch of lines that has its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// CloudWatch's ID of the first line.
    pub first: String,
    /// CloudWatch's ID of the last line.
    pub last: String,
    /// The number before that of the first line.
    pub after: u64,
    /// The size of the log's beginning before the batch.
    pub head_bytes: u64,
}

impl BuildLogPlace {
    /// Returns the place in a log to which no build has written.
    pub fn after(last_number: u64) -> Self {
        Self { last_number, ..Self::default() }
    }

    /// Reads the place of a deployment's attempt. Strongly consistent.
    pub async fn load(table: &Table, deployment: &Deployment) -> Result<Option<Self>, TableError> {
        table.get(deployment.build_log_key(), Consistency::Strong).await
    }

    /// Returns the batch with these first and last lines, if its lines have their numbers already.
    pub fn find(&self, first: &str, last: &str) -> Option<&LogBatch> {
        self.batches.iter().find(|batch| batch.first == first && batch.last == last)
    }

    /// Returns whether a line is in one of the remembered batches, other than `except`.
    pub fn has(&self, line: &str, except: Option<&LogBatch>) -> bool {
        let mut others = self.batches.iter().filter(|batch| Some(*batch) != except);
        let line = order(line);
        others.any(|batch| (order(&batch.first)..=order(&batch.last)).contains(&line))
    }

    /// Returns the place after a batch.
    #[must_use]
    pub fn with(&self, batch: LogBatch, last_number: u64, head_bytes: u64, tail: Vec<TailPart>) -> Self {
        let mut batches = self.batches.clone();
        if batches.len() >= REMEMBERED {
            batches.remove(0);
        }
        batches.push(batch);
        Self { last_number, head_bytes, tail, batches, revision: self.revision + 1 }
    }

    /// Writes the place that follows the one that was read. Returns `false` if another batch was first.
    pub async fn store(&self, table: &Table, deployment: &Deployment) -> Result<bool, TableError> {
        let first = self.revision == 1;
        let change = Change {
            expression: "SET last_number = :number, head_bytes = :head, tail = :tail, batches = :batches, \
                         revision = :revision"
                .to_owned(),
            condition: Some(if first { "attribute_not_exists(pk)" } else { "revision = :was" }),
            names: None,
            values: Values::new()
                .set(":number", self.last_number)
                .set(":head", self.head_bytes)
                .set(":tail", Value::of(&self.tail)?)
                .set(":batches", Value::of(&self.batches)?)
                .set(":revision", self.revision)
                .set_if(":was", (!first).then(|| self.revision - 1)),
        };
        Ok(table.update(deployment.build_log_key(), change).await?.is_ok())
    }
}

impl Deployment {
    /// Returns whether lines of the attempt's build still come. A build's commands may write to its log stream for as long as its credential
    /// is valid.
    pub fn takes_lines(&self, now: Timestamp) -> bool {
        self.finished_at.is_none_or(|end| now.since(end) < LATE_LINES_WITHIN)
    }

    fn build_log_key(&self) -> crate::table::Key {
        key::build_log(&self.account_id, &self.id, self.attempt)
    }
}

/// Returns the place of a line's ID, which is a decimal number, in the order of CloudWatch.
fn order(id: &str) -> (usize, &str) {
    (id.len(), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: &str, last: &str) -> LogBatch {
        LogBatch { first: first.to_owned(), last: last.to_owned(), after: 0, head_bytes: 0 }
    }

    #[test]
    fn a_line_between_the_first_and_the_last_of_a_batch_was_delivered() {
        let place = BuildLogPlace::after(3).with(batch("8", "11"), 7, 0, Vec::new());
        for (line, expected) in [("7", false), ("8", true), ("9", true), ("10", true), ("11", true), ("12", false)] {
            assert_eq!(place.has(line, None), expected, "{line}");
        }
        assert!(!place.has("9", place.find("8", "11")), "the batch itself");
        assert_eq!(place.find("8", "10"), None);
    }

    #[test]
    fn the_last_batches_are_remembered() {
        let ids: Vec<_> = (0..=REMEMBERED).map(|n| n.to_string()).collect();
        let place = ids.iter().fold(BuildLogPlace::after(0), |place, id| place.with(batch(id, id), 0, 0, Vec::new()));
        assert_eq!((place.has("0", None), place.has("1", None), place.batches.len()), (false, true, REMEMBERED));
    }
}
