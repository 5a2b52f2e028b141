//! `GET /v1/tokens/{token_id}`: returns one personal access token without its secret.

use shared::access::{AuthorizedToken, Scope};
use shared::body::TokenBody;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/tokens/{token_id}").requires(Scope::TokensRead).sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_token, app.clone()))
}

/// Get a token
///
/// Returns the token without its secret. Owners and admins can read the tokens of every user.
#[utoipa::path(get, path = ROUTE.path, tag = "Tokens", responses((status = 200, body = TokenBody)))]
pub async fn get_token(token: AuthorizedToken) -> Versioned<u64, TokenBody> {
    Versioned(token.version(), token.into_inner().into())
}
