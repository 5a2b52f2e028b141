//! The event source mapping between a queue and a function, with `ReportBatchItemFailures` on.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::REGION;
use crate::function::Function;

/// The maximum time that SQS lets a receive wait, in seconds.
const WAIT_SECONDS: i32 = 20;

/// The time in which a mapping that stops returns the messages of invocations that still run.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// The pause after a queue has refused a receive.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A queue and the way in which its messages are delivered.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The URL of the queue in SQS.
    pub queue_url: String,
    /// The maximum number of messages in one event, 1 to 10.
    pub batch_size: u8,
    /// The maximum number of concurrent invocations.
    pub maximum_concurrency: usize,
}

impl Mapping {
    /// Returns a mapping with one message per event and four concurrent invocations.
    #[must_use]
    pub fn new(queue_url: impl Into<String>) -> Self {
        Self { queue_url: queue_url.into(), batch_size: 1, maximum_concurrency: 4 }
    }
}

/// The reason why a mapping did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum StartError {
    #[error("a batch has 1 to 10 messages, not {0}")]
    BatchSize(u8),
    #[error("the maximum concurrency is 0")]
    NoConcurrency,
    #[error("cannot read the queue's ARN")]
    Queue(#[source] Box<aws_sdk_sqs::error::SdkError<GetQueueAttributesError>>),
    #[error("the queue has no ARN")]
    NoArn,
}

/// A running mapping. Dropping it abandons running invocations: their messages are not deleted, and come back after
/// their visibility timeout.
pub struct EventSource {
    phase: watch::Sender<Phase>,
    workers: JoinSet<()>,
}

/// The phases of a mapping, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Receiving,
    /// No message is received, and failed messages are returned to the queue at once.
    Stopping,
    /// The messages of running invocations are returned, too.
    Abandoning,
}

struct Poller {
    client: Client,
    mapping: Mapping,
    queue_arn: String,
    function: Function,
}

impl EventSource {
    /// Starts to receive. Each concurrent invocation has its own long poll.
    ///
    /// # Errors
    ///
    /// Fails if the mapping's numbers are out of range or the queue can't be reached.
    pub async fn start(client: Client, mapping: Mapping, function: Function) -> Result<Self, StartError> {
        if !(1..=10).contains(&mapping.batch_size) {
            return Err(StartError::BatchSize(mapping.batch_size));
        }
        if mapping.maximum_concurrency == 0 {
            return Err(StartError::NoConcurrency);
        }
        let queue = client
            .get_queue_attributes()
            .queue_url(&mapping.queue_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .map_err(|error| StartError::Queue(Box::new(error)))?;
        let queue_arn = queue
            .attributes()
            .and_then(|attributes| attributes.get(&QueueAttributeName::QueueArn))
            .ok_or(StartError::NoArn)?
            .clone();

        let concurrency = mapping.maximum_concurrency;
        let poller = Arc::new(Poller { client, mapping, queue_arn, function });
        let (phase, changes) = watch::channel(Phase::Receiving);
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            workers.spawn(Arc::clone(&poller).work(changes.clone()));
        }
        Ok(Self { phase, workers })
    }

    /// Stops receiving and waits at most `limit` for running invocations. Returns `false` if some still run. Messages that
    /// were not consumed are visible in the queue again.
    pub async fn stop(mut self, limit: Duration) -> bool {
        self.phase.send_replace(Phase::Stopping);
        let ended = self.ended_within(limit).await;
        if !ended {
            self.phase.send_replace(Phase::Abandoning);
            self.ended_within(RETURN_LIMIT).await;
        }
        ended
    }

    async fn ended_within(&mut self, limit: Duration) -> bool {
        let ended = async { while self.workers.join_next().await.is_some() {} };
        tokio::time::timeout(limit, ended).await.is_ok()
    }
}

impl Poller {
    async fn work(self: Arc<Self>, mut phase: watch::Receiver<Phase>) {
        loop {
            let received = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => return,
                received = self.receive() => received,
            };
            match received {
                Some(messages) if messages.is_empty() => {}
                Some(messages) => {
                    let failed = tokio::select! {
                        failed = self.process(&messages) => failed,
                        _ = phase.wait_for(|phase| *phase == Phase::Abandoning) => messages.iter().collect(),
                    };
                    if *phase.borrow() >= Phase::Stopping {
                        self.give_back(&failed).await;
                    }
                }
                None => tokio::select! {
                    _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => return,
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                },
            }
        }
    }

    /// Receives messages. Returns `None` if the queue refused.
    async fn receive(&self) -> Option<Vec<Message>> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.mapping.queue_url)
            .max_number_of_messages(self.mapping.batch_size.into())
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await;
        match received {
            Ok(received) => Some(received.messages.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(queue = self.queue_arn, error = %DisplayErrorContext(&error), "cannot receive");
                None
            }
        }
    }

    /// Invokes the function, deletes the messages that it consumed, and returns the others.
    async fn process<'a>(&self, messages: &'a [Message]) -> Vec<&'a Message> {
        let records: Vec<_> = messages.iter().map(|message| self.record(message)).collect();
        let response = match self.function.invoke(json!({ "Records": records })).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(function = self.function.name(), %error, "the function failed, and its batch with it");
                return messages.iter().collect();
            }
        };
        let Some(failed) = failures(&response, messages) else {
            tracing::error!(function = self.function.name(), %response, "not a batch response, so the batch failed");
            return messages.iter().collect();
        };
        let has_failed = |message: &&Message| failed.contains(message.message_id().unwrap_or_default());
        let (failed, succeeded): (Vec<_>, Vec<_>) = messages.iter().partition(has_failed);
        self.delete(&succeeded).await;
        failed
    }

    fn record(&self, message: &Message) -> Value {
        let attributes: Map<_, _> = message
            .attributes()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
            .collect();
        let message_attributes: Map<_, _> = message
            .message_attributes()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect();
        let mut record = json!({
            "messageId": message.message_id(),
            "receiptHandle": message.receipt_handle(),
            "body": message.body(),
            "attributes": attributes,
            "messageAttributes": message_attributes,
            "md5OfBody": message.md5_of_body(),
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": REGION,
        });
        if let Some(md5) = message.md5_of_message_attributes() {
            record["md5OfMessageAttributes"] = md5.into();
        }
        record
    }

    /// Deletes messages. A message that can't be deleted is delivered again, which a consumer of SQS has to handle
    /// anyway.
    async fn delete(&self, messages: &[&Message]) {
        let entries: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .set_receipt_handle(message.receipt_handle().map(str::to_owned))
                    .build()
                    .expect("an id is set, and SQS gives each message that it delivers a receipt handle")
            })
            .collect();
        if entries.is_empty() {
            return;
        }
        let deletion = self.client.delete_message_batch().queue_url(&self.mapping.queue_url);
        match deletion.set_entries(Some(entries)).send().await {
            Ok(deleted) => {
                for failed in deleted.failed() {
                    tracing::warn!(queue = self.queue_arn, code = failed.code(), "cannot delete a message");
                }
            }
            Err(error) => {
                tracing::warn!(queue = self.queue_arn, error = %DisplayErrorContext(&error), "cannot delete messages");
            }
        }
    }

    /// Makes messages visible in the queue again. After a failure they are visible when their timeout ends.
    async fn give_back(&self, messages: &[&Message]) {
        let entries: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .set_receipt_handle(message.receipt_handle().map(str::to_owned))
                    .visibility_timeout(0)
                    .build()
                    .expect("an id is set, and SQS gives each message that it delivers a receipt handle")
            })
            .collect();
        if entries.is_empty() {
            return;
        }
        let change = self.client.change_message_visibility_batch().queue_url(&self.mapping.queue_url);
        if let Err(error) = change.set_entries(Some(entries)).send().await {
            tracing::warn!(queue = self.queue_arn, error = %DisplayErrorContext(&error), "cannot return messages");
        }
    }
}

fn attribute(value: &MessageAttributeValue) -> Value {
    let mut attribute = json!({
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type(),
    });
    if let Some(text) = value.string_value() {
        attribute["stringValue"] = text.into();
    }
    if let Some(bytes) = value.binary_value() {
        attribute["binaryValue"] = BASE64_STANDARD.encode(bytes).into();
    }
    attribute
}

/// Returns the ids of the messages that failed, or `None` if Lambda takes the response as the failure of the whole
/// batch.
fn failures<'a>(response: &'a Value, messages: &[Message]) -> Option<HashSet<&'a str>> {
    if response.is_null() {
        return Some(HashSet::new());
    }
    let failures = match response.as_object()?.get("batchItemFailures") {
        None | Some(Value::Null) => return Some(HashSet::new()),
        Some(failures) => failures.as_array()?,
    };
    failures
        .iter()
        .map(|failure| {
            let id = failure.get("itemIdentifier")?.as_str()?;
            messages.iter().any(|message| message.message_id() == Some(id)).then_some(id)
        })
        .collect()
}
