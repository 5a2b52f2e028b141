//! The queue's consumer, which handles the delivery of each message.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use deploy::Creation;
use futures_util::future::try_join;
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use shared::access::repository_of;
use shared::id::DeliveryId;
use shared::model::{Delivery, Hook, HookProvider, Outcome};
use shared::queue::DeliveryMessage;
use shared::table::TableError;
use shared::telemetry::{Level, Metrics};
use shared::trace::TraceContext;
use shared::usage::Usage;
use shared::{App, InitError};

use crate::call;
use crate::outcome::{Later, Part, sum};
use crate::push::Following;

/// Handles deliveries to hooks. Clones share everything.
#[derive(Clone, Debug)]
pub struct HookConsumer {
    app: App,
    creation: Creation,
}

/// The log line of a delivery.
#[derive(Serialize)]
struct DeliveryLine<'a> {
    #[serde(flatten)]
    metrics: Metrics<'a>,
    level: Level,
    message_id: Option<&'a str>,
    delivery_id: Option<&'a DeliveryId>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// A reason to have a message delivered again.
#[derive(Debug, thiserror::Error)]
enum Retry {
    #[error("the message does not name a delivery")]
    Unreadable(#[source] serde_json::Error),
    #[error("the delivery could not be handled")]
    Infrastructure(#[source] InitError),
}

impl From<TableError> for Retry {
    fn from(error: TableError) -> Self {
        Self::Infrastructure(error.into())
    }
}

impl HookConsumer {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { app: app.clone(), creation: Creation::new(app)? })
    }

    /// Handles a batch. SQS redelivers the messages that the response names, and deletes all others.
    ///
    /// # Errors
    /// Never: a failure concerns one message.
    pub async fn invoke(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
        let mut response = SqsBatchResponse::default();
        for message in event.payload.records {
            if !TraceContext::within(TraceContext::from_message(&message), self.handle(&message)).await {
                response.add_failure(message.message_id.unwrap_or_default());
            }
        }
        Ok(response)
    }

    /// Handles one message, logs its line, and returns whether SQS may delete it.
    async fn handle(&self, message: &SqsMessage) -> bool {
        let started = Instant::now();
        let parsed = serde_json::from_str::<DeliveryMessage>(message.body.as_deref().unwrap_or_default());
        let delivery_id = parsed.as_ref().ok().map(|message| message.delivery_id.clone());
        let (result, usage) = Usage::of(async {
            let DeliveryMessage { hook_id, delivery_id } = parsed.map_err(Retry::Unreadable)?;
            let table = self.app.table();
            let hook = Hook::by_id(table, &hook_id);
            let (hook, delivery) = try_join(hook, Delivery::load(table, &hook_id, &delivery_id)).await?;
            match hook.zip(delivery) {
                None => Ok("gone"),
                Some((_, delivery)) if delivery.outcome != Outcome::Queued => Ok("already_handled"),
                Some((hook, delivery)) => self.advance(&hook, &delivery).await,
            }
        })
        .await;
        self.log(message, delivery_id.as_ref(), &result, started.elapsed(), usage);
        result.is_ok()
    }

    /// Handles a delivery, and records the result.
    async fn advance(&self, hook: &Hook, delivery: &Delivery) -> Result<&'static str, Retry> {
        let (table, now) = (self.app.table(), self.app.clock().now());
        let handled = match self.parts(hook, delivery).await {
            Ok(parts) => sum(parts),
            Err(Later::Infrastructure(cause)) => return Err(Retry::Infrastructure(cause)),
            Err(Later::Remote(reason)) => {
                if delivery.postpone(table, &reason, now).await?.is_some() {
                    return Ok("postponed");
                }
                sum(vec![Part::new(Outcome::Failed, format!("{reason}. There is no further attempt"))])
            }
        };
        let outcome = handled.outcome;
        Ok(match delivery.finish(table, handled).await? {
            true => name_of(outcome),
            false => "already_handled",
        })
    }

    /// Does what the delivery asks for. A part that an earlier attempt has done is found and not done again.
    async fn parts(&self, hook: &Hook, delivery: &Delivery) -> Result<Vec<Part>, Later> {
        let Self { app, creation } = self;
        let Some(repository) = &repository_of(app.table(), hook, delivery).await? else {
            return Ok(vec![Part::skipped("The repository was deleted")]);
        };
        let author = &hook.author(delivery.origin());
        if hook.provider == HookProvider::Deploy {
            return Ok(vec![call::deploy(creation, repository, hook, delivery, author).await?]);
        }
        let mut parts = Vec::with_capacity(delivery.pushes.len());
        for push in &delivery.pushes {
            parts.push(Following { creation, repository, delivery, author, push }.follow().await?);
        }
        Ok(parts)
    }

    fn log(
        &self,
        message: &SqsMessage,
        delivery_id: Option<&DeliveryId>,
        result: &Result<&'static str, Retry>,
        duration: Duration,
        usage: Usage,
    ) {
        let (level, outcome) = match result {
            Ok("gone") => (Level::Warn, "gone"),
            Ok(outcome) => (Level::Info, *outcome),
            Err(_) => (Level::Error, "failed"),
        };
        self.app.log().write(&DeliveryLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), duration, usage, level == Level::Error),
            level,
            message_id: message.message_id.as_deref(),
            delivery_id,
            outcome,
            cause: result.as_ref().err().map(|error| shared::error::chain(error)),
        });
    }
}

/// Returns the word for a result in the log. `failed` is for faults of the stack.
fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Queued => "queued",
        Outcome::Deployed => "deployed",
        Outcome::Skipped => "skipped",
        Outcome::AlreadyDeployed => "already_deployed",
        Outcome::Canceled => "canceled",
        Outcome::Failed => "gave_up",
    }
}
