//! Webhooks and their deliveries.

use serde::{Serialize, Serializer};

use crate::body::ActorBody;
use crate::clock::{Rfc3339, Timestamp};
use crate::id::{AuditEventId, DeliveryId, RepositoryId, WebhookId};
use crate::model::{
    Action, Attempt, DeliveryStatus, DisplayName, Environment, EventPattern, HookSecret, Webhook, WebhookDelivery,
    WebhookFormat, WebhookUrl,
};

/// A webhook of the account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookBody {
    /// The ID of the webhook.
    pub(crate) id: WebhookId,
    pub(crate) name: DisplayName,
    pub(crate) url: WebhookUrl,
    pub(crate) format: WebhookFormat,
    /// The types of the events that are sent.
    pub(crate) events: Vec<EventPattern>,
    /// The repositories whose events are sent. Empty if events of all repositories are, and events of none.
    pub(crate) repositories: Vec<RepositoryId>,
    /// The environments whose events are sent. Empty if events of all environments are, and events of none.
    pub(crate) environments: Vec<Environment>,
    /// Whether events are sent.
    #[schema(default = true)]
    pub(crate) enabled: bool,
    /// The time from which nothing is sent. Null while the webhook is enabled.
    #[schema(required)]
    pub(crate) disabled_at: Option<Rfc3339>,
    /// The reason why nothing is sent, for people to read. Null while the webhook is enabled.
    #[schema(required, examples("An event could not be delivered for three days"))]
    pub(crate) disabled_reason: Option<String>,
    pub(crate) created_by: ActorBody,
    pub(crate) created_at: Rfc3339,
    /// The time of the last change.
    pub(crate) updated_at: Rfc3339,
    /// The time until which messages are also signed with the secret that the last rotation replaced. Null if they are signed with
    /// the current secret only.
    #[schema(required)]
    pub(crate) previous_secret_expires_at: Option<Rfc3339>,
    /// The secret that signs the messages of the format `standard`. It is returned only once, by the request that creates or
    /// rotates it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
    #[schema(value_type = String, required = false, examples("whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="))]
    pub(crate) secret: Option<HookSecret>,
}

impl WebhookBody {
    /// Returns the body as it is at a time.
    pub fn new(row: Webhook, now: Timestamp) -> Self {
        let (disabled_at, disabled_reason) = row.disabled.map(|end| (end.at.into(), end.reason)).unzip();
        let previous = row.previous.map(|previous| previous.until).filter(|until| *until > now);
        Self {
            id: row.id,
            name: row.name,
            url: row.url,
            format: row.format,
            events: row.filter.events,
            repositories: row.filter.repositories,
            environments: row.filter.environments,
            enabled: disabled_at.is_none(),
            disabled_at,
            disabled_reason,
            created_by: row.created_by.into(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            previous_secret_expires_at: previous.map(Into::into),
            secret: None,
        }
    }

    /// Returns the body that shows the secret.
    pub fn with_secret(self, secret: Option<HookSecret>) -> Self {
        Self { secret, ..self }
    }
}

fn reveal<S: Serializer>(secret: &Option<HookSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.reveal()),
        None => serializer.serialize_none(),
    }
}

/// A delivery of an event to a webhook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct WebhookDeliveryBody {
    /// The ID of the delivery.
    pub(crate) id: DeliveryId,
    /// The ID of the event, which is `webhook-id` in each message about it.
    pub(crate) event_id: AuditEventId,
    pub(crate) event_type: Action,
    pub(crate) status: DeliveryStatus,
    pub(crate) created_at: Rfc3339,
    /// The number of attempts since the event, or since the last redelivery.
    #[schema(examples(1))]
    pub(crate) attempts: u32,
    /// The time of the next attempt. Null unless the delivery is pending.
    #[schema(required)]
    pub(crate) next_attempt_at: Option<Rfc3339>,
    /// The last attempt. Null before the first.
    #[schema(required)]
    pub(crate) last_attempt: Option<AttemptBody>,
}

/// An attempt to send an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryAttempt)]
pub struct AttemptBody {
    /// The time of the attempt.
    pub(crate) at: Rfc3339,
    /// The time until the response, in milliseconds.
    #[schema(examples(84))]
    pub(crate) took_ms: u64,
    /// The HTTP status of the response. Null without a response.
    #[schema(required, examples(200))]
    pub(crate) response_status: Option<u16>,
    /// The first 1,024 bytes of the response. Null without a response.
    #[schema(required, examples("ok"))]
    pub(crate) response_body: Option<String>,
    /// The reason why the event was not accepted, for people to read. Null if it was.
    #[schema(required, examples("The receiver answered with the HTTP status 500"))]
    pub(crate) error: Option<String>,
}

impl From<WebhookDelivery> for WebhookDeliveryBody {
    fn from(row: WebhookDelivery) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            status: row.status,
            created_at: row.created_at.into(),
            attempts: row.attempts,
            next_attempt_at: row.due_at.map(Into::into),
            last_attempt: row.last_attempt.map(Into::into),
        }
    }
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        let Attempt { at, took_ms, response_status, response_body, error } = attempt;
        Self { at: at.into(), took_ms, response_status, response_body, error }
    }
}
