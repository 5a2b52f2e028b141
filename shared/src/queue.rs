//! The SQS queues: of deployments that wait for a runner, of commit statuses that a git host has not been told, of deliveries to
//! hooks, and of deliveries to webhooks.

mod permits;

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use aws_sdk_sqs::types::MessageAttributeValue;
use futures_util::future::{join, join3};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::clock::Timestamp;
use crate::id::{AccountId, DeliveryId, DeploymentId, HookId, WebhookId};
use crate::model::{CommitStatus, Deployment, EnvironmentSettings, Lane, WebhookDelivery};
use crate::settings::{self, MissingSetting};
use crate::trace::{TRACEPARENT, TraceContext};

/// The maximum delay that SQS accepts.
const MAX_DELAY_SECONDS: i32 = 900;

/// The queue of deployments that may start.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
    statuses: Option<StatusQueue>,
}

/// The queue of commit statuses that a git host has not been told. A message is a hint: the status's row decides.
#[derive(Clone, Debug)]
pub struct StatusQueue {
    client: Client,
    url: String,
}

/// The content of a message: the deployment's ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentMessage {
    /// The account, which is part of the key of the deployment's row.
    pub account_id: AccountId,
    /// The deployment that was ready when the message was sent. The consumer may claim another one of the lane.
    pub deployment_id: DeploymentId,
}

/// The queue of deliveries to hooks that wait to be handled.
#[derive(Clone, Debug)]
pub struct HookQueue {
    client: Client,
    url: String,
}

/// The content of a message: the delivery's ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryMessage {
    /// The hook, which is part of the key of the delivery's row.
    pub hook_id: HookId,
    /// The delivery to handle.
    pub delivery_id: DeliveryId,
}

impl HookQueue {
    /// # Errors
    /// Fails if `HOOK_QUEUE_URL` is not set.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        Ok(Self { client: app.aws().sqs(), url: app.settings().require(settings::HOOK_QUEUE_URL)?.to_owned() })
    }

    /// Sends the message of a delivery.
    pub async fn send(&self, message: &DeliveryMessage) -> Result<(), QueueError> {
        send(&self.client, &self.url, Duration::ZERO, message).await
    }
}

/// The queue of accounts whose events become deliveries, and of deliveries to webhooks. A message is a hint: the rows decide.
#[derive(Clone, Debug)]
pub struct WebhookQueue {
    client: Client,
    url: String,
}

/// The content of a message about webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookMessage {
    /// An account may have events that are no deliveries yet.
    Dispatch {
        /// The account.
        account_id: AccountId,
        /// The time of the planned look that the message is for. `None` if the look was not planned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        planned: Option<Timestamp>,
    },
    /// Deliveries of a webhook may be due.
    Send {
        /// The account of the webhook.
        account_id: AccountId,
        /// The webhook.
        webhook_id: WebhookId,
        /// The deliveries.
        deliveries: Vec<DeliveryId>,
    },
}

impl WebhookMessage {
    /// Returns the message that names a delivery.
    pub fn of(delivery: &WebhookDelivery) -> Self {
        let WebhookDelivery { account_id, webhook_id, id, .. } = delivery.clone();
        Self::Send { account_id, webhook_id, deliveries: vec![id] }
    }
}

impl WebhookQueue {
    /// # Errors
    /// Fails if `WEBHOOK_QUEUE_URL` is not set.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        Ok(Self { client: app.aws().sqs(), url: app.settings().require(settings::WEBHOOK_QUEUE_URL)?.to_owned() })
    }

    /// Sends a message, to be delivered at once.
    pub async fn send(&self, message: &WebhookMessage) -> Result<(), QueueError> {
        self.send_after(Duration::ZERO, message).await
    }

    /// Announces deliveries. After a failure, the sweep does.
    pub async fn announce(&self, app: &App, message: WebhookMessage) {
        if let Err(error) = self.send(&message).await {
            app.log().warn("a delivery to a webhook could not be announced; the sweep will announce it", &error);
        }
    }

    /// Sends a message that is delivered after a delay of whole seconds, at most 15 minutes.
    pub async fn send_after(&self, delay: Duration, message: &WebhookMessage) -> Result<(), QueueError> {
        send(&self.client, &self.url, delay, message).await
    }
}

/// The error if SQS refuses the message or does not answer.
#[derive(Debug, thiserror::Error)]
#[error("SQS did not take the message")]
pub struct QueueError(#[source] Box<SdkError<SendMessageError>>);

impl Queue {
    /// Returns the queue. The sweep announces the commit statuses of what its users change.
    ///
    /// # Errors
    /// Fails if `QUEUE_URL` is not set.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        let url = app.settings().require(settings::QUEUE_URL)?.to_owned();
        Ok(Self { client: app.aws().sqs(), url, statuses: None })
    }

    /// Returns the queue with that of commit statuses, so that a change is announced at once.
    ///
    /// # Errors
    /// Fails if `QUEUE_URL` or `STATUS_QUEUE_URL` is not set.
    pub fn with_statuses(app: &App) -> Result<Self, MissingSetting> {
        Ok(Self { statuses: Some(StatusQueue::new(app)?), ..Self::new(app)? })
    }

    /// Announces the new status of a deployment, if its git host is told of it. After a failure, the sweep does.
    pub async fn announce_status(&self, app: &App, deployment: &Deployment) {
        let Some(statuses) = self.statuses.as_ref().filter(|_| deployment.has_commit_status()) else { return };
        if let Err(error) = statuses.send(&CommitStatus::of(deployment)).await {
            app.log().warn("a commit status could not be announced; the sweep will announce it", &error);
        }
    }

    /// Queues a new deployment. The consumer of its message ends the deployments that it supersedes. A deployment that has to
    /// wait for approvals or for a timer is not sent yet, so this function ends the superseded ones. The deployment already exists, so after
    /// a failure it waits for the sweep.
    pub async fn announce(&self, app: &App, deployment: &Deployment, settings: &EnvironmentSettings) {
        join(self.announce_status(app, deployment), self.queue_new(app, deployment, settings)).await;
    }

    async fn queue_new(&self, app: &App, deployment: &Deployment, settings: &EnvironmentSettings) {
        if let Err(error) = self.send_when_ready(app, deployment).await {
            app.log().warn("a new deployment could not be queued; the sweep will queue it", &error);
        }
        if deployment.may_start(app.clock().now()) {
            return;
        }
        if let Err(error) = deployment.supersede_older(app.table(), settings, app.clock().now()).await {
            app.log().warn("older deployments could not be superseded", &error);
        }
    }

    /// Sends the message of a deployment that has its approvals and waits for no required environment, to be delivered when its wait is
    /// over. If that is later than SQS can deliver it, the sweep sends it.
    pub async fn send_when_ready(&self, app: &App, deployment: &Deployment) -> Result<(), QueueError> {
        let now = app.clock().now();
        let wait = deployment.waits_until(now).map_or(Duration::ZERO, |until| until.since(now));
        let is_held_back = !deployment.is_approved() || !deployment.awaits.is_empty();
        if is_held_back || wait.as_secs() >= MAX_DELAY_SECONDS as u64 {
            return Ok(());
        }
        self.send_after(wait, deployment).await
    }

    /// Sends the deployment's message, to be delivered at once.
    pub async fn send(&self, deployment: &Deployment) -> Result<(), QueueError> {
        self.send_after(Duration::ZERO, deployment).await
    }

    /// Sends the messages of the deployment that may start now that this one no longer blocks the lane, and of those that waited for
    /// this one because their environments require its own, and of those that may take its permit. Announces the end of this one. After
    /// a failure, the sweep does all of it.
    pub async fn send_next(&self, app: &App, deployment: &Deployment) {
        let next = self.try_send_next(app, deployment);
        let (sent, (), ()) =
            join3(next, self.announce_status(app, deployment), self.send_successors(app, deployment)).await;
        if let Err(error) = sent {
            app.log().warn("the next deployment of a lane could not be queued", &*error);
        }
    }

    async fn try_send_next(&self, app: &App, deployment: &Deployment) -> Result<(), Box<dyn Error + Send + Sync>> {
        let lane = Lane::load(app.table(), &deployment.lane()).await?;
        let now = app.clock().now();
        let next = lane.waiting.iter().find(|one| one.may_start(now)).map(|next| &next.deployment_id);
        for id in next.into_iter().chain(lane.followers_of(&deployment.id)) {
            self.send_named(&deployment.account_id, id.clone()).await?;
        }
        Ok(())
    }

    /// Sends a message that is delivered after a delay of whole seconds, at most 15 minutes.
    pub async fn send_after(&self, delay: Duration, deployment: &Deployment) -> Result<(), QueueError> {
        let message =
            DeploymentMessage { account_id: deployment.account_id.clone(), deployment_id: deployment.id.clone() };
        self.send_message(delay, &message).await
    }

    async fn send_message(&self, delay: Duration, message: &DeploymentMessage) -> Result<(), QueueError> {
        send(&self.client, &self.url, delay, message).await
    }
}

impl StatusQueue {
    /// # Errors
    /// Fails if `STATUS_QUEUE_URL` is not set.
    pub fn new(app: &App) -> Result<Self, MissingSetting> {
        Ok(Self { client: app.aws().sqs(), url: app.settings().require(settings::STATUS_QUEUE_URL)?.to_owned() })
    }

    /// Sends the status's message, to be delivered at once.
    pub async fn send(&self, status: &CommitStatus) -> Result<(), QueueError> {
        self.send_after(Duration::ZERO, status).await
    }

    /// Sends a message that is delivered after a delay of whole seconds, at most 15 minutes.
    pub async fn send_after(&self, delay: Duration, status: &CommitStatus) -> Result<(), QueueError> {
        send(&self.client, &self.url, delay, status).await
    }
}

async fn send(client: &Client, url: &str, delay: Duration, message: &impl Serialize) -> Result<(), QueueError> {
    let body = serde_json::to_string(message).expect("a message has ids and names only");
    let seconds = i32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(MAX_DELAY_SECONDS);
    let span = TraceContext::current().map(|span| {
        let text = MessageAttributeValue::builder().data_type("String").string_value(span.traceparent());
        HashMap::from([(TRACEPARENT.to_owned(), text.build().expect("the type is set"))])
    });
    let message = client.send_message().queue_url(url).message_body(body).set_message_attributes(span);
    // The SDK's future has some kilobytes, which every future around it would have to carry.
    let sent = Box::pin(message.delay_seconds(seconds.min(MAX_DELAY_SECONDS)).send()).await;
    sent.map(drop).map_err(|error| QueueError(Box::new(error)))
}
