//! `GET /v1/webhooks/{webhook_id}`: returns one webhook.

use axum::extract::State;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookBody;
use shared::model::Role;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}")
    .requires(Scope::AccountRead)
    .by(Role::Admin)
    .sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_webhook, app.clone()))
}

/// Get a webhook
///
/// Returns the webhook. Its secret is in no response but that of its creation or rotation.
#[utoipa::path(get, path = ROUTE.path, tag = "Webhooks", responses((status = 200, body = WebhookBody)))]
pub async fn get_webhook(State(app): State<App>, webhook: AuthorizedWebhook) -> Result<Versioned<u64, WebhookBody>> {
    let webhook = webhook.into_inner();
    Ok(Versioned(webhook.revision, WebhookBody::new(webhook, app.clock().now())))
}
