//! The SQS queue of deployments that wait for a runner.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::id::{AccountId, DeploymentId};
use crate::model::Deployment;
use crate::settings::{self, MissingSetting};

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
        let message =
            DeploymentMessage { account_id: deployment.account_id.clone(), deployment_id: deployment.id.clone() };
        let body = serde_json::to_string(&message).expect("a message is two ids");
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).map_err(|error| QueueError(Box::new(error)))
    }
}
