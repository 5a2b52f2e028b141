//! The commits that have succeeded in an environment, as other environments require.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::settings::Requirements;
use super::{Deployment, Environment, Filter, Status};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::DeploymentId;
use crate::model::{Repository, RepositoryPartition};
use crate::table::{Consistency, Table, TableError, Values, Write};

/// The time for which a success counts.
const COUNTS_FOR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The last success of a commit in an environment.
#[derive(Serialize, Deserialize)]
struct Success {
    deployment_id: DeploymentId,
    /// In seconds, as DynamoDB's expiry takes it.
    expires_at: i64,
}

impl Deployment {
    /// Returns the write that keeps the success of the deployment's commit.
    pub(super) fn record_success(&self, now: Timestamp) -> Result<Write, TableError> {
        let row = Success { deployment_id: self.id.clone(), expires_at: now.plus(COUNTS_FOR).as_seconds() };
        let repository = RepositoryPartition::new(&self.account_id, &self.repository_id);
        Write::put(repository.succeeded(self.environment, &self.sha), &row)
    }

    /// Returns the newest deployment that succeeded, among those below a number if one is given.
    pub async fn last_succeeded_before(
        table: &Table,
        repository: &Repository,
        environment: Environment,
        before: Option<u64>,
    ) -> Result<Option<Self>, TableError> {
        let filter = Filter { environment: Some(environment), status: Some(Status::Succeeded) };
        Ok(Self::newest(table, repository, filter, before, 1).await?.pop())
    }
}

impl RepositoryPartition {
    /// Returns whether a commit has succeeded in an environment within the time for which a success counts. Strongly consistent.
    pub(super) async fn has_succeeded(
        &self,
        table: &Table,
        environment: Environment,
        sha: &str,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let found: Option<Success> = table.get(self.succeeded(environment, sha), Consistency::Strong).await?;
        Ok(found.is_some_and(|success| success.expires_at > now.as_seconds()))
    }
}

impl Requirements {
    /// Returns the environments in which the commit has not succeeded. Strongly consistent.
    pub(super) async fn unmet(
        &self,
        table: &Table,
        repository: &RepositoryPartition,
        sha: &str,
        now: Timestamp,
    ) -> Result<Vec<Environment>, TableError> {
        let find = |environment| async move {
            let is_met = repository.has_succeeded(table, environment, sha, now).await?;
            Ok::<_, TableError>((!is_met).then_some(environment))
        };
        Ok(try_join_all(self.iter().map(find)).await?.into_iter().flatten().collect())
    }

    /// Returns the checks that the commit has succeeded in each environment, for the transaction of a creation.
    pub(super) fn checks(
        &self,
        repository: &RepositoryPartition,
        sha: &str,
        now: Timestamp,
    ) -> impl Iterator<Item = (Environment, Write)> {
        self.iter().map(move |environment| {
            let check = Write::Check {
                key: repository.succeeded(environment, sha),
                condition: "expires_at > :now",
                names: None,
                values: Some(Values::new().set(":now", now.as_seconds())),
            };
            (environment, check)
        })
    }
}

/// Returns the refusal of a commit that has not succeeded in an environment.
pub fn not_succeeded_in(environment: Environment) -> Error {
    let name = environment.as_str();
    let message = format!("The commit has not succeeded in {name} within a year; deploy it there first");
    Error::new(ErrorCode::RequirementNotMet, message)
}
