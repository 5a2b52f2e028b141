//! The dead-letter queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use shared::{App, InitError};

/// The setting with the URL of the queue that messages go to after their last delivery.
pub const DEAD_LETTER_QUEUE_URL: &str = "DEAD_LETTER_QUEUE_URL";

/// The maximum number of messages that SQS returns at once.
const PAGE: i32 = 10;
/// Long polling asks all of SQS's servers, so an empty answer means an empty queue.
const WAIT_SECONDS: i32 = 1;
/// The visibility timeout: longer than the function's time limit, so that it never receives a message twice.
const HIDDEN_SECONDS: i32 = 90;

#[derive(Clone, Debug)]
pub(crate) struct DeadLetterQueue {
    sqs: Client,
    url: String,
}

impl DeadLetterQueue {
    pub(crate) fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { sqs: app.aws().sqs(), url: app.settings().require(DEAD_LETTER_QUEUE_URL)?.to_owned() })
    }

    /// Receives messages and hides them from other readers. Returns none if the queue is empty.
    pub(crate) async fn receive(&self) -> Result<Vec<Message>, InitError> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(PAGE)
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(HIDDEN_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await?;
        Ok(received.messages.unwrap_or_default())
    }

    pub(crate) async fn delete(&self, message: &Message) -> Result<(), InitError> {
        let delete = self.sqs.delete_message().queue_url(&self.url);
        delete.set_receipt_handle(message.receipt_handle.clone()).send().await?;
        Ok(())
    }

    /// Makes a received message visible again.
    pub(crate) async fn release(&self, receipt: &str) -> Result<(), InitError> {
        let change = self.sqs.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        change.visibility_timeout(0).send().await?;
        Ok(())
    }
}
