//! The settings of a repository's environments.

use std::ops::RangeInclusive;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, RepositoryId};
use crate::model::{Concurrency, Environment, Repository, RepositoryPartition};
use crate::permitted::Permitted;
use crate::table::{Change, Consistency, Item, Table, TableError, read_item};

pub const MAX_APPROVALS: u8 = 6;
/// Seconds that the commands of a deployment may be given. CodeBuild takes up to eight hours.
pub const TIME_LIMIT_SECONDS: RangeInclusive<u32> = 60..=8 * 60 * 60;

/// What a repository has set for an environment, with the defaults where it has set nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentSettings {
    pub concurrency: Concurrency,
    /// By others than the creator, before a deployment may start.
    pub required_approvals: u8,
    /// Nothing new starts.
    pub frozen: bool,
    /// For all phases of a build together; the runner's own limit where there is none.
    pub time_limit_seconds: Option<u32>,
    pub updated_at: Option<Timestamp>,
}

/// What is to be changed; the rest stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentChange {
    pub concurrency: Option<Concurrency>,
    pub required_approvals: Option<u8>,
    pub frozen: Option<bool>,
    pub time_limit_seconds: Option<u32>,
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
    /// `environment_frozen`.
    pub fn admit(&self, environment: Environment) -> Result<(), Error> {
        match self.frozen {
            true => Err(Error::new(ErrorCode::EnvironmentFrozen, format!("{} is frozen", environment.as_str()))),
            false => Ok(()),
        }
    }

    /// Changes what is given and gives all of it as it is then.
    pub async fn change(
        table: &Table,
        repository: &Permitted<Repository>,
        environment: Environment,
        change: EnvironmentChange,
        now: Timestamp,
    ) -> Result<Self, TableError> {
        let number = |number: u32| AttributeValue::N(number.to_string());
        let values = [
            ("concurrency", change.concurrency.map(|one| AttributeValue::S(one.as_str().to_owned()))),
            ("required_approvals", change.required_approvals.map(|count| number(count.into()))),
            ("frozen", change.frozen.map(AttributeValue::Bool)),
            ("time_limit_seconds", change.time_limit_seconds.map(number)),
            ("updated_at", Some(AttributeValue::N(now.as_millis().to_string()))),
        ];
        let values: Vec<_> = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let assignments: Vec<_> = values.iter().map(|(name, _)| format!("{name} = :{name}")).collect();
        let change = Change {
            expression: format!("SET {}", assignments.join(", ")),
            condition: None,
            names: None,
            values: values.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect::<Item>(),
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
