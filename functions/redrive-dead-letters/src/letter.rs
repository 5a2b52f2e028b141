//! A dead letter: the message, the state of its deployment, and the action that follows.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use serde::Serialize;
use shared::clock::{Rfc3339, Timestamp};
use shared::id::DeploymentId;
use shared::model::{Deployment, Failure, Status};

/// The number of characters shown of a message that names no deployment.
const MAX_TEXT: usize = 200;

/// The action on a message, which `dry_run` only shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends the message to the main queue again: its deployment can still go on.
    Redrive,
    /// Deletes the message: its deployment has ended or does not exist, or it names none and the operator asked for
    /// that.
    Discard,
    /// Leaves the message in the dead-letter queue.
    Keep,
}

/// A message in the dead-letter queue.
#[derive(Debug, Serialize)]
pub struct DeadLetter {
    /// The ID in SQS.
    pub message_id: Option<String>,
    /// The time at which the message was first sent.
    pub sent_at: Option<Rfc3339>,
    /// The action on the message.
    pub action: Action,
    /// The reason for the action, for the operator.
    pub explanation: String,
    /// The deployment. `None` if the message names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<NamedDeployment>,
    /// The beginning of a message that names no deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The deployment that a message names.
#[derive(Debug, Serialize)]
pub struct NamedDeployment {
    /// The ID in the message.
    pub id: DeploymentId,
    /// The state of the deployment. `None` if it does not exist or could not be read.
    #[serde(flatten)]
    pub state: Option<DeploymentState>,
}

/// The state of a deployment whose message is a dead letter.
#[derive(Debug, Serialize)]
pub struct DeploymentState {
    /// The current status.
    pub status: Status,
    /// The number of times that a runner has claimed the deployment.
    pub attempts: u32,
    /// The time of the last transition.
    pub updated_at: Rfc3339,
    /// The reason for the failure. `None` unless the deployment has failed.
    pub failure: Option<Failure>,
}

impl DeadLetter {
    /// Describes a message that is kept until its deployment is known.
    pub(crate) fn new(message: &Message) -> Self {
        let sent_at = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
        Self {
            message_id: message.message_id().map(str::to_owned),
            sent_at: sent_at.and_then(|ms| ms.parse().ok()).map(|ms| Timestamp::from_millis(ms).into()),
            action: Action::Keep,
            explanation: String::new(),
            deployment: None,
            text: None,
        }
    }

    /// Describes a message that names no deployment.
    pub(crate) fn unreadable(message: &Message, action: Action, error: &serde_json::Error) -> Self {
        let explanation = format!("the message does not name a deployment: {error}");
        let text = Some(shortened(message.body().unwrap_or_default()));
        Self { action, explanation, text, ..Self::new(message) }
    }

    /// Describes a message by its deployment, if there is one.
    pub(crate) fn of_deployment(
        message: &Message,
        id: DeploymentId,
        deployment: Option<&Deployment>,
        now: Timestamp,
    ) -> Self {
        let (action, explanation) = explain(deployment, now);
        let deployment = Some(NamedDeployment { id, state: deployment.map(DeploymentState::of) });
        Self { action, explanation, deployment, ..Self::new(message) }
    }
}

impl DeploymentState {
    fn of(deployment: &Deployment) -> Self {
        Self {
            status: deployment.status,
            attempts: deployment.attempt,
            updated_at: deployment.updated_at.into(),
            failure: deployment.failure.clone(),
        }
    }
}

/// Returns the action that follows from a deployment's state, and the likely reason for its dead letter.
fn explain(deployment: Option<&Deployment>, now: Timestamp) -> (Action, String) {
    let Some(deployment) = deployment else {
        return (Action::Discard, "the deployment does not exist".to_owned());
    };
    let attempt = deployment.attempt;
    let explanation = match (deployment.status, &deployment.build) {
        (Status::Queued, _) if !deployment.is_approved() => {
            "the deployment is queued, and can't start until it has its approvals".to_owned()
        }
        (Status::Queued, _) if !deployment.may_start(now) => {
            "the deployment is queued, and can't start until its wait is over".to_owned()
        }
        (Status::Queued, _) => {
            "the deployment is queued, and no runner could take it; the next deployment in its lane starts".to_owned()
        }
        (Status::InProgress, Some(build)) => {
            format!(
                "the deployment runs in build {build}, whose events will end it; the message passes on a request to cancel"
            )
        }
        (Status::InProgress, None) if deployment.lease_until.is_some_and(|until| until > now) => {
            format!("a runner holds the deployment (attempt {attempt}); if it is lost, another one takes over")
        }
        (Status::InProgress, None) => {
            format!("the runner of attempt {attempt} was lost; another one takes over or ends the deployment")
        }
        (ended, _) => return (Action::Discard, format!("the deployment has ended with status {}", ended.as_str())),
    };
    (Action::Redrive, explanation)
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut start: String = chars.by_ref().take(MAX_TEXT).collect();
    if chars.next().is_some() {
        start.push('…');
    }
    start
}
