//! Takes deployments from the queue, one message each, and runs them to their end.
//!
//! A deployment runs in this function, or this function starts a build by CodeBuild with it ([`RUNNER`]).
//!
//! Delivery is at least once and unordered, and a function can die at any line. A message is only deleted once its
//! deployment has ended or has a build, so what happens to a message follows from the deployment's row alone:
//!
//! | the row | the message |
//! |---|---|
//! | gone, or ended | is deleted |
//! | queued | the deployment that is next in its lane is claimed and run; when none may start, the message is deleted |
//! | in progress in a build by CodeBuild | is deleted: the build's events and the sweep end it |
//! | in progress, its runner's lease not over | comes back later |
//! | in progress, the lease over | its deployment is claimed again and run, or ended after [`MAX_ATTEMPTS`](shared::dispatch::MAX_ATTEMPTS) |
//!
//! What is wrong with a deployment ends it as failed. What is wrong with the surroundings leaves it as it is: the
//! message comes back, and ends in the dead-letter queue when it came back too often.

pub mod buildspec;
mod pipeline;
pub mod process;
pub mod redaction;
mod source;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::Archive;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use builds::{Builds, CODEBUILD_PROJECT, Report, Settled, Start, StartFailed};
use git::Hosts;
use lambda_runtime::LambdaEvent;
use shared::clock::Timestamp;
use shared::dispatch::{Dispatched, dispatch, finish};
use shared::id::DeploymentId;
use shared::model::{Deployment, Failure, Status, Terms, Transition, TransitionFailed};
use shared::queue::{DeploymentMessage, Queue};
use shared::table::{TableError, Usage};
use shared::telemetry::{Level, MessageLine, Metrics};
use shared::{App, InitError};
use vault::Vault;

use crate::pipeline::{Next, Prepared};

/// The setting with what runs deployments: `process`, the default, or `codebuild`.
pub const RUNNER: &str = "RUNNER";
/// The setting with the seconds that all phases of a deployment may take together.
pub const RUN_TIME_LIMIT_SECONDS: &str = "RUN_TIME_LIMIT_SECONDS";
/// Ten minutes: what a Lambda function's fifteen leave room for, after the fetch and before the report.
const DEFAULT_RUN_TIME_LIMIT: Duration = Duration::from_secs(600);
/// What is kept of the invocation's time for storing the artifacts and writing down the end.
const REPORT_TIME: Duration = Duration::from_secs(30);
/// How long a runner is taken to be alive after its last sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// How often a runner gives a sign of life, and how long that may take: a quarter of the lease, so that one failure
/// loses nothing, and a runner that is cut off has stopped when its lease is over.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Everything that runs deployments; clones share it.
#[derive(Clone, Debug)]
pub struct Consumer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    app: App,
    archive: Archive,
    queue: Queue,
    vault: Vault,
    hosts: Hosts,
    runner: Runner,
    time_limit: Duration,
}

/// What runs deployments.
#[derive(Debug)]
enum Runner {
    /// Child processes of this function.
    Process,
    /// AWS CodeBuild, which gets the source from the archive's bucket.
    CodeBuild { builds: Builds, project: String, bucket: String },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Ran(Status),
    HandedOver,
    /// It is not its turn, or its lane is not free: whoever is in the way sends the next one's message.
    Waits,
    AlreadyEnded,
    Gone,
}

/// Why a message must come again.
#[derive(Debug, thiserror::Error)]
enum ComeAgain {
    #[error("the message does not name a deployment")]
    Unreadable(#[source] serde_json::Error),
    #[error("another runner has the deployment")]
    Held,
    #[error("another writer changed the deployment")]
    Stale,
    #[error("the lease is over, and another runner may have the deployment")]
    LeaseOver,
    #[error("DynamoDB failed")]
    Table(#[from] TableError),
    #[error("{0}")]
    Surroundings(&'static str, #[source] InitError),
}

impl From<TransitionFailed> for ComeAgain {
    fn from(failed: TransitionFailed) -> Self {
        match failed {
            TransitionFailed::Stale | TransitionFailed::Blocked => Self::Stale,
            TransitionFailed::Table(error) => Self::Table(error),
        }
    }
}

impl Runner {
    fn new(app: &App, archive: &Archive) -> Result<Self, InitError> {
        match app.settings().get(RUNNER) {
            None | Some("process") => Ok(Self::Process),
            Some("codebuild") => Ok(Self::CodeBuild {
                builds: Builds::new(app)?,
                project: app.settings().require(CODEBUILD_PROJECT)?.to_owned(),
                bucket: archive.bucket().ok_or("CodeBuild needs an archive that is a bucket")?.to_owned(),
            }),
            Some(other) => Err(format!("{RUNNER} is neither process nor codebuild: {other:?}").into()),
        }
    }
}

impl Consumer {
    /// # Errors
    /// When a setting is missing or unusable.
    pub fn new(app: &App) -> Result<Self, InitError> {
        process::hide_environment()?;
        let seconds = app.settings().get(RUN_TIME_LIMIT_SECONDS).map(str::parse).transpose()?;
        let archive = Archive::new(app)?;
        Ok(Self(Arc::new(Parts {
            runner: Runner::new(app, &archive)?,
            archive,
            queue: Queue::new(app)?,
            vault: Vault::new(app)?,
            hosts: git::hosts(app.settings())?,
            time_limit: seconds.map_or(DEFAULT_RUN_TIME_LIMIT, Duration::from_secs),
            app: app.clone(),
        })))
    }

    /// Handles a batch before the invocation's deadline. What the response names comes again; the rest is deleted.
    ///
    /// # Errors
    /// None: a failure is a message's own.
    pub async fn invoke(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let mut response = SqsBatchResponse::default();
        for message in event.payload.records {
            if !self.handle(&message, deadline).await {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
        }
        Ok(response)
    }

    /// Handles one message and logs its line; `false` when it must come again.
    async fn handle(&self, message: &SqsMessage, deadline: Timestamp) -> bool {
        let started = Instant::now();
        let parsed = serde_json::from_str::<DeploymentMessage>(message.body.as_deref().unwrap_or_default());
        let deployment_id = parsed.as_ref().ok().map(|named| named.deployment_id.clone());
        let (result, usage) = Usage::of(async {
            let named = parsed.map_err(ComeAgain::Unreadable)?;
            let table = self.0.app.table();
            match Deployment::load(table, &named.account_id, &named.deployment_id).await? {
                None => Ok(Done::Gone),
                Some(deployment) => self.advance(deployment, deadline).await,
            }
        })
        .await;
        self.log(message, deployment_id.as_ref(), &result, started.elapsed(), usage);
        result.is_ok()
    }

    /// Takes a deployment from where it is to its end.
    async fn advance(&self, deployment: Deployment, deadline: Timestamp) -> Result<Done, ComeAgain> {
        let Parts { app, queue, time_limit, .. } = &*self.0;
        let terms = Terms { lease: LEASE, time_limit: *time_limit };
        // Each step is boxed: together they would be larger than a thread's stack takes in a debug build.
        let claimed = match Box::pin(dispatch(app, queue, deployment, terms)).await? {
            Dispatched::Claimed(claimed) => claimed,
            Dispatched::Waits => return Ok(Done::Waits),
            Dispatched::Held => return Err(ComeAgain::Held),
            Dispatched::InBuild(deployment) => return self.look_at_build(&deployment).await,
            Dispatched::Ended(ended) => {
                self.forget(&ended).await;
                return Ok(Done::Ran(ended.status));
            }
            Dispatched::AlreadyEnded => return Ok(Done::AlreadyEnded),
        };
        match Box::pin(pipeline::run(&self.0, &claimed, deadline)).await? {
            Next::End(end) => Box::pin(self.end(&claimed, end)).await,
            Next::Build(prepared) => Box::pin(self.start_build(claimed, prepared)).await,
        }
    }

    /// A build that goes on without a runner is stopped if somebody asks for it. Its event ends the deployment.
    async fn look_at_build(&self, deployment: &Deployment) -> Result<Done, ComeAgain> {
        if let (Runner::CodeBuild { builds, .. }, Some(build), Some(_)) =
            (&self.0.runner, &deployment.build, &deployment.cancel_requested_by)
        {
            let failed = |error: builds::Error| ComeAgain::Surroundings("a build could not be stopped", error.into());
            builds.stop(build).await.map_err(failed)?;
        }
        Ok(Done::HandedOver)
    }

    async fn end(&self, deployment: &Deployment, end: Transition) -> Result<Done, ComeAgain> {
        let ended = finish(&self.0.app, &self.0.queue, deployment, end).await?;
        self.forget(&ended).await;
        Ok(Done::Ran(ended.status))
    }

    /// Deletes the secret that an attempt before may have left.
    async fn forget(&self, ended: &Deployment) {
        if let Runner::CodeBuild { builds, project, .. } = &self.0.runner
            && let Err(error) = builds.forget(project, ended).await
        {
            self.0.app.log().warn("the secret of an ended deployment may still be there", &error);
        }
    }

    /// Starts the build and writes it down. A runner that dies in between is made up for by the build's first event.
    async fn start_build(&self, claimed: Deployment, prepared: Prepared) -> Result<Done, ComeAgain> {
        let Runner::CodeBuild { builds, project, bucket } = &self.0.runner else {
            unreachable!("only for CodeBuild something is prepared")
        };
        let (source, artifacts) = (Archive::source_key(&claimed.archive_prefix()), claimed.artifacts_prefix());
        let start = Start {
            project,
            deployment: &claimed,
            bucket,
            source: &source,
            artifacts: prepared.has_artifacts.then_some(artifacts.as_str()),
            variables: &prepared.variables,
            time_limit: claimed.time_limit(self.0.time_limit),
        };
        let failed = |error: builds::Error| ComeAgain::Surroundings("the build could not be handed over", error.into());
        let build = match builds.start(start).await {
            Ok(build) => build,
            Err(StartFailed::Call(error)) => return Err(failed(error)),
            Err(too_large @ StartFailed::VariablesTooLarge) => {
                let failure = Failure { code: "variables_too_large".to_owned(), message: too_large.to_string() };
                return self.end(&claimed, Transition::Fail(failure)).await;
            }
        };
        let report = Report::started(build, claimed.attempt);
        let (account_id, id) = (claimed.account_id.clone(), claimed.id.clone());
        match builds.settle(claimed, &report).await.map_err(failed)? {
            // The lease was over and another runner came.
            Settled::NotItsBuild => {
                builds.stop(&report.build).await.map_err(failed)?;
                Err(ComeAgain::Stale)
            }
            _ => {
                // Somebody may have asked it to stop before there was a build.
                let found = Deployment::load(self.0.app.table(), &account_id, &id).await?;
                match found {
                    Some(deployment) => self.look_at_build(&deployment).await,
                    None => Ok(Done::Gone),
                }
            }
        }
    }

    fn log(
        &self,
        message: &SqsMessage,
        deployment_id: Option<&DeploymentId>,
        result: &Result<Done, ComeAgain>,
        duration: Duration,
        usage: Usage,
    ) {
        let (level, outcome) = match result {
            Ok(Done::Ran(status)) => (Level::Info, status.as_str()),
            Ok(Done::HandedOver) => (Level::Info, "handed_over"),
            Ok(Done::Waits) => (Level::Info, "waits"),
            Ok(Done::AlreadyEnded) => (Level::Info, "already_ended"),
            Ok(Done::Gone) => (Level::Warn, "gone"),
            Err(ComeAgain::Held) => (Level::Info, "held"),
            Err(ComeAgain::Stale) => (Level::Info, "stale"),
            Err(_) => (Level::Error, "failed"),
        };
        let now = self.0.app.clock().now();
        self.0.app.log().write(&MessageLine {
            metrics: Metrics::new(env!("CARGO_PKG_NAME"), now, duration, usage, level == Level::Error),
            level,
            message_id: message.message_id.as_deref(),
            deployment_id,
            outcome,
            cause: result.as_ref().err().map(|error| shared::telemetry::chain(error)),
        });
    }
}
