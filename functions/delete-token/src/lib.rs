//! `DELETE /v1/tokens/{token_id}`: revokes a personal access token.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedToken, Scope};
use shared::body::Deleted;
use shared::model::{Author, TokenRecord};
use shared::precondition::IfMatch;
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::delete(env!("CARGO_PKG_NAME"), "/v1/tokens/{token_id}").requires(Scope::TokensWrite).compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_token, app.clone()))
}

/// Delete a token
///
/// Revokes the token with all of its secrets. The revocation takes effect within 30 seconds. For the next 90 days, a
/// request with the token returns 401 `token_revoked`.
#[utoipa::path(delete, path = ROUTE.path, tag = "Tokens", responses((status = 200, body = Deleted)))]
pub async fn delete_token(
    State(app): State<App>,
    author: Author,
    token: AuthorizedToken,
    expected: IfMatch,
) -> Result<Json<Deleted>> {
    let token = token.into_inner();
    let id = token.token().id.clone();
    let expected = |token: &TokenRecord| expected.check(token.version());
    let deleted = token.revoke(app.table(), expected, &author, app.clock().now()).await?;
    if deleted { Ok(Json(Deleted::new(id))) } else { Err(Error::not_found("Token")) }
}
