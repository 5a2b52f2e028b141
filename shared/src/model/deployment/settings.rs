//! The settings of a repository's environments, and the rules that protect them.

mod change;
mod freeze;
mod requirements;
mod reviewers;

pub use change::EnvironmentChange;
pub use freeze::{Freeze, FreezeWindow, FreezeWindows, MAX_FREEZE_WINDOWS};
pub use requirements::{MAX_REQUIRED, Requirements};
pub use reviewers::{MAX_REVIEWERS, Reviewers};

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode};
use crate::id::{AccountId, RepositoryId};
use crate::model::{
    Concurrency, Environment, Globs, MachineOverrides, Repository, RepositoryPartition, SourceOverrides,
};
use crate::name::RefGlob;
use crate::table::{Consistency, Table, TableError};

/// The maximum of an environment's required approvals.
pub const MAX_APPROVALS: u8 = 6;
/// The range of the time limit of a deployment's commands, in seconds. CodeBuild accepts at most eight hours.
pub const TIME_LIMIT_SECONDS: RangeInclusive<u32> = 60..=8 * 60 * 60;
/// The range of the time in which a deployment has to get its approvals, in seconds: up to 30 days.
pub const APPROVAL_TIMEOUT_SECONDS: RangeInclusive<u32> = 60..=30 * 24 * 60 * 60;
/// The time in which a deployment has to get its approvals if its environment does not say: a week, so that nobody has to approve
/// on a weekend.
const DEFAULT_APPROVAL_TIMEOUT_SECONDS: u32 = 7 * 24 * 60 * 60;
/// The longest wait timer, in seconds: 30 days.
pub const MAX_WAIT_SECONDS: u32 = 30 * 24 * 60 * 60;

/// The settings of an environment of a repository, with defaults for those that are not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// The treatment of queued deployments when a newer one is created.
    pub concurrency: Concurrency,
    /// The number of approvals, not counting the creator's, that a deployment needs before it may start.
    pub required_approvals: u8,
    /// The people who may approve. `None` for everybody who may deploy.
    pub reviewers: Option<Reviewers>,
    /// The time in which a deployment has to get its approvals.
    pub approval_timeout_seconds: u32,
    /// The time between a deployment's creation and its start, at least.
    pub wait_seconds: u32,
    /// The branches and tags that may be deployed. Empty for any commit.
    pub refs: Globs<RefGlob, 0>,
    /// The environments in which a commit has to succeed first.
    pub requires: Requirements,
    /// The windows in which the environment is frozen.
    pub freeze_windows: FreezeWindows,
    /// Whether the environment is frozen by hand, so that nothing new starts.
    pub(crate) frozen: bool,
    /// The time limit of all phases of a build together. `None` for the runner's own limit.
    pub(crate) time_limit_seconds: Option<u32>,
    /// The machine settings of a build in CodeBuild that take the place of the repository's.
    pub machine: MachineOverrides,
    /// The settings that take the place of the repository's.
    pub source: SourceOverrides,
    /// The time at which a setting was last changed. `None` if all have their defaults.
    pub updated_at: Option<Timestamp>,
    /// The time without a deployment after which a member of the pattern is removed, in days. Patterns and members have it.
    pub removed_after_days: Option<u16>,
    /// The pattern from which a deployment created the environment.
    pub(crate) pattern: Option<Environment>,
    /// The time of the creation. `None` if the environment is built in.
    pub(crate) created_at: Option<Timestamp>,
    /// The number of changes since revisions are kept, and one for the creation.
    pub(in crate::model) revision: Option<u64>,
}

/// The settings that are not the defaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Concurrency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_approvals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewers: Option<Reviewers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_timeout_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refs: Option<Globs<RefGlob, 0>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<Requirements>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze_windows: Option<FreezeWindows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_limit_seconds: Option<u32>,
    #[serde(flatten)]
    machine: MachineOverrides,
    #[serde(flatten)]
    source: SourceOverrides,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_after_days: Option<u16>,
}

#[derive(Default, Deserialize)]
pub(in crate::model) struct Row {
    #[serde(flatten)]
    stored: Stored,
    updated_at: Option<Timestamp>,
    revision: Option<u64>,
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

    /// Returns the settings of a new environment or pattern.
    pub(in crate::model) fn of_new(name: Environment, removed_after_days: Option<u16>, now: Timestamp) -> Self {
        let stored = Stored { removed_after_days, ..Stored::default() };
        Self::new(name, Row { stored, created_at: Some(now), revision: Some(1), ..Row::default() })
    }

    /// Returns the settings that a member gets from its pattern.
    pub(in crate::model) fn of_member(self, pattern: Environment) -> Self {
        Self { pattern: Some(pattern), updated_at: None, ..self }
    }

    /// Returns the version of the settings of a repository's environment. An environment that is created again has another one.
    pub fn version(&self, repository: &Repository) -> String {
        let created_at = self.created_at.map_or(0, Timestamp::as_millis);
        format!("{}-{created_at}-{}", repository.id, self.revision.unwrap_or(0))
    }

    /// Returns the time in which a deployment has to get its approvals.
    pub(super) fn approval_timeout(&self) -> Duration {
        Duration::from_secs(self.approval_timeout_seconds.into())
    }

    /// Returns the end of the wait of a deployment that is created now. `None` if it need not wait.
    pub fn wait_until(&self, now: Timestamp) -> Option<Timestamp> {
        (self.wait_seconds > 0).then(|| now.plus(Duration::from_secs(self.wait_seconds.into())))
    }

    /// Returns whether a branch or tag may be deployed, by its full name.
    pub fn allows_ref(&self, full_name: &str) -> bool {
        self.refs.is_empty() || self.refs.select(full_name)
    }

    /// Refuses a commit that is on no branch or tag which may be deployed. The reason is part of a sentence.
    pub fn ref_refused(environment: Environment, reason: &str) -> Error {
        let message = format!(
            "The environment {} takes only some branches and tags, and {reason}; deploy one of them by its name",
            environment.as_str()
        );
        Error::new(ErrorCode::RefNotAllowed, message)
    }

    pub(in crate::model) fn new(environment: Environment, row: Row) -> Self {
        let Row { stored, updated_at, revision, pattern, created_at } = row;
        Self {
            concurrency: stored.concurrency.unwrap_or_else(|| environment.default_concurrency()),
            required_approvals: stored.required_approvals.unwrap_or(0),
            reviewers: stored.reviewers,
            approval_timeout_seconds: stored.approval_timeout_seconds.unwrap_or(DEFAULT_APPROVAL_TIMEOUT_SECONDS),
            wait_seconds: stored.wait_seconds.unwrap_or(0),
            refs: stored.refs.unwrap_or_default(),
            requires: stored.requires.unwrap_or_default(),
            freeze_windows: stored.freeze_windows.unwrap_or_default(),
            frozen: stored.frozen.unwrap_or(false),
            time_limit_seconds: stored.time_limit_seconds,
            machine: stored.machine,
            source: stored.source,
            updated_at,
            removed_after_days: stored.removed_after_days,
            pattern,
            created_at,
            revision,
        }
    }
}
