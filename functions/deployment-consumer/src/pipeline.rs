//! One run of a deployment: fetch the source at its commit and keep it, read its buildspec, run it, keep its artifacts. All
//! of it is written to the deployment's log as it happens, while the lease is kept alive. Where CodeBuild runs it, this
//! ends before the run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use archive::{LogWriter, Stream};
use git::{CloneUrl, FetchLimits, RemoteError};
use shared::App;
use shared::clock::Timestamp;
use shared::model::{Deployment, Failure, Transition};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::buildspec::{self, Buildspec, BuildspecError};
use crate::process::{Artifact, Exit, Outcome, Run};
use crate::redaction::Redaction;
use crate::{ComeAgain, LEASE, Parts, RENEW_EVERY, REPORT_TIME, Runner, source};

const BUILDSPEC: &str = "buildspec.yml";
/// How often lines that came go to the archive, where readers see them.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const LEASE_NOT_RENEWED: &str = "a lease could not be renewed";
/// How often a runner looks whether it shall stop.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Between the polite and the certain end of a build that must stop.
const GRACE: Duration = Duration::from_secs(5);
/// A Lambda function's disk is 512 MB unless the template says otherwise.
const FETCH_LIMITS: FetchLimits =
    FetchLimits { time: Duration::from_secs(120), pack_bytes: 128 << 20, tree_bytes: 256 << 20, files: 100_000 };

type Lines = mpsc::Sender<(Stream, String)>;

/// How a run of the pipeline ends.
pub(crate) enum Next {
    End(Transition),
    /// CodeBuild can be started.
    Build(Prepared),
}

/// What a build needs beside the source.
pub(crate) struct Prepared {
    pub variables: BTreeMap<String, String>,
    pub has_artifacts: bool,
}

/// Runs a claimed deployment and gives its end, or what comes next. Its log is stored by then.
///
/// When the lease is lost the run is dropped, which kills its processes and stops its log: somebody else has both.
pub(crate) async fn run(parts: &Parts, deployment: &Deployment, deadline: Timestamp) -> Result<Next, ComeAgain> {
    let (lines, received) = mpsc::channel(256);
    let writer = LogWriter::resume(&parts.archive, &deployment.archive_prefix()).await.map_err(archive_failed)?;
    let stop = CancellationToken::new();
    let work = async {
        let end = build(parts, deployment, deadline, &lines, &stop).await;
        match &end {
            Ok(Next::End(Transition::Fail(failure))) => say(&lines, format!("Failed: {}", failure.message)).await,
            Ok(Next::End(Transition::Cancel)) => say(&lines, "Canceled".to_owned()).await,
            _ => {}
        }
        drop(lines);
        end
    };
    let log = write_log(writer, received, &parts.app);
    let both = async { tokio::join!(work, log) };
    tokio::select! {
        (end, stored) = both => {
            stored?;
            end
        }
        lost = keep_lease(parts, deployment, &stop) => Err(lost),
    }
}

/// Ends only when the lease is lost: to another, or because it could not be renewed in time and another may have it.
/// Meanwhile it looks whether somebody asks the run to stop.
async fn keep_lease(parts: &Parts, deployment: &Deployment, stop: &CancellationToken) -> ComeAgain {
    let (clock, log) = (parts.app.clock(), parts.app.log());
    let mut lease_until = deployment.lease_until;
    let mut now = clock.now();
    let mut renew_at = now.plus(RENEW_EVERY);
    loop {
        clock.sleep_until(now.plus(LOOK_EVERY)).await;
        now = clock.now();
        if now < renew_at {
            let found = Deployment::load(parts.app.table(), &deployment.account_id, &deployment.id);
            // One that fails is made up for by the next.
            if let Ok(Ok(Some(found))) = timeout(LOOK_EVERY, found).await
                && found.cancel_requested_by.is_some()
            {
                stop.cancel();
            }
            continue;
        }
        renew_at = now.plus(RENEW_EVERY);
        let until = now.plus(LEASE);
        match timeout(RENEW_EVERY, deployment.renew_lease(parts.app.table(), now, until)).await {
            Ok(Ok(Some(renewed))) => {
                lease_until = Some(until);
                if renewed.cancel_requested_by.is_some() {
                    stop.cancel();
                }
            }
            Ok(Ok(None)) => return ComeAgain::Stale,
            Ok(Err(error)) => log.warn(LEASE_NOT_RENEWED, &error),
            Err(too_late) => log.warn(LEASE_NOT_RENEWED, &too_late),
        }
        if lease_until.is_none_or(|until| until <= clock.now()) {
            return ComeAgain::LeaseOver;
        }
    }
}

/// Stores lines until the last sender is gone. An archive that fails meanwhile does not stop the build: the lines wait,
/// and it is only an error if they can't be stored at the end.
async fn write_log(
    mut writer: LogWriter,
    mut lines: mpsc::Receiver<(Stream, String)>,
    app: &App,
) -> Result<(), ComeAgain> {
    let mut tick = interval(FLUSH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some((stream, text)) => {
                    // What can't be stored now is stored at the next tick, or it says why not.
                    let _ = writer.push(app.clock().now().as_millis(), stream, &text).await;
                }
                None => return writer.flush().await.map_err(archive_failed),
            },
            _ = tick.tick() => {
                if let Err(error) = writer.flush().await {
                    app.log().warn("lines of a deployment's log wait for the archive", &error);
                }
            }
        }
    }
}

async fn build(
    parts: &Parts,
    deployment: &Deployment,
    deadline: Timestamp,
    lines: &Lines,
    stop: &CancellationToken,
) -> Result<Next, ComeAgain> {
    let Deployment { number, environment, sha, git_ref, attempt, .. } = deployment;
    let time_limit = deployment.time_limit(parts.time_limit);
    say(lines, format!("Deployment {number} of {git_ref} ({sha}) to {}", environment.as_str())).await;
    if *attempt > 1 {
        say(lines, format!("Attempt {attempt}: the runner before was lost")).await;
    }
    let folder = tempfile::tempdir().map_err(|error| ComeAgain::Surroundings("no scratch folder", error.into()))?;
    let (source, scratch) = (folder.path().join("source"), folder.path().join("scratch"));
    std::fs::create_dir(&scratch).map_err(|error| ComeAgain::Surroundings("no scratch folder", error.into()))?;

    let zip = folder.path().join("source.zip");
    let kept = match deployment.rolled_back_prefix() {
        Some(prefix) => source::restore(&parts.archive, &prefix, &source, &zip).await?,
        None => false,
    };
    if kept {
        say(lines, "Taking the source that was deployed then".to_owned()).await;
    } else {
        say(lines, format!("Fetching {}", deployment.clone_url)).await;
        let fetched = tokio::select! {
            fetched = fetch(parts, deployment, &source) => fetched,
            () = stop.cancelled() => return Ok(Next::End(Transition::Cancel)),
        };
        if let Err(error) = fetched {
            return match error {
                RemoteError::Local(_) => Err(ComeAgain::Surroundings("the source could not be stored", error.into())),
                error => Ok(fail("source_unavailable", error.to_string())),
            };
        }
    }
    let spec = match read_buildspec(&source) {
        Ok(spec) => spec,
        Err(failure) => return Ok(Next::End(Transition::Fail(failure))),
    };
    source::keep(&parts.archive, &deployment.archive_prefix(), &source, &zip).await?;
    let variables = open_variables(parts, deployment).await?;
    if let Runner::CodeBuild { .. } = &parts.runner {
        say(lines, "Starting a build by AWS CodeBuild".to_owned()).await;
        return Ok(Next::Build(Prepared { variables, has_artifacts: spec.artifacts.is_some() }));
    }
    let reserved = BTreeMap::from([
        ("DEPLOYMENT_ID".to_owned(), deployment.id.to_string()),
        ("DEPLOYMENT_ENVIRONMENT".to_owned(), environment.as_str().to_owned()),
        ("GIT_SHA".to_owned(), sha.clone()),
        ("GIT_REF".to_owned(), git_ref.clone()),
    ]);
    let run = Run {
        buildspec: &spec,
        source: &source,
        scratch: &scratch,
        variables: &variables,
        reserved: &reserved,
        redaction: Redaction::new(variables.values().map(String::as_str)),
        time_limit: time_limit.min(deadline.since(parts.app.clock().now()).saturating_sub(REPORT_TIME)),
        grace: GRACE,
    };
    let outcome = run.run(lines.clone(), stop).await;
    let outcome = outcome.map_err(|error| ComeAgain::Surroundings("the build could not be run", error.into()))?;
    match outcome {
        Outcome::Succeeded { artifacts } => {
            store(parts, deployment, &artifacts).await?;
            say(lines, format!("Succeeded, {} artifacts", artifacts.len())).await;
            Ok(Next::End(Transition::Succeed))
        }
        Outcome::Failed { phase, command, exit } => {
            let exit = match exit {
                Exit::Code(code) => format!("exited with status {code}"),
                Exit::Signal(signal) => format!("was ended by signal {signal}"),
            };
            Ok(fail("command_failed", format!("Command '{command}' in phase {} {exit}", phase.key())))
        }
        Outcome::NoArtifacts => Ok(fail("artifacts_missing", "No file matches the buildspec's artifacts")),
        Outcome::TimedOut { phase, after } => {
            let seconds = after.as_secs();
            Ok(fail("timed_out", format!("The time limit of {seconds} s was reached in phase {}", phase.key())))
        }
        Outcome::Canceled => Ok(Next::End(Transition::Cancel)),
    }
}

async fn fetch(parts: &Parts, deployment: &Deployment, into: &Path) -> Result<(), RemoteError> {
    let url = CloneUrl::parse(&deployment.clone_url, parts.hosts).map_err(|_| RemoteError::NotARepository)?;
    let sha = deployment.sha.parse().map_err(|_| RemoteError::NoSuchCommit)?;
    git::fetch_commit(&url, sha, into, FETCH_LIMITS).await
}

fn read_buildspec(source: &Path) -> Result<Buildspec, Failure> {
    let missing = |message: String| Failure { code: "buildspec_missing".to_owned(), message };
    let path = source.join(BUILDSPEC);
    // The checkout lets no link lead out of the source, so this reads a file of the repository.
    let size = std::fs::metadata(&path)
        .map_err(|_| missing(format!("The repository has no {BUILDSPEC} at this commit")))?
        .len();
    if size > buildspec::MAX_BYTES as u64 {
        let message = format!("{BUILDSPEC} is larger than {} KiB", buildspec::MAX_BYTES / 1024);
        return Err(Failure { code: BuildspecError::CODE.to_owned(), message });
    }
    let text = std::fs::read(&path).map_err(|error| missing(format!("{BUILDSPEC} can't be read: {error}")))?;
    Buildspec::parse(&text)
        .map_err(|error| Failure { code: BuildspecError::CODE.to_owned(), message: format!("{BUILDSPEC}: {error}") })
}

async fn open_variables(parts: &Parts, deployment: &Deployment) -> Result<BTreeMap<String, String>, ComeAgain> {
    let Some(sealed) = deployment.sealed_variables(parts.app.table()).await? else { return Ok(BTreeMap::new()) };
    let context = Deployment::sealing_context(&deployment.account_id, &deployment.id);
    let unreadable = |error| ComeAgain::Surroundings("the variables can't be decrypted", error);
    let json = parts.vault.open(&context, &sealed).await.map_err(|error| unreadable(error.into()))?;
    serde_json::from_slice(&json).map_err(|error| unreadable(error.into()))
}

async fn store(parts: &Parts, deployment: &Deployment, artifacts: &[Artifact]) -> Result<(), ComeAgain> {
    for artifact in artifacts {
        let unreadable = |error: std::io::Error| ComeAgain::Surroundings("an artifact can't be read", error.into());
        let mut file = tokio::fs::File::open(&artifact.path).await.map_err(unreadable)?;
        let prefix = deployment.artifacts_prefix();
        parts.archive.put_artifact(&prefix, &artifact.name, &mut file).await.map_err(archive_failed)?;
    }
    Ok(())
}

fn fail(code: &str, message: impl Into<String>) -> Next {
    Next::End(Transition::Fail(Failure { code: code.to_owned(), message: message.into() }))
}

pub(crate) fn archive_failed(error: archive::Error) -> ComeAgain {
    ComeAgain::Surroundings("the archive failed", error.into())
}

/// A line of the pipeline's own. When nobody takes lines any more the run is over anyway.
async fn say(lines: &Lines, text: String) {
    let _ = lines.send((Stream::System, text)).await;
}
