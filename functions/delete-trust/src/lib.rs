//! `DELETE /v1/trusts/{trust_id}`: ends a trust and its tokens.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedTrust, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::delete(env!("CARGO_PKG_NAME"), "/v1/trusts/{trust_id}").requires(Scope::AccountWrite).by(Role::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_trust, app.clone()))
}

/// Delete a trust
///
/// Ends a trust. Its tokens change nothing from now on, and stop reading within 30 seconds.
#[utoipa::path(delete, path = ROUTE.path, tag = "Trusts", responses((status = 200, body = Deleted)))]
pub async fn delete_trust(State(app): State<App>, author: Author, trust: AuthorizedTrust) -> Result<Json<Deleted>> {
    trust.delete(app.table(), &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&trust.id)))
}
