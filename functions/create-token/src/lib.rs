//! `POST /v1/tokens`: creates a personal access token and returns its secret once.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use shared::access::{Caller, Scope, distinct};
use shared::body::TokenBody;
use shared::extract::{self, Whole};
use shared::id::TokenId;
use shared::model::{AccessToken, Author, DisplayName, Lifetime};
use shared::token::TokenSecret;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/tokens")
    .takes_body()
    .requires(Scope::TokensWrite)
    .needs_recent_sign_in()
    .refuses_with(&[ErrorCode::InsufficientPermission])
    .takes_idempotency_key()
    .sends_location();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_token, app.clone()))
}

/// The token to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: DisplayName,
    /// The token's scopes, at least one. The token of this request must have all of them.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// The token's lifetime in days. Default: 90, unless the token is permanent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 365, examples(30))]
    expires_in_days: Option<Whole<u64, 1, 365>>,
    /// Whether the token never expires. The account's owner can forbid permanent tokens.
    #[serde(default)]
    #[schema(default = false)]
    permanent: bool,
}

/// Create a token
///
/// Creates a personal access token for the caller. `token` in the response is the secret. It is not stored and can't be
/// shown again.
#[utoipa::path(post, path = ROUTE.path, tag = "Tokens", request_body = NewToken, responses((status = 201, body = TokenBody)))]
pub async fn create_token(
    State(app): State<App>,
    author: Author,
    caller: Caller,
    extract::Json(new): extract::Json<NewToken>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<TokenBody>)> {
    let scopes = distinct(&new.scopes);
    caller.check_grant(&scopes)?;
    let lifetime =
        Lifetime::asked_for(new.expires_in_days.map(Whole::get), new.permanent)?.unwrap_or(Lifetime::DEFAULT);
    lifetime.check(caller.account())?;
    let now = app.clock().now();
    let secret = TokenSecret::random();
    let token = AccessToken {
        id: TokenId::random(),
        account_id: caller.account().id.clone(),
        user_id: caller.user_id().clone(),
        name: new.name,
        scopes,
        last_four: secret.last_four().to_owned(),
        created_at: now,
        expires_at: lifetime.end(now),
        revoked_at: None,
        superseded_at: None,
        version: 1,
    };
    let record = token.create(&secret, lifetime, app.table(), &author).await?;
    let location = app.url(&format!("/v1/tokens/{}", token.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(TokenBody::with_secret(record, secret))))
}
