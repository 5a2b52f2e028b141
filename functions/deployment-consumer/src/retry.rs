//! Reasons to have a message delivered again.

use shared::InitError;
use shared::model::TransitionFailed;
use shared::table::TableError;

/// A reason to have a message delivered again. The deployment is left as it is, or without a runner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Retry {
    #[error("the message does not name a deployment")]
    Unreadable(#[source] serde_json::Error),
    #[error("another runner holds the deployment's lease")]
    Held,
    #[error("another writer changed the deployment")]
    Stale,
    #[error("the lease has expired, and another runner may hold the deployment")]
    LeaseExpired,
    #[error("the runner stops")]
    Stopping,
    #[error("DynamoDB failed")]
    Table(#[from] TableError),
    #[error("{0}")]
    Infrastructure(&'static str, #[source] InitError),
}

impl From<TransitionFailed> for Retry {
    fn from(failed: TransitionFailed) -> Self {
        match failed {
            TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit => Self::Stale,
            TransitionFailed::Table(error) => Self::Table(error),
        }
    }
}

impl From<archive::Error> for Retry {
    fn from(error: archive::Error) -> Self {
        Self::Infrastructure("the archive failed", error.into())
    }
}
