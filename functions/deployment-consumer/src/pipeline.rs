//! One run of a deployment: fetches and keeps the source, reads its buildspec, runs it, and keeps its artifacts.
//!
//! Each step is logged as it happens, and the lease is renewed meanwhile. If CodeBuild runs the deployment, the
//! pipeline ends before the run.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{Archive, LogWriter, REPORTS};
use connections::{Connections, OpenFailed, TimeLimit};
use git::{FetchLimits, Fetched, RemoteError, Resolved};
use redaction::Redaction;
use shared::App;
use shared::clock::Timestamp;
use shared::model::{Deployment, Failure, FailureCode, Plan, Results, Transition, URL_OUTPUT};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vault::{Vault, VaultError};

use crate::beneath::Folder;
use crate::buildspec::Buildspec;
use crate::cache::{self, Caching, Surroundings};
use crate::codebuild::{BuildInput, CodeBuild};
use crate::opened::BuildVariables;
use crate::process::{Exit, Outcome, Run, RunError};
use crate::refusal::Refusal;
use crate::retry::Retry;
use crate::run_log::{self, RunLog};
use crate::runner::Runner;
use crate::variables::{self, Variables};
use crate::workspace::Workspace;
use crate::{checkout, lease, results, source, survivors};

/// The time between SIGTERM and SIGKILL for a build that must stop.
const GRACE: Duration = Duration::from_secs(5);
/// The time that a run has to stop when its runner stops.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// The part of the invocation's time that is reserved for storing the artifacts and the deployment's end.
pub const REPORT_TIME: Duration = Duration::from_secs(30);
/// The limits of a fetch. A Lambda function's disk has 512 MB unless the template sets another size.
pub const FETCH_LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(120),
    depth: 1,
    pack_bytes: 128 << 20,
    tree_bytes: 256 << 20,
    files: 100_000,
};

/// The note in the log of a build outside of CodeBuild whose repository or environment chooses a machine.
const NO_MACHINE: &str =
    "`image`, `compute_type` and `privileged` are ignored: the build does not run in AWS CodeBuild.";

/// The line about the cache of a buildspec whose repository or environment has turned caches off.
const NO_CACHE: &str = "`cache` is ignored: the settings of the repository or the environment turn it off.";

/// The line about the cache of a buildspec in a stack whose operator allows none.
const FORBIDDEN_CACHE: &str = "`cache` is ignored: the operator does not allow caches of builds.";

/// Runs claimed deployments.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub app: App,
    pub archive: Archive,
    pub(crate) vault: Arc<Vault>,
    pub(crate) connections: Connections,
    pub runner: Runner,
    /// The run time of all phases together, unless the environment has a limit of its own.
    pub time_limit: Duration,
    /// Whether the operator lets builds have caches.
    pub allows_caches: bool,
    /// Canceled when the runner stops.
    pub stopping: CancellationToken,
    /// Canceled when processes of a build could not be ended.
    pub has_survivors: CancellationToken,
}

/// The last step that the pipeline completed.
pub(crate) enum Completed<'a> {
    /// The run. The deployment ends by this transition, with what its build has reported.
    Run(Transition, Results),
    /// The preparation of a build, which CodeBuild can start.
    Preparation(&'a CodeBuild, BuildInput),
}

/// The reason why the source could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchFailed {
    #[error(transparent)]
    Open(#[from] OpenFailed),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl Pipeline {
    /// Runs a claimed deployment and stores its log.
    ///
    /// Losing the lease drops the run, which kills its processes and stops its log: another runner has the deployment. A
    /// runner that stops has a short time to end the run.
    pub(crate) async fn run(&self, deployment: &Deployment, deadline: Timestamp) -> Result<Completed<'_>, Retry> {
        let (lines, received) = mpsc::channel(256);
        let writer = LogWriter::resume(&self.archive, &deployment.log_prefix()).await?;
        let stop = CancellationToken::new();
        let work = async {
            let log = RunLog(lines);
            let completed = match self.build(deployment, deadline, &log, &stop).await {
                Ok(Completed::Run(Transition::Cancel, _)) if self.stopping.is_cancelled() => Err(Retry::Stopping),
                completed => completed,
            };
            match &completed {
                Ok(Completed::Run(Transition::Fail(failure), _)) => {
                    log.say(format!("Failed: {}", failure.message)).await
                }
                Ok(Completed::Run(Transition::Cancel, _)) => log.say("Canceled").await,
                Err(Retry::Stopping) => log.say("The runner stops; another one starts the deployment again").await,
                _ => {}
            }
            completed
        };
        let both = async { tokio::join!(work, run_log::store(writer, received, &self.app)) };
        tokio::select! {
            (completed, stored) = both => {
                let completed = completed?;
                stored?;
                Ok(completed)
            }
            lost = lease::hold(&self.app, deployment, &stop) => Err(lost),
            () = self.stop_in_time(&stop) => Err(Retry::Stopping),
        }
    }

    /// Triggers `stop` when the runner stops, and returns when the run has had its time.
    async fn stop_in_time(&self, stop: &CancellationToken) {
        self.stopping.cancelled().await;
        stop.cancel();
        tokio::time::sleep(STOP_LIMIT).await;
    }

    async fn build(
        &self,
        deployment: &Deployment,
        deadline: Timestamp,
        log: &RunLog,
        stop: &CancellationToken,
    ) -> Result<Completed<'_>, Retry> {
        let Deployment { number, environment, sha, git_ref, .. } = deployment;
        log.say(format!("Deployment {number} of {git_ref} ({sha}) to {}", environment.as_str())).await;
        match deployment.tries() {
            _ if deployment.was_refused() => log.say("Trying again: AWS did not start the build").await,
            1 => {}
            attempt => log.say(format!("Attempt {attempt}: the previous runner was lost")).await,
        }
        let workspace = Workspace::new()?;
        let completed = Box::pin(self.build_in(&workspace, deployment, deadline, log, stop)).await;
        workspace.delete(&self.app).await;
        completed
    }

    async fn build_in(
        &self,
        workspace: &Workspace,
        deployment: &Deployment,
        deadline: Timestamp,
        log: &RunLog,
        stop: &CancellationToken,
    ) -> Result<Completed<'_>, Retry> {
        if let Some(end) = self.get_source(deployment, workspace, log, stop).await? {
            return Ok(Completed::without_run(end));
        }
        let mut buildspec = match read_buildspec(deployment, &workspace.source, log).await {
            Ok(buildspec) => buildspec,
            Err(failure) => return Ok(Completed::without_run(Transition::Fail(failure))),
        };
        if let Some(why) = self.refuses_cache(deployment)
            && buildspec.cache.take().is_some()
        {
            log.say(why).await;
        }
        source::keep(&self.archive, &deployment.source_prefix(), &workspace.source, &workspace.zip).await?;
        let variables = match self.variables(deployment, &buildspec).await? {
            Ok(variables) => variables,
            Err(failure) => return Ok(Completed::without_run(Transition::Fail(failure))),
        };
        let time_limit = deployment.time_limit(self.time_limit);
        let mut reserved = variables::of_deployment(deployment, &self.app);
        if let Runner::CodeBuild(codebuild) = &self.runner {
            let cache = match &buildspec.cache {
                Some(cache) => cache::place_in_codebuild(&self.app, log, cache, deployment).await,
                None => None,
            };
            log.say("Starting a build in AWS CodeBuild").await;
            let has_artifacts = buildspec.artifacts.is_some();
            let from_aws = buildspec.stored_besides(&variables.values);
            if !from_aws.is_empty() {
                let names: Vec<_> = from_aws.keys().map(String::as_str).collect();
                log.say(format!("AWS CodeBuild takes from AWS, without a variable of the name: {}", names.join(", ")))
                    .await;
            }
            // CodeBuild takes a text of several lines for a buildspec, and one line for the path of a file.
            let has_reports = !buildspec.reports.is_empty();
            let mut document = buildspec.canonical(&from_aws);
            if has_reports {
                buildspec.store_reports(&mut document, REPORTS, &deployment.source.buildspec_path);
            }
            let buildspec = format!("{document:#}");
            let (secrets, mut plain) = variables.split();
            plain.extend(reserved);
            let input = BuildInput { buildspec, has_artifacts, has_reports, cache, secrets, plain, time_limit };
            return Ok(Completed::Preparation(codebuild, input));
        }
        if !deployment.machine.is_default() {
            log.say(NO_MACHINE).await;
        }
        let of_process = variables::of_process(deployment, &self.app).into_iter();
        reserved.extend(of_process.filter(|(name, _)| !variables.values.contains_key(name)));
        let redaction = Redaction::new(variables.secrets());
        let source = Folder::open(&workspace.source)
            .map_err(|error| Retry::Infrastructure("the source can't be opened", error.into()))?;
        let left = || deadline.since(self.app.clock().now()).saturating_sub(REPORT_TIME);
        let mut run = Run {
            buildspec: &buildspec,
            source: &source,
            scratch: &workspace.scratch,
            variables: &variables.values,
            reserved: &reserved,
            redaction: redaction.clone(),
            clock: self.app.clock().clone(),
            time_limit: time_limit.min(left()),
            grace: GRACE,
            survivors: survivors::of_build(&self.app, deployment, &self.has_survivors),
        };
        // The plan is read before the run, so that what the run has made can be kept without the table.
        let plan = match buildspec.artifacts.is_some() || buildspec.cache.is_some() {
            true => Some(Plan::of_account(self.app.table(), &deployment.account_id).await?),
            false => None,
        };
        let quota = plan.map(Plan::artifact_quota);
        let caching = match buildspec.cache.as_ref().zip(plan) {
            Some((cache, plan)) => {
                let surroundings = Surroundings {
                    app: &self.app,
                    archive: &self.archive,
                    log,
                    stop,
                    quota: plan.cache_bytes(),
                    folder: workspace.path(),
                    deadline,
                };
                Box::pin(Caching::restore(surroundings, cache, deployment, &run)).await
            }
            None => None,
        };
        run.time_limit = time_limit.min(left());
        let ran = run.run(log.0.clone(), stop).await;
        let (outcome, phases) = match ran {
            Ok(ran) => ran,
            Err(RunError::NoShell(shell @ "bash")) => {
                let message = format!("The buildspec requires the shell {shell}, which the runner does not have");
                return Ok(Completed::without_run(fail(FailureCode::ShellMissing, message)));
            }
            Err(error) => return Err(Retry::Infrastructure("the build could not be run", error.into())),
        };
        let tests = results::read_tests(&buildspec, &run, log).await?;
        let mut results = Results { tests, phases, ..Results::default() };
        match &outcome {
            Outcome::Succeeded { artifacts, exported } => {
                if let Some(failure) = results::store(&self.archive, deployment, &source, artifacts, quota).await? {
                    return Ok(Completed::Run(Transition::Fail(failure), results));
                }
                results.outputs = results::outputs(exported, &redaction, log).await;
                if results.outputs.contains_key(URL_OUTPUT) && results.environment_url().is_none() {
                    log.say(format!(
                        "{URL_OUTPUT} is no URL of the environment: it must be an http or https URL without secrets"
                    ))
                    .await;
                }
                if let Some(caching) = caching {
                    Box::pin(caching.save(&run)).await;
                }
                log.say(format!("Succeeded. Artifacts: {}", artifacts.len())).await;
            }
            Outcome::Failed { artifacts, .. } => {
                if let Some(failure) = results::store(&self.archive, deployment, &source, artifacts, quota).await? {
                    log.say(failure.message).await;
                }
            }
            Outcome::NoArtifacts | Outcome::TimedOut { .. } | Outcome::Canceled => {}
        }
        Ok(Completed::Run(end_of(outcome), results))
    }

    /// Returns the line of the log about the cache of a buildspec that the build does not have.
    fn refuses_cache(&self, deployment: &Deployment) -> Option<&'static str> {
        match deployment.source.cache {
            _ if !self.allows_caches => Some(FORBIDDEN_CACHE),
            true => None,
            false => Some(NO_CACHE),
        }
    }

    /// Brings the source into the workspace. Returns the transition that ends the deployment if it can't.
    async fn get_source(
        &self,
        deployment: &Deployment,
        workspace: &Workspace,
        log: &RunLog,
        stop: &CancellationToken,
    ) -> Result<Option<Transition>, Retry> {
        if let Some(earlier) = deployment.rolled_back(self.app.table()).await?
            && source::restore(&self.archive, &earlier.source_prefix(), &workspace.source, &workspace.zip).await?
        {
            log.say("Using the source stored by the earlier deployment").await;
            return Ok(None);
        }
        log.say(format!("Fetching {}", deployment.clone_url)).await;
        let fetched = tokio::select! {
            fetched = self.fetch(deployment, &workspace.source) => fetched,
            () = stop.cancelled() => return Ok(Some(Transition::Cancel)),
        };
        match fetched {
            Ok(fetched) => {
                for note in fetched.notes {
                    log.say(note).await;
                }
                let failed =
                    |error: std::io::Error| Retry::Infrastructure("the root folder can't be entered", error.into());
                let entered = checkout::enter(&workspace.source, &deployment.source).map_err(failed)?;
                Ok(entered.err().map(Transition::Fail))
            }
            Err(FetchFailed::Remote(error @ RemoteError::Local(_))) => {
                Err(Retry::Infrastructure("the source could not be stored", error.into()))
            }
            Err(FetchFailed::Open(OpenFailed::Vault(error @ VaultError::Kms { .. }))) => {
                Err(Refusal::of_vault("the connection could not be opened", error).into())
            }
            Err(FetchFailed::Open(OpenFailed::Table(error))) => Err(error.into()),
            Err(FetchFailed::Open(error)) if error.is_temporary() => {
                Err(Retry::Infrastructure("the connection could not be opened", error.into()))
            }
            Err(error) => Ok(Some(fail(FailureCode::SourceUnavailable, error.to_string()))),
        }
    }

    /// Fetches the commit from where the repository was at the deployment's creation, with the credential that its connection has
    /// now.
    async fn fetch(&self, deployment: &Deployment, into: &Path) -> Result<Fetched, FetchFailed> {
        let deadline = Instant::now() + FETCH_LIMITS.time;
        let remote = self.connections.remote_within(TimeLimit::of_fetch(deadline), deployment).await?;
        let sha = deployment.sha.parse().map_err(|_| RemoteError::NoSuchCommit)?;
        let commit = Resolved { name: deployment.ref_name.clone(), sha };
        let time = deadline.saturating_duration_since(Instant::now());
        let limits = FetchLimits { depth: deployment.source.fetch_depth.into(), time, ..FETCH_LIMITS };
        Ok(remote.fetch_commit(&commit, into, limits).await?)
    }

    /// Opens the variables, and checks that the approvals cover them and that the buildspec has all that it takes.
    async fn variables(
        &self,
        deployment: &Deployment,
        buildspec: &Buildspec,
    ) -> Result<Result<BuildVariables, Failure>, Retry> {
        let fixed = deployment.variables(self.app.table()).await?;
        if let Some(failure) = deployment.unapproved(&fixed) {
            return Ok(Err(failure));
        }
        let opened = BuildVariables::open(&self.app, &self.vault, deployment, fixed).await?;
        let takes_from_aws = matches!(&self.runner, Runner::CodeBuild(codebuild) if codebuild.takes_values_from_aws());
        Ok(opened.and_then(|opened| match missing_variables(buildspec, &opened.values) {
            Some(failure) if !takes_from_aws => Err(failure),
            _ => Ok(opened),
        }))
    }
}

impl Completed<'_> {
    fn without_run(end: Transition) -> Self {
        Self::Run(end, Results::default())
    }
}

/// Reads the buildspec, and logs what will not be done as it says, or all that is wrong with it.
async fn read_buildspec(deployment: &Deployment, source: &Path, log: &RunLog) -> Result<Buildspec, Failure> {
    let path = &deployment.source.buildspec_path;
    let text = checkout::read_buildspec(source, path)?;
    let (read, findings) = match Buildspec::parse(&text) {
        Ok(buildspec) => {
            let notes = buildspec.notes.clone();
            (Ok(buildspec), notes)
        }
        // The failure's message, which is short, has the only problem.
        Err(error) => {
            let failure = Failure::new(FailureCode::BuildspecInvalid, format!("{path}: {error}"));
            (Err(failure), if error.problems.len() > 1 { error.problems } else { Vec::new() })
        }
    };
    for finding in findings {
        log.say(format!("{path}: {finding}")).await;
    }
    read
}

fn missing_variables(buildspec: &Buildspec, variables: &Variables) -> Option<Failure> {
    let missing = buildspec.missing_variables(variables);
    let sentences: Vec<_> = missing.iter().map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| Failure::new(FailureCode::VariablesMissing, sentences.join("; ")))
}

fn end_of(outcome: Outcome) -> Transition {
    match outcome {
        Outcome::Succeeded { .. } => Transition::Succeed,
        Outcome::Failed { phase, command, exit, .. } => {
            let exit = match exit {
                Exit::Code(code) => format!("exited with status {code}"),
                Exit::Signal(signal) => format!("was killed by signal {signal}"),
            };
            fail(FailureCode::CommandFailed, format!("Command '{command}' in phase {} {exit}", phase.key()))
        }
        Outcome::NoArtifacts => fail(FailureCode::ArtifactsMissing, "No file matches the buildspec's artifacts"),
        Outcome::TimedOut { phase, after } => {
            let seconds = after.as_secs();
            fail(FailureCode::TimedOut, format!("The time limit of {seconds} s was reached in phase {}", phase.key()))
        }
        Outcome::Canceled => Transition::Cancel,
    }
}

fn fail(code: FailureCode, message: impl Into<String>) -> Transition {
    Transition::Fail(Failure::new(code, message))
}
