//! The content of a buildspec.

use std::collections::BTreeMap;
use std::fmt;

use shared::model::BuildPhaseName;

use super::artifacts::Artifacts;
use super::cache::Cache;
use super::finding::Finding;
use super::on_failure::{OnFailure, Retry};
use super::reports::Report;
use super::stored::Stored;

/// A buildspec that can run as it is: it has a command, and its names are valid.
#[derive(Clone, Debug)]
pub struct Buildspec {
    /// The version of the format.
    pub version: Version,
    /// The shell of all commands, from `env.shell`.
    pub shell: Shell,
    /// `env.variables`. The names are identifiers, and no value contains a NUL character.
    pub env: BTreeMap<String, String>,
    /// The variables of `env.parameter-store` and `env.secrets-manager`, which are not in the commit.
    pub stored: BTreeMap<String, Stored>,
    /// The names in `env.exported-variables`.
    pub exported: Vec<String>,
    /// The phases of the file, in the order in which they run.
    pub phases: Vec<Phase>,
    /// The artifacts. `None` if the file has none.
    pub artifacts: Option<Artifacts>,
    /// The report groups with test reports that are read.
    pub reports: Vec<Report>,
    /// The files that are kept for later builds. `None` if the file has no cache.
    pub cache: Option<Cache>,
    /// Sentences about what is not done as the file says, in either runner.
    pub notes: Vec<Finding>,
}

/// A version of the format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// Each command starts in the source folder, with the variables of the build's start.
    V0_1,
    /// A command takes over the working directory and the variables of the one before.
    V0_2,
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
    /// The user of the commands, from `run-as` of the phase or of the file.
    pub run_as: Option<String>,
    /// The versions of languages and tools that the image shall have, by name.
    pub runtime_versions: BTreeMap<String, String>,
    /// The commands in their order. The first that fails ends the phase.
    pub commands: Vec<String>,
    /// Commands that run after `commands`, even if one of these failed.
    pub finally: Vec<String>,
    /// The effect of a failed command on later phases. `None` if the file does not say.
    pub on_failure: Option<OnFailure>,
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

impl Version {
    /// Returns the version as the file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }
}

impl Phase {
    /// Returns the effect of a failure. Without `on-failure`, the next phase runs only after a failed build phase
    /// (<https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html>).
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure.clone().unwrap_or(match self.name {
            PhaseName::Build => OnFailure::Continue,
            PhaseName::Install | PhaseName::PreBuild | PhaseName::PostBuild => OnFailure::Abort,
        })
    }

    /// Returns the repetition that `on-failure` asks for.
    pub fn retry(&self) -> Option<&Retry> {
        match &self.on_failure {
            Some(OnFailure::Retry(retry)) => Some(retry),
            _ => None,
        }
    }
}

impl PhaseName {
    /// All phases, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Install, Self::PreBuild, Self::Build, Self::PostBuild];

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

impl From<PhaseName> for BuildPhaseName {
    fn from(name: PhaseName) -> Self {
        match name {
            PhaseName::Install => Self::Install,
            PhaseName::PreBuild => Self::PreBuild,
            PhaseName::Build => Self::Build,
            PhaseName::PostBuild => Self::PostBuild,
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
