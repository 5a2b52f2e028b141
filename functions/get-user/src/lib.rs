//! `GET /v1/user`: returns the caller and the rights of the request's token.

use axum::Json;
use shared::access::Caller;
use shared::body::CallerBody;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/user");

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_user, app.clone()).calls_at_once(1))
}

/// Get the caller
///
/// Returns the caller: the user, application or trust, the account with its plan, and the token's scopes and expiry.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = CallerBody)))]
pub async fn get_user(caller: Caller) -> Json<CallerBody> {
    Json(CallerBody::from(&caller))
}
