//! `POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver`: sends an event to a webhook again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookDeliveryBody;
use shared::extract::PathDelivery;
use shared::model::{Author, Role, WebhookDelivery};
use shared::queue::{WebhookMessage, WebhookQueue};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::post(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
        .requires(Scope::AccountWrite)
        .by(Role::Admin)
        .refuses_with(&[ErrorCode::WebhookDisabled])
        .takes_idempotency_key();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, redeliver_webhook, With(app.clone(), WebhookQueue::new(app)?)))
}

/// Redeliver an event to a webhook
///
/// Sends the event of a delivery again, in whatever state the delivery is, and counts its attempts anew. The message has the ID that
/// it had before, so a receiver that has handled it ignores it.
#[utoipa::path(post, path = ROUTE.path, tag = "Webhooks", responses((status = 202, body = WebhookDeliveryBody)))]
pub async fn redeliver_webhook(
    State(With(app, queue)): State<With<WebhookQueue>>,
    author: Author,
    webhook: AuthorizedWebhook,
    PathDelivery(id): PathDelivery,
) -> Result<(StatusCode, Json<WebhookDeliveryBody>)> {
    let delivery = WebhookDelivery::load(app.table(), &webhook.account_id, &webhook.id, &id).await?;
    let delivery = delivery.ok_or_else(|| Error::not_found("Delivery"))?;
    if webhook.disabled.is_some() {
        return Err(Error::new(ErrorCode::WebhookDisabled, "The webhook is disabled; enable it first"));
    }
    let again = delivery.redeliver(&webhook, app.table(), &author, app.clock().now()).await?;
    queue.announce(&app, WebhookMessage::of(&again)).await;
    Ok((StatusCode::ACCEPTED, Json(again.into())))
}
