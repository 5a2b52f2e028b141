//! Failures of deployments.

use serde::{Deserialize, Serialize};

use super::BUILD_QUEUE_LIMIT;
use crate::model::Environment;

/// The kind of a failure. Codes may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(examples("command_failed"))]
pub enum FailureCode {
    /// The commit, a submodule or a file in Git LFS could not be fetched.
    SourceUnavailable,
    /// The commit has no buildspec at the chosen path.
    BuildspecMissing,
    /// The buildspec can't be run.
    BuildspecInvalid,
    /// A variable that the build needs does not exist.
    VariablesMissing,
    /// The commit does not have the repository's root folder.
    RootFolderMissing,
    /// The machine of the build lacks the shell that the buildspec names.
    ShellMissing,
    /// A command exited with a status other than 0.
    CommandFailed,
    /// No file matches the buildspec's artifacts.
    ArtifactsMissing,
    /// The artifacts are more than the account's plan allows.
    ArtifactsTooLarge,
    /// A file that the buildspec names as an artifact can't be kept.
    ArtifactInvalid,
    /// The commands exceeded the time limit.
    TimedOut,
    /// The build was stopped outside the API.
    BuildStopped,
    /// CodeBuild failed for a reason outside the build.
    BuildFault,
    /// The operator does not allow the build machine that the environment or its repository has set any more.
    MachineNotAllowed,
    /// The secret variables exceed the maximum size of a secret in Secrets Manager.
    VariablesTooLarge,
    /// The deployment did not start in time.
    QueueDeadline,
    /// The deployment did not get its approvals in time.
    ApprovalExpired,
    /// The deployment exceeded its time limit and the time for preparing and finishing it.
    RunDeadline,
    /// The deployment to a required environment ended without success.
    RequirementNotMet,
    /// A user rejected the deployment.
    Rejected,
    /// The build would have got something else than what was approved.
    ApprovalMismatch,
    /// Several runners in a row were lost before one reported a result.
    RunnerLost,
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self::SourceUnavailable,
        Self::BuildspecMissing,
        Self::BuildspecInvalid,
        Self::VariablesMissing,
        Self::RootFolderMissing,
        Self::ShellMissing,
        Self::CommandFailed,
        Self::ArtifactsMissing,
        Self::ArtifactsTooLarge,
        Self::ArtifactInvalid,
        Self::TimedOut,
        Self::BuildStopped,
        Self::BuildFault,
        Self::MachineNotAllowed,
        Self::VariablesTooLarge,
        Self::QueueDeadline,
        Self::ApprovalExpired,
        Self::RunDeadline,
        Self::RequirementNotMet,
        Self::Rejected,
        Self::ApprovalMismatch,
        Self::RunnerLost,
    ];

    /// Returns the code in responses and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceUnavailable => "source_unavailable",
            Self::BuildspecMissing => "buildspec_missing",
            Self::BuildspecInvalid => "buildspec_invalid",
            Self::VariablesMissing => "variables_missing",
            Self::RootFolderMissing => "root_folder_missing",
            Self::ShellMissing => "shell_missing",
            Self::CommandFailed => "command_failed",
            Self::ArtifactsMissing => "artifacts_missing",
            Self::ArtifactsTooLarge => "artifacts_too_large",
            Self::ArtifactInvalid => "artifact_invalid",
            Self::TimedOut => "timed_out",
            Self::BuildStopped => "build_stopped",
            Self::BuildFault => "build_fault",
            Self::MachineNotAllowed => "machine_not_allowed",
            Self::VariablesTooLarge => "variables_too_large",
            Self::QueueDeadline => "queue_deadline",
            Self::ApprovalExpired => "approval_expired",
            Self::RunDeadline => "run_deadline",
            Self::RequirementNotMet => "requirement_not_met",
            Self::Rejected => "rejected",
            Self::ApprovalMismatch => "approval_mismatch",
            Self::RunnerLost => "runner_lost",
        }
    }
}

/// The reason why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// A stable code for programs.
    pub code: FailureCode,
    /// A human-readable explanation.
    #[schema(examples("Command 'make test' in phase build exited with status 2"))]
    pub message: String,
}

impl Failure {
    /// The maximum size of a message, in bytes. A message may quote a command of 64 KiB, and each of the five copies of
    /// the row contains it.
    const MAX_MESSAGE_BYTES: usize = 1000;

    /// Returns the failure with this code and explanation.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
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
        Self::new(FailureCode::QueueDeadline, "The deployment did not start within 24 hours of being ready to start")
    }

    /// Returns the failure of a deployment whose build waited too long for a machine.
    pub fn no_machine() -> Self {
        let minutes = BUILD_QUEUE_LIMIT.as_secs() / 60;
        Self::new(
            FailureCode::QueueDeadline,
            format!("AWS CodeBuild had no machine for the build within {minutes} minutes"),
        )
    }

    /// Returns the failure of a deployment that did not get its approvals in time.
    pub fn approval_expired() -> Self {
        Self::new(
            FailureCode::ApprovalExpired,
            "The deployment did not get its approvals in the time that its environment gives",
        )
    }

    /// Returns the failure of a deployment that waited for another one, which ended without success.
    pub(super) fn requirement_not_met(environment: Environment) -> Self {
        let message =
            format!("The deployment of the commit to {environment} ended without success; deploy it there first");
        Self::new(FailureCode::RequirementNotMet, message)
    }

    /// Returns the failure of a deployment whose build would get something else than what was approved.
    pub(super) fn approval_mismatch() -> Self {
        let message = "The build would get something else than what was approved; retry the deployment and have it approved \
                       again";
        Self::new(FailureCode::ApprovalMismatch, message)
    }

    /// Returns the failure of a deployment that has been in progress for too long.
    pub fn run_deadline() -> Self {
        let message = "The deployment exceeded its time limit and the time allowed for preparing and finishing it";
        Self::new(FailureCode::RunDeadline, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_stored_as_it_is_shown() {
        for code in FailureCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
