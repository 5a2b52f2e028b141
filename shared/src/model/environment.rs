//! The environments of a repository that are not built in, and the patterns whose members deployments create.
//!
//! The row of an environment has its settings. The repository's counter of deployments has a mark of each one as well, so that
//! every transaction that creates a deployment finds out whether its environment still exists without another write. Both are
//! written together.

mod deletion;
mod destination;
mod idle;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, RepositoryId};
use crate::model::deployment::{ENVIRONMENTS, mark};
use crate::model::{
    Action, AuditRetention, Author, DeploymentCounts, Environment, EnvironmentSettings, Repository,
    RepositoryPartition, Target, TargetKind,
};
use crate::permitted::Permitted;
use crate::table::{Change, Key, Table, TableError, Transaction, Values, Write, read_item};

pub use destination::{Destination, MatchingPattern};
pub use idle::DueEnvironment;

/// The maximum number of environments of a repository that are not built in, its patterns among them. Each takes up to 250 bytes of
/// the item that every change of a deployment writes.
pub const MAX_ENVIRONMENTS: u64 = 100;
/// The range of the time after which members of a pattern are removed, in days.
pub const REMOVED_AFTER_DAYS: RangeInclusive<u16> = 1..=365;
/// The time after which members of a pattern are removed, in days, unless the pattern says otherwise.
pub const DEFAULT_REMOVED_AFTER_DAYS: u16 = 30;

/// An environment or a pattern to create.
#[derive(Clone, Copy, Debug)]
pub struct NewEnvironment {
    /// The name.
    pub name: Environment,
    /// For a pattern, the time without a deployment after which a member is removed, in days.
    pub removed_after_days: Option<u16>,
}

/// The place of an environment that is not built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentPlace {
    account_id: AccountId,
    repository_id: RepositoryId,
    name: Environment,
}

/// The row of a new environment, which has the default settings or those of its pattern.
#[derive(Serialize)]
struct NewRow {
    created_at: Timestamp,
    /// Unlike rows of built-in environments, this one always has a revision, so that no change of settings can create it.
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_after_days: Option<u16>,
    /// The pattern of a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<Environment>,
    /// The time at which the sweep looks whether a member is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// The account's time for audit events when a deployment created the member.
    #[serde(skip_serializing_if = "AuditRetention::is_default")]
    audit_retention: AuditRetention,
}

impl NewEnvironment {
    /// Creates the environment, and returns its settings.
    ///
    /// # Errors
    /// Fails with `name_taken` if the repository has the environment, and with `limit_reached` if it has [`MAX_ENVIRONMENTS`].
    pub async fn create(
        self,
        table: &Table,
        repository: &Permitted<Repository>,
        author: &Author,
        now: Timestamp,
    ) -> Result<EnvironmentSettings> {
        let Self { name, removed_after_days } = self;
        let taken = move || Error::new(ErrorCode::NameTaken, format!("The repository has an environment '{name}'"));
        if name.is_built_in() {
            return Err(taken());
        }
        let place = EnvironmentPlace::new(repository, name);
        let event = author
            .event(Action::EnvironmentCreated, place.target(), now)
            .in_repository(&repository.id)
            .setting("removed_after_days", removed_after_days);
        let row = NewRow {
            created_at: now,
            revision: 1,
            removed_after_days,
            pattern: None,
            due_at: None,
            audit_retention: AuditRetention::default(),
        };
        Transaction::new()
            .by(author, &event)?
            .write(repository.exists())
            .or(|_| Error::not_found("Repository"))
            .write(mark_as_existing(&repository.partition(), name))
            .or(move |counts| match counts.map(read_item::<DeploymentCounts>) {
                Some(Ok(counts)) if !counts.has(name) => limit_reached(),
                _ => taken(),
            })
            .write(Write::create(place.key(), &row, Vec::new())?)
            .or(move |_| taken())
            .commit(table)
            .await??;
        Ok(EnvironmentSettings::of_new(name, removed_after_days, now))
    }
}

/// Returns the write that gives an environment its mark, unless it has one or the repository has too many.
fn mark_as_existing(repository: &RepositoryPartition, name: Environment) -> Write {
    let change = Change {
        expression: format!("SET #mark = :none ADD {ENVIRONMENTS} :one, changes :one"),
        condition: Some("attribute_not_exists(#mark) AND (attribute_not_exists(environments) OR environments < :max)"),
        names: Some(HashMap::from([("#mark".to_owned(), mark(name))])),
        values: Values::new().set(":none", 0).set(":one", 1).set(":max", MAX_ENVIRONMENTS),
    };
    Write::Update { key: repository.deployment_counts(), change }
}

fn limit_reached() -> Error {
    Error::new(ErrorCode::LimitReached, TOO_MANY)
}

/// The message about a repository that may have no further environment.
pub(super) const TOO_MANY: &str =
    "The repository has 100 environments besides the built-in ones, the most that it may have; delete one first";

impl EnvironmentPlace {
    pub(super) fn new(repository: &Repository, name: Environment) -> Self {
        Self { account_id: repository.account_id.clone(), repository_id: repository.id.clone(), name }
    }

    fn partition(&self) -> RepositoryPartition {
        RepositoryPartition::new(&self.account_id, &self.repository_id)
    }

    fn key(&self) -> Key {
        self.partition().environment_settings(self.name)
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Environment, format!("{}/{}", self.repository_id, self.name), None)
    }
}

fn days(days: u16) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

impl Repository {
    /// Checks that each environment in a body, with the path of its field, is one of the repository's or can become a member of a
    /// pattern. Reads nothing if all are built in.
    ///
    /// # Errors
    /// Fails with `invalid_request` on the field of each that is neither.
    pub async fn check_environments(
        &self,
        table: &Table,
        named: impl IntoIterator<Item = (String, Environment)>,
    ) -> Result<()> {
        let named: Vec<_> = named.into_iter().filter(|(_, name)| !name.is_built_in()).collect();
        if named.is_empty() {
            return Ok(());
        }
        let counts = DeploymentCounts::load(table, &self.partition()).await?;
        let known = counts.environments();
        let unknown = named.iter().filter(|(_, name)| !known.iter().any(|known| known.covers(*name)));
        Error::all(unknown.map(|(field, name)| Err(counts.invalid_environment(field, *name))))
    }
}

impl Environment {
    /// # Errors
    /// Fails with `not_found` if the repository does not have the environment. Reads nothing if it is built in.
    pub async fn must_be_of(self, table: &Table, repository: &Repository) -> Result<()> {
        if self.is_built_in() || EnvironmentSettings::find(table, repository, self).await?.is_some() {
            return Ok(());
        }
        Err(missing(table, repository, self).await?)
    }

    /// # Errors
    /// Fails with `invalid_request` if the environment is a pattern, which no deployment goes to.
    pub fn must_be_no_pattern(self) -> Result<()> {
        match self.is_pattern() {
            false => Ok(()),
            true => {
                let message = "must not be a pattern, whose members have variables of their own; set a variable of all members in \
                    the repository";
                Err(Error::invalid("environment", message))
            }
        }
    }
}

/// Returns the refusal of an environment that a repository does not have, which names those that it has.
pub(super) async fn missing(table: &Table, repository: &Repository, name: Environment) -> Result<Error, TableError> {
    Ok(DeploymentCounts::load(table, &repository.partition()).await?.missing_environment(name))
}
