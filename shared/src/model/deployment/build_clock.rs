//! The clock of a run in CodeBuild. The time limit counts from the moment at which the build leaves CodeBuild's queue, whose time has
//! a limit of its own.

use std::time::Duration;

use super::settings::TIME_LIMIT_SECONDS;
use super::{BUILD_REPORTS_WITHIN, Deployment};
use crate::clock::Timestamp;
use crate::model::{BuildId, Failure, FailureCode, Status};

/// The maximum time that a build waits for a machine. CodeBuild's own maximum is eight hours.
pub const BUILD_QUEUE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// The time after which a build is asked about again that has not stopped at its limit.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

impl Deployment {
    /// Returns the time at which the deployment's build, without news, is asked about: early enough to keep a short time limit.
    pub fn next_question(&self, now: Timestamp) -> Timestamp {
        let silence = now.plus(BUILD_REPORTS_WITHIN.min(self.run_limit()));
        match self.deadline {
            Some(deadline) if deadline > now => silence.min(deadline),
            _ => now.plus(STOPS_WITHIN),
        }
    }

    /// Returns whether the deployment's build waits for a machine in CodeBuild's queue.
    pub fn waits_for_machine(&self) -> bool {
        self.status == Status::InProgress && self.build.is_some() && self.build_started_at.is_none()
    }

    /// Returns the failure of a build that was stopped because its deadline had passed. `phase` says where it was.
    pub fn build_deadline_failure(&self, phase: Option<&str>) -> Failure {
        if self.build_started_at.is_none() {
            return Failure::no_machine();
        }
        let at = phase.map(|phase| format!(" in phase {phase}")).unwrap_or_default();
        Failure::new(
            FailureCode::TimedOut,
            format!("The time limit of {} s was reached{at}", self.run_limit().as_secs()),
        )
    }

    /// Hands the deployment over to a build, which waits in CodeBuild's queue.
    pub(super) fn enter_build_queue(&mut self, build: BuildId, now: Timestamp) {
        self.lease_until = None;
        self.build = Some(build);
        self.build_started_at = None;
        self.deadline = Some(now.plus(BUILD_QUEUE_LIMIT));
        self.due_at = Some(self.next_question(now));
    }

    /// Starts the clock of the run at the time at which the build left CodeBuild's queue. A time outside of the claim is that of
    /// another clock.
    pub(super) fn leave_build_queue(&mut self, at: Timestamp, now: Timestamp) {
        let at = at.min(now).max(self.started_at.unwrap_or(now));
        self.build_started_at = Some(at);
        self.deadline = Some(at.plus(self.run_limit()));
        self.due_at = Some(self.next_question(now));
    }

    fn run_limit(&self) -> Duration {
        let seconds = self.run_limit_seconds.or(self.time_limit_seconds).unwrap_or(*TIME_LIMIT_SECONDS.end());
        Duration::from_secs(seconds.into())
    }
}
