//! The settings of a repository's environments.

use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, RepositoryId};
use crate::model::environment::missing;
use crate::model::{Action, Author, Concurrency, Environment, Repository, RepositoryPartition, Target, TargetKind};
use crate::permitted::Permitted;
use crate::table::{Change, Consistency, Table, TableError, Transaction, Value, Values, Write};

/// The maximum of an environment's required approvals.
pub const MAX_APPROVALS: u8 = 6;
/// The range of the time limit of a deployment's commands, in seconds. CodeBuild accepts at most eight hours.
pub const TIME_LIMIT_SECONDS: RangeInclusive<u32> = 60..=8 * 60 * 60;

/// The settings of an environment of a repository, with defaults for those that are not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// The treatment of queued deployments when a newer one is created.
    pub concurrency: Concurrency,
    /// The number of approvals, not counting the creator's, that a deployment needs before it may start.
    pub required_approvals: u8,
    /// Whether the environment is frozen, so that nothing new starts.
    pub(crate) frozen: bool,
    /// The time limit of all phases of a build together. `None` for the runner's own limit.
    pub(crate) time_limit_seconds: Option<u32>,
    /// The time at which a setting was last changed. `None` if none was.
    pub updated_at: Option<Timestamp>,
    /// The time without a deployment after which a member of the pattern is removed, in days. Patterns and members have it.
    pub removed_after_days: Option<u16>,
    /// The pattern from which a deployment created the environment.
    pub(crate) pattern: Option<Environment>,
    /// The time of the creation. `None` if the environment is built in.
    pub(crate) created_at: Option<Timestamp>,
}

/// The settings to change. Absent ones stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentChange {
    /// The new treatment of queued deployments.
    pub concurrency: Option<Concurrency>,
    /// The new number of approvals, at most [`MAX_APPROVALS`].
    pub required_approvals: Option<u8>,
    /// Whether nothing new may start.
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
            ..before
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let fields: [(&str, Option<Value>); 4] = [
            ("concurrency", self.concurrency.map(|concurrency| concurrency.as_str().into())),
            ("required_approvals", self.required_approvals.map(Into::into)),
            ("frozen", self.frozen.map(Into::into)),
            ("time_limit_seconds", self.time_limit_seconds.flatten().map(Into::into)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    fn assignments(&self) -> String {
        let fields: String = self.fields().map(|(name, _)| format!("{name} = :{name}, ")).collect();
        let reset = if self.time_limit_seconds == Some(None) { " REMOVE time_limit_seconds" } else { "" };
        format!("SET {fields}updated_at = :now ADD revision :one{reset}")
    }

    fn values(&self) -> Values {
        self.fields().map(|(name, value)| (format!(":{name}"), value)).collect()
    }
}

/// The reasons to refuse a change of settings.
enum ChangeRefused {
    /// Another request has changed them.
    Changed,
    RepositoryGone,
}

#[derive(Default, Deserialize)]
pub(in crate::model) struct Row {
    concurrency: Option<Concurrency>,
    required_approvals: Option<u8>,
    frozen: Option<bool>,
    time_limit_seconds: Option<u32>,
    updated_at: Option<Timestamp>,
    /// The number of changes since revisions are kept.
    revision: Option<u64>,
    removed_after_days: Option<u16>,
    pattern: Option<Environment>,
    created_at: Option<Timestamp>,
}

impl EnvironmentSettings {
    /// Reads the settings. Strongly consistent.
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

    /// Reads the settings of an environment or a pattern. Returns `None` if the repository does not have it. Strongly consistent.
    pub async fn find(
        table: &Table,
        repository: &Repository,
        environment: Environment,
    ) -> Result<Option<Self>, TableError> {
        let row: Option<Row> =
            table.get(repository.partition().environment_settings(environment), Consistency::Strong).await?;
        let exists = row.is_some() || environment.is_built_in();
        Ok(exists.then(|| Self::new(environment, row.unwrap_or_default())))
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

    /// Changes the given settings, and returns all settings after the change. Writes nothing if they have these values.
    ///
    /// # Errors
    /// Fails with `not_found` if the repository is gone, or does not have the environment.
    pub async fn change(
        table: &Table,
        repository: &Permitted<Repository>,
        environment: Environment,
        change: EnvironmentChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let key = || repository.partition().environment_settings(environment);
        let target = Target::new(TargetKind::Environment, format!("{}/{}", repository.id, environment.as_str()), None);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let row: Option<Row> = table.get(key(), Consistency::Strong).await?;
            if row.is_none() && !environment.is_built_in() {
                return Err(missing(table, repository, environment).await?);
            }
            let row = row.unwrap_or_default();
            let revision = row.revision;
            let before = Self::new(environment, row);
            let after = Self { updated_at: Some(now), ..change.applied_to(before) };
            let event = author
                .event(Action::EnvironmentUpdated, target.clone(), now)
                .in_repository(&repository.id)
                .changing("concurrency", before.concurrency, after.concurrency)
                .changing("required_approvals", before.required_approvals, after.required_approvals)
                .changing("frozen", before.frozen, after.frozen)
                .changing("time_limit_seconds", before.time_limit_seconds, after.time_limit_seconds);
            if event.changes.is_empty() {
                return Ok(before);
            }
            let update = Change {
                expression: change.assignments(),
                condition: Some(match revision {
                    None => "attribute_not_exists(revision)",
                    Some(_) => "revision = :was",
                }),
                names: None,
                values: change.values().set(":now", now).set(":one", 1).set_if(":was", revision),
            };
            let transaction = Transaction::new()
                .write(Write::Update { key: key(), change: update })
                .or(|_| ChangeRefused::Changed)
                .write(repository.exists())
                .or(|_| ChangeRefused::RepositoryGone)
                .by(author, &event)?;
            match transaction.commit(table).await? {
                Ok(()) => return Ok(after),
                Err(ChangeRefused::Changed) => {}
                Err(ChangeRefused::RepositoryGone) => return Err(Error::not_found("Repository")),
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the settings of a new environment or pattern.
    pub(in crate::model) fn of_new(name: Environment, removed_after_days: Option<u16>, now: Timestamp) -> Self {
        Self::new(name, Row { removed_after_days, created_at: Some(now), ..Row::default() })
    }

    /// Returns the settings that a member gets from its pattern.
    pub(in crate::model) fn of_member(self, pattern: Environment) -> Self {
        Self { pattern: Some(pattern), updated_at: None, ..self }
    }

    pub(in crate::model) fn new(environment: Environment, row: Row) -> Self {
        Self {
            concurrency: row.concurrency.unwrap_or_else(|| environment.default_concurrency()),
            required_approvals: row.required_approvals.unwrap_or(0),
            frozen: row.frozen.unwrap_or(false),
            time_limit_seconds: row.time_limit_seconds,
            updated_at: row.updated_at,
            removed_after_days: row.removed_after_days,
            pattern: row.pattern,
            created_at: row.created_at,
        }
    }
}
