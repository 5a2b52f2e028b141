//! The messages of webhooks in the format `standard`.

use serde::Serialize;

use crate::body::{ActorBody, FieldChangeBody, TargetBody};
use crate::clock::Rfc3339;
use crate::id::{AccountId, AuditEventId, DeploymentId, RepositoryId};
use crate::model::{Action, AuditEvent, Deployment, Environment};

/// The message about an event, as it is posted to a webhook in the format `standard`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookEvent)]
pub struct WebhookEventBody {
    /// The ID of the event. It is the same in each message about the event, and in the header `webhook-id`. Ignore a message whose
    /// ID has been handled.
    pub id: AuditEventId,
    /// The type of the event.
    pub r#type: Action,
    /// The time of the event.
    pub timestamp: Rfc3339,
    /// The resource whose events are in order: the target, or the token that a trust issued. Events with other keys have no order.
    #[schema(examples("deploy_t6mwz4hq2c7rfx3e"))]
    pub ordering_key: String,
    /// The place of the event among those with its ordering key. A later change has a higher number; there are gaps. Drop an event whose
    /// number is lower than the last one that came.
    #[schema(examples(4))]
    pub sequence: u64,
    /// The account of the event.
    pub account_id: AccountId,
    /// The change.
    pub data: WebhookEventData,
}

/// The change that an event is about.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookEventData {
    pub(crate) actor: ActorBody,
    pub(crate) target: TargetBody,
    /// The repository that the target belongs to. Null if it belongs to none.
    #[schema(required)]
    pub repository: Option<EventRepository>,
    /// The environment that the change is about. Null if it is about none.
    #[schema(required)]
    pub environment: Option<Environment>,
    /// The deployment, if it is the target and still exists. These fields never change. Null for other targets.
    #[schema(required)]
    pub deployment: Option<EventDeployment>,
    /// The changed fields, with their values before and after the change. A value of a secret is never among them.
    pub(crate) changes: Vec<FieldChangeBody>,
}

/// The repository of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventRepository {
    /// The ID of the repository.
    pub id: RepositoryId,
    /// The full name of the repository. Null if the repository was deleted.
    #[schema(required, examples("acme/frontend-app"))]
    pub full_name: Option<String>,
}

/// The deployment of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventDeployment {
    /// The ID of the deployment.
    pub id: DeploymentId,
    /// The number of the deployment in its repository.
    #[schema(examples(12))]
    pub number: u64,
    /// The ref that was deployed, as the request spelled it.
    #[schema(examples("main"))]
    pub r#ref: String,
    /// The commit.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub sha: String,
    /// The page of the deployment.
    #[schema(examples("https://api.git.dev/deployments/deploy_t6mwz4hq2c7rfx3e"))]
    pub url: String,
}

impl WebhookEventBody {
    /// Returns the message about an event, with what is known about its repository and its deployment.
    pub fn new(event: AuditEvent, repository_name: Option<String>, deployment: Option<EventDeployment>) -> Self {
        let (sequence, environment) = (event.sequence(), event.environment());
        let ordering_key = event.ordering_key().to_owned();
        Self {
            id: event.id,
            r#type: event.action,
            timestamp: event.created_at.into(),
            ordering_key,
            sequence,
            account_id: event.account_id,
            data: WebhookEventData {
                actor: event.actor.into(),
                target: event.target.into(),
                repository: event.repository_id.map(|id| EventRepository { id, full_name: repository_name }),
                environment,
                deployment,
                changes: event.changes.into_iter().map(Into::into).collect(),
            },
        }
    }
}

impl EventDeployment {
    /// Returns the fields of a deployment whose page has this URL.
    pub fn new(row: Deployment, url: String) -> Self {
        Self { id: row.id, number: row.number, r#ref: row.git_ref, sha: row.sha, url }
    }
}

impl WebhookEventData {
    /// Returns the name of whoever made the change.
    pub fn actor_name(&self) -> &str {
        &self.actor.name
    }

    /// Returns the name of the changed resource, or its ID if it has none.
    pub fn target_name(&self) -> &str {
        self.target.name.as_deref().unwrap_or(&self.target.id)
    }
}
