//! The runner `process`: runs a buildspec as child processes of this one.
//!
//! CodeBuild runs all commands of version 0.2 in one shell. Here each command has its own shell, which takes over the
//! working directory and the variables (exported or not, and under bash the functions) of the previous one. So `exit`,
//! `set -e` or a syntax error ends a command rather than the build, and the failed command is always known. Shell
//! options, traps and redirections by `exec` do not carry over. In version 0.1 nothing does.
//!
//! A child has a clean environment, but it runs as the same user: it is not a sandbox. [`hide_environment`] keeps it
//! from reading this process's environment in `/proc`. On Linux, no process that a run started is left when the run has ended. A
//! process that can't be ended is reported as a [`Survivor`].

mod artifacts;
#[cfg(target_os = "linux")]
mod descendants;
mod evaluation;
mod group;
#[cfg(not(target_os = "linux"))]
mod only_group;
mod outcome;
mod output;
mod progress;
mod recent;
mod run;
mod session;
mod shell_state;
mod survivor;
mod versions;

pub use artifacts::Artifact;
#[cfg(target_os = "linux")]
pub use descendants::own_all_descendants;
#[cfg(not(target_os = "linux"))]
pub use only_group::own_all_descendants;
pub use outcome::{Exit, Outcome, RunError};
pub use output::MAX_LINE_BYTES;
pub use run::Run;
pub use survivor::{Survivor, Survivors};

pub use crate::beneath::Folder;

/// Hides the environment and the memory of this process from other processes of its user, such as the commands that it
/// runs. The effect lasts until this process ends.
///
/// On Linux, other processes could read them in `/proc`. Marking the process as not dumpable (`PR_SET_DUMPABLE`)
/// prevents that, and also prevents core files. On other systems there is nothing to hide. Root can still read
/// everything.
pub fn hide_environment() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
