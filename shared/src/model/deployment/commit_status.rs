//! The statuses of commits that git hosts show beside them. A deployment has a part in one if its repository has a connection.
//!
//! A commit has one status for each environment, however many deployments of it there are. Its row is an outbox: the
//! transaction that changes a deployment's status also owes the host a report. The report is that of the deployment's state at
//! the time of the report, so states that pass quickly may be left out, and none is told after a later one. A lease on the
//! row lets only one function tell a status at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AccountId, DeploymentId, RepositoryId};
use crate::model::due::{DUE, DueEntry, due_sort_attribute};
use crate::model::{Deployment, Due, Environment, RepositoryPartition, Status, key};
use crate::table::{Change, IndexKey, Key, Table, TableError, Values, Write, read_item};

use super::due::shard_of;

/// The time after which the sweep announces a report that no function has made. A function that announced it has it made
/// within a second or two.
pub const REPORTED_WITHIN: Duration = Duration::from_secs(30);
/// The time until the sweep announces a report again. Until then, the message may wait in the queue.
const ANNOUNCED_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// The time that a report may take. The function that makes it gives up before.
pub const REPORT_LEASE: Duration = Duration::from_secs(30);
/// The time that a row is kept after the last change of its deployments. It outlasts every retry of a report.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The maximum length of the reason why a host was not told, in bytes. Each copy of the deployment's row contains it.
const MAX_ERROR_BYTES: usize = 400;

/// The status of a commit in an environment. A message of the queue of statuses names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommitStatus {
    /// The account of the repository.
    pub account_id: AccountId,
    /// The repository that has the commit.
    pub repository_id: RepositoryId,
    /// The environment to which the commit is deployed.
    pub environment: Environment,
    /// The commit's SHA.
    pub sha: String,
}

/// An entry in the index of owed reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReport {
    /// The time at which the sweep announces the report.
    pub at: Timestamp,
    /// The status that the host has not been told.
    pub status: CommitStatus,
}

/// A report that its holder may make until the lease ends.
#[derive(Clone, Debug)]
pub struct OwedReport {
    /// The status to tell.
    pub status: CommitStatus,
    /// The deployment whose state is the status.
    pub deployment_id: DeploymentId,
    /// The time of the change that the host has not been told.
    pub owed_since: Timestamp,
    /// The number of reports of this change that failed.
    pub attempts: u32,
    /// The time until which nobody else makes the report.
    pub lease_until: Timestamp,
    version: u64,
}

/// The result of a claim of a report.
#[derive(Clone, Debug)]
pub enum ReportClaim {
    /// The report may be made.
    Claimed(OwedReport),
    /// Another function makes it. It reports the newest state before it ends.
    Held,
    /// The report was put off to this time, because the host did not take the last one.
    Early(Timestamp),
    /// The host knows the status.
    Paid,
}

/// The row of a commit's status. Without a report that is owed, it has no `due_at`.
#[derive(Deserialize)]
struct Row {
    deployment_id: DeploymentId,
    version: u64,
    owed_since: Option<Timestamp>,
    due_at: Option<Timestamp>,
    #[serde(default)]
    attempts: u32,
    not_before: Option<Timestamp>,
}

impl CommitStatus {
    /// Returns the status that a deployment has a part in.
    pub fn of(deployment: &Deployment) -> Self {
        Self {
            account_id: deployment.account_id.clone(),
            repository_id: deployment.repository_id.clone(),
            environment: deployment.environment,
            sha: deployment.sha.clone(),
        }
    }

    fn key(&self) -> Key {
        RepositoryPartition::new(&self.account_id, &self.repository_id).commit_status(self.environment, &self.sha)
    }

    fn index_key(&self, at: Timestamp) -> IndexKey {
        let Self { account_id, repository_id, environment, sha } = self;
        let entry = format!("{account_id}#{repository_id}#{}#{sha}", environment.as_str());
        let shard = shard_of(&entry);
        IndexKey { index: DUE, partition: key::due_reports(shard), sort: format!("{:015}#{entry}", at.as_millis()) }
    }

    /// Claims the report of the status.
    pub async fn claim(&self, table: &Table, now: Timestamp) -> Result<ReportClaim, TableError> {
        let until = now.plus(REPORT_LEASE);
        let change = Change {
            expression: "SET lease_until = :until".to_owned(),
            condition: Some(
                "attribute_exists(due_at) AND (attribute_not_exists(lease_until) OR lease_until <= :now) AND \
                 (attribute_not_exists(not_before) OR not_before <= :now)",
            ),
            values: Values::new().set(":until", until).set(":now", now),
            ..Change::default()
        };
        let (item, claimed) = match table.update(self.key(), change).await? {
            Ok(item) => (Some(item), true),
            Err(failed) => (failed.current, false),
        };
        let Some(row) = item.map(read_item::<Row>).transpose()? else { return Ok(ReportClaim::Paid) };
        let (Some(owed_since), Some(due_at)) = (row.owed_since, row.due_at) else { return Ok(ReportClaim::Paid) };
        if claimed {
            return Ok(ReportClaim::Claimed(OwedReport {
                status: self.clone(),
                deployment_id: row.deployment_id,
                owed_since,
                attempts: row.attempts,
                lease_until: until,
                version: row.version,
            }));
        }
        match row.not_before.filter(|at| *at > now) {
            Some(at) => {
                // A change of the deployment has made the report due before the host's time.
                if due_at < at {
                    self.move_to(table, due_at, at).await?;
                }
                Ok(ReportClaim::Early(at))
            }
            None => Ok(ReportClaim::Held),
        }
    }

    /// Moves the time at which the sweep announces the report. Returns `false` if it has changed already.
    async fn move_to(&self, table: &Table, from: Timestamp, to: Timestamp) -> Result<bool, TableError> {
        let change = Change {
            expression: format!("SET due_at = :to, {} = :position", due_sort_attribute()),
            condition: Some("due_at = :from"),
            values: Values::new().set(":from", from).set(":to", to).set(":position", self.index_key(to).sort),
            ..Change::default()
        };
        Ok(table.update(self.key(), change).await?.is_ok())
    }
}

impl DueReport {
    /// Puts the next announcement off. Returns `false` if another sweep has done so, or the report is made or owed anew.
    pub async fn put_off(&self, table: &Table, now: Timestamp) -> Result<bool, TableError> {
        self.status.move_to(table, self.at, now.plus(ANNOUNCED_AGAIN_AFTER)).await
    }
}

impl DueEntry for DueReport {
    const SHARDS: u8 = Due::SHARDS;

    fn at(&self) -> Timestamp {
        self.at
    }

    fn partition(shard: u8) -> String {
        key::due_reports(shard)
    }

    fn position(&self) -> String {
        self.status.index_key(self.at).sort
    }

    fn parse(position: &str) -> Option<Self> {
        let mut parts = position.split('#');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let (account_id, repository_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let environment = parts.next()?.parse().ok()?;
        let sha = parts.next()?.to_owned();
        Some(Self { at, status: CommitStatus { account_id, repository_id, environment, sha } })
    }
}

impl OwedReport {
    /// Records that nothing is owed. Returns `false` if the status has changed since the claim. The lease is over in both cases.
    pub async fn pay(&self, table: &Table) -> Result<bool, TableError> {
        let (partition, sort) = DUE.key_attributes();
        let change = Change {
            expression: format!("REMOVE owed_since, due_at, attempts, lease_until, not_before, {partition}, {sort}"),
            condition: Some("version = :version AND lease_until = :lease"),
            values: Values::new().set(":version", self.version).set(":lease", self.lease_until),
            ..Change::default()
        };
        if table.update(self.status.key(), change).await?.is_ok() {
            return Ok(true);
        }
        self.give_back(table, "REMOVE lease_until, not_before".to_owned(), Values::new()).await?;
        Ok(false)
    }

    /// Puts the report off to a time, with its number of failures.
    pub async fn defer(&self, table: &Table, until: Timestamp) -> Result<(), TableError> {
        let expression = format!(
            "SET attempts = :attempts, not_before = :until, due_at = :until, {} = :position REMOVE lease_until",
            due_sort_attribute()
        );
        let values = Values::new()
            .set(":attempts", self.attempts)
            .set(":until", until)
            .set(":position", self.status.index_key(until).sort);
        self.give_back(table, expression, values).await
    }

    /// Ends the lease, unless another function has it by now.
    async fn give_back(&self, table: &Table, expression: String, values: Values) -> Result<(), TableError> {
        let change = Change {
            expression,
            condition: Some("lease_until = :lease"),
            values: values.set(":lease", self.lease_until),
            ..Change::default()
        };
        table.update(self.status.key(), change).await.map(drop)
    }
}

impl Deployment {
    /// Returns whether the git host is told the deployment's status.
    pub fn has_commit_status(&self) -> bool {
        self.connection_id.is_some()
    }

    /// Returns the write that owes the host a report of the deployment's status, if the host is told it. `before` is the
    /// status before the change.
    ///
    /// The commit's status becomes that of the deployment, with one exception: a deployment that ends in the queue may have been
    /// replaced by a newer one of the commit, whose status stays.
    pub(super) fn owe_report(&self, before: Option<Status>, now: Timestamp) -> Option<Write> {
        if !self.has_commit_status() || before == Some(self.status) {
            return None;
        }
        let status = CommitStatus::of(self);
        let due_at = now.plus(REPORTED_WITHIN);
        let IndexKey { index, partition, sort } = status.index_key(due_at);
        let (partition_key, sort_key) = index.key_attributes();
        let ended_in_queue = before == Some(Status::Queued) && self.status.is_final();
        let deployment = if ended_in_queue { "if_not_exists(deployment_id, :id)" } else { ":id" };
        let change = Change {
            expression: format!(
                "SET deployment_id = {deployment}, owed_since = :now, due_at = :due, attempts = :none, \
                 expires_at = :expiry, {partition_key} = :partition, {sort_key} = :position ADD version :one"
            ),
            values: Values::new()
                .set(":id", self.id.as_str())
                .set(":now", now)
                .set(":due", due_at)
                .set(":none", 0)
                .set(":one", 1)
                .set(":expiry", now.plus(KEPT).as_seconds())
                .set(":partition", partition)
                .set(":position", sort),
            ..Change::default()
        };
        Some(Write::Update { key: status.key(), change })
    }

    /// Sets or removes the reason why the host was not told the deployment's status. It is cut to 400 bytes.
    ///
    /// It is no part of the deployment's state. A transition at the same time may write the earlier reason again, and owes the
    /// next report, which sets it anew.
    pub async fn set_commit_status_error(&self, table: &Table, error: Option<&str>) -> Result<(), TableError> {
        let cut = error.map(|error| &error[..error.floor_char_boundary(MAX_ERROR_BYTES)]);
        if self.commit_status_error.as_deref() == cut {
            return Ok(());
        }
        let expression = if cut.is_some() { "SET commit_status_error = :error" } else { "REMOVE commit_status_error" };
        let change = Change {
            expression: expression.to_owned(),
            condition: Some("attribute_exists(pk)"),
            names: None,
            values: Values::new().set_if(":error", cut),
        };
        table.update(self.key(), change).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_the_index_is_ordered_by_time_and_read_again() {
        let due = |at| DueReport {
            at: Timestamp::from_millis(at),
            status: CommitStatus {
                account_id: "acct_b5jnd3s7uyg2kq4v".parse().unwrap(),
                repository_id: "repo_b5jnd3s7uyg2kq4v".parse().unwrap(),
                environment: Environment::STAGING,
                sha: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
            },
        };
        let position = |at| due(at).status.index_key(Timestamp::from_millis(at)).sort;
        assert!(position(999) < position(1_767_268_800_000));
        assert_eq!(DueReport::parse(&position(1_767_268_800_000)), Some(due(1_767_268_800_000)));
        for malformed in ["", "1#acct_b5jnd3s7uyg2kq4v#repo_b5jnd3s7uyg2kq4v#NoWhere#3f", "1#acct_b5jnd3s7uyg2kq4v"] {
            assert_eq!(DueReport::parse(malformed), None, "{malformed}");
        }
    }
}
