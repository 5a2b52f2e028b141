//! `PATCH /v1/tokens/{token_id}`: changes the name or the scopes of a personal access token.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{Caller, OwnToken, Scope, distinct};
use shared::body::TokenBody;
use shared::model::{Author, DisplayName, TokenChange, TokenRecord};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/tokens/{token_id}")
    .takes_body()
    .requires(Scope::TokensWrite)
    .needs_recent_sign_in()
    .refuses_with(&[ErrorCode::InsufficientPermission])
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_token, app.clone()))
}

/// The fields to change. An absent field keeps its value.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenChange)]
pub struct Change {
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    name: Option<DisplayName>,
    /// The token's new scopes, at least one. They replace the old scopes. The token of this request must have all of
    /// them.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false, min_items = 1)]
    scopes: Option<Vec<Scope>>,
}

/// Update a token
///
/// Changes the given fields. A change of scopes takes effect within 30 seconds.
#[utoipa::path(patch, path = ROUTE.path, tag = "Tokens", request_body = Change, responses((status = 200, body = TokenBody)))]
pub async fn update_token(
    State(app): State<App>,
    caller: Caller,
    author: Author,
    token: OwnToken,
    expected: IfMatch,
    extract::Json(change): extract::Json<Change>,
) -> Result<Versioned<u64, TokenBody>> {
    let scopes = change.scopes.map(|scopes| distinct(&scopes));
    caller.check_grant(scopes.as_deref().unwrap_or_default())?;
    let change = TokenChange { name: change.name, scopes };
    let expected = |token: &TokenRecord| expected.check(token.version());
    let changed = token.into_inner().change(app.table(), change, expected, &author, app.clock().now()).await?;
    changed.map(|token| Versioned(token.version(), token.into())).ok_or_else(|| Error::not_found("Token"))
}
