//! `DELETE /v1/tokens/{token_id}`: revokes a personal access token.

use axum::extract::State;
use axum::http::StatusCode;
use shared::access::{AuthorizedToken, Scope};
use shared::{App, Endpoint, Error, InitError, Result, Route};

pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/tokens/{token_id}").requires(Scope::TokensWrite);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_token, app.clone()))
}

/// Delete a token
///
/// Revokes the token with all of its secrets, which takes effect everywhere within 30 seconds. For 90 days its use is
/// answered with 401 `token_revoked`.
#[utoipa::path(delete, path = ROUTE.path, tag = "Tokens", responses((status = 204)))]
pub async fn delete_token(State(app): State<App>, token: AuthorizedToken) -> Result<StatusCode> {
    let deleted = token.into_inner().revoke(app.table(), app.clock().now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Error::not_found("Token")) }
}
