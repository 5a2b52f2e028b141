//! The processes of a run.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;

#[cfg(target_os = "linux")]
use super::descendants::Members;
#[cfg(not(target_os = "linux"))]
use super::only_group::Members;
use super::survivor::{Survivor, Survivors};

/// The time after which processes that do not end are left, and reported.
const LIMIT: Duration = Duration::from_secs(10);
/// The time between two looks for orphans that have ended.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// A process group that outlives each of its commands, so that its id is never reused for another group, and the processes that have
/// left it.
///
/// The group's first process waits for this process to end, in whatever way, and then kills the group.
pub(super) struct Group {
    id: Pid,
    members: Arc<Members>,
    reaper: AbortHandle,
    survivors: Survivors,
    has_ended: bool,
    _anchor: Child,
}

impl Group {
    /// Starts the group of a run, whose commands start with this source folder in their environment.
    pub(super) fn start(shell: &Path, source: &Path, survivors: Survivors) -> io::Result<Self> {
        let variable = [b"CODEBUILD_SRC_DIR=", source.as_os_str().as_encoded_bytes()].concat();
        let (members, (id, anchor)) = Members::start(variable, || {
            let anchor = Command::new(shell)
                .args(["-c", "trap '' TERM HUP INT; read -r _; kill -KILL 0"])
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()?;
            let id = anchor.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it has not been waited for");
            Ok((id.as_raw_nonzero().get(), (id, anchor)))
        })?;
        let reaper = tokio::spawn(reap(members.clone())).abort_handle();
        Ok(Self { id, members, reaper, survivors, has_ended: false, _anchor: anchor })
    }

    /// Starts a command in the group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.process_group(self.id.as_raw_nonzero().get());
        self.members.spawn(|| {
            let child = command.spawn()?;
            Ok((child.id(), child))
        })
    }

    /// Sends a signal to the processes in the group.
    pub(super) fn signal(&self, signal: Signal) {
        // The group exists as long as its first process is not waited for, which is until this is dropped. A group whose
        // processes have all exited is no error.
        let _ = rustix::process::kill_process_group(self.id, signal);
    }

    /// Kills all processes of the run, also those that have left the group. Returns when none is left, or reports and returns those that
    /// do not end.
    pub(super) async fn end(&mut self) -> io::Result<Vec<Survivor>> {
        self.signal(Signal::KILL);
        let members = self.members.clone();
        let survivors = spawn_blocking(move || members.end(LIMIT)).await.map_err(io::Error::other)??;
        self.has_ended = true;
        self.survivors.report(&survivors);
        Ok(survivors)
    }
}

/// Kills the processes before it returns, so that nothing of a run is left when its invocation ends.
impl Drop for Group {
    fn drop(&mut self) {
        self.reaper.abort();
        if !self.has_ended {
            self.signal(Signal::KILL);
            // An error means that `/proc` can't be read, which says nothing about what is left.
            if let Ok(survivors) = self.members.end(LIMIT) {
                self.survivors.report(&survivors);
            }
        }
        self.members.forget();
    }
}

async fn reap(members: Arc<Members>) {
    loop {
        sleep(REAP_EVERY).await;
        let members = members.clone();
        // What can't be read now is read next time.
        let _ = spawn_blocking(move || members.reap()).await;
    }
}
