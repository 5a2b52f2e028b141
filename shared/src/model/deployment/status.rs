//! The states of a deployment.

use serde::{Deserialize, Serialize};

use super::BUILD_QUEUE_LIMIT;
use crate::model::Environment;

/// The status of a deployment. `succeeded`, `failed`, `canceled` and `superseded` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The deployment waits for approvals, for a required environment, for a timer, for the end of a freeze, for its turn in the lane, or
    /// for capacity.
    Queued,
    /// A runner has claimed the deployment, and holds its lane.
    InProgress,
    /// All commands succeeded. The deployment became its lane's live one.
    Succeeded,
    /// A command failed, a deadline passed, the approval was refused, or the runners were lost. See `failure`.
    Failed,
    /// A user canceled the deployment.
    Canceled,
    /// A newer deployment took the place of the queued one, or the lane's state was not the expected one.
    Superseded,
}

impl Status {
    /// Every status, in the order of a deployment's life.
    pub const ALL: [Status; 6] =
        [Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled, Self::Superseded];

    /// Returns the status's name in bodies and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Superseded => "superseded",
        }
    }

    /// Returns the states that may follow this one. A queued deployment stays queued when it is approved. A deployment
    /// in progress stays in progress when a build takes over, when another runner replaces a lost one, and when a user
    /// asks it to stop. It is queued again if CodeBuild has no capacity for its build, of which nothing has run then.
    pub const fn successors(self) -> &'static [Status] {
        match self {
            Self::Queued => &[Self::Queued, Self::InProgress, Self::Failed, Self::Canceled, Self::Superseded],
            Self::InProgress => &[Self::Queued, Self::InProgress, Self::Succeeded, Self::Failed, Self::Canceled],
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Superseded => &[],
        }
    }

    /// Returns whether the deployment has ended.
    pub const fn is_final(self) -> bool {
        self.successors().is_empty()
    }
}

/// The reason why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// A stable code for programs.
    #[schema(examples("command_failed"))]
    pub code: String,
    /// A human-readable explanation.
    #[schema(examples("Command 'make test' in phase build exited with status 2"))]
    pub message: String,
}

impl Failure {
    /// The maximum size of a message, in bytes. A message may quote a command of 64 KiB, and each of the five copies of
    /// the row contains it.
    const MAX_MESSAGE_BYTES: usize = 1000;

    /// Returns the failure with this code and explanation.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    pub(super) fn shorten(&mut self) {
        if self.message.len() > Self::MAX_MESSAGE_BYTES {
            const ELLIPSIS: char = '…';
            self.message.truncate(self.message.floor_char_boundary(Self::MAX_MESSAGE_BYTES - ELLIPSIS.len_utf8()));
            self.message.push(ELLIPSIS);
        }
    }

    /// Returns the failure of a deployment that has been queued for too long.
    pub fn queue_deadline() -> Self {
        Self::new("queue_deadline", "The deployment did not start within 24 hours of being ready to start")
    }

    /// Returns the failure of a deployment whose build waited too long for a machine.
    pub fn no_machine() -> Self {
        let minutes = BUILD_QUEUE_LIMIT.as_secs() / 60;
        Self::new("queue_deadline", format!("AWS CodeBuild had no machine for the build within {minutes} minutes"))
    }

    /// Returns the failure of a deployment that did not get its approvals in time.
    pub fn approval_expired() -> Self {
        Self::new("approval_expired", "The deployment did not get its approvals in the time that its environment gives")
    }

    /// Returns the failure of a deployment that waited for another one, which ended without success.
    pub(super) fn requirement_not_met(environment: Environment) -> Self {
        let message =
            format!("The deployment of the commit to {environment} ended without success; deploy it there first");
        Self::new("requirement_not_met", message)
    }

    /// Returns the failure of a deployment whose build would get something else than what was approved.
    pub(super) fn approval_mismatch() -> Self {
        let message = "The build would get something else than what was approved; retry the deployment and have it approved \
                       again";
        Self::new("approval_mismatch", message)
    }

    /// Returns the failure of a deployment that has been in progress for too long.
    pub fn run_deadline() -> Self {
        let message = "The deployment exceeded its time limit and the time allowed for preparing and finishing it";
        Self::new("run_deadline", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_are_left_by_nothing() {
        let finals: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(finals, [Status::Succeeded, Status::Failed, Status::Canceled, Status::Superseded]);
        assert!(!Status::InProgress.successors().contains(&Status::Superseded));
    }
}
