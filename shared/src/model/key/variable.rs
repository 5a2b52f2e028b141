//! The keys of stored variables.

use super::{RepositoryPartition, account_partition};
use crate::id::{AccountId, RepositoryId};
use crate::model::Environment;
use crate::table::Key;

/// The sort key of the current set of a scope, behind the scope's prefix.
const CURRENT: &str = "CURRENT";
/// The beginning of the sort keys of a scope's versions, behind the scope's prefix.
const VERSION: &str = "VERSION#";

/// The items of a scope of stored variables: its current set, and each version that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) struct VariableKeys {
    partition: String,
    prefix: String,
}

impl VariableKeys {
    pub(in crate::model) fn of_account(account: &AccountId) -> Self {
        Self { partition: format!("{}#VARIABLES", account_partition(account)), prefix: String::new() }
    }

    pub(in crate::model) fn of_repository(account: &AccountId, repository: &RepositoryId) -> Self {
        let partition = repository_variables(&RepositoryPartition::new(account, repository));
        Self { partition, prefix: String::new() }
    }

    pub(in crate::model) fn of_environment(
        account: &AccountId,
        repository: &RepositoryId,
        environment: Environment,
    ) -> Self {
        let prefix = format!("ENV#{}#", environment.as_str());
        Self { prefix, ..Self::of_repository(account, repository) }
    }

    pub(in crate::model) fn current(&self) -> Key {
        Key::new(&self.partition, format!("{}{CURRENT}", self.prefix))
    }

    pub(in crate::model) fn version(&self, version: u64) -> Key {
        Key::new(&self.partition, format!("{}{VERSION}{version:012}", self.prefix))
    }
}

/// The partition of the stored variables of a repository and of its environments.
pub(in crate::model) fn repository_variables(repository: &RepositoryPartition) -> String {
    format!("{}#VARIABLES", repository.items())
}
