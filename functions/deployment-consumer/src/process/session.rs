//! The processes of a run: one command at a time, and the background processes that commands leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs, io};

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
use super::survivor::{Survivor, Survivors};
use crate::buildspec::{Buildspec, Shell};

/// The time to wait for output from pipes that are still open after every process was killed. Where a process can leave its run, it
/// can hold them open.
const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// The time that a shell has to tell the values of variables. Files that it reads were written by commands.
const VALUES_LIMIT: Duration = Duration::from_secs(10);
/// The exit status of a command that can't be started, as shells have it.
const NOT_STARTED: i32 = 126;

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
    has_run_one: bool,
}

impl Session {
    /// Starts a session whose first command runs in `source` with `environment`.
    pub(super) fn start(
        buildspec: &Buildspec,
        source: &Path,
        scratch: &Path,
        environment: BTreeMap<OsString, OsString>,
        lines: Lines,
        survivors: Survivors,
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
            group: Group::start(&program, source, survivors).map_err(RunError::Process)?,
            shell: program,
            source: source.to_owned(),
            state: ShellState::new(state, source, environment, scratch).map_err(RunError::Scratch)?,
            command: None,
            outputs: Vec::new(),
            has_run_one: false,
        })
    }

    /// Runs one command to its end. `succeeding` says whether all commands before it succeeded.
    pub(super) async fn run(&mut self, command: &str, succeeding: bool) -> Result<ExitStatus, RunError> {
        if !tokio::fs::metadata(&self.state.directory).await.is_ok_and(|found| found.is_dir()) {
            self.lines.say("The working directory is gone; the command starts in the source folder.").await;
            self.state.directory = self.source.clone();
        }
        let mut child = Command::new(&self.shell);
        child.arg("-c").arg(self.state.script(command, succeeding)).current_dir(&self.state.directory);
        child.env_clear().envs(&self.state.environment);
        child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match self.group.spawn(&mut child) {
            Ok(child) => child,
            Err(error) if self.is_of_build(&error) => {
                self.lines.say(&format!("The command can't be started: {error}")).await;
                return Ok(ExitStatus::from_raw(NOT_STARTED << 8));
            }
            Err(error) => return Err(RunError::Process(error)),
        };
        self.has_run_one = true;

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
        if let Err(error) = self.state.take_over().await {
            self.say_unusable(&error).await;
        }
        Ok(status)
    }

    /// Keeps the working directory and the variables, for [`Self::go_back`].
    pub(super) async fn keep(&self) -> Option<Kept> {
        match self.state.keep().await {
            Ok(kept) => Some(kept),
            Err(error) => {
                self.say_unusable(&error).await;
                None
            }
        }
    }

    /// Lets the next command start in the directory and with the variables that were kept last.
    pub(super) async fn go_back(&mut self, kept: &Kept) {
        if let Err(error) = self.state.go_back(kept).await {
            self.say_unusable(&error).await;
        }
    }

    /// Returns the values of those variables that are set after the last command.
    pub(super) async fn values(&self, names: &BTreeSet<&str>) -> Result<BTreeMap<String, String>, RunError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut shell = Command::new(&self.shell);
        // The source folder may be gone.
        shell.arg("-c").arg(self.state.values_script(names)).current_dir("/");
        shell.env_clear().envs(&self.state.environment);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut shell = match self.group.spawn(&mut shell) {
            Ok(shell) => shell,
            Err(error) if self.is_of_build(&error) => {
                self.lines.say(&format!("The values of variables can't be read: {error}")).await;
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(RunError::Process(error)),
        };
        // A shell that does not end in time leaves the values that it has written.
        if let Ok(ended) = timeout(VALUES_LIMIT, shell.wait()).await {
            ended.map_err(RunError::Process)?;
        }
        match self.state.take_values().await {
            Ok(values) => Ok(values),
            Err(error) => {
                self.say_unusable(&error).await;
                Ok(BTreeMap::new())
            }
        }
    }

    /// Decides whether commands are the reason why a process can't be started: its folder is gone or closed, its variables have grown too
    /// large, or the processes of earlier commands are as many as the system allows.
    fn is_of_build(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{
            ArgumentListTooLong, InvalidFilename, NotADirectory, NotFound, OutOfMemory, PermissionDenied, WouldBlock,
        };
        match error.kind() {
            NotFound | NotADirectory | PermissionDenied | InvalidFilename | ArgumentListTooLong => true,
            WouldBlock | OutOfMemory => self.has_run_one,
            _ => false,
        }
    }

    /// Says that commands have made the files unusable that pass the variables on.
    async fn say_unusable(&self, error: &io::Error) {
        self.lines.say(&format!("The variables of the shell can't be passed on: {error}")).await;
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

    /// Kills all processes and waits for their last output. Returns those that can't be ended.
    pub(super) async fn kill(&mut self) -> Result<Vec<Survivor>, RunError> {
        let survivors = self.group.end().await.map_err(RunError::Process)?;
        if let Some(mut command) = self.command.take() {
            let goes_on = |survivor: &Survivor| command.id() == Some(survivor.process_id.cast_unsigned());
            if !survivors.iter().any(goes_on) {
                command.wait().await.map_err(RunError::Process)?;
            }
        }
        let ended = async {
            for output in self.outputs.iter_mut().filter(|output| !output.is_finished()) {
                let _ = output.await;
            }
        };
        if timeout(LAST_OUTPUT, ended).await.is_err() {
            self.outputs.iter().for_each(JoinHandle::abort);
        }
        self.outputs.clear();
        Ok(survivors)
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
