//! The result of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::artifacts::Artifact;
use crate::buildspec::PhaseName;

/// The result of a run on a machine without faults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Every command succeeded.
    Succeeded {
        /// The files that match the buildspec's artifacts, sorted by name.
        artifacts: Vec<Artifact>,
        /// The values of the buildspec's exported variables after the last command. One that is not set is missing.
        exported: BTreeMap<String, String>,
    },
    /// The first command that failed. Later phases may have run, depending on the buildspec.
    Failed {
        /// The phase of the command.
        phase: PhaseName,
        /// The command in the buildspec, redacted.
        command: String,
        /// The way in which the command ended.
        exit: Exit,
        /// The files that match the buildspec's artifacts, sorted by name. None are kept if a failure before the last phase
        /// ended the build, as in CodeBuild.
        artifacts: Vec<Artifact>,
    },
    /// The phases succeeded, but no file matches the buildspec's artifacts. CodeBuild fails such a build too.
    NoArtifacts,
    /// The time limit was reached, and the running command was ended.
    TimedOut {
        /// The phase that was running.
        phase: PhaseName,
        /// The time limit.
        after: Duration,
    },
    /// The run was canceled, and the running command was ended.
    Canceled,
}

/// The way in which a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// The exit status, 1 to 255 for a failed command.
    Code(i32),
    /// The number of the signal that ended the process.
    Signal(i32),
}

/// A fault of this machine. A fault of the build is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum RunError {
    #[error("the buildspec requires the shell {0:?}, which is not installed")]
    NoShell(&'static str),
    #[error("the scratch folder can't be used")]
    Scratch(#[source] io::Error),
    #[error("a process can't be started or waited for")]
    Process(#[source] io::Error),
}

impl Exit {
    pub(super) fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().expect("a process that ended without a code was ended by a signal")),
        }
    }

    /// Returns the exit status.
    pub(super) fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }

    /// Returns the number of the signal.
    pub(super) fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
