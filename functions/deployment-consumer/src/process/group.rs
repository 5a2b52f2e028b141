//! The process group of a run.

use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// A process group that outlives each of its commands, so that its id is never reused for another group.
///
/// The group's first process waits for this process to end, in whatever way, and then kills the group.
pub(super) struct Group {
    id: Pid,
    _anchor: Child,
}

impl Group {
    pub(super) fn start(shell: &Path) -> io::Result<Self> {
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
        Ok(Self { id, _anchor: anchor })
    }

    pub(super) fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // The group exists as long as its first process is not waited for, which is until this is dropped. A group whose
        // processes have all exited is no error.
        let _ = rustix::process::kill_process_group(self.id, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
