//! The numbers of one sweep, and its log lines.

use serde::Serialize;
use shared::model::{Finding, Permit};
use shared::table::{Key, Numbers};
use shared::telemetry::{Level, Metrics};

/// The numbers of one sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages sent: again for deployments and deliveries, and for commit statuses and webhooks.
    pub sent: u32,
    /// Deployments and deliveries ended, because their deadline had passed or CodeBuild reported the end of their build.
    pub ended: u32,
    /// Deployments, commit statuses, deliveries and environments left as they are: a build still runs, somebody else came first,
    /// or something was deployed to the environment.
    pub unchanged: u32,
    /// Deployments, deliveries and pages that failed. They are due again.
    pub failed: u32,
    /// Environments of patterns removed, because nothing was deployed to them.
    pub removed: u32,
    /// Deleted repositories of which nothing is left.
    pub deleted: u32,
    /// Wrong counters that were corrected, and permits that nobody held.
    pub repaired: u32,
    /// Whether everything due was handled. The next sweep starts with the rest.
    pub complete: bool,
}

/// The log line of a sweep.
#[derive(Serialize)]
pub(crate) struct SweepLine<'a> {
    #[serde(flatten)]
    pub metrics: Metrics<'a>,
    pub(crate) level: Level,
    #[serde(flatten)]
    pub tally: Tally,
}

/// The log line of a counter that does not match its rows.
#[derive(Serialize)]
pub(crate) struct CounterLine {
    level: Level,
    message: &'static str,
    counter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<Numbers>,
}

/// The log line of a permit that nobody held.
#[derive(Serialize)]
pub(crate) struct PermitLine {
    level: Level,
    message: &'static str,
    permit: String,
}

impl PermitLine {
    pub(crate) fn new(permit: &Permit) -> Self {
        Self { level: Level::Warn, message: "a permit without a run was given back", permit: permit.to_string() }
    }
}

impl Tally {
    /// Adds the numbers of one shard. The sum is complete only if every shard is.
    pub(crate) fn add(&mut self, shard: Self) {
        self.sent += shard.sent;
        self.ended += shard.ended;
        self.unchanged += shard.unchanged;
        self.removed += shard.removed;
        self.failed += shard.failed;
        self.repaired += shard.repaired;
        self.complete &= shard.complete;
    }
}

impl CounterLine {
    pub(crate) fn new(counter: &Key, finding: Finding) -> Self {
        let (message, was, is) = match finding {
            Finding::Repaired { was, is } => ("a counter did not match its rows and was repaired", Some(was), Some(is)),
            Finding::RowsMissing => {
                ("a counter was not compared: some of its rows are missing, or not in their index yet", None, None)
            }
        };
        Self { level: Level::Warn, message, counter: counter.to_string(), was, is }
    }
}
