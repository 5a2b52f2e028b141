//! The scopes of stored variables.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AccountId, RepositoryId};
use crate::model::key::VariableKeys;
use crate::model::{
    Action, AuditEvent, Author, Deployment, Environment, Repository, RepositoryPartition, Target, TargetKind, key,
};
use crate::name::VariableName;
use crate::permitted::{Permitted, TenantId};
use crate::table::Write;

/// The place in which a variable is set, in the order of precedence: `deployment` overrides `environment`, which overrides
/// `repository`, which overrides `account`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VariableLevel {
    /// All deployments of the account get the variable.
    Account,
    /// All deployments of the repository get the variable.
    Repository,
    /// All deployments to the environment get the variable.
    Environment,
    /// The request that created the deployment has the variable.
    Deployment,
}

impl VariableLevel {
    /// Returns the name by which people know the place.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Repository => "repository",
            Self::Environment => "environment",
            Self::Deployment => "deployment",
        }
    }
}

/// An account, a repository or an environment, as the place of stored variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableScope {
    account: AccountId,
    within: Within,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Within {
    Account,
    Repository(RepositoryId),
    Environment(RepositoryId, Environment),
}

impl VariableScope {
    /// Returns the scope of an account.
    pub fn of_account(tenant: &TenantId) -> Self {
        Self { account: AccountId::clone(tenant), within: Within::Account }
    }

    /// Returns the scope of a repository.
    pub fn of_repository(repository: &Permitted<Repository>) -> Self {
        Self { account: repository.account_id.clone(), within: Within::Repository(repository.id.clone()) }
    }

    /// Returns the scope of an environment of a repository.
    pub fn of_environment(repository: &Permitted<Repository>, environment: Environment) -> Self {
        Self { account: repository.account_id.clone(), within: Within::Environment(repository.id.clone(), environment) }
    }

    /// Returns the scopes whose variables a deployment to an environment gets. A later one overrides an earlier one.
    pub(super) fn of_deployments(
        account: &AccountId,
        repository: &RepositoryId,
        environment: Environment,
    ) -> [Self; 3] {
        let places = [
            Within::Account,
            Within::Repository(repository.clone()),
            Within::Environment(repository.clone(), environment),
        ];
        places.map(|within| Self { account: account.clone(), within })
    }

    /// Returns the scope of this level whose variables a deployment gets. `None` for the deployment's own variables.
    pub(super) fn of_deployment(deployment: &Deployment, level: VariableLevel) -> Option<Self> {
        let Deployment { account_id, repository_id, environment, .. } = deployment;
        let scopes = Self::of_deployments(account_id, repository_id, *environment);
        scopes.into_iter().find(|scope| scope.level() == level)
    }

    /// Returns the place that the scope is.
    pub fn level(&self) -> VariableLevel {
        match self.within {
            Within::Account => VariableLevel::Account,
            Within::Repository(_) => VariableLevel::Repository,
            Within::Environment(..) => VariableLevel::Environment,
        }
    }

    /// Returns the context to which the secret of this name is sealed, so that no other variable can have it.
    pub fn sealing_context(&self, name: &str) -> String {
        let account = &self.account;
        match &self.within {
            Within::Account => format!("{account}/variables/{name}"),
            Within::Repository(repository) => format!("{account}/{repository}/variables/{name}"),
            Within::Environment(repository, environment) => {
                format!("{account}/{repository}/{}/variables/{name}", environment.as_str())
            }
        }
    }

    pub(super) fn keys(&self) -> VariableKeys {
        match &self.within {
            Within::Account => VariableKeys::of_account(&self.account),
            Within::Repository(repository) => VariableKeys::of_repository(&self.account, repository),
            Within::Environment(repository, environment) => {
                VariableKeys::of_environment(&self.account, repository, *environment)
            }
        }
    }

    /// Returns the condition that the scope's repository exists, if the scope is in one.
    pub(super) fn repository_exists(&self) -> Option<Write> {
        let key = key::repository(&self.account, self.repository()?);
        Some(Write::Check { key, condition: "attribute_exists(pk)", names: None, values: None })
    }

    /// Returns the condition that the scope's environment exists, if the scope is one that can be deleted.
    pub(super) fn environment_exists(&self) -> Option<Write> {
        let Within::Environment(repository, environment) = &self.within else { return None };
        let key = RepositoryPartition::new(&self.account, repository).environment_settings(*environment);
        let exists = Write::Check { key, condition: "attribute_exists(pk)", names: None, values: None };
        (!environment.is_built_in()).then_some(exists)
    }

    /// Returns the event of a change of a variable, without the changed fields.
    pub(super) fn event(&self, author: &Author, action: Action, name: &VariableName, now: Timestamp) -> AuditEvent {
        let place = match &self.within {
            Within::Account => self.account.to_string(),
            Within::Repository(repository) => repository.to_string(),
            Within::Environment(repository, environment) => format!("{repository}/{}", environment.as_str()),
        };
        let target = Target::new(TargetKind::Variable, format!("{place}/{name}"), Some(name));
        let event = author.event(action, target, now);
        match self.repository() {
            Some(repository) => event.in_repository(repository),
            None => event,
        }
    }

    fn repository(&self) -> Option<&RepositoryId> {
        match &self.within {
            Within::Account => None,
            Within::Repository(repository) | Within::Environment(repository, _) => Some(repository),
        }
    }
}
