//! The deployments of a whole account, newest first.
//!
//! An index has one partition for each account and status, whose sort key is the time of creation. A list of several states merges
//! their partitions. The index copies what a list can be filtered by, which never changes. So a deployment costs one write in
//! the index when it is created, and two for each change of its status: 5 in all.

use serde::Deserialize;

use super::{Deployment, Filter};
use crate::id::{AccountId, DeploymentId, RepositoryId, UserId};
use crate::model::{Environment, RepositoryPartition, Status, key};
use crate::permitted::TenantId;
use crate::table::{Index, IndexKey, Partition, Table, TableError};

/// A deployment as an index of lists has it.
#[derive(Debug, Deserialize)]
pub struct ListedDeployment {
    /// The deployment, whose row the list shows.
    pub id: DeploymentId,
    /// The deployment's repository.
    pub repository_id: RepositoryId,
    /// The deployment's environment.
    pub environment: Environment,
    sha: String,
    git_ref: String,
    ref_name: Option<String>,
    created_by: UserId,
    registered_by: Option<UserId>,
    #[serde(default)]
    required_approvals: u8,
}

impl ListedDeployment {
    /// The attributes of a listed deployment, as a projection expression.
    pub const ATTRIBUTES: &str =
        "id, repository_id, environment, sha, git_ref, ref_name, created_by, registered_by, required_approvals";

    /// Returns the partitions that list the account's deployments in these states.
    pub fn of_account(tenant: &TenantId, statuses: &[Status]) -> Vec<Partition> {
        let list = |status: &Status| Partition::of_index(Index::ByAccountAndStatus, key::deployments(tenant, *status));
        statuses.iter().map(list).collect()
    }

    /// Returns the partitions that list a repository's deployments in these states.
    pub fn of_repository(
        repository: &RepositoryPartition,
        environment: Option<Environment>,
        statuses: &[Status],
    ) -> Vec<Partition> {
        let list = |status| Deployment::listed(repository, Filter { environment, status });
        match statuses.len() == Status::ALL.len() {
            true => vec![list(None)],
            false => statuses.iter().map(|status| list(Some(*status))).collect(),
        }
    }

    /// Returns whether the deployment has this commit.
    pub(super) fn is_of_commit(&self, sha: &str) -> bool {
        self.sha == sha
    }

    /// Returns whether the deployment was requested for this ref, or for a short form of this full name.
    pub(super) fn is_of_ref(&self, name: &str) -> bool {
        self.git_ref == name || self.ref_name.as_deref() == Some(name)
    }

    /// Returns whether this user, or the application that this id stands for, created the deployment.
    pub(super) fn is_by(&self, user: &UserId) -> bool {
        self.created_by == *user
    }

    /// Returns whether the deployment needs approvals, which this person may give.
    pub(super) fn is_approvable_by(&self, user: &UserId) -> bool {
        self.required_approvals > 0 && self.created_by != *user && self.registered_by.as_ref() != Some(user)
    }
}

impl Deployment {
    /// Returns whether the deployment waits for an approval that this person may give and has not given.
    pub(super) fn awaits(&self, user: &UserId) -> bool {
        let may_approve = !self.is_created_by(user) && !self.approved_by.contains(user);
        self.status == Status::Queued && !self.is_approved() && may_approve
    }

    /// Returns those of the deployments that exist, in no order.
    pub async fn by_ids<'a>(
        table: &Table,
        tenant: &TenantId,
        ids: impl IntoIterator<Item = &'a DeploymentId>,
    ) -> Result<Vec<Self>, TableError> {
        table.batch_get(ids.into_iter().map(|id| key::deployment(tenant, id)).collect()).await
    }

    pub(super) fn account_index_key(&self) -> IndexKey {
        let account: &AccountId = &self.account_id;
        IndexKey {
            index: Index::ByAccountAndStatus,
            partition: key::deployments(account, self.status),
            sort: format!("{:015}#{}", self.created_at.as_millis(), self.id),
        }
    }
}
