//! The names of what belongs to a deployment outside of the table.

use super::Deployment;
use crate::capability::Named;
use crate::model::{BuildId, OriginKind};
use crate::table::{Table, TableError};

impl Deployment {
    /// Returns the archive's prefix for the deployment's log, which no build can read.
    pub fn log_prefix(&self) -> String {
        format!("deployments/{}/{}", self.account_id, self.id)
    }

    /// Returns the archive's prefix for the source of this attempt.
    pub fn source_prefix(&self) -> String {
        format!("{}/{}", self.log_prefix(), self.name(Named::Source))
    }

    /// Returns the archive's prefix for the artifacts of this attempt. Each attempt has its own prefix, so that
    /// leftovers of a lost runner do not mix with the artifacts of the next attempt.
    pub fn artifacts_prefix(&self) -> String {
        format!("{}/{}", self.log_prefix(), self.name(Named::Artifacts))
    }

    /// Returns the name of the secret with the variables of this attempt.
    pub fn secret_name(&self) -> String {
        self.name(Named::Secret)
    }

    /// Returns the names of the secrets of all attempts so far. A lost runner leaves that of its attempt.
    pub fn secret_names(&self) -> impl Iterator<Item = String> {
        (1..=self.attempt).map(|attempt| self.capability.name(attempt, Named::Secret))
    }

    /// Returns the prefix of the log stream of this attempt's build. It names the deployment, to which the stream's lines belong.
    pub fn log_stream_prefix(&self) -> String {
        format!("{}/{}/{}", self.name(Named::LogStream), self.account_id, self.id)
    }

    /// Returns the log stream that this attempt's build writes to: CodeBuild appends the build's UUID to the prefix.
    pub fn log_stream(&self, build: &BuildId) -> String {
        format!("{}/{}", self.log_stream_prefix(), build.uuid())
    }

    /// Returns the deployment that this one rolls back to, if it is a rollback.
    pub async fn rolled_back(&self, table: &Table) -> Result<Option<Self>, TableError> {
        match self.origin.as_ref().filter(|origin| origin.kind == OriginKind::Rollback) {
            Some(origin) => Self::load(table, &self.account_id, &origin.deployment_id).await,
            None => Ok(None),
        }
    }

    fn name(&self, named: Named) -> String {
        self.capability.name(self.attempt, named)
    }
}
