//! Reports of CodeBuild about a build, from an event or a query.

use std::collections::BTreeMap;

use aws_sdk_codebuild::types::Build;
use redaction::REDACTED;
use shared::clock::Timestamp;
use shared::model::{
    BuildId, BuildPhase, BuildPhaseName, BuildPhaseStatus, FailedCommand, Failure, FailureCode, Outputs, Results,
    Transition,
};

use crate::error::Error;
use crate::stored::StoredFiles;

/// The beginning of CodeBuild's message about a command that failed.
const COMMAND: &str = "Error while executing command: ";

/// The state of one build.
#[derive(Clone, Debug)]
pub struct Report {
    /// The build's id in CodeBuild.
    pub build: BuildId,
    /// The attempt of the deployment that the build belongs to.
    pub attempt: u32,
    /// The status at the time of the report.
    pub status: BuildStatus,
    /// The phases so far, in their order.
    pub phases: Vec<PhaseReport>,
    /// A time at which the build had left CodeBuild's queue, at best that at which it did. `None` if it waits there.
    pub left_queue_at: Option<Timestamp>,
    /// The values of the buildspec's exported variables, once the build has ended.
    pub exported: BTreeMap<String, String>,
}

/// A build's status (<https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Build.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStatus {
    /// The build waits for a machine or runs.
    InProgress,
    /// Every phase succeeded.
    Succeeded,
    /// A phase failed.
    Failed,
    /// CodeBuild itself failed.
    Fault,
    /// A request stopped the build.
    Stopped,
    /// The build exceeded its time limit, or waited too long for a machine.
    TimedOut,
    /// CodeBuild has no record of the build.
    Missing,
}

/// The state of one phase.
#[derive(Clone, Debug)]
pub struct PhaseReport {
    /// CodeBuild's name of the phase: `DOWNLOAD_SOURCE`, `BUILD`, …
    pub phase: String,
    /// Whether the phase ended without success.
    pub failed: bool,
    /// Whether the phase ended with success.
    pub succeeded: bool,
    /// CodeBuild's codes and messages about the phase.
    pub context: String,
    /// The status, once the phase has ended.
    status: Option<BuildPhaseStatus>,
    /// The time at which the phase began, and the seconds that it took, as far as CodeBuild tells.
    started_at: Option<Timestamp>,
    seconds: u64,
}

impl BuildStatus {
    /// # Errors
    /// Fails for an unknown status.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "IN_PROGRESS" => Self::InProgress,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            "FAULT" => Self::Fault,
            "STOPPED" => Self::Stopped,
            "TIMED_OUT" => Self::TimedOut,
            other => return Err(Error::Unknown(format!("the status {other:?}"))),
        })
    }
}

impl PhaseReport {
    /// Creates the report of a phase, which has no `status` while it runs.
    pub fn new<'a>(phase: &str, status: Option<&str>, contexts: impl IntoIterator<Item = &'a str>) -> Self {
        // A phase without messages has the context ": ".
        let contexts = contexts.into_iter().map(|context| context.trim_matches([':', ' '])).filter(|c| !c.is_empty());
        Self {
            phase: phase.to_owned(),
            failed: status.is_some_and(|status| status != "SUCCEEDED"),
            succeeded: status == Some("SUCCEEDED"),
            context: contexts.collect::<Vec<_>>().join("; "),
            status: status.and_then(phase_status),
            started_at: None,
            seconds: 0,
        }
    }

    /// Returns whether the build waits for a machine in this phase.
    fn is_before_start(&self) -> bool {
        matches!(self.phase.as_str(), "SUBMITTED" | "QUEUED")
    }

    /// Returns whether the build has left the queue in this phase, or at its end.
    fn is_after_queue(&self) -> bool {
        !self.is_before_start() || (self.phase == "QUEUED" && self.succeeded)
    }

    /// Returns the report with the time at which the phase began, and the seconds that it took.
    #[must_use]
    pub fn taking(self, started_at: Option<Timestamp>, seconds: Option<u64>) -> Self {
        Self { started_at, seconds: seconds.unwrap_or_default(), ..self }
    }

    /// Returns the phase of the buildspec, once it has ended. Other phases are CodeBuild's own.
    fn of_buildspec(&self) -> Option<BuildPhase> {
        Some(BuildPhase {
            name: BuildPhaseName::of_codebuild(&self.phase)?,
            status: self.status?,
            started_at: self.started_at?,
            duration_ms: self.seconds.saturating_mul(1000),
            attempts: 1,
            failed_command: self.failed_command(),
            commands: Vec::new(),
        })
    }

    fn failed_command(&self) -> Option<FailedCommand> {
        let (_, command) = self.context.split_once(COMMAND)?;
        let (command, reason) = command.rsplit_once(". Reason: ")?;
        let exit_code = reason.strip_prefix("exit status ").and_then(|code| code.parse().ok());
        Some(FailedCommand::new(command, exit_code, None, None))
    }
}

impl Report {
    /// Returns the report of a build that was just started.
    pub(crate) fn started(build: BuildId, attempt: u32) -> Self {
        Self {
            build,
            attempt,
            status: BuildStatus::InProgress,
            phases: Vec::new(),
            left_queue_at: None,
            exported: BTreeMap::new(),
        }
    }

    /// Returns the report of a build that CodeBuild does not know.
    pub fn missing(build: BuildId, attempt: u32) -> Self {
        Self { status: BuildStatus::Missing, ..Self::started(build, attempt) }
    }

    pub(crate) fn of_build(id: BuildId, attempt: u32, build: &Build) -> Result<Self, Error> {
        let status = build.build_status().map_or("", |status| status.as_str());
        let phases = build.phases().iter().map(|phase| {
            let contexts: Vec<_> = phase
                .contexts()
                .iter()
                .map(|context| format!("{}: {}", context.status_code().unwrap_or(""), context.message().unwrap_or("")))
                .collect();
            let name = phase.phase_type().map_or("", |phase| phase.as_str());
            let status = phase.phase_status().map(|status| status.as_str());
            let started_at = phase.start_time().and_then(|time| time.to_millis().ok()).map(Timestamp::from_millis);
            let seconds = phase.duration_in_seconds().and_then(|seconds| seconds.try_into().ok());
            PhaseReport::new(name, status, contexts.iter().map(String::as_str)).taking(started_at, seconds)
        });
        let exported = build.exported_environment_variables().iter();
        let exported = exported.filter_map(|one| Some((one.name()?.to_owned(), one.value()?.to_owned()))).collect();
        let phases: Vec<_> = phases.collect();
        let first = phases.iter().position(|phase| !phase.is_before_start());
        let left_queue_at = first.and_then(|first| build.phases()[first].start_time()?.to_millis().ok());
        Ok(Self {
            build: id,
            attempt,
            status: BuildStatus::parse(status)?,
            phases,
            left_queue_at: left_queue_at.map(Timestamp::from_millis),
            exported,
        })
    }

    /// Returns the report of a build by an event of this time.
    pub fn of_event(
        build: BuildId,
        attempt: u32,
        status: BuildStatus,
        phases: Vec<PhaseReport>,
        exported: BTreeMap<String, String>,
        at: Timestamp,
    ) -> Self {
        let has_started = phases.iter().any(PhaseReport::is_after_queue);
        Self { build, attempt, status, phases, left_queue_at: has_started.then_some(at), exported }
    }

    /// Returns whether the build has not ended yet.
    pub fn is_running(&self) -> bool {
        self.status == BuildStatus::InProgress
    }

    /// Returns the results of the build. CodeBuild masks no value, so the variables that are secret are masked by their names.
    pub(crate) fn results(&self, stored: &StoredFiles) -> Results {
        let results = Results {
            tests: stored.tests.clone(),
            phases: self.phases.iter().filter_map(PhaseReport::of_buildspec).collect(),
            artifacts_refused: stored.are_refused(),
            ..Results::default()
        };
        if self.status != BuildStatus::Succeeded || stored.are_refused() {
            return results;
        }
        let exported = self.exported.iter().map(|(name, value)| match stored.secret.contains(name) {
            true => (name.clone(), REDACTED.to_owned()),
            false => (name.clone(), value.clone()),
        });
        Results { outputs: Outputs::of(exported).kept, ..results }
    }

    /// Returns the first phase that failed. It is the cause, because POST_BUILD runs even after a failed BUILD.
    pub(crate) fn failed_phase(&self) -> Option<&PhaseReport> {
        self.phases.iter().find(|phase| phase.failed)
    }

    /// Returns the transition by which the build ends its deployment, or `None` while the build runs.
    pub(crate) fn end(&self) -> Option<Transition> {
        let phase = self.failed_phase();
        let explained = |text: &str| match phase {
            Some(PhaseReport { phase, context, .. }) if context.is_empty() => format!("{text} in phase {phase}"),
            Some(PhaseReport { phase, context, .. }) => format!("{text} in phase {phase}: {context}"),
            None => text.to_owned(),
        };
        Some(Transition::Fail(match self.status {
            BuildStatus::InProgress => return None,
            BuildStatus::Succeeded => return Some(Transition::Succeed),
            BuildStatus::TimedOut if phase.is_some_and(PhaseReport::is_before_start) => Failure::no_machine(),
            BuildStatus::TimedOut => Failure::new(FailureCode::TimedOut, explained("The time limit was reached")),
            BuildStatus::Stopped => Failure::new(FailureCode::BuildStopped, explained("The build was stopped")),
            BuildStatus::Fault => Failure::new(FailureCode::BuildFault, explained("CodeBuild failed")),
            BuildStatus::Missing => Failure::new(FailureCode::BuildFault, "CodeBuild has no record of the build"),
            BuildStatus::Failed => match phase {
                Some(phase) => failed(phase, explained),
                None => Failure::new(FailureCode::BuildFault, "CodeBuild gave no reason for the failure of the build"),
            },
        }))
    }
}

/// Returns the failure that a failed phase means
/// (<https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html>).
fn failed(PhaseReport { phase, context, .. }: &PhaseReport, explained: impl Fn(&str) -> String) -> Failure {
    match phase.as_str() {
        "INSTALL" | "PRE_BUILD" | "BUILD" | "POST_BUILD" => {
            Failure::new(FailureCode::CommandFailed, explained("A command failed"))
        }
        // CodeBuild reads the buildspec in the phase that downloads the source.
        "DOWNLOAD_SOURCE" if context.contains("YAML_FILE_ERROR") => {
            Failure::new(FailureCode::BuildspecInvalid, explained("CodeBuild can't read buildspec.yml"))
        }
        "DOWNLOAD_SOURCE" => {
            Failure::new(FailureCode::SourceUnavailable, explained("CodeBuild could not download the source"))
        }
        "UPLOAD_ARTIFACTS" if context.contains("no matching") => {
            Failure::new(FailureCode::ArtifactsMissing, "No file matches the buildspec's artifacts")
        }
        _ => Failure::new(FailureCode::BuildFault, explained("CodeBuild failed")),
    }
}

/// Returns the status of a phase that has ended.
fn phase_status(text: &str) -> Option<BuildPhaseStatus> {
    Some(match text {
        "SUCCEEDED" => BuildPhaseStatus::Succeeded,
        "FAILED" | "FAULT" | "CLIENT_ERROR" => BuildPhaseStatus::Failed,
        "TIMED_OUT" => BuildPhaseStatus::TimedOut,
        "STOPPED" => BuildPhaseStatus::Stopped,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_the_buildspec_have_their_outcome_and_the_command_that_failed() {
        let phase = |name, status, context| {
            PhaseReport::new(name, status, [context]).taking(Some(Timestamp::from_millis(1000)), Some(7))
        };
        let failed = "COMMAND_EXECUTION_ERROR: Error while executing command: make. Reason: it. Reason: exit status 2";
        let of = |name, status, context| phase(name, status, context).of_buildspec();
        let found = of("BUILD", Some("FAILED"), failed).unwrap();
        assert_eq!((found.name, found.status), (BuildPhaseName::Build, BuildPhaseStatus::Failed));
        assert_eq!((found.started_at.as_millis(), found.duration_ms, found.attempts), (1000, 7000, 1));
        assert_eq!(found.failed_command, Some(FailedCommand::new("make. Reason: it", Some(2), None, None)));
        assert_eq!(of("INSTALL", Some("SUCCEEDED"), ": ").unwrap().failed_command, None);
        assert_eq!(of("POST_BUILD", Some("STOPPED"), "").unwrap().status, BuildPhaseStatus::Stopped);
        assert_eq!(of("PRE_BUILD", Some("TIMED_OUT"), "").unwrap().status, BuildPhaseStatus::TimedOut);
        assert_eq!(of("DOWNLOAD_SOURCE", Some("SUCCEEDED"), ""), None);
        assert_eq!(of("BUILD", None, ""), None, "it has not ended");
        assert_eq!(PhaseReport::new("BUILD", Some("SUCCEEDED"), []).of_buildspec(), None, "CodeBuild tells no time");
    }

    fn report(status: BuildStatus, phases: &[(&str, Option<&str>, &str)]) -> Report {
        let phases = phases.iter().map(|(phase, status, context)| PhaseReport::new(phase, *status, [*context]));
        let build = "builds:2d5b9a1c-0a4e-4a50-8f7e-6a6f3f0f5b11".parse().unwrap();
        Report::of_event(build, 1, status, phases.collect(), BTreeMap::new(), Timestamp::from_millis(1))
    }

    #[track_caller]
    fn ends(report: &Report, code: &str, message: &str) {
        let Some(Transition::Fail(failure)) = report.end() else { panic!("{report:?} is no failure") };
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
    }

    #[test]
    fn a_build_that_runs_has_no_end_and_one_that_succeeded_has() {
        let phases = [("SUBMITTED", Some("SUCCEEDED"), ": "), ("QUEUED", None, "")];
        assert!(report(BuildStatus::InProgress, &phases).end().is_none());
        assert!(matches!(report(BuildStatus::Succeeded, &phases).end(), Some(Transition::Succeed)));
    }

    #[test]
    fn a_build_has_left_the_queue_in_the_phase_after_it_or_when_it_has_ended() {
        let at = |phases: &[_]| report(BuildStatus::InProgress, phases).left_queue_at;
        let submitted = ("SUBMITTED", Some("SUCCEEDED"), "");
        for queued in [&[submitted][..], &[submitted, ("QUEUED", None, "")], &[("QUEUED", Some("TIMED_OUT"), "")]] {
            assert_eq!(at(queued), None, "{queued:?}");
        }
        for left in [&[submitted, ("QUEUED", Some("SUCCEEDED"), "")][..], &[submitted, ("PROVISIONING", None, "")]] {
            assert_eq!(at(left), Some(Timestamp::from_millis(1)), "{left:?}");
        }
    }

    #[test]
    fn the_first_phase_that_failed_says_why() {
        let command = "COMMAND_EXECUTION_ERROR: Error while executing command: make. Reason: exit status 2";
        let phases = [
            ("INSTALL", Some("SUCCEEDED"), ": "),
            ("BUILD", Some("FAILED"), command),
            ("POST_BUILD", Some("FAILED"), "another"),
            ("COMPLETED", None, ""),
        ];
        let message = format!("A command failed in phase BUILD: {command}");
        ends(&report(BuildStatus::Failed, &phases), "command_failed", &message);
        for (phase, context, code, message) in [
            (
                "DOWNLOAD_SOURCE",
                "CLIENT_ERROR: AccessDenied",
                "source_unavailable",
                "CodeBuild could not download the source in phase DOWNLOAD_SOURCE: CLIENT_ERROR: AccessDenied",
            ),
            (
                "DOWNLOAD_SOURCE",
                "YAML_FILE_ERROR: stat buildspec.yml",
                "buildspec_invalid",
                "CodeBuild can't read buildspec.yml in phase DOWNLOAD_SOURCE: YAML_FILE_ERROR: stat buildspec.yml",
            ),
            (
                "UPLOAD_ARTIFACTS",
                "CLIENT_ERROR: no matching artifact paths found",
                "artifacts_missing",
                "No file matches the buildspec's artifacts",
            ),
            ("UPLOAD_ARTIFACTS", "", "build_fault", "CodeBuild failed in phase UPLOAD_ARTIFACTS"),
            ("PROVISIONING", ": ", "build_fault", "CodeBuild failed in phase PROVISIONING"),
        ] {
            ends(&report(BuildStatus::Failed, &[(phase, Some("FAILED"), context)]), code, message);
        }
    }

    #[test]
    fn every_other_end_has_its_code() {
        let phases = [("BUILD", Some("TIMED_OUT"), "")];
        ends(&report(BuildStatus::TimedOut, &phases), "timed_out", "The time limit was reached in phase BUILD");
        let phases = [("QUEUED", Some("TIMED_OUT"), "BUILD_TIMED_OUT: Build has timed out.")];
        let message = "AWS CodeBuild had no machine for the build within 60 minutes";
        ends(&report(BuildStatus::TimedOut, &phases), "queue_deadline", message);
        let phases = [("BUILD", Some("STOPPED"), "")];
        ends(&report(BuildStatus::Stopped, &phases), "build_stopped", "The build was stopped in phase BUILD");
        ends(&report(BuildStatus::Fault, &[]), "build_fault", "CodeBuild failed");
        ends(&report(BuildStatus::Failed, &[]), "build_fault", "CodeBuild gave no reason for the failure of the build");
        ends(&report(BuildStatus::Missing, &[]), "build_fault", "CodeBuild has no record of the build");
        assert!(BuildStatus::parse("DREAMING").is_err());
    }
}
