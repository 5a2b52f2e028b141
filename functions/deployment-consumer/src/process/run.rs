//! One run of a buildspec: its phases, its limits and its artifacts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use archive::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::artifacts::collect;
use super::outcome::{Exit, Outcome, RunError};
use super::output::Lines;
use super::session::{Session, search_path};
use crate::buildspec::{Buildspec, OnFailure, Phase, PhaseName};
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

enum Ended {
    Finished(Result<Option<Outcome>, RunError>),
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
        let mut session = Session::start(self.buildspec.shell, self.source, self.scratch, environment, lines.clone())?;
        for note in &self.buildspec.notes {
            lines.say(note).await;
        }
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
            Ended::Finished(failed) => match failed? {
                Some(failed) => Ok(failed),
                None => self.collect_artifacts(&lines).await,
            },
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

    /// Runs the phases until a failure aborts the build, and returns the first failure.
    async fn phases(&self, session: &mut Session, progress: &mut Progress) -> Result<Option<Outcome>, RunError> {
        let mut failed = None;
        for phase in &self.buildspec.phases {
            progress.phase = phase.name;
            session.lines.say(&format!("Entering phase {}", phase.name)).await;
            let failure = self.phase(phase, session, progress).await?;
            let state = if failure.is_none() { "SUCCEEDED" } else { "FAILED" };
            session.lines.say(&format!("Phase complete: {} State: {state}", phase.name)).await;
            let abort = failure.is_some() && phase.on_failure == OnFailure::Abort;
            failed = failed.or(failure);
            if abort {
                break;
            }
        }
        Ok(failed)
    }

    async fn phase(
        &self,
        phase: &Phase,
        session: &mut Session,
        progress: &mut Progress,
    ) -> Result<Option<Outcome>, RunError> {
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
                failed = failed.or(Some(Outcome::Failed { phase: phase.name, command, exit }));
                break;
            }
        }
        Ok(failed)
    }

    async fn collect_artifacts(&self, lines: &Lines) -> Result<Outcome, RunError> {
        let Some(artifacts) = self.buildspec.artifacts.clone() else {
            return Ok(Outcome::Succeeded { artifacts: Vec::new() });
        };
        let source = self.source.to_owned();
        let (artifacts, left_out) = tokio::task::spawn_blocking(move || collect(&source, &artifacts))
            .await
            .map_err(|error| RunError::Process(error.into()))?;
        for sentence in left_out {
            lines.say(&sentence).await;
        }
        lines.say(&format!("Found {} artifact file(s)", artifacts.len())).await;
        if artifacts.is_empty() { Ok(Outcome::NoArtifacts) } else { Ok(Outcome::Succeeded { artifacts }) }
    }
}
