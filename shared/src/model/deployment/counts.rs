//! The numbers of deployments of a repository.

use std::collections::HashMap;

use serde::Deserialize;

use crate::id::RepositoryId;
use crate::model::{Environment, RepositoryPartition, Status};
use crate::permitted::TenantId;
use crate::table::{Consistency, Index, Table, TableError};

/// The properties of the deployments in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The environment that all of them are for, or `None` for any.
    pub environment: Option<Environment>,
    /// The status that all of them have, or `None` for any.
    pub status: Option<Status>,
}

impl Filter {
    /// Returns the index that lists the deployments with these properties.
    pub(super) const fn index(self) -> Index {
        match (self.environment, self.status) {
            (None, None) => Index::ByCreation,
            (Some(_), None) => Index::ByEnvironment,
            (None, Some(_)) => Index::ByStatus,
            (Some(_), Some(_)) => Index::ByEnvironmentAndStatus,
        }
    }
}

/// The counter's attribute with the highest number assigned.
pub(in crate::model) const LAST_NUMBER: &str = "last_number";

/// The numbers of a repository's deployments by environment and status. The transaction of each transition updates
/// them.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct DeploymentCounts(HashMap<String, serde_json::Value>);

impl DeploymentCounts {
    /// Reads the counts, which are zero for a repository without deployments. Strongly consistent.
    pub async fn load(table: &Table, repository: &RepositoryPartition) -> Result<Self, TableError> {
        Ok(table.get(repository.deployment_counts(), Consistency::Strong).await?.unwrap_or_default())
    }

    /// Returns the number of deployments of several repositories that match the filter, for half a capacity unit each.
    pub async fn sum<'a>(
        table: &Table,
        tenant: &TenantId,
        repositories: impl IntoIterator<Item = &'a RepositoryId>,
        filter: Filter,
    ) -> Result<u64, TableError> {
        let key = |repository| RepositoryPartition::new(tenant, repository).deployment_counts();
        let counts: Vec<Self> = table.batch_get(repositories.into_iter().map(key).collect()).await?;
        Ok(counts.iter().map(|counts| counts.total(filter)).sum())
    }

    /// Returns the highest number assigned, which is also the number of deployments.
    pub fn last_number(&self) -> u64 {
        self.number(LAST_NUMBER)
    }

    /// Returns the number of the deployments that match the filter.
    pub fn total(&self, filter: Filter) -> u64 {
        let environments =
            Environment::BUILT_IN.into_iter().filter(|one| filter.environment.is_none_or(|only| only == *one));
        let statuses = || Status::ALL.into_iter().filter(|one| filter.status.is_none_or(|only| only == *one));
        environments.flat_map(|e| statuses().map(move |s| count_name(e, s))).map(|name| self.number(&name)).sum()
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }
}

pub(in crate::model) fn count_name(environment: Environment, status: Status) -> String {
    format!("{}.{}", environment.as_str(), status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_the_filter() {
        let counts = r#"{"last_number": 6, "preview.queued": 1, "preview.failed": 2, "production.queued": 3}"#;
        let counts: DeploymentCounts = serde_json::from_str(counts).unwrap();
        let total = |environment, status| counts.total(Filter { environment, status });
        assert_eq!(total(None, None), 6);
        assert_eq!(total(Some(Environment::PREVIEW), None), 3);
        assert_eq!(total(None, Some(Status::Queued)), 4);
        assert_eq!(total(Some(Environment::PRODUCTION), Some(Status::Failed)), 0);
    }
}
