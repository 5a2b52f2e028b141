//! The processes of a run: one command at a time, and the background processes that commands leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs};

use archive::Stream;
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::outcome::RunError;
use super::output::{Lines, Output};
use super::shell_state::{Kept, ShellState};
use crate::buildspec::{Buildspec, Shell};

/// The time to wait for output from pipes that are still open after every process of the group was killed. Only a
/// process that left the group (`setsid`) can hold them open.
const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// The time that a shell has to tell the values of variables. Files that it reads were written by commands.
const VALUES_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Session {
    pub lines: Lines,
    shell: PathBuf,
    source: PathBuf,
    group: Group,
    state: ShellState,
    /// The running command.
    command: Option<Child>,
    /// The readers of output that is still open.
    outputs: Vec<JoinHandle<()>>,
}

impl Session {
    /// Starts a session whose first command runs in `source` with `environment`.
    pub(super) fn start(
        buildspec: &Buildspec,
        source: &Path,
        scratch: &Path,
        environment: BTreeMap<OsString, OsString>,
        lines: Lines,
    ) -> Result<Self, RunError> {
        let state = (buildspec.shell, buildspec.version);
        let program = match buildspec.shell {
            Shell::Sh => "sh",
            Shell::Bash => "bash",
        };
        let program = installed(program).ok_or(RunError::NoShell(program))?;
        for folder in ["home", "tmp"] {
            fs::create_dir_all(scratch.join(folder)).map_err(RunError::Scratch)?;
        }
        Ok(Self {
            lines,
            group: Group::start(&program).map_err(RunError::Process)?,
            shell: program,
            source: source.to_owned(),
            state: ShellState::new(state, source, environment, scratch).map_err(RunError::Scratch)?,
            command: None,
            outputs: Vec::new(),
        })
    }

    /// Runs one command to its end. `succeeding` says whether all commands before it succeeded.
    pub(super) async fn run(&mut self, command: &str, succeeding: bool) -> Result<ExitStatus, RunError> {
        if !self.state.directory.is_dir() {
            self.lines.say("The working directory is gone; the command starts in the source folder.").await;
            self.state.directory = self.source.clone();
        }
        let mut child = Command::new(&self.shell)
            .arg("-c")
            .arg(self.state.script(command, succeeding))
            .current_dir(&self.state.directory)
            .env_clear()
            .envs(&self.state.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(self.group.id())
            .spawn()
            .map_err(RunError::Process)?;

        let exited = CancellationToken::new();
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let silent = [self.read(Stream::Stdout, stdout, &exited), self.read(Stream::Stderr, stderr, &exited)];
        let status = self.command.insert(child).wait().await.map_err(RunError::Process)?;
        self.command = None;
        exited.cancel();
        for silent in silent {
            // The error means that the reader has ended.
            let _ = silent.await;
        }
        self.outputs.retain(|output| !output.is_finished());
        self.state.take_over().map_err(RunError::Scratch)?;
        Ok(status)
    }

    /// Keeps the working directory and the variables, for [`Self::go_back`].
    pub(super) fn keep(&self) -> Result<Kept, RunError> {
        self.state.keep().map_err(RunError::Scratch)
    }

    /// Lets the next command start in the directory and with the variables that were kept last.
    pub(super) fn go_back(&mut self, kept: &Kept) -> Result<(), RunError> {
        self.state.go_back(kept).map_err(RunError::Scratch)
    }

    /// Returns the values of those variables that are set after the last command.
    pub(super) async fn values(&self, names: &BTreeSet<&str>) -> Result<BTreeMap<String, String>, RunError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut child = Command::new(&self.shell)
            .arg("-c")
            .arg(self.state.values_script(names))
            .current_dir(&self.source)
            .env_clear()
            .envs(&self.state.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(self.group.id())
            .kill_on_drop(true)
            .spawn()
            .map_err(RunError::Process)?;
        // A shell that does not end in time leaves the values that it has written.
        if let Ok(ended) = timeout(VALUES_LIMIT, child.wait()).await {
            ended.map_err(RunError::Process)?;
        }
        self.state.take_values().map_err(RunError::Scratch)
    }

    /// Sends the lines of `pipe` from a task of their own. The receiver resolves at the end of the pipe, or at its first
    /// silence after the command has exited.
    fn read(
        &mut self,
        stream: Stream,
        pipe: impl AsyncRead + Send + Unpin + 'static,
        exited: &CancellationToken,
    ) -> oneshot::Receiver<()> {
        let (silent, is_silent) = oneshot::channel();
        let output = Output::new(stream, self.lines.clone());
        self.outputs.push(tokio::spawn(output.forward(pipe, exited.clone(), silent)));
        is_silent
    }

    /// Sends SIGTERM to all processes and waits until they have closed their output, at most for the grace period.
    pub(super) async fn terminate(&mut self, grace: Duration) {
        self.group.signal(Signal::TERM);
        let ended = async {
            if let Some(command) = &mut self.command {
                let _ = command.wait().await;
            }
            for output in &mut self.outputs {
                let _ = output.await;
            }
            self.outputs.clear();
        };
        // The caller kills the processes that have not ended in time.
        let _ = timeout(grace, ended).await;
    }

    /// Kills all processes and waits for their last output.
    pub(super) async fn kill(&mut self) -> Result<(), RunError> {
        self.group.signal(Signal::KILL);
        if let Some(mut command) = self.command.take() {
            command.wait().await.map_err(RunError::Process)?;
        }
        for mut output in self.outputs.drain(..) {
            if !output.is_finished() && timeout(LAST_OUTPUT, &mut output).await.is_err() {
                output.abort();
            }
        }
        Ok(())
    }
}

pub(super) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

pub(super) fn installed(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|path| path.is_absolute() && path.is_file())
}
