//! Makes deliveries of an account's events, and sends them to its webhooks.
//!
//! | the message | the function |
//! |---|---|
//! | names an account | looks at the account's outbox, makes the deliveries of new events, and announces them |
//! | names deliveries of a webhook | sends those that are due, unless another function sends to the webhook |
//!
//! A message is a hint that there may be something to do; the rows decide. The sweep announces what was not done.
//!
//! Receivers are strangers. One gets one request at a time, for ten seconds at most, and one that is silent rests. An invocation
//! serves one webhook, and an account has four at a time, so that no other account waits for slow receivers.

mod client;
mod dispatch;
mod payload;
mod send;
mod signature;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use shared::cache::Cache;
use shared::error::chain;
use shared::hosts::Hosts;
use shared::id::{AccountId, WebhookId};
use shared::model::HookSecret;
use shared::queue::{WebhookMessage, WebhookQueue};
use shared::telemetry::{Level, Metrics};
use shared::trace::TraceContext;
use shared::usage::Usage;
use shared::{App, InitError};
use vault::Vault;

pub use client::{Client, Message, Response};
pub use dispatch::Dispatching;
pub use send::{Sending, Sent};

/// The maximum number of webhooks whose secrets an execution environment remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// The consumer of the queue of webhooks. Clones share everything.
#[derive(Clone, Debug)]
pub struct Sender {
    app: App,
    queue: WebhookQueue,
    vault: Arc<Vault>,
    client: Client,
    /// The secrets of webhooks, by webhook and revision.
    secrets: Arc<Cache<(WebhookId, u64), Vec<HookSecret>>>,
}

/// The log line of a message. It has no URL, because a part of one may be a secret.
#[derive(Serialize)]
struct WebhookLine<'a> {
    #[serde(flatten)]
    metrics: Metrics<'a>,
    level: Level,
    message_id: Option<&'a str>,
    account_id: Option<AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<WebhookId>,
    outcome: &'static str,
    /// The number of deliveries that were made or sent.
    deliveries: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

impl Sender {
    /// # Errors
    /// Fails if a setting is missing or invalid.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self {
            queue: WebhookQueue::new(app)?,
            vault: Arc::new(Vault::new(app)?),
            client: Client::new(Hosts::of(app.settings())?),
            secrets: Arc::new(Cache::new(REMEMBERED)),
            app: app.clone(),
        })
    }

    /// Handles the messages of a batch. SQS redelivers the messages that the response names, and deletes all others.
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
        let parsed = serde_json::from_str::<WebhookMessage>(message.body.as_deref().unwrap_or_default());
        let (account_id, webhook_id) = match &parsed {
            Ok(WebhookMessage::Dispatch { account_id, .. }) => (Some(account_id.clone()), None),
            Ok(WebhookMessage::Send { account_id, webhook_id, .. }) => {
                (Some(account_id.clone()), Some(webhook_id.clone()))
            }
            Err(_) => (None, None),
        };
        let (result, usage) = Usage::of(async {
            match parsed? {
                WebhookMessage::Dispatch { account_id, planned } => {
                    Dispatching { app: &self.app, queue: &self.queue }.dispatch(&account_id, planned).await
                }
                WebhookMessage::Send { account_id, webhook_id, deliveries } => {
                    let sent = self.send(&account_id, &webhook_id, deliveries, started).await?;
                    Ok((sent.outcome, sent.deliveries))
                }
            }
        })
        .await;
        let (level, outcome, deliveries, cause) = match result {
            Ok((outcome, deliveries)) => (Level::Info, outcome, deliveries, None),
            Err(error) => (Level::Error, "failed", 0, Some(chain(&*error))),
        };
        self.app.log().write(&WebhookLine {
            metrics: self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, level == Level::Error),
            level,
            message_id: message.message_id.as_deref(),
            account_id,
            webhook_id,
            outcome,
            deliveries,
            cause,
        });
        level != Level::Error
    }
}
