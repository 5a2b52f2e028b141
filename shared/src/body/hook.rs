//! Hooks and their deliveries.

use serde::{Serialize, Serializer};

use crate::app::App;
use crate::clock::{Rfc3339, Timestamp};
use crate::id::{DeliveryId, DeploymentId, HookId, UserId};
use crate::model::{Delivery, Environment, Hook, HookProvider, HookSecret, Outcome};

/// A hook of a repository.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Hook)]
pub struct HookBody {
    /// The ID of the hook.
    pub(crate) id: HookId,
    pub(crate) provider: HookProvider,
    /// The URL that takes the deliveries. The response to the creation or the rotation of a deploy hook has the secret in it.
    #[schema(examples("https://api.git.dev/v1/hooks/hook_k3vyq2w7x5m4n6pa"))]
    pub(crate) url: String,
    /// The environment that a call of a deploy hook deploys to. Null for the hook of a git host, which follows the repository's
    /// deploy rules.
    #[schema(required)]
    pub(crate) environment: Option<Environment>,
    /// The ref that a call of a deploy hook deploys. Null for the default branch, and for the hook of a git host.
    #[schema(required, examples("main"))]
    pub(crate) r#ref: Option<String>,
    /// The ID that stands for the hook in fields that name a user, such as a deployment's `created_by`.
    pub(crate) user_id: UserId,
    pub(crate) created_by: UserId,
    /// The member who answers for the hook: whoever created it, or the owner to whom it was handed over.
    pub(crate) owned_by: UserId,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
    /// The time of the last delivery, precise to the minute. Null before the first.
    #[schema(required)]
    pub(crate) last_delivery_at: Option<Rfc3339>,
    /// The time at which the secret that the last rotation replaced stops working. Null if none works besides the current one.
    #[schema(required)]
    pub(crate) previous_secret_expires_at: Option<Rfc3339>,
    /// The secret. It is returned only once, by the request that creates or rotates it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
    #[schema(value_type = String, required = false, examples("whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="))]
    pub(crate) secret: Option<HookSecret>,
}

impl HookBody {
    /// Returns the body as it is at a time.
    pub fn new(app: &App, row: Hook, now: Timestamp) -> Self {
        Self {
            url: app.url(&format!("/v1/hooks/{}", row.id)),
            id: row.id,
            provider: row.provider,
            environment: row.environment,
            r#ref: row.git_ref,
            user_id: row.user_id,
            owned_by: row.owned_by.unwrap_or_else(|| row.created_by.clone()),
            created_by: row.created_by,
            created_at: row.created_at.into(),
            last_delivery_at: row.last_delivery_at.map(Into::into),
            previous_secret_expires_at: row
                .previous
                .map(|previous| previous.until)
                .filter(|until| *until > now)
                .map(Into::into),
            secret: None,
        }
    }

    /// Returns the body that shows the secret.
    pub fn with_secret(self, secret: HookSecret) -> Self {
        let url = match self.provider {
            HookProvider::Deploy => {
                let query =
                    form_urlencoded::Serializer::new(String::new()).append_pair("key", secret.reveal()).finish();
                format!("{}?{query}", self.url)
            }
            _ => self.url,
        };
        Self { url, secret: Some(secret), ..self }
    }
}

fn reveal<S: Serializer>(secret: &Option<HookSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.reveal()),
        None => serializer.serialize_none(),
    }
}

/// A delivery to a hook, and what it did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryBody {
    /// The ID of the delivery.
    pub(crate) id: DeliveryId,
    /// The sender's own ID of the delivery. Null if the sender gave none.
    #[schema(required, examples("72d3162e-cc78-11e3-81ab-4c9367dc0958"))]
    pub(crate) provider_delivery_id: Option<String>,
    /// The kind of the event, as the sender calls it.
    #[schema(examples("push"))]
    pub(crate) event: String,
    /// The full name of the branch or tag. The first one, if the sender told of several. Null if the event is about none.
    #[schema(required, examples("refs/heads/main"))]
    pub(crate) r#ref: Option<String>,
    /// The commit that was deployed, or that the sender named. Null if the ref was deleted, or the event is about none.
    #[schema(required, examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    pub(crate) sha: Option<String>,
    /// The time at which the delivery was received.
    pub(crate) received_at: Rfc3339,
    pub(crate) outcome: Outcome,
    /// The reason for the outcome, for people to read. Its wording may change.
    #[schema(examples("main was deployed to production"))]
    pub(crate) reason: String,
    /// The deployments that the delivery created.
    pub(crate) deployments: Vec<DeploymentId>,
    /// The status of the response that the sender got.
    #[schema(examples(202))]
    pub(crate) status_code: u16,
}

impl From<Delivery> for DeliveryBody {
    fn from(row: Delivery) -> Self {
        Self {
            id: row.id,
            provider_delivery_id: row.provider_delivery_id,
            event: row.event,
            r#ref: row.ref_name,
            sha: row.sha,
            received_at: row.received_at.into(),
            outcome: row.outcome,
            reason: row.reason,
            deployments: row.deployments,
            // A delivery that is refused leaves no trace.
            status_code: 202,
        }
    }
}
