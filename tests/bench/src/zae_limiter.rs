//! zae-limiter, another rate limiter for DynamoDB, from PyPI.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use shared::model::Quota;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::{Result, binaries};

/// zae-limiter in a process that decides about one request for each line. The process ends when this is dropped.
pub(crate) struct ZaeLimiter {
    _process: Child,
    requests: ChildStdin,
    verdicts: Lines<BufReader<ChildStdout>>,
}

impl ZaeLimiter {
    /// Installs the package in an environment of its own.
    pub(crate) fn install() -> Result<()> {
        run(Command::new("python3").args(["-m", "venv"]).arg(environment()))?;
        let requirements = folder().join("requirements.txt");
        run(Command::new(python()).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))
    }

    /// Returns the requirement that is installed.
    pub(crate) fn version() -> Result<String> {
        Ok(std::fs::read_to_string(folder().join("requirements.txt"))?.trim().to_owned())
    }

    /// Starts a process, which creates the limiter's table unless it exists.
    pub(crate) async fn start(dynamodb: &str, quota: Quota) -> Result<Self> {
        let mut process = tokio::process::Command::new(python())
            .arg(folder().join("main.py"))
            .args([dynamodb, &quota.per_minute.to_string(), &quota.burst.to_string()])
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().ok_or("it is piped")?;
        let verdicts = BufReader::new(process.stdout.take().ok_or("it is piped")?).lines();
        Ok(Self { _process: process, requests, verdicts })
    }

    /// # Errors
    /// Fails if the process has ended.
    pub(crate) async fn admit(&mut self) -> Result<bool> {
        self.requests.write_all(b"\n").await?;
        let verdict = self.verdicts.next_line().await?;
        Ok(verdict.ok_or("zae-limiter ended")? == "admitted")
    }
}

fn environment() -> PathBuf {
    binaries::target().join("zae-limiter")
}

fn python() -> PathBuf {
    environment().join("bin/python")
}

fn folder() -> PathBuf {
    binaries::workspace().join("tests/bench/stand-ins/limiter")
}

fn run(command: &mut Command) -> Result<()> {
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}
