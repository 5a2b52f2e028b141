//! The content of a buildspec.

use std::collections::BTreeMap;
use std::fmt;

use super::artifacts::Artifacts;

/// A buildspec that can run as it is: it has a command, and all its names and patterns are valid.
#[derive(Clone, Debug)]
pub struct Buildspec {
    /// `env.variables`. The names are identifiers, and no value contains a NUL character.
    pub env: BTreeMap<String, String>,
    /// The shell of all commands, from `env.shell`.
    pub shell: Shell,
    /// The phases of the file, in the order in which they run.
    pub phases: Vec<Phase>,
    /// The artifacts. `None` if the file has no such section.
    pub artifacts: Option<Artifacts>,
    /// One sentence about each ignored key.
    pub notes: Vec<String>,
}

/// A shell that runs commands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shell {
    /// CodeBuild's default on Linux.
    #[default]
    Sh,
    /// `bash`, which the machine need not have.
    Bash,
}

/// A phase with its commands.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The phase.
    pub name: PhaseName,
    /// The commands in their order. The first that fails ends the phase.
    pub commands: Vec<String>,
    /// Commands that run after `commands`, even if one of these failed.
    pub finally: Vec<String>,
    /// The effect of a failed command on later phases.
    pub on_failure: OnFailure,
}

/// The name of a phase, ordered as the phases run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PhaseName {
    /// The first phase.
    Install,
    /// Runs after `install`.
    PreBuild,
    /// Runs after `pre_build`.
    Build,
    /// Runs even if `build` has failed, unless that phase's `on-failure` is `ABORT`.
    PostBuild,
}

/// The effect of a failed phase on later phases. The build has failed either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// No later phase runs.
    Abort,
    /// Later phases run.
    Continue,
}

impl PhaseName {
    /// Returns the key under `phases`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::PreBuild => "pre_build",
            Self::Build => "build",
            Self::PostBuild => "post_build",
        }
    }
}

/// Formats the name that CodeBuild's log uses.
impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Install => "INSTALL",
            Self::PreBuild => "PRE_BUILD",
            Self::Build => "BUILD",
            Self::PostBuild => "POST_BUILD",
        })
    }
}
