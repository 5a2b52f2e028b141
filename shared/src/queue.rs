//! The SQS queue of deployments that wait for a runner.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::id::{AccountId, DeploymentId};
use crate::model::Deployment;
use crate::settings::{self, MissingSetting};

/// What SQS allows.
const MAX_DELAY_SECONDS: i32 = 900;

#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

/// A message names its deployment and tells nothing else of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentMessage {
    pub account_id: AccountId,
    pub deployment_id: DeploymentId,
}

/// SQS refused the message or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("SQS did not take the message")]
pub struct QueueError(#[source] Box<SdkError<SendMessageError>>);

impl Queue {
    /// # Errors
    /// When `QUEUE_URL` is not set.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        Ok(Self { client: app.aws().sqs(), url: app.settings().require(settings::QUEUE_URL)?.to_owned() })
    }

    pub async fn send(&self, deployment: &Deployment) -> Result<(), QueueError> {
        self.send_after(Duration::ZERO, deployment).await
    }

    /// Sends a message that is delivered when this much time has passed, in whole seconds and 15 minutes at most.
    pub async fn send_after(&self, delay: Duration, deployment: &Deployment) -> Result<(), QueueError> {
        let message =
            DeploymentMessage { account_id: deployment.account_id.clone(), deployment_id: deployment.id.clone() };
        let body = serde_json::to_string(&message).expect("a message is two ids");
        let seconds = i32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(MAX_DELAY_SECONDS);
        let message = self.client.send_message().queue_url(&self.url).message_body(body);
        let sent = message.delay_seconds(seconds.min(MAX_DELAY_SECONDS)).send().await;
        sent.map(drop).map_err(|error| QueueError(Box::new(error)))
    }
}
