//! The phases and commands of a deployment's build, as its runner has reported them.

use serde::{Deserialize, Serialize};

use crate::capability::conceal;
use crate::clock::Timestamp;

/// The maximum size of a command, in bytes. Each of the five copies of the deployment's row contains it.
const MAX_COMMAND_BYTES: usize = 200;
/// The maximum number of commands that are kept of a build: the last ones.
pub const MAX_COMMANDS: usize = 100;

/// A phase of a build. It is part of the deployment's row, so that the write that ends the deployment keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPhase {
    /// The phase.
    pub name: BuildPhaseName,
    /// The outcome of the last attempt.
    pub status: BuildPhaseStatus,
    /// The time at which the first attempt began.
    pub started_at: Timestamp,
    /// The time of all attempts together.
    pub duration_ms: u64,
    /// The number of attempts. With AWS CodeBuild it is always 1.
    pub attempts: u32,
    /// The command that failed in the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_command: Option<FailedCommand>,
    /// The commands that have ended, in their order. They are part of the event that ends the deployment and not of its row, which
    /// has five copies.
    #[serde(skip)]
    pub commands: Vec<BuildCommand>,
}

/// A command of a build that has ended. Only the runner `process` tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildCommand {
    /// The command's number in the build: 1, 2, 3, …
    pub number: u64,
    /// The phase of the command.
    pub phase: BuildPhaseName,
    /// The number of the phase's attempt.
    pub attempt: u32,
    /// The text, as [`FailedCommand`] has it.
    pub command: String,
    /// The end of the command.
    pub status: BuildPhaseStatus,
    /// The exit status. `None` if the command was ended by a signal, the time limit or a cancelation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended the command by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The time at which the command began.
    pub started_at: Timestamp,
    /// The time that the command took.
    pub duration_ms: u64,
}

/// The name of a phase in a buildspec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildPhaseName {
    /// Installs what the build needs.
    Install,
    /// Prepares the build.
    PreBuild,
    /// Builds.
    Build,
    /// Runs after `build`, also after one that failed.
    PostBuild,
}

/// The outcome of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildPhaseStatus {
    /// Every command succeeded.
    Succeeded,
    /// A command failed.
    Failed,
    /// The time limit ended the phase.
    TimedOut,
    /// The phase was stopped.
    Stopped,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedCommand {
    /// The command in the buildspec, cut to 200 bytes. Secret values are replaced by `***`.
    #[schema(examples("make test"))]
    pub command: String,
    /// The exit status. Null if a signal ended the command.
    #[schema(required, examples(2))]
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended the command. Null if none did.
    #[schema(required)]
    #[serde(default)]
    pub signal: Option<i32>,
    /// The time that the command took, in milliseconds. Null with AWS CodeBuild, which does not tell.
    #[schema(required, examples(5321))]
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

impl BuildPhaseName {
    /// Returns the phase that AWS CodeBuild calls by this name, if the buildspec has commands for it.
    pub fn of_codebuild(name: &str) -> Option<Self> {
        Some(match name {
            "INSTALL" => Self::Install,
            "PRE_BUILD" => Self::PreBuild,
            "BUILD" => Self::Build,
            "POST_BUILD" => Self::PostBuild,
            _ => return None,
        })
    }
}

impl FailedCommand {
    /// Returns the failure of a command, whose text must show no secret.
    pub fn new(command: &str, exit_code: Option<i32>, signal: Option<i32>, duration_ms: Option<u64>) -> Self {
        Self { command: BuildCommand::text(command), exit_code, signal, duration_ms }
    }
}

impl BuildCommand {
    /// Returns the text of a command as responses show it: cut, and without names that give access. The text must show no secret.
    pub fn text(command: &str) -> String {
        let mut command = conceal(command).into_owned();
        if command.len() > MAX_COMMAND_BYTES {
            const ELLIPSIS: char = '…';
            command.truncate(command.floor_char_boundary(MAX_COMMAND_BYTES - ELLIPSIS.len_utf8()));
            command.push(ELLIPSIS);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_between_characters_and_shows_no_name_that_gives_access() {
        let of = |command: &str| FailedCommand::new(command, Some(1), None, None).command;
        assert_eq!(of(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(of(&"x".repeat(201)), format!("{}…", "x".repeat(197)));
        assert_eq!(of(&"é".repeat(150)), format!("{}…", "é".repeat(98)));
        assert_eq!(of(&format!("aws s3 cp s3://b/cap_{}/x .", "0".repeat(32))), "aws s3 cp s3://b/cap_***/x .");
    }
}
