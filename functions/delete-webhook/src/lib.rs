//! `DELETE /v1/webhooks/{webhook_id}`: deletes a webhook.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role, Webhook};
use shared::precondition::IfMatch;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_webhook, app.clone()))
}

/// Delete a webhook
///
/// Deletes the webhook with its secret. Deliveries that are pending are not sent any more.
#[utoipa::path(delete, path = ROUTE.path, tag = "Webhooks", responses((status = 200, body = Deleted)))]
pub async fn delete_webhook(
    State(app): State<App>,
    author: Author,
    webhook: AuthorizedWebhook,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let id = webhook.id.clone();
    let expected = |webhook: &Webhook| expected.check(webhook.revision);
    webhook.into_inner().delete(app.table(), expected, &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&id)))
}
