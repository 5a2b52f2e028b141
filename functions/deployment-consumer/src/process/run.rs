//! One run of a buildspec: its phases, its limits and its artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use archive::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::artifacts::{Artifact, collect};
use super::outcome::{Exit, Outcome, RunError};
use super::output::Lines;
use super::session::{Session, search_path};
use super::versions;
use crate::buildspec::{Artifacts, Buildspec, OnFailure, Phase, PhaseName};
use crate::redaction::Redaction;

/// One run of a buildspec. It sends its lines, redacted and without line ends, into a channel as they come.
pub struct Run<'a> {
    /// The commands to run.
    pub buildspec: &'a Buildspec,
    /// The absolute path of the source folder, in which the commands start.
    pub source: &'a Path,
    /// The absolute path of an empty folder outside of the source. It holds the commands' home and temporary files, and
    /// the state that one shell passes to the next.
    pub scratch: &'a Path,
    /// The deployment's own variables, which override the buildspec's.
    pub variables: &'a BTreeMap<String, String>,
    /// Variables that nothing overrides.
    pub reserved: &'a BTreeMap<String, String>,
    /// The values that the log must not show.
    pub redaction: Redaction,
    /// The time limit of all phases together.
    pub time_limit: Duration,
    /// The time between SIGTERM and SIGKILL when the time limit is reached or the run is canceled.
    pub grace: Duration,
}

/// The phases' progress.
struct Progress {
    phase: PhaseName,
    succeeding: bool,
}

/// The first command that failed.
struct Failed {
    phase: PhaseName,
    command: String,
    exit: Exit,
}

/// The end of the phases.
struct PhasesEnd {
    failed: Option<Failed>,
    /// Whether a failure before the last phase ended the build.
    aborted: bool,
    /// The values of the variables that the buildspec needs after the last command.
    values: BTreeMap<String, String>,
}

enum Ended {
    Finished(Result<PhasesEnd, RunError>),
    TimedOut,
    Canceled,
}

impl Run<'_> {
    /// Runs the phases and ends every process that they started, also in the background. Dropping the future kills the
    /// processes.
    ///
    /// A slow receiver of `lines` slows the commands down; a receiver that is gone does not. `finally` commands do not
    /// run after a time-out or a cancelation.
    ///
    /// # Errors
    ///
    /// Fails for faults of this machine. A fault of the build is an [`Outcome`].
    pub async fn run(
        &self,
        lines: mpsc::Sender<(Stream, String)>,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RunError> {
        let lines = Lines { sender: lines, redaction: self.redaction.clone() };
        let environment = self.environment();
        let mut session = Session::start(self.buildspec, self.source, self.scratch, environment, lines.clone())?;
        self.say_differences(&lines).await;
        let mut progress = Progress { phase: PhaseName::Install, succeeding: true };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Canceled,
            () = sleep(self.time_limit) => Ended::TimedOut,
            finished = self.phases(&mut session, &mut progress) => Ended::Finished(finished),
        };
        if !matches!(ended, Ended::Finished(_)) {
            session.terminate(self.grace).await;
        }
        session.kill().await?;
        match ended {
            Ended::Finished(end) => self.finish(end?, &lines).await,
            Ended::TimedOut => {
                lines.say(&format!("The build was stopped after {} s.", self.time_limit.as_secs_f64())).await;
                Ok(Outcome::TimedOut { phase: progress.phase, after: self.time_limit })
            }
            Ended::Canceled => Ok(Outcome::Canceled),
        }
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut environment = BTreeMap::from([
            ("PATH".into(), search_path()),
            ("HOME".into(), self.scratch.join("home").into()),
            ("TMPDIR".into(), self.scratch.join("tmp").into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("CI".into(), "true".into()),
        ]);
        for variables in [&self.buildspec.env, self.variables, self.reserved] {
            environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        }
        environment.insert("CODEBUILD_SRC_DIR".into(), self.source.into());
        environment
    }

    /// Says what this runner does not do as the buildspec says.
    async fn say_differences(&self, lines: &Lines) {
        let is_root = rustix::process::geteuid().is_root();
        for Phase { name, run_as, .. } in &self.buildspec.phases {
            if let Some(user) = run_as
                && !(is_root && user == "root")
            {
                let key = name.key();
                lines
                    .say(&format!("`run-as: {user}` of phase {key} is ignored: commands run as the runner's user."))
                    .await;
            }
        }
        for phase in &self.buildspec.phases {
            for (name, wanted) in &phase.runtime_versions {
                lines.say(&versions::sentence(name, wanted).await).await;
            }
        }
        if self.buildspec.artifacts.as_ref().is_some_and(|artifacts| artifacts.enable_symlinks) {
            lines.say("`artifacts.enable-symlinks` is ignored: symbolic links are left out of the artifacts.").await;
        }
    }

    /// Runs the phases until a failure aborts the build, and returns the first failure.
    async fn phases(&self, session: &mut Session, progress: &mut Progress) -> Result<PhasesEnd, RunError> {
        let (mut failed, mut aborted) = (None, false);
        for phase in &self.buildspec.phases {
            progress.phase = phase.name;
            session.lines.say(&format!("Entering phase {}", phase.name)).await;
            let failure = self.phase(phase, session, progress).await?;
            let state = if failure.is_none() { "SUCCEEDED" } else { "FAILED" };
            session.lines.say(&format!("Phase complete: {} State: {state}", phase.name)).await;
            let abort = failure.is_some() && phase.on_failure() == OnFailure::Abort;
            failed = failed.or(failure);
            if abort {
                aborted = phase.name != PhaseName::PostBuild;
                break;
            }
        }
        let Buildspec { artifacts, exported, .. } = self.buildspec;
        let mut names: BTreeSet<&str> = exported.iter().map(String::as_str).collect();
        names.extend(artifacts.iter().flat_map(Artifacts::variables));
        Ok(PhasesEnd { failed, aborted, values: session.values(&names).await? })
    }

    async fn phase(
        &self,
        phase: &Phase,
        session: &mut Session,
        progress: &mut Progress,
    ) -> Result<Option<Failed>, RunError> {
        let mut failed = None;
        for commands in [&phase.commands, &phase.finally] {
            for command in commands {
                session.lines.say(&format!("Running command {command}")).await;
                let status = session.run(command, progress.succeeding).await?;
                if status.success() {
                    continue;
                }
                let exit = Exit::of(status);
                session.lines.say(&format!("Command did not exit successfully: {exit}")).await;
                progress.succeeding = false;
                let command = self.redaction.redact(command).into_owned();
                failed = failed.or(Some(Failed { phase: phase.name, command, exit }));
                break;
            }
        }
        Ok(failed)
    }

    /// Collects the results of the phases.
    async fn finish(&self, end: PhasesEnd, lines: &Lines) -> Result<Outcome, RunError> {
        let PhasesEnd { failed, aborted, values } = end;
        let Buildspec { artifacts, exported, .. } = self.buildspec;
        let artifacts = match artifacts {
            Some(artifacts) if !aborted => Some(self.collect_artifacts(artifacts, &values, lines).await?),
            _ => None,
        };
        if let Some(Failed { phase, command, exit }) = failed {
            return Ok(Outcome::Failed { phase, command, exit, artifacts: artifacts.unwrap_or_default() });
        }
        if artifacts.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Outcome::NoArtifacts);
        }
        for name in exported.iter().filter(|name| !values.contains_key(*name)) {
            lines.say(&format!("The variable {name} is not exported: it is not set.")).await;
        }
        let exported = values.into_iter().filter(|(name, _)| exported.contains(name)).collect();
        Ok(Outcome::Succeeded { artifacts: artifacts.unwrap_or_default(), exported })
    }

    async fn collect_artifacts(
        &self,
        artifacts: &Artifacts,
        values: &BTreeMap<String, String>,
        lines: &Lines,
    ) -> Result<Vec<Artifact>, RunError> {
        let (selection, unusable) = artifacts.select(self.source, values);
        for why in unusable {
            lines.say(&format!("Left out of the artifacts: {why}")).await;
        }
        let source = self.source.to_owned();
        let (artifacts, left_out) = tokio::task::spawn_blocking(move || collect(&source, &selection))
            .await
            .map_err(|error| RunError::Process(error.into()))?;
        for sentence in left_out {
            lines.say(&sentence).await;
        }
        lines.say(&format!("Found {} artifact file(s)", artifacts.len())).await;
        Ok(artifacts)
    }
}
