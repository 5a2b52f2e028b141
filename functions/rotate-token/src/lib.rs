//! `POST /v1/tokens/{token_id}/rotate`: issues a new secret for a personal access token. The old one stays valid for an
//! overlap.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{Caller, OwnToken, Scope};
use shared::body::TokenBody;
use shared::extract::{self, Whole};
use shared::model::{Author, Lifetime, Rotation};
use shared::token::TokenSecret;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/tokens/{token_id}/rotate")
    .takes_body()
    .requires(Scope::TokensWrite)
    .needs_recent_sign_in()
    .refuses_with(&[ErrorCode::InsufficientPermission])
    .takes_idempotency_key();

const DEFAULT_OVERLAP_HOURS: u64 = 24;

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, rotate_token, app.clone()))
}

/// The lifetimes of the new secret and of the old one.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenRotation)]
pub struct Asked {
    /// The number of hours that the old secret stays valid. 0 ends it at once.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 168, default = 24)]
    overlap_hours: Option<Whole<u64, 0, 168>>,
    /// The new secret's lifetime in days. Default: the lifetime of the old secret.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 365, examples(30))]
    expires_in_days: Option<Whole<u64, 1, 365>>,
    /// Whether the token never expires. The account's owner can forbid permanent tokens.
    #[serde(default)]
    #[schema(default = false)]
    permanent: bool,
}

/// Rotate a token
///
/// Issues a new secret and returns it once. Its lifetime starts now. The old secret works until the overlap is over.
/// For 90 days after that, a request with it returns 401 `token_rotated`. At most 10 old secrets of a token work at the
/// same time; another rotation ends the oldest. The token of this request must have all scopes of the rotated token.
#[utoipa::path(post, path = ROUTE.path, tag = "Tokens", request_body = Asked, responses((status = 200, body = TokenBody)))]
pub async fn rotate_token(
    State(app): State<App>,
    caller: Caller,
    author: Author,
    token: OwnToken,
    extract::Json(asked): extract::Json<Asked>,
) -> Result<Json<TokenBody>> {
    // The response carries the rights of the rotated token.
    caller.check_grant(&token.token().scopes)?;
    let lifetime = Lifetime::asked_for(asked.expires_in_days.map(Whole::get), asked.permanent)?;
    let lifetime = lifetime.unwrap_or(token.lifetime());
    lifetime.check(caller.account())?;
    let secret = TokenSecret::random();
    let overlap = asked.overlap_hours.map_or(DEFAULT_OVERLAP_HOURS, Whole::get);
    let rotation = Rotation { secret: &secret, lifetime, overlap: Duration::from_secs(overlap * 60 * 60) };
    let rotated = token.into_inner().rotate(app.table(), rotation, &author, app.clock().now()).await?;
    rotated.map(|token| Json(TokenBody::with_secret(token, secret))).ok_or_else(|| Error::not_found("Token"))
}
