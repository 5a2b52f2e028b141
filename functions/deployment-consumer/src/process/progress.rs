//! The progress of a run: its phases and commands, with their outcomes and times.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::model::{BuildCommand, BuildPhase, BuildPhaseStatus, FailedCommand, MAX_COMMANDS};

use super::outcome::Exit;
use crate::buildspec::PhaseName;

/// The phases' progress.
pub(super) struct Progress {
    /// The phase that runs, or ran last.
    pub phase: PhaseName,
    /// Whether all commands have succeeded so far.
    pub succeeding: bool,
    /// The phases that have begun. The last one may still run.
    pub phases: Vec<BuildPhase>,
    /// Whether the last one still runs.
    is_running: bool,
    /// The command that runs.
    command: Option<Begun>,
    /// The number of commands that have begun.
    commands: u64,
}

/// A command that has begun.
struct Begun {
    /// The text, redacted.
    command: String,
    at: Timestamp,
}

impl Progress {
    /// Returns the progress of a run whose first phase has not begun.
    pub(super) fn start() -> Self {
        let phases = Vec::new();
        Self { phase: PhaseName::Install, succeeding: true, phases, is_running: false, command: None, commands: 0 }
    }

    /// Begins an attempt of the phase.
    pub(super) fn begin(&mut self, attempt: u32, now: Timestamp) {
        self.is_running = true;
        match self.phases.last_mut().filter(|_| attempt > 1) {
            Some(phase) => phase.attempts = attempt,
            None => self.phases.push(BuildPhase {
                name: self.phase.into(),
                status: BuildPhaseStatus::Succeeded,
                started_at: now,
                duration_ms: 0,
                attempts: attempt,
                failed_command: None,
                commands: Vec::new(),
            }),
        }
    }

    /// Ends an attempt of the phase.
    pub(super) fn end(&mut self, failed: Option<FailedCommand>, now: Timestamp) {
        let status = if failed.is_some() { BuildPhaseStatus::Failed } else { BuildPhaseStatus::Succeeded };
        self.stop(status, now);
        if let Some(phase) = self.phases.last_mut() {
            phase.failed_command = failed;
        }
    }

    /// Ends the phase that runs, if one does, and its command.
    pub(super) fn stop(&mut self, status: BuildPhaseStatus, now: Timestamp) {
        self.record(status, None, now);
        if let Some(phase) = self.phases.last_mut().filter(|_| self.is_running) {
            phase.status = status;
            phase.duration_ms = milliseconds(now.since(phase.started_at));
            phase.failed_command = None;
        }
        self.is_running = false;
    }

    /// Begins a command, whose text shows no secret.
    pub(super) fn begin_command(&mut self, command: &str, now: Timestamp) {
        self.commands += 1;
        self.command = Some(Begun { command: BuildCommand::text(command), at: now });
    }

    /// Ends the command that runs. Returns the time that it took.
    pub(super) fn end_command(&mut self, exit: Exit, now: Timestamp) -> Duration {
        let status = match exit {
            Exit::Code(0) => BuildPhaseStatus::Succeeded,
            Exit::Code(_) | Exit::Signal(_) => BuildPhaseStatus::Failed,
        };
        self.record(status, Some(exit), now)
    }

    fn record(&mut self, status: BuildPhaseStatus, exit: Option<Exit>, now: Timestamp) -> Duration {
        let Some((Begun { command, at }, phase)) = self.command.take().zip(self.phases.last_mut()) else {
            return Duration::ZERO;
        };
        let duration = now.since(at);
        // A phase with many attempts keeps no more than can be shown.
        if phase.commands.len() == MAX_COMMANDS {
            phase.commands.remove(0);
        }
        phase.commands.push(BuildCommand {
            number: self.commands,
            phase: phase.name,
            attempt: phase.attempts,
            command,
            status,
            exit_code: exit.and_then(Exit::code),
            signal: exit.and_then(Exit::signal),
            started_at: at,
            duration_ms: milliseconds(duration),
        });
        duration
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
