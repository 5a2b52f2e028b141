//! `GET /v1/openapi.json`: returns the OpenAPI document, which is generated from the endpoints.

use axum::response::IntoResponse;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/openapi.json").public();

/// Returns the endpoint, which has no state.
pub fn endpoint(_: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_openapi, ()))
}

/// Get this document
///
/// Returns this OpenAPI document.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = Object)))]
pub async fn get_openapi() -> impl IntoResponse {
    ([("content-type", "application/json")], include_str!("../openapi.json"))
}
