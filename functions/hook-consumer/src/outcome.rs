//! The results of the parts of a delivery, and of the whole.

use shared::id::DeploymentId;
use shared::model::{Deployment, Handled, Outcome};
use shared::table::TableError;
use shared::{Error, ErrorCode, InitError};

/// The result of one push of a delivery, or of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub outcome: Outcome,
    /// A sentence.
    pub reason: String,
    pub deployments: Vec<DeploymentId>,
    /// The commit that the ref points to, if it was read.
    pub sha: Option<String>,
}

/// A reason to try the delivery again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Later {
    /// The git host can't be read. The sentence says why.
    #[error("{0}")]
    Remote(String),
    /// The infrastructure failed.
    #[error("the infrastructure failed")]
    Infrastructure(#[source] InitError),
}

impl From<TableError> for Later {
    fn from(error: TableError) -> Self {
        Self::Infrastructure(error.into())
    }
}

impl Part {
    pub(crate) fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), deployments: Vec::new(), sha: None }
    }

    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, reason)
    }

    pub(crate) fn deployed(deployment: &Deployment, reason: impl Into<String>) -> Self {
        Self { sha: Some(deployment.sha.clone()), ..Self::made(deployment.id.clone(), reason) }
    }

    /// Returns the result of an earlier attempt, which created the deployment.
    pub(crate) fn made(deployment: DeploymentId, reason: impl Into<String>) -> Self {
        Self { deployments: vec![deployment], ..Self::new(Outcome::Deployed, reason) }
    }

    pub(crate) fn of_commit(self, sha: &str) -> Self {
        Self { sha: Some(sha.to_owned()), ..self }
    }

    /// Returns the result for an error that a client of the API would get.
    pub(crate) fn of_error(error: Error) -> Result<Self, Later> {
        match error.code() {
            ErrorCode::RemoteUnavailable => Err(Later::Remote(error.message().to_owned())),
            ErrorCode::EnvironmentFrozen
            | ErrorCode::InvalidRef
            | ErrorCode::RefNotAllowed
            | ErrorCode::RequirementNotMet => Ok(Self::skipped(error.message())),
            code if code.status().is_client_error() => Ok(Self::new(Outcome::Failed, error.message())),
            code => {
                let cause = format!("{}: {}", code.as_str(), error.cause_chain().unwrap_or_default());
                Err(Later::Infrastructure(cause.into()))
            }
        }
    }
}

/// Returns the result of a whole delivery: the most important one of its parts, and the reasons of all.
pub(crate) fn sum(parts: Vec<Part>) -> Handled {
    let rank = |outcome: Outcome| match outcome {
        Outcome::Failed => 4,
        Outcome::Deployed => 3,
        Outcome::Canceled => 2,
        Outcome::AlreadyDeployed => 1,
        Outcome::Skipped | Outcome::Queued => 0,
    };
    let outcome = parts.iter().map(|part| part.outcome).max_by_key(|outcome| rank(*outcome));
    Handled {
        outcome: outcome.unwrap_or(Outcome::Skipped),
        reason: parts.iter().map(|part| part.reason.as_str()).collect::<Vec<_>>().join(". "),
        sha: parts.first().and_then(|first| first.sha.clone()),
        deployments: parts.into_iter().flat_map(|part| part.deployments).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_of_several_pushes_tells_the_most_important_result_and_all_reasons() {
        let id = DeploymentId::random();
        let parts = vec![
            Part::skipped("No rule is about 'x'").of_commit("abc"),
            Part::made(id.clone(), "'main' was deployed to production"),
            Part::new(Outcome::AlreadyDeployed, "'v1' was deployed before"),
        ];
        let handled = sum(parts);
        assert_eq!((handled.outcome, handled.deployments), (Outcome::Deployed, vec![id]));
        let reason = "No rule is about 'x'. 'main' was deployed to production. 'v1' was deployed before";
        assert_eq!((handled.reason.as_str(), handled.sha.as_deref()), (reason, Some("abc")));
        assert_eq!(sum(vec![Part::new(Outcome::Failed, "a"), Part::skipped("b")]).outcome, Outcome::Failed);
    }
}
