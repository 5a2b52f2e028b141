//! The queue's consumer, which takes the deployment of each message to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::Archive;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use connections::Connections;
use lambda_runtime::LambdaEvent;
use shared::clock::Timestamp;
use shared::dispatch::{Dispatched, dispatch, finish, put_back};
use shared::id::DeploymentId;
use shared::model::{Actor, Deployment, Status, Terms, Transition, allows_caches};
use shared::queue::{DeploymentMessage, Queue};
use shared::telemetry::{Level, MessageLine};
use shared::trace::TraceContext;
use shared::usage::Usage;
use shared::{App, InitError};
use tokio_util::sync::CancellationToken;
use vault::Vault;

use crate::codebuild::Started;
use crate::lease::LEASE;
use crate::pipeline::{Completed, Pipeline};
use crate::process;
use crate::refusal::Refusal;
use crate::retry::Retry;
use crate::runner::Runner;
use crate::tenant::Tenant;

/// The setting that limits the run time of all phases together, in seconds.
pub const RUN_TIME_LIMIT_SECONDS: &str = "RUN_TIME_LIMIT_SECONDS";
/// The default time limit: ten of the fifteen minutes that a Lambda function has. The remaining five are for the fetch
/// and the report.
const DEFAULT_RUN_TIME_LIMIT: Duration = Duration::from_secs(600);

/// Runs deployments. Clones share everything.
#[derive(Clone, Debug)]
pub struct Consumer {
    app: App,
    queue: Queue,
    pipeline: Pipeline,
    terms: Terms,
    /// `None` where builds of several accounts run beside each other.
    tenant: Option<Tenant>,
}

/// The outcome of a message that needs no further delivery.
#[derive(Debug)]
enum Outcome {
    Ended(Status),
    InCodeBuild,
    /// AWS refused the build, and the deployment waits in its lane until the build is tried again.
    Refused(Refusal),
    /// This environment has built for another account, and another one gets the message.
    HandedOn,
    /// Another deployment in the lane comes first, or no permit is free. The end of another deployment sends the next message.
    Waits,
    AlreadyEnded,
    /// The deployment has no row.
    Gone,
}

impl Consumer {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        process::hide_environment()?;
        let archive = Archive::of_runner(app)?;
        let seconds = app.settings().get(RUN_TIME_LIMIT_SECONDS).map(str::parse).transpose()?;
        let pipeline = Pipeline {
            app: app.clone(),
            runner: Runner::new(app, &archive)?,
            archive,
            vault: Arc::new(Vault::new(app)?),
            connections: Connections::new(app)?,
            time_limit: seconds.map_or(DEFAULT_RUN_TIME_LIMIT, Duration::from_secs),
            allows_caches: allows_caches(app.settings())?,
            stopping: CancellationToken::new(),
            has_survivors: CancellationToken::new(),
        };
        let builds = app.settings().concurrent_builds()?;
        let terms = Terms { lease: LEASE, time_limit: pipeline.time_limit, builds };
        Ok(Self { app: app.clone(), queue: Queue::with_statuses(app)?, pipeline, terms, tenant: None })
    }

    /// Returns a consumer that stops when the token is canceled: it ends its builds, gives their deployments back, and
    /// claims no others. Lambda stops its functions without notice, so only the local stack has such a token.
    #[must_use]
    pub fn stopping_with(mut self, stopping: CancellationToken) -> Self {
        self.pipeline.stopping = stopping;
        self
    }

    /// Returns a consumer that builds for one account only, and whose environment ends if processes of a build go on.
    #[must_use]
    pub(crate) fn in_environment_of(mut self, tenant: Tenant) -> Self {
        self.pipeline.has_survivors = tenant.ends();
        Self { tenant: Some(tenant), ..self }
    }

    /// Handles a batch before the invocation's deadline. SQS redelivers the messages that the response names, and
    /// deletes all others.
    ///
    /// # Errors
    /// Never: a failure concerns one message.
    pub async fn invoke(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let mut response = SqsBatchResponse::default();
        for message in event.payload.records {
            if !TraceContext::within(TraceContext::from_message(&message), self.handle(&message, deadline)).await {
                response.add_failure(message.message_id.unwrap_or_default());
            }
        }
        Ok(response)
    }

    /// Handles one message, logs its line, and returns whether SQS may delete it.
    async fn handle(&self, message: &SqsMessage, deadline: Timestamp) -> bool {
        let started = Instant::now();
        let parsed = serde_json::from_str::<DeploymentMessage>(message.body.as_deref().unwrap_or_default());
        let deployment_id = parsed.as_ref().ok().map(|message| message.deployment_id.clone());
        let (result, usage) = Usage::of(async {
            let DeploymentMessage { account_id, deployment_id } = parsed.map_err(Retry::Unreadable)?;
            match Deployment::load(self.app.table(), &account_id, &deployment_id).await? {
                None => Ok(Outcome::Gone),
                Some(deployment) => Box::pin(self.advance(deployment, deadline)).await,
            }
        })
        .await;
        self.log(message, deployment_id.as_ref(), &result, started.elapsed(), usage);
        result.is_ok()
    }

    /// Takes a deployment from its current state to its end.
    async fn advance(&self, deployment: Deployment, deadline: Timestamp) -> Result<Outcome, Retry> {
        if self.pipeline.stopping.is_cancelled() {
            return Err(Retry::Stopping);
        }
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| tenant.is_other_than(&deployment.account_id)) {
            tenant.end();
            self.queue.send(&deployment).await.map_err(|error| {
                Retry::Infrastructure("the message of another account could not be handed on", error.into())
            })?;
            return Ok(Outcome::HandedOn);
        }
        match dispatch(&self.app, &self.queue, deployment, self.terms).await? {
            Dispatched::Claimed(claimed) => {
                self.queue.announce_status(&self.app, &claimed).await;
                Box::pin(self.run(claimed, deadline)).await
            }
            Dispatched::Waits => Ok(Outcome::Waits),
            Dispatched::Held => Err(Retry::Held),
            Dispatched::InBuild(deployment) => self.leave_to_build(&deployment).await,
            Dispatched::Ended(ended) => {
                self.delete_secret(&ended).await;
                Ok(Outcome::Ended(ended.status))
            }
            Dispatched::AlreadyEnded => Ok(Outcome::AlreadyEnded),
        }
    }

    async fn run(&self, claimed: Deployment, deadline: Timestamp) -> Result<Outcome, Retry> {
        if let (Some(tenant), Runner::Process) = (&self.tenant, &self.pipeline.runner) {
            tenant.take(&claimed.account_id);
        }
        // A run is large, and most messages end before one begins.
        let completed = Box::pin(self.pipeline.run(&claimed, deadline)).await;
        if let Err(Retry::Stopping) = completed {
            let now = self.app.clock().now();
            claimed.report(self.app.table(), Transition::GiveBack, Actor::Runner, now).await?;
        }
        let completed = match (completed, &self.pipeline.runner) {
            (Err(retry), Runner::CodeBuild(_)) => return self.await_capacity(&claimed, retry.refusal()?).await,
            (completed, _) => completed?,
        };
        match completed {
            Completed::Run(end, results) => {
                let claimed = claimed.with_results(self.app.table(), &results).await?;
                self.end(&claimed, end).await
            }
            Completed::Preparation(codebuild, input) => match Box::pin(codebuild.start(&claimed, &input)).await? {
                Started::Fails(failure) => self.end(&claimed, Transition::Fail(failure)).await,
                Started::Refused(refusal) => self.await_capacity(&claimed, refusal).await,
                Started::HandedOver => {
                    // A request to cancel may have come before there was a build.
                    match Deployment::load(self.app.table(), &claimed.account_id, &claimed.id).await? {
                        Some(deployment) => self.leave_to_build(&deployment).await,
                        None => Ok(Outcome::Gone),
                    }
                }
            },
        }
    }

    /// Puts a deployment back into its lane whose build AWS refuses.
    async fn await_capacity(&self, claimed: &Deployment, refusal: Refusal) -> Result<Outcome, Retry> {
        let left = put_back(&self.app, &self.queue, claimed, self.terms).await?;
        if left.status.is_final() {
            self.delete_secret(&left).await;
            return Ok(Outcome::Ended(left.status));
        }
        Ok(Outcome::Refused(refusal))
    }

    async fn leave_to_build(&self, deployment: &Deployment) -> Result<Outcome, Retry> {
        if let Runner::CodeBuild(codebuild) = &self.pipeline.runner {
            codebuild.stop_if_canceled(deployment).await?;
        }
        Ok(Outcome::InCodeBuild)
    }

    async fn end(&self, deployment: &Deployment, end: Transition) -> Result<Outcome, Retry> {
        let ended = finish(&self.app, &self.queue, deployment, end).await?;
        self.delete_secret(&ended).await;
        Ok(Outcome::Ended(ended.status))
    }

    async fn delete_secret(&self, ended: &Deployment) {
        if let Runner::CodeBuild(codebuild) = &self.pipeline.runner
            && let Err(error) = codebuild.delete_secret(ended).await
        {
            self.app.log().warn("the secret of an ended deployment could not be deleted", &error);
        }
    }

    fn log(
        &self,
        message: &SqsMessage,
        deployment_id: Option<&DeploymentId>,
        result: &Result<Outcome, Retry>,
        duration: Duration,
        usage: Usage,
    ) {
        let (level, outcome) = match result {
            Ok(Outcome::Ended(status)) => (Level::Info, status.as_str()),
            Ok(Outcome::InCodeBuild) => (Level::Info, "handed_over"),
            Ok(Outcome::HandedOn) => (Level::Info, "handed_on"),
            Ok(Outcome::Refused(refusal)) => (refusal.level(), "refused"),
            Ok(Outcome::Waits) => (Level::Info, "waits"),
            Ok(Outcome::AlreadyEnded) => (Level::Info, "already_ended"),
            Ok(Outcome::Gone) => (Level::Warn, "gone"),
            Err(Retry::Held) => (Level::Info, "held"),
            Err(Retry::Stale) => (Level::Info, "stale"),
            Err(Retry::Stopping) => (Level::Info, "given_back"),
            Err(_) => (Level::Error, "failed"),
        };
        self.app.log().write(&MessageLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), duration, usage, level == Level::Error),
            level,
            message_id: message.message_id.as_deref(),
            deployment_id,
            outcome,
            cause: match result {
                Ok(Outcome::Refused(refusal)) => Some(shared::error::chain(refusal)),
                result => result.as_ref().err().map(|error| shared::error::chain(error)),
            },
        });
    }
}
