//! `GET /v1/repositories/{repo_id}/hooks/{hook_id}/deliveries`: lists what a hook received, newest first.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedHook, Permission, Scope};
use shared::body::DeliveryBody;
use shared::extract::Filtered;
use shared::model::{Delivery, Outcome};
use shared::timeline::{Timeline, TimelineQuery};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/hooks/{hook_id}/deliveries")
    .requires(Scope::RepositoriesRead)
    .needs(Permission::Admin)
    .takes(&["per_page", "cursor", "outcome"])
    .refuses_with(&[ErrorCode::InvalidCursor]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_hook_deliveries, app.clone()).calls_at_once(3))
}

/// The deliveries to return.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutcomeFilter {
    /// Returns only deliveries with this outcome.
    outcome: Option<Outcome>,
}

/// List deliveries to a hook
///
/// Returns the deliveries of the last 14 days, newest first, with what each did and why. A delivery whose signature or secret was
/// wrong is not among them. Follow `meta.next_cursor` to read on.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Hooks", params(TimelineQuery, OutcomeFilter),
    responses((status = 200, body = Timeline<DeliveryBody>))
)]
pub async fn list_hook_deliveries(
    State(app): State<App>,
    hook: AuthorizedHook,
    Filtered(page, OutcomeFilter { outcome }): Filtered<TimelineQuery, OutcomeFilter>,
) -> Result<Json<Timeline<DeliveryBody>>> {
    Ok(Json(Delivery::page(app.table(), &hook, outcome, &page).await?.map(DeliveryBody::from)))
}
