//! The versions of stored variables that a deployment has.

use std::collections::BTreeMap;

use futures_util::future::{try_join_all, try_join3};
use serde::{Deserialize, Serialize};

use super::{VariableLevel, VariableScope, VariableSet};
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, RepositoryId};
use crate::model::{Deployment, Environment, Failure, FailureCode};
use crate::table::{Table, TableError};

/// The maximum number of variables of a build, its deployment's own ones among them.
pub const MAX_BUILD_VARIABLES: usize = 300;
/// The maximum size of the names and values of a build's variables, in bytes. A secret of Secrets Manager has at most as many.
pub const MAX_BUILD_BYTES: usize = 64 * 1024;

/// The current sets of the scopes whose variables a deployment to an environment gets, in the order of precedence.
#[derive(Clone, Debug)]
pub struct CurrentVariables([(VariableLevel, VariableSet); 3]);

/// A version of a set of variables that a deployment has, fixed at its creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenSet {
    /// The place of the set.
    pub level: VariableLevel,
    /// The version.
    pub version: u64,
    /// The digest of the names and values.
    digest: String,
    /// The names, each with whether its value is secret.
    pub names: BTreeMap<String, bool>,
}

impl CurrentVariables {
    /// Reads the sets. Strongly consistent.
    pub async fn load(
        table: &Table,
        account: &AccountId,
        repository: &RepositoryId,
        environment: Environment,
    ) -> Result<Self, TableError> {
        let [first, second, third] = VariableScope::of_deployments(account, repository, environment);
        let load =
            async |scope: VariableScope| Ok::<_, TableError>((scope.level(), VariableSet::load(table, &scope).await?));
        let (first, second, third) = try_join3(load(first), load(second), load(third)).await?;
        Ok(Self([first, second, third]))
    }

    /// Returns the versions of the sets, for a deployment whose own variables have these names and these sizes of values.
    ///
    /// # Errors
    /// Fails with `limit_reached` if the build would get too many variables or too large ones.
    pub fn freeze<'a>(&'a self, own: impl IntoIterator<Item = (&'a str, usize)>) -> Result<Vec<FrozenSet>> {
        let stored = self.0.iter().flat_map(|(_, set)| &set.variables);
        let merged: BTreeMap<&str, usize> =
            stored.map(|(name, variable)| (name.as_str(), variable.bytes)).chain(own).collect();
        let bytes: usize = merged.iter().map(|(name, bytes)| name.len() + bytes).sum();
        if merged.len() > MAX_BUILD_VARIABLES || bytes > MAX_BUILD_BYTES {
            return Err(Error::new(
                ErrorCode::LimitReached,
                format!(
                    "The build would get {} variables with {bytes} bytes of names and values, from the account, the repository, \
                     the environment and the deployment together; it can get at most {MAX_BUILD_VARIABLES} with {} KiB",
                    merged.len(),
                    MAX_BUILD_BYTES / 1024
                ),
            ));
        }
        let with_variables = self.0.iter().filter(|(_, set)| !set.variables.is_empty());
        Ok(with_variables.map(|(level, set)| FrozenSet::new(*level, set)).collect())
    }
}

impl FrozenSet {
    fn new(level: VariableLevel, set: &VariableSet) -> Self {
        let names = set.variables.iter().map(|(name, variable)| (name.clone(), variable.value.is_secret())).collect();
        Self { level, version: set.version, digest: set.digest(), names }
    }

    /// Reads the variables of each set of a deployment, each with its scope. Fails for a set that does not exist any more, because
    /// its scope was deleted since.
    pub async fn load_all(
        sets: &[Self],
        table: &Table,
        deployment: &Deployment,
    ) -> Result<Result<Vec<(VariableScope, VariableSet)>, Failure>, TableError> {
        let load = async |frozen: &Self| {
            let Some(scope) = VariableScope::of_deployment(deployment, frozen.level) else { return Ok(None) };
            let found = VariableSet::load_version(table, &scope, frozen.version).await?;
            // A scope that was deleted and made again starts with the first version again.
            Ok::<_, TableError>(found.filter(|found| found.digest() == frozen.digest).map(|set| (scope, set)))
        };
        let found = try_join_all(sets.iter().map(load)).await?;
        let loaded = sets.iter().zip(found).map(|(frozen, found)| found.ok_or_else(|| frozen.missing()));
        Ok(loaded.collect())
    }

    fn missing(&self) -> Failure {
        let message = format!(
            "The variables of the {} in version {}, with which the deployment was created, do not exist any more; deploy again",
            self.level.noun(),
            self.version
        );
        Failure::new(FailureCode::VariablesMissing, message)
    }
}
