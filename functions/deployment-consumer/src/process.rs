//! The runner `process`: runs a buildspec as child processes of this one.
//!
//! CodeBuild runs all commands of version 0.2 in one shell. Here each command has a shell of its own, which takes over
//! the variables (exported or not, and under bash the functions) and the working directory that the last one left.
//! So `exit`, `set -e` or a syntax error ends a command and not the build, and it is always known which command failed.
//! Shell options, traps and redirections by `exec` do not carry over.
//!
//! A child sees a clean environment, but it runs as the same user: it is not a sandbox. [`hide_environment`] keeps it
//! from reading this process's environment in `/proc`.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use archive::Stream;
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use walkdir::WalkDir;

use crate::{
    buildspec::{Artifacts, Buildspec, OnFailure, Phase, PhaseName, Shell},
    redaction::Redaction,
};

/// A line of output is split when it gets longer than this many bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// When a command has ended and a process in the background still holds its output open, output that comes after this
/// long a silence is the background's.
const SILENCE: Duration = Duration::from_millis(100);

/// How long output is awaited from pipes that are still open after every process of the group was killed. Only a process
/// that left the group (`setsid`) can hold them.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// Keeps the environment and the memory of this process, from now until its end, from other processes of its user:
/// from the commands that it runs. On Linux they could read them in `/proc`, unless the process is marked as not
/// dumpable (`PR_SET_DUMPABLE`); it then also leaves no core file. Elsewhere there is no such thing to close.
///
/// It does not hold root back.
pub fn hide_environment() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// One run of a buildspec. Its lines, without line ends and already redacted, go into a channel as they come.
pub struct Run<'a> {
    pub buildspec: &'a Buildspec,
    /// Absolute path of the folder with the source, in which the commands start.
    pub source: &'a Path,
    /// Absolute path of an empty folder outside of the source, for the commands' home and temporary files and for
    /// what is handed from one shell to the next.
    pub scratch: &'a Path,
    /// The deployment's own variables, stronger than the buildspec's.
    pub variables: &'a BTreeMap<String, String>,
    /// Variables that nothing overrides.
    pub reserved: &'a BTreeMap<String, String>,
    pub redaction: Redaction,
    /// For all phases together.
    pub time_limit: Duration,
    /// Between SIGTERM and SIGKILL, when the time limit is reached or the run is canceled.
    pub grace: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Succeeded {
        artifacts: Vec<Artifact>,
    },
    /// The first command that failed. Later phases may have run, as the buildspec says.
    Failed {
        phase: PhaseName,
        /// As in the buildspec, redacted.
        command: String,
        exit: Exit,
    },
    /// The phases succeeded, and no file matches the buildspec's artifacts. CodeBuild fails such a build too.
    NoArtifacts,
    TimedOut {
        phase: PhaseName,
        after: Duration,
    },
    Canceled,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Artifact {
    /// The regular file in the source folder.
    pub path: PathBuf,
    /// Its path among the artifacts, separated by slashes.
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the buildspec asks for the shell {0:?}, which is not installed")]
    NoShell(&'static str),
    #[error("the scratch folder can't be used")]
    Scratch(#[source] io::Error),
    #[error("a process can't be started or waited for")]
    Process(#[source] io::Error),
}

impl Run<'_> {
    /// Runs the phases and ends every process that they started, in the background too. Dropping the future ends them
    /// as well, by SIGKILL.
    ///
    /// The channel is for the run's lines; a receiver that is slow slows the commands down, one that is gone does not
    /// matter. `finally` commands do not run after a time-out or a cancelation.
    ///
    /// # Errors
    ///
    /// What is wrong with this machine. What is wrong with the build is an [`Outcome`].
    pub async fn run(
        &self,
        lines: mpsc::Sender<(Stream, String)>,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RunError> {
        let mut session = Session::start(self, lines)?;
        for note in &self.buildspec.notes {
            session.say(note).await;
        }
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Canceled,
            () = sleep(self.time_limit) => Ended::TimedOut,
            finished = session.phases() => Ended::Finished(finished),
        };
        if !matches!(ended, Ended::Finished(_)) {
            session.terminate().await;
        }
        session.kill().await?;
        match ended {
            Ended::Finished(failed) => match failed? {
                Some(failed) => Ok(failed),
                None => session.collect_artifacts().await,
            },
            Ended::TimedOut => {
                session.say(&format!("The build was stopped after {} s.", self.time_limit.as_secs_f64())).await;
                Ok(Outcome::TimedOut { phase: session.phase, after: self.time_limit })
            }
            Ended::Canceled => {
                session.say("The build was canceled.").await;
                Ok(Outcome::Canceled)
            }
        }
    }

    fn first_environment(&self) -> BTreeMap<OsString, OsString> {
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
}

enum Ended {
    Finished(Result<Option<Outcome>, RunError>),
    TimedOut,
    Canceled,
}

struct Session<'a> {
    run: &'a Run<'a>,
    lines: mpsc::Sender<(Stream, String)>,
    shell: PathBuf,
    group: Group,
    state: State,
    succeeding: bool,
    phase: PhaseName,
    /// The one that is running.
    command: Option<Child>,
    /// The readers of output that is still open.
    outputs: Vec<JoinHandle<()>>,
}

impl<'a> Session<'a> {
    fn start(run: &'a Run<'a>, lines: mpsc::Sender<(Stream, String)>) -> Result<Self, RunError> {
        let shell = match run.buildspec.shell {
            Shell::Sh => "sh",
            Shell::Bash => "bash",
        };
        let shell = installed(shell).ok_or(RunError::NoShell(shell))?;
        for folder in ["home", "tmp"] {
            fs::create_dir_all(run.scratch.join(folder)).map_err(RunError::Scratch)?;
        }
        Ok(Self {
            run,
            lines,
            group: Group::start(&shell).map_err(RunError::Process)?,
            shell,
            state: State::new(run).map_err(RunError::Scratch)?,
            succeeding: true,
            phase: PhaseName::Install,
            command: None,
            outputs: Vec::new(),
        })
    }

    /// Runs the phases until one's failure aborts the build, and gives the first failure.
    async fn phases(&mut self) -> Result<Option<Outcome>, RunError> {
        let mut failed = None;
        for phase in &self.run.buildspec.phases {
            self.phase = phase.name;
            self.say(&format!("Entering phase {}", phase.name)).await;
            let failure = self.run_phase(phase).await?;
            let state = if failure.is_none() { "SUCCEEDED" } else { "FAILED" };
            self.say(&format!("Phase complete: {} State: {state}", phase.name)).await;
            let abort = failure.is_some() && phase.on_failure == OnFailure::Abort;
            failed = failed.or(failure);
            if abort {
                break;
            }
        }
        Ok(failed)
    }

    async fn run_phase(&mut self, phase: &Phase) -> Result<Option<Outcome>, RunError> {
        let mut failed = None;
        for commands in [&phase.commands, &phase.finally] {
            for command in commands {
                self.say(&format!("Running command {command}")).await;
                let status = self.run_command(command).await?;
                if status.success() {
                    continue;
                }
                let exit = Exit::of(status);
                self.say(&format!("Command did not exit successfully: {exit}")).await;
                self.succeeding = false;
                let command = self.run.redaction.redact(command).into_owned();
                failed = failed.or(Some(Outcome::Failed { phase: phase.name, command, exit }));
                break;
            }
        }
        Ok(failed)
    }

    async fn run_command(&mut self, command: &str) -> Result<ExitStatus, RunError> {
        if !self.state.directory.is_dir() {
            self.say("The working directory is gone; the command starts in the source folder.").await;
            self.state.directory = self.run.source.to_owned();
        }
        let mut child = Command::new(&self.shell)
            .arg("-c")
            .arg(self.state.script(command, self.succeeding))
            .current_dir(&self.state.directory)
            .env_clear()
            .envs(&self.state.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(self.group.id.as_raw_nonzero().get())
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
            // An error is the reader's end.
            let _ = silent.await;
        }
        self.outputs.retain(|output| !output.is_finished());
        self.state.take_over().map_err(RunError::Scratch)?;
        Ok(status)
    }

    /// Sends the lines of `pipe` from a task of their own. What is returned resolves when the pipe is at its end, or is
    /// silent after the command has exited.
    fn read(
        &mut self,
        stream: Stream,
        pipe: impl AsyncRead + Send + Unpin + 'static,
        exited: &CancellationToken,
    ) -> oneshot::Receiver<()> {
        let (silent, is_silent) = oneshot::channel();
        let output =
            Output { stream, lines: self.lines.clone(), redaction: self.run.redaction.clone(), line: Vec::new() };
        self.outputs.push(tokio::spawn(output.forward(pipe, exited.clone(), silent)));
        is_silent
    }

    /// Sends one system line for each line of `text`.
    async fn say(&self, text: &str) {
        for line in text.lines() {
            // A receiver that is gone does not stop the build.
            let _ = self.lines.send((Stream::System, self.run.redaction.redact(line).into_owned())).await;
        }
    }

    /// Asks all processes to end and waits until they have closed their output, for the grace period at most.
    async fn terminate(&mut self) {
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
        // Whoever has not ended in time is killed next.
        let _ = timeout(self.run.grace, ended).await;
    }

    async fn kill(&mut self) -> Result<(), RunError> {
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

    async fn collect_artifacts(&self) -> Result<Outcome, RunError> {
        let Some(artifacts) = self.run.buildspec.artifacts.clone() else {
            return Ok(Outcome::Succeeded { artifacts: Vec::new() });
        };
        let source = self.run.source.to_owned();
        let (artifacts, left_out) = tokio::task::spawn_blocking(move || collect(&source, &artifacts))
            .await
            .map_err(|error| RunError::Process(error.into()))?;
        for left_out in left_out {
            self.say(&left_out).await;
        }
        self.say(&format!("Found {} artifact file(s)", artifacts.len())).await;
        if artifacts.is_empty() { Ok(Outcome::NoArtifacts) } else { Ok(Outcome::Succeeded { artifacts }) }
    }
}

/// A process group that outlives each of its commands, so that its id can't come to mean another group meanwhile.
///
/// Its first process does nothing but wait for this process to end, in whatever way, and then kill the group.
struct Group {
    id: Pid,
    _anchor: Child,
}

impl Group {
    fn start(shell: &Path) -> io::Result<Self> {
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

    fn signal(&self, signal: Signal) {
        // The group can't be gone, as its first process is not waited for before this is dropped; that all of it has
        // exited is no error.
        let _ = rustix::process::kill_process_group(self.id, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What one command's shell hands to the next one's, in files.
struct State {
    directory: PathBuf,
    /// Empty once there is a file to read the variables from, so that one that was unset stays so.
    environment: BTreeMap<OsString, OsString>,
    folder: String,
    shell: Shell,
}

impl State {
    fn new(run: &Run<'_>) -> io::Result<Self> {
        let folder = run.scratch.join("state");
        fs::create_dir_all(&folder)?;
        let folder = folder.into_os_string().into_string().map_err(|_| io::Error::other("its path is not UTF-8"))?;
        Ok(Self {
            directory: run.source.to_owned(),
            environment: run.first_environment(),
            folder,
            shell: run.buildspec.shell,
        })
    }

    /// The command with what must happen before and after it. It comes after a line end, so that a syntax error in it
    /// is found when the rest has run.
    fn script(&self, command: &str, succeeding: bool) -> String {
        let read = match self.environment.is_empty() {
            true => format!(". {}; ", quoted(&self.variables())),
            false => String::new(),
        };
        let next_variables = quoted(&self.next_variables());
        let functions = match self.shell {
            Shell::Sh => String::new(),
            Shell::Bash => format!(" && export -f -p >>{next_variables}"),
        };
        // The directory comes last: that it is there says that the variables are whole.
        let next_directory = quoted(&self.next_directory());
        let write = quoted(&format!("export -p >|{next_variables}{functions} && pwd >|{next_directory}"));
        // Under `set -a` a variable that is not exported carries over too, as it would in one shell.
        let succeeding = u8::from(succeeding);
        format!("{read}export CODEBUILD_BUILD_SUCCEEDING={succeeding}; trap {write} EXIT; set -a\n{command}\n")
    }

    /// Makes what the last command left the state of the next one. A command that was killed leaves nothing, and the
    /// state is that of the command before.
    fn take_over(&mut self) -> io::Result<()> {
        let mut directory = match fs::read(self.next_directory()) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        fs::remove_file(self.next_directory())?;
        fs::rename(self.next_variables(), self.variables())?;
        directory.pop_if(|last| *last == b'\n');
        self.directory = OsString::from_vec(directory).into();
        self.environment.clear();
        Ok(())
    }

    fn variables(&self) -> String {
        format!("{}/variables", self.folder)
    }

    fn next_variables(&self) -> String {
        format!("{}/next-variables", self.folder)
    }

    fn next_directory(&self) -> String {
        format!("{}/next-directory", self.folder)
    }
}

/// One pipe's way into the log.
struct Output {
    stream: Stream,
    lines: mpsc::Sender<(Stream, String)>,
    redaction: Redaction,
    line: Vec<u8>,
}

impl Output {
    async fn forward(
        mut self,
        mut pipe: impl AsyncRead + Unpin,
        exited: CancellationToken,
        silent: oneshot::Sender<()>,
    ) {
        let mut silent = Some(silent);
        let mut read = [0; 8 * 1024];
        loop {
            let length = tokio::select! {
                biased;
                length = pipe.read(&mut read) => length,
                () = async { exited.cancelled().await; sleep(SILENCE).await }, if silent.is_some() => {
                    // Only the command that is over could be waiting for it.
                    let _ = silent.take().expect("it is some").send(());
                    continue;
                }
            };
            let Ok(length @ 1..) = length else { break };
            for piece in read[..length].split_inclusive(|byte| *byte == b'\n') {
                match piece.split_last() {
                    Some((b'\n', end)) => {
                        self.line.extend_from_slice(end);
                        self.line.pop_if(|last| *last == b'\r');
                        self.send_line().await;
                    }
                    _ => self.line.extend_from_slice(piece),
                }
            }
            while self.line.len() > MAX_LINE_BYTES + self.redaction.longest() {
                self.send_start().await;
            }
        }
        if !self.line.is_empty() {
            self.send_line().await;
        }
    }

    async fn send_line(&mut self) {
        while self.line.len() > MAX_LINE_BYTES {
            self.send_start().await;
        }
        let length = self.line.len();
        self.send(length).await;
    }

    /// Sends about [`MAX_LINE_BYTES`] from the start of the line, not cut within a secret or a character.
    async fn send_start(&mut self) {
        let length = match self.redaction.across(&self.line, MAX_LINE_BYTES) {
            Some(secret) if secret.start == 0 => secret.end,
            Some(secret) => secret.start,
            None => {
                let mut length = MAX_LINE_BYTES;
                // The bytes 10xxxxxx continue a character of UTF-8, which has at most three of them.
                while length > MAX_LINE_BYTES - 3 && self.line[length] & 0b1100_0000 == 0b1000_0000 {
                    length -= 1;
                }
                length
            }
        };
        self.send(length).await;
    }

    async fn send(&mut self, length: usize) {
        let text = String::from_utf8_lossy(&self.line[..length]);
        let text = self.redaction.redact(&text).into_owned();
        self.line.drain(..length);
        // A receiver that is gone does not stop the build.
        let _ = self.lines.send((self.stream, text)).await;
    }
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().expect("a process that ended without a code was ended by a signal")),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The regular files in `source` that are artifacts, sorted by path, and a sentence on each kind of thing that was left
/// out. Symbolic links are not followed, so nothing outside of `source` is taken.
fn collect(source: &Path, artifacts: &Artifacts) -> (Vec<Artifact>, Vec<String>) {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut left_out = Vec::new();
    let mut links = 0;
    for entry in WalkDir::new(source).min_depth(1).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                left_out.push(format!("Left out of the artifacts: {error}"));
                continue;
            }
        };
        let relative = entry.path().strip_prefix(source).expect("a walk stays in its folder");
        if entry.file_type().is_dir() {
            continue;
        }
        let Some(name) = artifacts.place(relative) else { continue };
        if !entry.file_type().is_file() {
            links += 1;
            continue;
        }
        let Some(name) = name.to_str() else {
            left_out.push(format!("Left out of the artifacts: {} is not a UTF-8 name", relative.display()));
            continue;
        };
        if name.contains(|c: char| c.is_ascii_control()) {
            left_out.push(format!("Left out of the artifacts: {name:?} has a control character in its name"));
            continue;
        }
        if found.contains_key(name) {
            left_out.push(format!("Left out of the artifacts: {}, a second {name}", relative.display()));
            continue;
        }
        found.insert(name.to_owned(), entry.path().to_owned());
    }
    if links > 0 {
        left_out.push(format!("Left out of the artifacts: {links} symbolic link(s) or special file(s)"));
    }
    (found.into_iter().map(|(name, path)| Artifact { path, name }).collect(), left_out)
}

fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

fn installed(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|path| path.is_absolute() && path.is_file())
}

/// As one word of a shell's language.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
