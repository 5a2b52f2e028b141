//! The content of a buildspec.

use std::collections::BTreeMap;
use std::fmt;

use super::artifacts::Artifacts;

/// A buildspec that can run as it is: it has a command, and all its names and patterns are valid.
#[derive(Clone, Debug)]
pub struct Buildspec {
    /// `env.variables`. The names are identifiers, and no value contains a NUL character.
    pub env: BTreeMap<String, String>,
    pub shell: Shell,
    /// The phases of the file, in the order in which they run.
    pub phases: Vec<Phase>,
    pub artifacts: Option<Artifacts>,
    /// One sentence about each ignored key.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shell {
    /// CodeBuild's default on Linux.
    #[default]
    Sh,
    Bash,
}

#[derive(Clone, Debug)]
pub struct Phase {
    pub name: PhaseName,
    pub commands: Vec<String>,
    /// Commands that run after `commands`, even if one of these failed.
    pub finally: Vec<String>,
    pub on_failure: OnFailure,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PhaseName {
    Install,
    PreBuild,
    Build,
    PostBuild,
}

/// The effect of a failed phase on later phases. The build has failed either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    Abort,
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
