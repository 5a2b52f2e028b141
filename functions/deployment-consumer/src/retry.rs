//! Reasons to have a message delivered again.

use shared::InitError;
use shared::model::TransitionFailed;
use shared::table::TableError;

use crate::refusal::Refusal;

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
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Retry {
    /// Returns the refusal by AWS, if there is one.
    ///
    /// # Errors
    /// Fails with every other reason.
    pub(crate) fn refusal(self) -> Result<Refusal, Self> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Table(error @ TableError::Call { .. }) => Ok(Refusal::of_table(error)),
            other => Err(other),
        }
    }
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
        match error {
            archive::Error::Store(_) => Refusal::of_archive(error).into(),
            _ => Self::Infrastructure("the archive failed", error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::Error as StoreError;
    use shared::telemetry::Level;

    use super::*;

    #[test]
    fn the_archive_refuses_what_its_store_fails_at_and_only_what_passes_is_no_error() {
        let level = |error: archive::Error| Retry::from(error).refusal().ok().map(|refusal| refusal.level());
        let slow_down = StoreError::Generic { store: "S3", source: "SlowDown".into() };
        assert!(matches!(level(slow_down.into()), Some(Level::Warn)));
        let denied = StoreError::PermissionDenied { path: "source.zip".to_owned(), source: "AccessDenied".into() };
        assert!(matches!(level(denied.into()), Some(Level::Error)));
        assert!(level(archive::Error::Path("../x".to_owned())).is_none());
    }
}
