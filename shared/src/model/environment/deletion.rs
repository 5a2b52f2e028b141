//! Deletions of environments.

use futures_util::future::try_join;

use super::EnvironmentPlace;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Action, Author, DeploymentCounts, Environment, EnvironmentSettings, Repository, VariableSet};
use crate::permitted::Permitted;
use crate::table::{Table, TableError, Transaction, Values, Write};

/// The state that the row of an environment must be in.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowState {
    /// The row has this revision.
    At(u64),
    /// The sweep looks at the row at this time.
    Due(Timestamp),
}

/// The reasons why an environment was not deleted.
pub(super) enum DeletionRefused {
    /// The row is gone, or in another state.
    RowChanged,
    /// A deployment was created since the counter was read, or the environment is gone.
    CounterChanged,
}

impl Environment {
    /// Deletes the environment with its settings, if they meet the precondition `expected`. Its deployments stay. Retries after
    /// concurrent changes.
    ///
    /// # Errors
    /// Fails with `built_in_environment`, with `not_found` if the repository does not have the environment, with
    /// `environment_in_use` if a deployment to it has not ended, and with the error of `expected`.
    pub async fn delete(
        self,
        table: &Table,
        repository: &Permitted<Repository>,
        expected: impl Fn(&EnvironmentSettings) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<()> {
        if self.is_built_in() {
            let message = format!("Each repository has the environment '{self}', which can't be deleted");
            return Err(Error::new(ErrorCode::BuiltInEnvironment, message));
        }
        let place = EnvironmentPlace::new(repository, self);
        let event = author.event(Action::EnvironmentDeleted, place.target(), now).in_repository(&repository.id);
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let partition = repository.partition();
            let counts = DeploymentCounts::load(table, &partition);
            let (counts, settings) = try_join(counts, EnvironmentSettings::find(table, repository, self)).await?;
            let Some(settings) = settings.filter(|_| counts.has(self)) else {
                return Err(counts.missing_environment(self));
            };
            if let Some(message) = in_use(counts.unfinished(self)) {
                return Err(Error::new(ErrorCode::EnvironmentInUse, message));
            }
            expected(&settings)?;
            let row = RowState::At(settings.revision.unwrap_or(0));
            if place.deletion(&counts, row).by(author, &event)?.commit(table).await?.is_ok() {
                return Ok(());
            }
        }
        Err(TableError::Contended.into())
    }
}

fn in_use(unfinished: u64) -> Option<String> {
    let remedy = "wait until the end, or cancel";
    match unfinished {
        0 => None,
        1 => Some(format!("A deployment to the environment is queued or in progress; {remedy} it")),
        _ => Some(format!("{unfinished} deployments to the environment are queued or in progress; {remedy} them")),
    }
}

impl EnvironmentPlace {
    /// Returns the writes that delete everything that only the environment has. The counter must be as it was read, with
    /// nothing that is queued or in progress, and the row in its state.
    pub(super) fn deletion(&self, counts: &DeploymentCounts, row: RowState) -> Transaction<'static, DeletionRefused> {
        let (condition, values) = match row {
            RowState::At(revision) => ("revision = :revision", Values::new().set(":revision", revision)),
            RowState::Due(at) => ("due_at = :due", Values::new().set(":due", at)),
        };
        let partition = self.partition();
        Transaction::new()
            .write(Write::DeleteIf { key: self.key(), condition, names: None, values: Some(values) })
            .or(|_| DeletionRefused::RowChanged)
            .write(counts.without(&partition, self.name))
            .or(|_| DeletionRefused::CounterChanged)
            .writes(counts.kept_of(&partition, self.name))
            .write(VariableSet::deletion(&self.account_id, &self.repository_id, self.name))
    }
}
