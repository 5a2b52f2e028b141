//! The settings of a repository's environments.

use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, RepositoryId};
use crate::model::{Concurrency, Environment, Repository, RepositoryPartition};
use crate::permitted::Permitted;
use crate::table::{Change, Consistency, Table, TableError, Value, read_item};

pub const MAX_APPROVALS: u8 = 6;
/// The range of the time limit of a deployment's commands, in seconds. CodeBuild accepts at most eight hours.
pub const TIME_LIMIT_SECONDS: RangeInclusive<u32> = 60..=8 * 60 * 60;

/// The settings of an environment of a repository, with defaults for those that are not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentSettings {
    pub concurrency: Concurrency,
    /// The number of approvals, not counting the creator's, that a deployment needs before it may start.
    pub required_approvals: u8,
    /// Whether the environment is frozen, so that nothing new starts.
    pub frozen: bool,
    /// The time limit of all phases of a build together. `None` for the runner's own limit.
    pub time_limit_seconds: Option<u32>,
    pub updated_at: Option<Timestamp>,
}

/// The settings to change. Absent ones stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentChange {
    pub concurrency: Option<Concurrency>,
    pub required_approvals: Option<u8>,
    pub frozen: Option<bool>,
    /// The time limit, or `None` for the runner's own.
    pub time_limit_seconds: Option<Option<u32>>,
}

impl EnvironmentChange {
    fn applied_to(self, before: EnvironmentSettings) -> EnvironmentSettings {
        EnvironmentSettings {
            concurrency: self.concurrency.unwrap_or(before.concurrency),
            required_approvals: self.required_approvals.unwrap_or(before.required_approvals),
            frozen: self.frozen.unwrap_or(before.frozen),
            time_limit_seconds: self.time_limit_seconds.unwrap_or(before.time_limit_seconds),
            updated_at: before.updated_at,
        }
    }
}

#[derive(Default, Deserialize)]
struct Row {
    concurrency: Option<Concurrency>,
    required_approvals: Option<u8>,
    frozen: Option<bool>,
    time_limit_seconds: Option<u32>,
    updated_at: Option<Timestamp>,
}

impl EnvironmentSettings {
    pub async fn load(
        table: &Table,
        account: &AccountId,
        repository: &RepositoryId,
        environment: Environment,
    ) -> Result<Self, TableError> {
        let key = RepositoryPartition::new(account, repository).environment_settings(environment);
        let row: Option<Row> = table.get(key, Consistency::Strong).await?;
        Ok(Self::new(environment, row.unwrap_or_default()))
    }

    /// # Errors
    /// Fails with `environment_frozen` if the environment is frozen.
    pub fn admit(&self, environment: Environment) -> Result<(), Error> {
        match self.frozen {
            true => Err(Error::new(
                ErrorCode::EnvironmentFrozen,
                format!("The environment {} is frozen", environment.as_str()),
            )),
            false => Ok(()),
        }
    }

    /// Changes the given settings, and returns all settings after the change. Writes nothing if the settings already are
    /// as given.
    pub async fn change(
        table: &Table,
        repository: &Permitted<Repository>,
        environment: Environment,
        change: EnvironmentChange,
        now: Timestamp,
    ) -> Result<Self, TableError> {
        let before = Self::load(table, &repository.account_id, &repository.id, environment).await?;
        if change.applied_to(before) == before {
            return Ok(before);
        }
        let values: [(&str, Option<Value>); 5] = [
            ("concurrency", change.concurrency.map(|concurrency| concurrency.as_str().into())),
            ("required_approvals", change.required_approvals.map(Into::into)),
            ("frozen", change.frozen.map(Into::into)),
            ("time_limit_seconds", change.time_limit_seconds.flatten().map(Into::into)),
            ("updated_at", Some(now.into())),
        ];
        let values: Vec<_> = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let assignments: Vec<_> = values.iter().map(|(name, _)| format!("{name} = :{name}")).collect();
        let reset = if change.time_limit_seconds == Some(None) { " REMOVE time_limit_seconds" } else { "" };
        let change = Change {
            expression: format!("SET {}{reset}", assignments.join(", ")),
            condition: None,
            names: None,
            values: values.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect(),
        };
        let key = repository.partition().environment_settings(environment);
        match table.update(key, change).await? {
            Ok(item) => Ok(Self::new(environment, read_item(item)?)),
            Err(_) => unreachable!("the update has no condition"),
        }
    }

    fn new(environment: Environment, row: Row) -> Self {
        let concurrency = match environment {
            Environment::Preview => Concurrency::Supersede,
            Environment::Staging | Environment::Production => Concurrency::Queue,
        };
        Self {
            concurrency: row.concurrency.unwrap_or(concurrency),
            required_approvals: row.required_approvals.unwrap_or(0),
            frozen: row.frozen.unwrap_or(false),
            time_limit_seconds: row.time_limit_seconds,
            updated_at: row.updated_at,
        }
    }
}
