//! The commit of a ref that a push deployed last.
//!
//! Deliveries come late, twice and in any order. Each deploys the commit that the git host has now. The row of the ref is read
//! before the git host, and the creation of the deployment checks that it is unchanged. So of two deliveries that see the same
//! commit one deploys it, and a delivery that saw an older commit than another can't deploy it after that one.

use serde::{Deserialize, Serialize};

use super::Environment;
use crate::id::{DeliveryId, DeploymentId};
use crate::model::{PushContext, Repository, RepositoryPartition};
use crate::table::{Consistency, Key, Table, TableError, Transaction, Write, read_item};

/// The commit of a ref that a push deployed last to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedCommit {
    /// The commit.
    pub sha: String,
    /// The deployment of the commit.
    pub deployment_id: DeploymentId,
    /// The delivery that created the deployment.
    pub delivery_id: DeliveryId,
    /// The number of deployments of the ref by pushes.
    version: u64,
}

/// The right of a delivery to deploy a commit of a ref, as long as no other delivery deploys the ref.
#[derive(Clone, Debug)]
pub struct PushClaim {
    key: Key,
    before: u64,
    sha: String,
    delivery_id: DeliveryId,
    context: PushContext,
}

impl PushedCommit {
    /// Reads the commit of a ref. Strongly consistent.
    pub async fn load(
        table: &Table,
        repository: &Repository,
        environment: Environment,
        ref_name: &str,
    ) -> Result<Option<Self>, TableError> {
        table.get(repository.partition().pushed(ref_name, environment), Consistency::Strong).await
    }

    /// Forgets a ref that was deleted, so that its next push deploys whatever its commit is.
    pub async fn forget(table: &Table, repository: &Repository, ref_name: &str) -> Result<(), TableError> {
        let (from, to) = RepositoryPartition::pushed_anywhere(ref_name);
        let (rows, _) = table.range(repository.partition().items(), (&from, &to), None).await?;
        for row in rows {
            let transaction: Transaction<'_, ()> = Transaction::new();
            transaction.writes([Write::Delete { key: read_item(row)? }]).commit(table).await.map(drop)?;
        }
        Ok(())
    }
}

impl PushClaim {
    /// Claims a commit of a ref whose row is `before`.
    pub fn new(
        repository: &RepositoryPartition,
        environment: Environment,
        ref_name: &str,
        before: Option<&PushedCommit>,
        sha: &str,
        delivery_id: &DeliveryId,
        context: &PushContext,
    ) -> Self {
        Self {
            key: repository.pushed(ref_name, environment),
            before: before.map_or(0, |before| before.version),
            sha: sha.to_owned(),
            delivery_id: delivery_id.clone(),
            context: context.clone(),
        }
    }

    /// Returns the circumstances of the push.
    pub fn context(&self) -> &PushContext {
        &self.context
    }

    pub(super) fn complete(&self, deployment: &DeploymentId) -> Result<Write, TableError> {
        let row = PushedCommit {
            sha: self.sha.clone(),
            deployment_id: deployment.clone(),
            delivery_id: self.delivery_id.clone(),
            version: self.before + 1,
        };
        match self.before {
            0 => Write::create(self.key.clone(), &row, Vec::new()),
            before => Write::replace(self.key.clone(), &row, Vec::new(), "version = :version", before),
        }
    }
}
