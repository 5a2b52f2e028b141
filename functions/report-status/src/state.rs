//! The state of a deployment in the words of git hosts.

use providers::CommitState;
use shared::model::{Deployment, Status};

/// Returns the state of a deployment's commit, and a sentence about it.
///
/// Everybody who sees the commit may read the sentence, so it has the code of a failure and not its message.
pub(crate) fn of(deployment: &Deployment) -> (CommitState, String) {
    let number = deployment.number;
    let code = deployment.failure.as_ref().map_or("unknown", |failure| failure.code.as_str());
    let (state, rest) = match deployment.status {
        Status::Queued if !deployment.is_approved() => (CommitState::Pending, "waits for approval".to_owned()),
        Status::Queued => (CommitState::Pending, "is queued".to_owned()),
        Status::InProgress => (CommitState::Running, "is in progress".to_owned()),
        Status::Succeeded => (CommitState::Success, "succeeded".to_owned()),
        Status::Failed => (CommitState::Failure, format!("failed: {code}")),
        Status::Canceled => (CommitState::Canceled, "was canceled".to_owned()),
        Status::Superseded => (CommitState::Canceled, "was superseded".to_owned()),
    };
    (state, format!("Deployment {number} {rest}"))
}
