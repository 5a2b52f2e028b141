//! `POST /v1/webhooks/{webhook_id}/rotate`: gives a webhook a new secret. Messages are signed with both for an overlap.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookBody;
use shared::extract::{self, Whole};
use shared::model::{Author, HookSecret, Role, Webhook};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}/rotate")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::WebhookUnsigned])
    .takes_idempotency_key();

const DEFAULT_OVERLAP_SECONDS: u64 = 24 * 60 * 60;

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, rotate_webhook, With(app.clone(), Arc::new(Vault::new(app)?))))
}

/// The overlap of both secrets.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookRotation)]
pub struct Asked {
    /// The number of seconds in which messages are also signed with the old secret, at most a week. 0 ends it at once.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 604_800, default = 86_400)]
    overlap_seconds: Option<Whole<u64, 0, 604_800>>,
}

/// Rotate a webhook's secret
///
/// Gives the webhook a new secret, and returns it once. Until the overlap is over, `webhook-signature` has a signature of each, so
/// that there is time to give the receiver the new one. A secret that an earlier rotation replaced ends at once.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Webhooks", request_body = Asked, responses((status = 200, body = WebhookBody))
)]
pub async fn rotate_webhook(
    State(With(app, vault)): State<With<Arc<Vault>>>,
    author: Author,
    webhook: AuthorizedWebhook,
    extract::Json(asked): extract::Json<Asked>,
) -> Result<Json<WebhookBody>> {
    if !webhook.format.is_signed() {
        return Err(Error::new(ErrorCode::WebhookUnsigned, "Only messages in the format 'standard' are signed"));
    }
    let (secret, now) = (HookSecret::random(), app.clock().now());
    let context = Webhook::sealing_context(&webhook.account_id, &webhook.id);
    let sealed = vault.seal(&context, secret.reveal().as_bytes()).await.map_err(Error::unavailable)?;
    let overlap = Duration::from_secs(asked.overlap_seconds.map_or(DEFAULT_OVERLAP_SECONDS, Whole::get));
    let rotated = webhook.into_inner().rotate(app.table(), sealed, now.plus(overlap), &author, now).await?;
    Ok(Json(WebhookBody::new(rotated, now).with_secret(Some(secret))))
}
