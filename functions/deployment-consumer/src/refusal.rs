//! Refusals by AWS of what a build needs before it begins.

use archive::Error as ArchiveError;
use shared::InitError;
use shared::table::TableError;
use shared::telemetry::Level;
use vault::VaultError;

/// A call of AWS that failed before a build began.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Refusal {
    what: &'static str,
    /// Whether AWS was busy or not reached. Other refusals last until an operator changes the stack.
    is_passing: bool,
    #[source]
    cause: InitError,
}

impl Refusal {
    pub(crate) fn of_build(error: builds::Error) -> Self {
        Self { what: "AWS refused the build", is_passing: error.is_passing(), cause: error.into() }
    }

    pub(crate) fn of_archive(error: ArchiveError) -> Self {
        Self { what: "the archive failed", is_passing: error.is_passing(), cause: error.into() }
    }

    pub(crate) fn of_vault(what: &'static str, error: VaultError) -> Self {
        Self { what, is_passing: error.is_passing(), cause: error.into() }
    }

    pub(crate) fn of_table(error: TableError) -> Self {
        let is_passing = matches!(error, TableError::Call { passing: true, .. });
        Self { what: "DynamoDB failed", is_passing, cause: error.into() }
    }

    /// Returns the level of its log line. An operator must hear of a refusal that does not pass by itself.
    pub(crate) fn level(&self) -> Level {
        if self.is_passing { Level::Warn } else { Level::Error }
    }
}
