//! `POST /v1/webhooks/{webhook_id}/test`: sends a test event to a webhook.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookDeliveryBody;
use shared::model::{Author, Role, WebhookDelivery};
use shared::queue::{WebhookMessage, WebhookQueue};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}/test")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::WebhookDisabled])
    .takes_idempotency_key();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, test_webhook, With(app.clone(), WebhookQueue::new(app)?)))
}

/// Test a webhook
///
/// Sends an event of the type `webhook.tested`, whatever events the webhook is for. The response does not wait for the receiver:
/// the list of deliveries tells how it went.
#[utoipa::path(post, path = ROUTE.path, tag = "Webhooks", responses((status = 202, body = WebhookDeliveryBody)))]
pub async fn test_webhook(
    State(With(app, queue)): State<With<WebhookQueue>>,
    author: Author,
    webhook: AuthorizedWebhook,
) -> Result<(StatusCode, Json<WebhookDeliveryBody>)> {
    if webhook.disabled.is_some() {
        return Err(Error::new(ErrorCode::WebhookDisabled, "The webhook is disabled; enable it first"));
    }
    let delivery = WebhookDelivery::test(&webhook, app.table(), &author, app.clock().now()).await?;
    queue.announce(&app, WebhookMessage::of(&delivery)).await;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}
