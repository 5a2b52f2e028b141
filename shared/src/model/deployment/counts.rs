//! The numbers of deployments of a repository.

use std::collections::HashMap;

use futures_util::future::try_join;
use serde::Deserialize;

use crate::error::{Error, ErrorCode};
use crate::id::RepositoryId;
use crate::model::{Environment, MAX_ENVIRONMENTS, RepositoryPartition, Status};
use crate::permitted::TenantId;
use crate::table::{Change, Consistency, Index, Table, TableError, Values, Write};

/// The properties of the deployments in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The environment that all of them are for, or `None` for any.
    pub environment: Option<Environment>,
    /// The status that all of them have, or `None` for any.
    pub status: Option<Status>,
}

impl Filter {
    fn deletable_environment(self) -> Option<Environment> {
        self.environment.filter(|environment| !environment.is_built_in())
    }

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
/// The counter's attribute with the number of environments and patterns that are not built in.
pub(in crate::model) const ENVIRONMENTS: &str = "environments";
/// The end of the name of an environment's [`mark`].
const MARK: &str = ".queued";
/// The maximum number of environments that an error message names.
const NAMED: usize = 20;

/// The numbers of a repository's deployments by environment and status. The transaction of each transition updates
/// them.
///
/// They also tell which environments exist. The transactions that create and delete an environment, and those that create a
/// deployment, all change this item. So its conditions keep a deployment from an environment that is deleted at the same time.
///
/// The item keeps the numbers of existing environments only, and those of all others together. So its size is bounded by the
/// number of environments that a repository may have, however many it has had.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct DeploymentCounts(HashMap<String, serde_json::Value>);

impl DeploymentCounts {
    /// Reads the counts, which are zero for a repository without deployments. Strongly consistent.
    pub async fn load(table: &Table, repository: &RepositoryPartition) -> Result<Self, TableError> {
        Ok(table.get(repository.deployment_counts(), Consistency::Strong).await?.unwrap_or_default())
    }

    /// Returns the number of a repository's deployments that match the filter, also if their environment was deleted. Strongly
    /// consistent.
    pub async fn matching(table: &Table, repository: &RepositoryPartition, filter: Filter) -> Result<u64, TableError> {
        let counts = Self::load(table, repository);
        let Some(environment) = filter.deletable_environment() else { return Ok(counts.await?.total(filter)) };
        let (counts, deleted) = try_join(counts, Self::of_deleted(table, repository, environment)).await?;
        Ok(counts.total(filter) + deleted.total(filter))
    }

    async fn of_deleted(
        table: &Table,
        repository: &RepositoryPartition,
        environment: Environment,
    ) -> Result<Self, TableError> {
        Ok(table.get(repository.deleted_counts(environment), Consistency::Strong).await?.unwrap_or_default())
    }

    /// Returns the number of deployments of several repositories that match the filter, for half a capacity unit each, or a
    /// whole one if their environment can have been deleted.
    pub async fn sum<'a>(
        table: &Table,
        tenant: &TenantId,
        repositories: impl IntoIterator<Item = &'a RepositoryId>,
        filter: Filter,
    ) -> Result<u64, TableError> {
        let keys = |repository| {
            let partition = RepositoryPartition::new(tenant, repository);
            let deleted = filter.deletable_environment().map(|environment| partition.deleted_counts(environment));
            [partition.deployment_counts()].into_iter().chain(deleted)
        };
        let counts: Vec<Self> = table.batch_get(repositories.into_iter().flat_map(keys).collect()).await?;
        Ok(counts.iter().map(|counts| counts.total(filter)).sum())
    }

    /// Returns the number of deployments to an environment that have not ended.
    pub(in crate::model) fn unfinished(&self, environment: Environment) -> u64 {
        let total = |status| self.total(Filter { environment: Some(environment), status: Some(status) });
        total(Status::Queued) + total(Status::InProgress)
    }

    /// Returns whether the repository may have another environment.
    pub(in crate::model) fn has_room(&self) -> bool {
        self.number(ENVIRONMENTS) < MAX_ENVIRONMENTS
    }

    /// Returns the write that takes the mark and the numbers of an environment from the counter. It fails if a deployment was
    /// created meanwhile, or one to the environment has not ended.
    pub(in crate::model) fn without(&self, repository: &RepositoryPartition, environment: Environment) -> Write {
        let (mut removed, mut added) =
            ("#queued, #in_progress".to_owned(), format!("{ENVIRONMENTS} :minus, changes :one"));
        let mut names = HashMap::from([
            ("#queued".to_owned(), mark(environment)),
            ("#in_progress".to_owned(), count_name(environment, Status::InProgress)),
        ]);
        let mut values =
            Values::new().set(":none", 0).set(":one", 1).set(":minus", -1).set(":last", self.last_number());
        for (status, number) in self.ended(environment) {
            let of = status.as_str();
            removed.push_str(&format!(", #{of}"));
            added.push_str(&format!(", #deleted_{of} :{of}"));
            names.insert(format!("#{of}"), count_name(environment, status));
            names.insert(format!("#deleted_{of}"), deleted_count_name(status));
            values = values.set(format!(":{of}"), number);
        }
        let change = Change {
            expression: format!("REMOVE {removed} ADD {added}"),
            condition: Some(
                "#queued = :none AND (attribute_not_exists(#in_progress) OR #in_progress = :none) AND \
                 (attribute_not_exists(last_number) OR last_number = :last)",
            ),
            names: Some(names),
            values,
        };
        Write::Update { key: repository.deployment_counts(), change }
    }

    /// Returns the write that keeps the numbers of an environment that is deleted, if it has any.
    pub(in crate::model) fn kept_of(
        &self,
        repository: &RepositoryPartition,
        environment: Environment,
    ) -> Option<Write> {
        let (mut added, mut names, mut values) = (Vec::new(), HashMap::new(), Values::new());
        for (status, number) in self.ended(environment) {
            let of = status.as_str();
            added.push(format!("#{of} :{of}"));
            names.insert(format!("#{of}"), count_name(environment, status));
            values = values.set(format!(":{of}"), number);
        }
        let expression = format!("ADD {}", added.join(", "));
        let change = Change { expression, condition: None, names: Some(names), values };
        (!added.is_empty()).then(|| Write::Update { key: repository.deleted_counts(environment), change })
    }

    /// Returns the numbers of deployments to an environment that have ended.
    fn ended(&self, environment: Environment) -> impl Iterator<Item = (Status, u64)> {
        let number = move |status| (status, self.number(&count_name(environment, status)));
        let ended = Status::ALL.into_iter().filter(|status| status.is_final()).map(number);
        ended.filter(|(_, number)| *number > 0)
    }

    /// Returns whether the repository has the environment or the pattern.
    pub fn has(&self, environment: Environment) -> bool {
        environment.is_built_in() || self.0.contains_key(&mark(environment))
    }

    /// Returns the repository's environments and patterns in their order.
    pub fn environments(&self) -> Vec<Environment> {
        let marked = self.0.keys().filter_map(|name| name.strip_suffix(MARK)?.parse().ok());
        let mut all: Vec<_> = Environment::BUILT_IN.into_iter().chain(marked).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the error for a name in a body that the repository has no environment with.
    pub fn invalid_environment(&self, field: &str, name: Environment) -> Error {
        Error::invalid(
            field,
            format!("must name an environment of the repository; '{name}' is none of {}", self.named()),
        )
    }

    /// Returns the error for a name in a path that the repository has no environment with.
    pub fn missing_environment(&self, name: Environment) -> Error {
        let message = format!("The repository has no environment '{name}'; it has {}", self.named());
        Error::new(ErrorCode::NotFound, message)
    }

    /// Names the first environments for an error message.
    fn named(&self) -> String {
        let all = self.environments();
        let names: Vec<_> = all.iter().take(NAMED).map(|name| format!("'{name}'")).collect();
        match all.len().checked_sub(NAMED) {
            Some(more @ 1..) => format!("{} and {more} more", names.join(", ")),
            _ => names.join(", "),
        }
    }

    /// Returns the highest number assigned, which is also the number of deployments.
    pub fn last_number(&self) -> u64 {
        self.number(LAST_NUMBER)
    }

    /// Returns the number of the deployments that match the filter.
    pub fn total(&self, filter: Filter) -> u64 {
        let matches = |name: &str| {
            name.rsplit_once('.').is_some_and(|(environment, status)| {
                filter.environment.is_none_or(|only| only.as_str() == environment)
                    && filter.status.is_none_or(|only| only.as_str() == status)
            })
        };
        self.0.keys().filter(|name| matches(name)).map(|name| self.number(name)).sum()
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }
}

pub(in crate::model) fn count_name(environment: Environment, status: Status) -> String {
    format!("{environment}.{}", status.as_str())
}

/// Returns the attribute that the counter has as long as the environment or the pattern exists: the number of queued deployments.
pub(in crate::model) fn mark(environment: Environment) -> String {
    count_name(environment, Status::Queued)
}

/// Returns the attribute that counts the deployments to environments that were deleted. No environment has this name.
pub(in crate::model) fn deleted_count_name(status: Status) -> String {
    format!("#deleted.{}", status.as_str())
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

    #[test]
    fn the_counter_tells_which_environments_exist() {
        let counts = r##"{"last_number": 6, "environments": 3, "preview.queued": 0, "a.b.queued": 1, "a.b.failed": 2,
            "review-*.queued": 0, "b.queued": 0, "#deleted.failed": 3}"##;
        let counts: DeploymentCounts = serde_json::from_str(counts).unwrap();
        let names: Vec<_> = counts.environments().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["preview", "staging", "production", "a.b", "b", "review-*"]);
        let has = |name: &str| counts.has(name.parse().unwrap());
        assert!(has("a.b") && has("review-*") && has("staging") && !has("a") && !has("review-1"));
        let total = |environment: Option<&str>, status| {
            counts.total(Filter { environment: environment.map(|name| name.parse().unwrap()), status })
        };
        assert_eq!((total(None, None), total(None, Some(Status::Failed))), (6, 5));
        assert_eq!((total(Some("a.b"), None), total(Some("b"), None), total(Some("a"), None)), (3, 0, 0));
        assert_eq!(
            counts.missing_environment("prod".parse().unwrap()).message(),
            "The repository has no environment 'prod'; it has 'preview', 'staging', 'production', 'a.b', 'b', 'review-*'"
        );
    }
}
