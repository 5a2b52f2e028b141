//! Deletions of environments.

use super::EnvironmentPlace;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Action, Author, DeploymentCounts, Environment, Repository, VariableSet};
use crate::permitted::Permitted;
use crate::table::{Table, TableError, Transaction, Values, Write};

/// The reasons why an environment was not deleted.
pub(super) enum DeletionRefused {
    /// The row is gone, or is due at another time.
    RowChanged,
    /// A deployment was created since the counter was read, or the environment is gone.
    CounterChanged,
}

impl Environment {
    /// Deletes the environment with its settings. Its deployments stay.
    ///
    /// # Errors
    /// Fails with `built_in_environment`, with `not_found` if the repository does not have the environment, and with
    /// `environment_in_use` if a deployment to it has not ended.
    pub async fn delete(
        self,
        table: &Table,
        repository: &Permitted<Repository>,
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
            let counts = DeploymentCounts::load(table, &repository.partition()).await?;
            if !counts.has(self) {
                return Err(counts.missing_environment(self));
            }
            if let Some(message) = in_use(counts.unfinished(self)) {
                return Err(Error::new(ErrorCode::EnvironmentInUse, message));
            }
            if place.deletion(&counts, None).by(author, &event)?.commit(table).await?.is_ok() {
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
    /// nothing that is queued or in progress, and the row must be due at this time, if one is given.
    pub(super) fn deletion(
        &self,
        counts: &DeploymentCounts,
        due_at: Option<Timestamp>,
    ) -> Transaction<'static, DeletionRefused> {
        let condition = if due_at.is_some() { "due_at = :due" } else { "attribute_exists(pk)" };
        let values = due_at.map(|at| Values::new().set(":due", at));
        let partition = self.partition();
        Transaction::new()
            .write(Write::DeleteIf { key: self.key(), condition, names: None, values })
            .or(|_| DeletionRefused::RowChanged)
            .write(counts.without(&partition, self.name))
            .or(|_| DeletionRefused::CounterChanged)
            .writes(counts.kept_of(&partition, self.name))
            .write(VariableSet::deletion(&self.account_id, &self.repository_id, self.name))
    }
}
