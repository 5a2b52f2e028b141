//! Consumes the queue of commit statuses, and tells git hosts the states of deployments.
//!
//! A message is a hint that a host has not been told. The status's row decides: whoever claims its report tells the state that
//! the deployment has then, and has told it before another function may tell a later one. So a message that is late, lost or
//! delivered twice does no harm. The sweep announces what was not told.
//!
//! No transition of a deployment waits for a host. A host that is slow or asks to wait is left alone for a while, with all
//! reports through its connection, so that it delays those of other hosts little.

mod credential;
mod failure;
mod report;
mod state;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_runtime::LambdaEvent;
use shared::cache::Cache;
use shared::clock::Timestamp;
use shared::error::chain;
use shared::hosts::Hosts;
use shared::id::{ConnectionId, DeploymentId};
use shared::model::{CommitStatus, ReportClaim};
use shared::queue::StatusQueue;
use shared::telemetry::{Level, MessageLine};
use shared::trace::TraceContext;
use shared::usage::Usage;
use shared::{App, InitError};
use vault::Vault;

use crate::credential::Tokens;

/// The maximum number of connections that an execution environment remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(500).unwrap();
/// The time after which no further report of a status begins. A deployment that changes while its state is told is told anew.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);

/// The consumer of the queue of commit statuses. Clones share everything.
#[derive(Clone, Debug)]
pub struct Reporter {
    app: App,
    queue: StatusQueue,
    vault: Arc<Vault>,
    hosts: Hosts,
    tokens: Arc<Tokens>,
    /// The times until which hosts are left alone, by connection.
    resting: Arc<Cache<ConnectionId, Timestamp>>,
}

/// The outcome of a message that needs no further delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The host was told.
    Told,
    /// The host knew the status, or another function tells it.
    AlreadyTold,
    /// The host can't be told: the deployment or its connection is gone, or the host has no API for statuses.
    NobodyToTell,
    /// The host did not take the report, and gets it later.
    Deferred,
    /// The host will not take the report.
    GivenUp,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::AlreadyTold => "already_told",
            Self::NobodyToTell => "nobody_to_tell",
            Self::Deferred => "deferred",
            Self::GivenUp => "given_up",
        }
    }
}

/// A message that was handled.
struct Handled {
    outcome: Outcome,
    deployment_id: Option<DeploymentId>,
    /// The host's reason, if it did not take the report.
    cause: Option<String>,
    /// Whether the status changed during the report.
    is_behind: bool,
}

impl Reporter {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            queue: StatusQueue::new(app)?,
            vault: Arc::new(Vault::new(app)?),
            hosts: Hosts::of(app.settings())?,
            tokens: Arc::new(Tokens::new(REMEMBERED)),
            resting: Arc::new(Cache::new(REMEMBERED)),
            app: app.clone(),
        })
    }

    /// Handles the messages of a batch concurrently. SQS redelivers the messages that the response names, and deletes all
    /// others.
    ///
    /// # Errors
    /// Never: a failure concerns one message.
    pub async fn invoke(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
        let handle = |message| TraceContext::within(TraceContext::from_message(message), self.handle(message));
        let handled = join_all(event.payload.records.iter().map(handle)).await;
        let mut response = SqsBatchResponse::default();
        for (message, handled) in event.payload.records.into_iter().zip(handled) {
            if !handled {
                response.add_failure(message.message_id.unwrap_or_default());
            }
        }
        Ok(response)
    }

    /// Handles one message, logs its line, and returns whether SQS may delete it.
    async fn handle(&self, message: &SqsMessage) -> bool {
        let started = Instant::now();
        let (result, usage) = Usage::of(async {
            let status = serde_json::from_str::<CommitStatus>(message.body.as_deref().unwrap_or_default())?;
            self.tell(&status, started).await
        })
        .await;
        let (level, outcome) = match &result {
            Ok(Handled { outcome: Outcome::GivenUp, .. }) => (Level::Warn, Outcome::GivenUp.word()),
            Ok(handled) => (Level::Info, handled.outcome.word()),
            Err(_) => (Level::Error, "failed"),
        };
        let cause = match &result {
            Ok(handled) => handled.cause.clone(),
            Err(error) => Some(chain(&**error)),
        };
        self.app.log().write(&MessageLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, level == Level::Error),
            level,
            message_id: message.message_id.as_deref(),
            deployment_id: result.as_ref().ok().and_then(|handled| handled.deployment_id.as_ref()),
            outcome,
            cause,
        });
        result.is_ok()
    }

    /// Tells the host a status until it knows the newest one.
    async fn tell(&self, status: &CommitStatus, started: Instant) -> Result<Handled, InitError> {
        let mut last = Handled { outcome: Outcome::AlreadyTold, deployment_id: None, cause: None, is_behind: true };
        while last.is_behind && started.elapsed() < BEGINS_WITHIN {
            let ReportClaim::Claimed(owed) = status.claim(self.app.table(), self.app.clock().now()).await? else {
                break;
            };
            last = self.report(owed).await?;
        }
        Ok(last)
    }
}
