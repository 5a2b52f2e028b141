//! `POST /v1/hooks/{hook_id}`: takes the deliveries of git hosts, and the calls of programs that want a deployment.
//!
//! The endpoint is public, because a git host has no token of this API. The secret of the hook authenticates the request. Git
//! hosts wait for ten seconds at most, so the endpoint only verifies the delivery and writes it. The function `hook-consumer`
//! does what it asks for.

mod payload;
mod secrets;
mod signature;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::body::DeliveryBody;
use shared::extract::{NamedHook, Query, Signed};
use shared::model::{Delivery, Outcome, RequestOrigin};
use shared::queue::{DeliveryMessage, HookQueue};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, With};

pub use crate::secrets::{REFUSED, Secrets};

use crate::signature::Request;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
///
/// A delivery counts against its hook, and one without the secret against its source address, so that no hook slows down another
/// one of the same git host.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/hooks/{hook_id}")
    .public()
    .free()
    .takes(&["key"])
    .refuses_with(&[ErrorCode::InvalidJson, ErrorCode::BodyTooLarge]);

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let receiver = With(app.clone(), (HookQueue::new(app)?, Secrets::new(app)?));
    Ok(Endpoint::new(ROUTE, receive_hook, receiver))
}

/// The secret of a deploy hook in the URL.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Key {
    /// The secret of a deploy hook, for callers that can't send headers.
    #[param(inline)]
    key: Option<Secret>,
}

/// The headers in which git hosts prove the secret. Deliveries have those of the hook's provider.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Proofs {
    /// The proof of GitHub, Gitea and Forgejo: `sha256=`, and the HMAC-SHA256 of the body in hexadecimal digits.
    #[param(rename = "X-Hub-Signature-256", value_type = String, required = false)]
    pub hub_signature_256: (),
    /// The proof of Gitea and Forgejo: the HMAC-SHA256 of the body in hexadecimal digits.
    #[param(rename = "X-Gitea-Signature", value_type = String, required = false)]
    pub gitea_signature: (),
    /// The proof of Bitbucket: `sha256=`, and the HMAC-SHA256 of the body in hexadecimal digits.
    #[param(rename = "X-Hub-Signature", value_type = String, required = false)]
    pub hub_signature: (),
    /// The proof of GitLab without a signing secret: the secret itself.
    #[param(rename = "X-Gitlab-Token", value_type = String, required = false)]
    pub gitlab_token: (),
    /// The ID of the message, which GitLab's signature covers.
    #[param(rename = "webhook-id", value_type = String, required = false)]
    pub webhook_id: (),
    /// The time of the message in seconds since the Unix epoch, which GitLab's signature covers.
    #[param(rename = "webhook-timestamp", value_type = String, required = false)]
    pub webhook_timestamp: (),
    /// The proof of GitLab with a signing secret: `v1,`, and the HMAC-SHA256 of ID, time and body in base64.
    #[param(rename = "webhook-signature", value_type = String, required = false)]
    pub webhook_signature: (),
}

/// A secret that the caller has, whether or not it is that of the hook.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, format = Password, examples("whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="))]
struct Secret(SecretString);

/// An event in the form of the hook's git host.
#[derive(Debug, utoipa::ToSchema)]
pub struct HookEvent {}

/// Deliver to a hook
///
/// Takes the events of a git host, at most 1 MiB each, or the call of a program. Requires no token: the secret of the hook proves
/// the sender. Answers as soon as the delivery is verified and kept; the list of the hook's deliveries tells what it did. A
/// delivery that is sent again with the same ID does nothing more. A wrong secret returns 404, like a hook that does not exist, and counts
/// against the rate limit of the source address.
///
/// The provider of the hook decides what proves the sender: `X-Hub-Signature-256` (GitHub), `X-Gitlab-Token` or `webhook-signature`
/// (GitLab), `X-Gitea-Signature` or `X-Hub-Signature-256` (Gitea and Forgejo), `X-Hub-Signature` (Bitbucket), and for a deploy hook
/// `Authorization: Bearer` with the secret, or `key`. A deploy hook ignores the body, and takes the ID of the delivery from
/// `Idempotency-Key`.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Hooks",
    params(Key, Proofs),
    request_body(content = Option<HookEvent>, description = "The event, in the form of the git host. A deploy hook needs none"),
    responses((status = 202, body = DeliveryBody))
)]
pub async fn receive_hook(
    State(With(app, (queue, secrets))): State<With<(HookQueue, Secrets)>>,
    origin: RequestOrigin,
    NamedHook(id): NamedHook,
    Query(Key { key }): Query<Key>,
    headers: HeaderMap,
    Signed(body): Signed,
) -> Result<(StatusCode, Json<DeliveryBody>)> {
    let now = app.clock().now();
    let key = key.as_ref().map(|Secret(secret)| secret.expose_secret());
    let request = Request { headers: &headers, key, body: &body, at: now };
    let hook = secrets.verify(&app, id, &request, &origin).await?;
    app.limiter().count_delivery(&hook.id).await?;
    let received = payload::read(hook.provider, &headers, &body)?;
    let delivery = Delivery::new(&hook, received, &origin, now).record(app.table(), &hook).await?;
    if delivery.outcome == Outcome::Queued {
        let message = DeliveryMessage { hook_id: hook.id, delivery_id: delivery.id.clone() };
        if let Err(error) = queue.send(&message).await {
            app.log().warn("a delivery could not be queued; the sweep will queue it", &error);
        }
    }
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}
