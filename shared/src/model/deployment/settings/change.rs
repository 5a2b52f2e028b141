//! Changes of an environment's settings.

use std::collections::HashMap;

use super::{EnvironmentSettings, FreezeWindows, Requirements, Reviewers, Row, Stored};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::environment::{DEFAULT_REMOVED_AFTER_DAYS, missing};
use crate::model::{
    Action, AuditEvent, Author, BuildMachine, ComputeType, Concurrency, Environment, Globs, MachineOverrides,
    Repository, SourceOverrides, Target, TargetKind,
};
use crate::name::{BuildImage, BuildspecPath, RefGlob, RootFolder};
use crate::permitted::{Permitted, TenantId};
use crate::table::{Change, Consistency, Item, Table, TableError, Transaction, Values, Write};

/// The settings to change. Absent ones stay as they are, and `Some(None)` resets one to its default.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentChange {
    /// The treatment of queued deployments.
    pub concurrency: Option<Option<Concurrency>>,
    /// The number of approvals, at most [`MAX_APPROVALS`](super::MAX_APPROVALS).
    pub required_approvals: Option<Option<u8>>,
    /// The people who may approve.
    pub reviewers: Option<Option<Reviewers>>,
    /// The time for approvals, in [`APPROVAL_TIMEOUT_SECONDS`](super::APPROVAL_TIMEOUT_SECONDS).
    pub approval_timeout_seconds: Option<Option<u32>>,
    /// The wait timer, at most [`MAX_WAIT_SECONDS`](super::MAX_WAIT_SECONDS).
    pub wait_seconds: Option<Option<u32>>,
    /// The branches and tags that may be deployed.
    pub refs: Option<Option<Globs<RefGlob, 0>>>,
    /// The environments in which a commit has to succeed first.
    pub requires: Option<Option<Requirements>>,
    /// The windows in which the environment is frozen.
    pub freeze_windows: Option<Option<FreezeWindows>>,
    /// Whether nothing new may start.
    pub frozen: Option<Option<bool>>,
    /// The time limit of a deployment's commands, in [`TIME_LIMIT_SECONDS`](super::TIME_LIMIT_SECONDS).
    pub time_limit_seconds: Option<Option<u32>>,
    /// The image of a build in CodeBuild, in place of the repository's.
    pub image: Option<Option<BuildImage>>,
    /// The size of the machine of a build in CodeBuild, in place of the repository's.
    pub compute_type: Option<Option<ComputeType>>,
    /// Whether a build in CodeBuild may run Docker, in place of the repository's setting.
    pub privileged: Option<Option<bool>>,
    /// The folder in which a build starts, in place of the repository's.
    pub root_folder: Option<Option<RootFolder>>,
    /// The path of the buildspec, in place of the repository's.
    pub buildspec_path: Option<Option<BuildspecPath>>,
    /// Whether builds have caches, in place of the repository's setting.
    pub cache: Option<Option<bool>>,
    /// The time after which members of a pattern are removed, in days.
    pub removed_after_days: Option<Option<u16>>,
}

/// The reasons to refuse a change of settings.
enum ChangeRefused {
    /// Another request has changed them.
    Changed,
    RepositoryGone,
}

impl EnvironmentChange {
    /// Checks that the reviewers exist.
    ///
    /// # Errors
    /// Fails with `invalid_request` on each one that does not.
    pub async fn check_reviewers(&self, table: &Table, tenant: &TenantId) -> Result<()> {
        match &self.reviewers {
            Some(Some(reviewers)) => reviewers.check(table, tenant).await,
            _ => Ok(()),
        }
    }

    /// Returns the parts of the machine that the change sets.
    pub fn machine(&self) -> BuildMachine {
        BuildMachine {
            image: self.image.clone().flatten(),
            compute_type: self.compute_type.flatten(),
            privileged: self.privileged.flatten().unwrap_or_default(),
        }
    }

    /// Returns whether the change may let deployments start that a freeze held back.
    pub fn may_thaw(&self) -> bool {
        self.frozen.is_some_and(|frozen| frozen != Some(true)) || self.freeze_windows.is_some()
    }

    fn applied_to(&self, before: &Stored) -> Stored {
        let change = self.clone();
        // An empty list is the default.
        let refs = change.refs.map(|refs| refs.filter(|refs| !refs.is_empty()));
        let requires = change.requires.map(|requires| requires.filter(|requires| !requires.is_empty()));
        let windows = change.freeze_windows.map(|windows| windows.filter(|windows| !windows.is_empty()));
        Stored {
            concurrency: change.concurrency.unwrap_or(before.concurrency),
            required_approvals: change.required_approvals.unwrap_or(before.required_approvals),
            reviewers: change.reviewers.unwrap_or_else(|| before.reviewers.clone()),
            approval_timeout_seconds: change.approval_timeout_seconds.unwrap_or(before.approval_timeout_seconds),
            wait_seconds: change.wait_seconds.unwrap_or(before.wait_seconds),
            refs: refs.unwrap_or_else(|| before.refs.clone()),
            requires: requires.unwrap_or_else(|| before.requires.clone()),
            freeze_windows: windows.unwrap_or_else(|| before.freeze_windows.clone()),
            frozen: change.frozen.unwrap_or(before.frozen),
            time_limit_seconds: change.time_limit_seconds.unwrap_or(before.time_limit_seconds),
            machine: MachineOverrides {
                image: change.image.unwrap_or_else(|| before.machine.image.clone()),
                compute_type: change.compute_type.unwrap_or(before.machine.compute_type),
                privileged: change.privileged.unwrap_or(before.machine.privileged),
            },
            source: SourceOverrides {
                root_folder: change.root_folder.unwrap_or_else(|| before.source.root_folder.clone()),
                buildspec_path: change.buildspec_path.unwrap_or_else(|| before.source.buildspec_path.clone()),
                cache: change.cache.unwrap_or(before.source.cache),
            },
            removed_after_days: match change.removed_after_days {
                Some(days) => Some(days.unwrap_or(DEFAULT_REMOVED_AFTER_DAYS)),
                None => before.removed_after_days,
            },
        }
    }

    /// Checks that the settings fit each other after the change.
    ///
    /// # Errors
    /// Fails with `invalid_request` on each field that does not fit.
    pub fn check(&self, environment: Environment, after: &EnvironmentSettings) -> Result<()> {
        let has_no_members = (self.removed_after_days.is_some() && !environment.is_pattern()).then(|| {
            let message =
                "must be absent unless the environment is a pattern, whose members have it from their creation on";
            ("removed_after_days".to_owned(), message.to_owned())
        });
        let requires_itself = after.requires.position(environment);
        let requires_itself =
            requires_itself.map(|at| (format!("requires[{at}]"), "must be another environment".to_owned()));
        let required = after.required_approvals;
        let most = after.reviewers.as_ref().and_then(Reviewers::most_approvals);
        let too_few = most.filter(|most| *most < required.into()).map(|most| match &self.reviewers {
            Some(_) => {
                let message =
                    format!("must have at least {required} users, the number of required approvals, or a team");
                ("reviewers.users".to_owned(), message)
            }
            None => {
                let message = format!("must be at most {most}, the number of the environment's reviewers");
                ("required_approvals".to_owned(), message)
            }
        });
        Error::fields(has_no_members.into_iter().chain(requires_itself).chain(too_few))
    }
}

impl EnvironmentSettings {
    /// Changes the given settings if `check` allows it for the settings before and after the change, and returns all settings
    /// after it. Writes nothing if they have these values.
    ///
    /// # Errors
    /// Fails with the error of `check`, and with `not_found` if the repository is gone or does not have the environment.
    pub async fn change(
        table: &Table,
        repository: &Permitted<Repository>,
        environment: Environment,
        change: &EnvironmentChange,
        check: impl Fn(&Self, &Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let key = || repository.partition().environment_settings(environment);
        let target = Target::new(TargetKind::Environment, format!("{}/{}", repository.id, environment.as_str()), None);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let row: Option<Row> = table.get(key(), Consistency::Strong).await?;
            if row.is_none() && !environment.is_built_in() {
                return Err(missing(table, repository, environment).await?);
            }
            let row = row.unwrap_or_default();
            let (stored, revision) = (row.stored.clone(), row.revision);
            let changed = change.applied_to(&stored);
            let before = Self::new(environment, row);
            let revised = Some(revision.unwrap_or(0) + 1);
            let row = Row {
                stored: changed.clone(),
                updated_at: Some(now),
                revision: revised,
                pattern: before.pattern,
                created_at: before.created_at,
            };
            let after = Self::new(environment, row);
            check(&before, &after)?;
            let event = author.event(Action::EnvironmentUpdated, target.clone(), now).in_repository(&repository.id);
            let event = changing(event, &before, &after);
            if event.changes.is_empty() {
                return Ok(before);
            }
            let transaction = Transaction::new()
                .write(Write::Update { key: key(), change: update(&stored, &changed, revision, now)? })
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
}

/// Adds the fields that differ to the event.
fn changing(event: AuditEvent, before: &EnvironmentSettings, after: &EnvironmentSettings) -> AuditEvent {
    event
        .changing("concurrency", before.concurrency, after.concurrency)
        .changing("required_approvals", before.required_approvals, after.required_approvals)
        .changing("reviewers", &before.reviewers, &after.reviewers)
        .changing("approval_timeout_seconds", before.approval_timeout_seconds, after.approval_timeout_seconds)
        .changing("wait_seconds", before.wait_seconds, after.wait_seconds)
        .changing("refs", &before.refs, &after.refs)
        .changing("requires", &before.requires, &after.requires)
        .changing("freeze_windows", &before.freeze_windows, &after.freeze_windows)
        .changing("frozen", before.frozen, after.frozen)
        .changing("time_limit_seconds", before.time_limit_seconds, after.time_limit_seconds)
        .changing("image", &before.machine.image, &after.machine.image)
        .changing("compute_type", before.machine.compute_type, after.machine.compute_type)
        .changing("privileged", before.machine.privileged, after.machine.privileged)
        .changing("root_folder", &before.source.root_folder, &after.source.root_folder)
        .changing("buildspec_path", &before.source.buildspec_path, &after.source.buildspec_path)
        .changing("cache", before.source.cache, after.source.cache)
        .changing("removed_after_days", before.removed_after_days, after.removed_after_days)
}

/// Returns the update of a row from one state to another, if nobody has changed it since.
fn update(before: &Stored, after: &Stored, revision: Option<u64>, now: Timestamp) -> Result<Change, TableError> {
    let (before, after): (Item, Item) = (serde_dynamo::to_item(before)?, serde_dynamo::to_item(after)?);
    let (mut set, mut reset) = (String::new(), String::new());
    let (mut names, mut values) =
        (HashMap::new(), Values::new().set(":now", now).set(":one", 1).set_if(":was", revision));
    for name in before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)) {
        if names.insert(format!("#{name}"), name.clone()).is_some() {
            continue;
        }
        match after.get(name) {
            Some(value) => {
                set.push_str(&format!("#{name} = :{name}, "));
                values = values.set(format!(":{name}"), value.clone());
            }
            None if reset.is_empty() => reset = format!(" REMOVE #{name}"),
            None => reset.push_str(&format!(", #{name}")),
        }
    }
    Ok(Change {
        expression: format!("SET {set}updated_at = :now ADD revision :one{reset}"),
        condition: Some(match revision {
            None => "attribute_not_exists(revision)",
            Some(_) => "revision = :was",
        }),
        names: Some(names).filter(|names| !names.is_empty()),
        values,
    })
}
