//! `GET /v1/webhooks/{webhook_id}/deliveries`: lists what was sent to a webhook, newest first.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedWebhook, Scope};
use shared::body::WebhookDeliveryBody;
use shared::extract::Filtered;
use shared::model::{Action, DeliveryStatus, Role, WebhookDelivery};
use shared::timeline::{Timeline, TimelineQuery};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/webhooks/{webhook_id}/deliveries")
    .requires(Scope::AccountRead)
    .by(Role::Admin)
    .takes(&["per_page", "cursor", "status", "event_type"])
    .refuses_with(&[ErrorCode::InvalidCursor]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_webhook_deliveries, app.clone()))
}

/// The deliveries to return.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SentFilter {
    /// Returns only deliveries in this state.
    status: Option<DeliveryStatus>,
    /// Returns only deliveries of events of this type.
    event_type: Option<Action>,
}

/// List deliveries to a webhook
///
/// Returns the deliveries of the last 14 days, newest first, each with its last attempt. Follow `meta.next_cursor` to read on.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Webhooks", params(TimelineQuery, SentFilter),
    responses((status = 200, body = Timeline<WebhookDeliveryBody>))
)]
pub async fn list_webhook_deliveries(
    State(app): State<App>,
    webhook: AuthorizedWebhook,
    Filtered(page, SentFilter { status, event_type }): Filtered<TimelineQuery, SentFilter>,
) -> Result<Json<Timeline<WebhookDeliveryBody>>> {
    let deliveries = WebhookDelivery::page(app.table(), &webhook, (status, event_type), &page).await?;
    Ok(Json(deliveries.map(WebhookDeliveryBody::from)))
}
