//! A build of a buildspec, for tests of the process runner.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archive::Stream;
use deployment_consumer::buildspec::{Buildspec, PhaseName};
use deployment_consumer::process::{Artifact, Exit, Folder, Outcome, Run, RunError, Survivor, Survivors};
use redaction::Redaction;
use shared::clock::Clock;
use shared::model::BuildPhase;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A source folder with a buildspec to run.
pub(crate) struct Build {
    pub(crate) folder: TempDir,
    pub(crate) buildspec: Buildspec,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) reserved: BTreeMap<String, String>,
    pub(crate) time_limit: Duration,
    pub(crate) grace: Duration,
    pub(crate) cancel: CancellationToken,
}

pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) phases: Vec<BuildPhase>,
    pub(crate) lines: Vec<(Stream, String)>,
    pub(crate) survivors: Vec<Survivor>,
}

impl Build {
    /// Returns a build of a buildspec, given without its version.
    pub(crate) fn of(buildspec: &str) -> Self {
        Self::of_file(&format!("version: 0.2\n{buildspec}"))
    }

    /// Returns a build of a whole buildspec.
    pub(crate) fn of_file(buildspec: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("it's a build ").tempdir().unwrap();
        fs::create_dir(folder.path().join("source")).unwrap();
        Self {
            folder,
            buildspec: Buildspec::parse(buildspec.as_bytes()).unwrap(),
            variables: BTreeMap::new(),
            reserved: BTreeMap::new(),
            time_limit: Duration::from_secs(300),
            grace: Duration::from_secs(5),
            cancel: CancellationToken::new(),
        }
    }

    /// Returns a build with one phase of these commands.
    pub(crate) fn with(commands: &[&str]) -> Self {
        let list: String = commands.iter().map(|command| format!("      - {command:?}\n")).collect();
        Self::of(&format!("phases:\n  build:\n    commands:\n{list}"))
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) async fn try_run(&self) -> Result<Ran, RunError> {
        let (sender, mut receiver) = mpsc::channel(4);
        let survivors = Arc::new(Mutex::new(Vec::new()));
        let reported = survivors.clone();
        let run = Run {
            buildspec: &self.buildspec,
            source: &Folder::open(&self.source()).unwrap(),
            scratch: &self.folder.path().join("scratch"),
            variables: &self.variables,
            reserved: &self.reserved,
            redaction: Redaction::new(self.variables.values().map(String::as_str)),
            clock: Clock::system(),
            time_limit: self.time_limit,
            grace: self.grace,
            survivors: Survivors::reported_to(move |found| reported.lock().unwrap().extend_from_slice(found)),
        };
        let collect = async {
            let mut lines = Vec::new();
            while let Some(line) = receiver.recv().await {
                lines.push(line);
            }
            lines
        };
        let (ran, lines) = tokio::join!(run.run(sender, &self.cancel), collect);
        let (outcome, phases) = ran?;
        let survivors = survivors.lock().unwrap().clone();
        Ok(Ran { outcome, phases, lines, survivors })
    }

    pub(crate) async fn run(&self) -> Ran {
        self.try_run().await.unwrap()
    }
}

impl Ran {
    pub(crate) fn of(&self, stream: Stream) -> Vec<&str> {
        self.lines.iter().filter(|line| line.0 == stream).map(|line| line.1.as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &[Artifact] {
        assert_eq!(self.survivors, [], "{:#?}", self.lines);
        match &self.outcome {
            Outcome::Succeeded { artifacts, .. } => artifacts,
            outcome => panic!("{outcome:?}\n{:#?}", self.lines),
        }
    }
}

/// Runs builds with longer and longer time limits, until one has come far enough before its limit ends it.
pub(crate) async fn timed_out(build: impl Fn() -> Build, has_come: impl Fn(&Ran) -> bool) -> Ran {
    let mut limit = Duration::from_millis(250);
    loop {
        let mut build = build();
        build.time_limit = limit;
        let ran = build.run().await;
        if has_come(&ran) {
            return ran;
        }
        limit *= 2;
        assert!(limit < Duration::from_secs(300), "{:?} {:#?}", ran.outcome, ran.lines);
    }
}

/// Returns what a command of the build has written into a file of its source folder.
pub(crate) async fn written(build: &Build, file: &str) -> String {
    let file = build.source().join(file);
    loop {
        match fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Returns the receiver of a run that leaves no process.
pub(crate) fn nobody() -> Survivors {
    Survivors::reported_to(|survivors| panic!("{survivors:?}"))
}

pub(crate) fn failed(phase: PhaseName, command: &str, exit: Exit) -> Outcome {
    Outcome::Failed { phase, command: command.to_owned(), exit, artifacts: Vec::new() }
}
