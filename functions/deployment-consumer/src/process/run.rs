//! One run of a buildspec: its phases, its limits and its artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::Stream;
use redaction::Redaction;
use shared::clock::Clock;
use shared::model::{BuildPhase, BuildPhaseStatus, FailedCommand};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::artifacts::{Artifact, collect};
use super::outcome::{Exit, Outcome, RunError};
use super::output::Lines;
use super::progress::{Progress, milliseconds};
use super::recent::Recent;
use super::session::{Session, search_path};
use super::survivor::{Survivor, Survivors};
use super::versions;
use crate::beneath::Folder;
use crate::buildspec::{Artifacts, Buildspec, OnFailure, Phase, PhaseName, Retry};

/// One run of a buildspec. It sends its lines, redacted and without line ends, into a channel as they come.
pub struct Run<'a> {
    /// The commands to run.
    pub buildspec: &'a Buildspec,
    /// The source folder, in which the commands start. Its path is absolute.
    pub source: &'a Folder,
    /// The absolute path of an empty folder outside of the source. It holds the commands' home and temporary files, and
    /// the state that one shell passes to the next.
    pub scratch: &'a Path,
    /// The deployment's own variables, which override the buildspec's.
    pub variables: &'a BTreeMap<String, String>,
    /// Variables that nothing overrides.
    pub reserved: &'a BTreeMap<String, String>,
    /// The values that the log must not show.
    pub redaction: Redaction,
    /// The clock that phases and commands are measured by.
    pub clock: Clock,
    /// The time limit of all phases together.
    pub time_limit: Duration,
    /// The time between SIGTERM and SIGKILL when the time limit is reached or the run is canceled.
    pub grace: Duration,
    /// The receiver of the processes that can't be ended.
    pub survivors: Survivors,
}

/// The first command that failed.
struct Failed {
    phase: PhaseName,
    command: String,
    exit: Exit,
    duration: Duration,
    /// Whether the `on-failure` of its phase runs the phase again after such a failure.
    is_retried: bool,
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

impl Failed {
    fn command(&self) -> FailedCommand {
        let (exit_code, signal) = (self.exit.code(), self.exit.signal());
        FailedCommand::new(&self.command, exit_code, signal, Some(milliseconds(self.duration)))
    }
}

impl Run<'_> {
    /// Runs the phases and ends every process that they started, also in the background. Dropping the future kills the
    /// processes. Reports processes that can't be ended to [`Self::survivors`]. The outcome does not depend on them.
    ///
    /// Returns the outcome, and the phases that have begun.
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
    ) -> Result<(Outcome, Vec<BuildPhase>), RunError> {
        let lines = Lines { sender: lines, redaction: self.redaction.clone(), recent: Recent::default() };
        let environment = self.environment();
        let (source, survivors) = (self.source.path(), self.survivors.clone());
        let mut session = Session::start(self.buildspec, source, self.scratch, environment, lines.clone(), survivors)?;
        self.say_differences(&lines).await;
        let mut progress = Progress::start();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Canceled,
            () = sleep(self.time_limit) => Ended::TimedOut,
            finished = self.phases(&mut session, &mut progress) => Ended::Finished(finished),
        };
        if !matches!(ended, Ended::Finished(_)) {
            session.terminate(self.grace).await;
        }
        let survivors = session.kill().await?;
        if !survivors.is_empty() {
            let names: Vec<_> = survivors.iter().map(Survivor::to_string).collect();
            lines.say(&format!("Processes of the build that could not be ended: {}", names.join(", "))).await;
        }
        let outcome = match ended {
            Ended::Finished(end) => self.finish(end?, &lines).await?,
            Ended::TimedOut => {
                progress.stop(BuildPhaseStatus::TimedOut, self.clock.now());
                lines.say(&format!("The build was stopped after {} s.", self.time_limit.as_secs_f64())).await;
                Outcome::TimedOut { phase: progress.phase, after: self.time_limit }
            }
            Ended::Canceled => {
                progress.stop(BuildPhaseStatus::Stopped, self.clock.now());
                Outcome::Canceled
            }
        };
        Ok((outcome, progress.phases))
    }

    /// Returns the home folder of the commands.
    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    /// Returns the variables that the first command finds, for the patterns of files.
    pub(crate) fn variables_at_start(&self) -> BTreeMap<String, String> {
        let mut variables = self.buildspec.env.clone();
        variables.extend(self.variables.clone());
        variables.extend(self.reserved.clone());
        variables.insert("CODEBUILD_SRC_DIR".to_owned(), self.source.path().to_string_lossy().into_owned());
        variables.entry("HOME".to_owned()).or_insert_with(|| self.home().to_string_lossy().into_owned());
        variables
    }

    pub(super) fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut environment = BTreeMap::from([
            ("PATH".into(), search_path()),
            ("HOME".into(), self.home().into()),
            ("TMPDIR".into(), self.scratch.join("tmp").into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("CI".into(), "true".into()),
        ]);
        for variables in [&self.buildspec.env, self.variables, self.reserved] {
            environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        }
        environment.insert("CODEBUILD_SRC_DIR".into(), self.source.path().into());
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
            let failure = self.attempts(phase, session, progress).await?;
            let abort = failure.is_some() && phase.on_failure() != OnFailure::Continue;
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

    /// Runs a phase, and again after each failure that its `on-failure` names. Each attempt starts in the directory and with the
    /// variables of the first one.
    async fn attempts(
        &self,
        phase: &Phase,
        session: &mut Session,
        progress: &mut Progress,
    ) -> Result<Option<Failed>, RunError> {
        let times = phase.retry().map_or(0, |retry| retry.times);
        let (succeeding, start) = (progress.succeeding, session.keep().await);
        for attempt in 1.. {
            session.lines.say(&format!("Entering phase {}", phase.name)).await;
            progress.begin(attempt, self.clock.now());
            let failure = self.phase(phase, session, progress).await?;
            progress.end(failure.as_ref().map(Failed::command), self.clock.now());
            let state = if failure.is_none() { "SUCCEEDED" } else { "FAILED" };
            session.lines.say(&format!("Phase complete: {} State: {state}", phase.name)).await;
            let Some(failed) = failure else { break };
            if attempt > times || !failed.is_retried {
                if let Some(sentence) = phase.retry().and_then(|retry| why_not_again(retry, &failed)) {
                    session.lines.say(&sentence).await;
                }
                return Ok(Some(failed));
            }
            session.lines.say(&format!("Running the phase again: attempt {} of {}", attempt + 1, times + 1)).await;
            progress.succeeding = succeeding;
            if let Some(start) = &start {
                session.go_back(start).await;
            }
        }
        Ok(None)
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
                session.lines.recent.take();
                progress.begin_command(&self.redaction.redact(command), self.clock.now());
                let status = session.run(command, progress.succeeding).await?;
                let exit = Exit::of(status);
                let duration = progress.end_command(exit, self.clock.now());
                if status.success() {
                    continue;
                }
                session.lines.say(&format!("Command did not exit successfully: {exit}")).await;
                progress.succeeding = false;
                if failed.is_none() {
                    let printed = session.lines.recent.take();
                    let command = self.redaction.redact(command).into_owned();
                    let message = format!("Error while executing command: {command}. Reason: {exit}");
                    let lines = || printed.iter().map(String::as_str).chain([message.as_str()]);
                    let is_retried = phase.retry().is_some_and(|retry| retry.matches(lines()));
                    failed = Some(Failed { phase: phase.name, command, exit, duration, is_retried });
                }
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
        if let Some(Failed { phase, command, exit, .. }) = failed {
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
        let (selection, unusable) = artifacts.select(self.source.path(), values);
        for why in unusable {
            lines.say(&format!("Left out of the artifacts: {why}")).await;
        }
        let source = self.source.try_clone().map_err(RunError::Process)?;
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

/// Returns a sentence about a failed phase that is not run again although its `on-failure` can run it again.
fn why_not_again(retry: &Retry, failed: &Failed) -> Option<String> {
    let pattern = retry.pattern().filter(|_| !failed.is_retried)?;
    Some(format!("The phase is not run again: no line of the failed command matches {pattern}"))
}
