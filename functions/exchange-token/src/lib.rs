//! `POST /v1/token`: exchanges a token of an issuer that an account trusts (RFC 8693).
//!
//! The endpoint is public, because the program has no token of this API yet. The issuer's token authenticates the request.

mod issuers;
mod subject_token;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::Scope;
use shared::extract::Form;
use shared::hosts::Hosts;
use shared::id::TrustId;
use shared::model::{EXCHANGED_TOKEN_LIFE, Exchange, RequestOrigin, Trust};
use shared::oauth::{Header, Jwt};
use shared::token::TokenSecret;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

use crate::issuers::Issuers;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/token")
    .takes_body()
    .public()
    .refuses_with(&[ErrorCode::InvalidGrant, ErrorCode::RemoteUnavailable]);

/// The type of the issued token (RFC 8693, section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let exchanger = Exchanger { app: app.clone(), issuers: Arc::new(Issuers::new(Hosts::of(app.settings())?)) };
    Ok(Endpoint::new(ROUTE, exchange_token, exchanger))
}

/// The app, and what is known of issuers.
#[derive(Clone)]
pub struct Exchanger {
    app: App,
    issuers: Arc<Issuers>,
}

/// The exchange of a token (RFC 8693, section 2.1).
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    grant_type: GrantType,
    /// The trust's ID.
    audience: TrustId,
    /// The issuer's token. It works once.
    #[schema(write_only)]
    subject_token: Jwt,
    subject_token_type: SubjectTokenType,
    /// The scopes of the new token, separated by spaces. Default: those of the trust.
    #[schema(
        value_type = Option<String>,
        nullable = false,
        pattern = "^(repositories:read|deployments:read|deployments:write)( (repositories:read|deployments:read|deployments:write))*$",
        examples("deployments:read deployments:write"),
    )]
    scope: Option<Scopes>,
}

/// The only grant of this endpoint.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
enum GrantType {
    /// The exchange of a token.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// The type of the issuer's token. Both name a signed JWT.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
enum SubjectTokenType {
    /// A JWT.
    #[serde(rename = "urn:ietf:params:oauth:token-type:jwt")]
    Jwt,
    /// An ID token of OpenID Connect.
    #[serde(rename = "urn:ietf:params:oauth:token-type:id_token")]
    IdToken,
}

/// Scopes that are separated by spaces.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Scopes(Vec<Scope>);

impl TryFrom<String> for Scopes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let scope = |name: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        let scopes: Option<Vec<_>> = text.split(' ').map(scope).collect();
        scopes.map(Self).ok_or("must be names of scopes, separated by single spaces")
    }
}

/// The new token (RFC 8693, section 2.2.1).
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedTokenBody {
    /// The token. It is not stored and can't be shown again.
    #[schema(examples("dgt_0000000000000000000000000000000Y2Q3Z"))]
    access_token: String,
    #[schema(value_type = String, examples("urn:ietf:params:oauth:token-type:access_token"))]
    issued_token_type: &'static str,
    #[schema(value_type = String, examples("Bearer"))]
    token_type: &'static str,
    /// The seconds until the token expires.
    #[schema(examples(3600))]
    expires_in: u64,
    /// The token's scopes, separated by spaces.
    #[schema(examples("deployments:read deployments:write"))]
    scope: String,
}

/// Exchange a token
///
/// Exchanges a token of an issuer for a token of this API, as RFC 8693 says. The trust in `audience` says which tokens it
/// accepts, and what the new token may do. Each issuer's token works once. Requires no token of this API, and counts against
/// the rate limit of the source address. Takes a form, and errors have the envelope of all others.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Trusts",
    request_body(content = TokenExchange, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = IssuedTokenBody))
)]
pub async fn exchange_token(
    State(Exchanger { app, issuers }): State<Exchanger>,
    origin: RequestOrigin,
    Form(request): Form<TokenExchange>,
) -> Result<Json<IssuedTokenBody>> {
    let TokenExchange { grant_type: GrantType::TokenExchange, audience, subject_token, subject_token_type, scope } =
        request;
    let (SubjectTokenType::Jwt | SubjectTokenType::IdToken) = subject_token_type;
    let trust = Trust::by_id(app.table(), &audience).await?;
    let trust = trust.ok_or_else(|| Error::invalid("audience", "must be the ID of a trust"))?;
    let scopes = match scope {
        None => trust.terms.scopes.clone(),
        Some(Scopes(wanted)) => narrowed(&trust, &wanted)?,
    };
    let now = app.clock().now();
    let header = Header::of(&subject_token).map_err(subject_token::refused)?;
    subject_token::check_type(&header)?;
    let claims = issuers.verified(&trust.terms.issuer, &subject_token, &header, now).await?;
    let subject_token = subject_token::accepted(&trust.terms, &subject_token, &claims, now)?;
    let secret = TokenSecret::exchanged();
    let exchange = Exchange { subject_token, scopes, secret: &secret };
    let token = trust.exchange(app.table(), exchange, origin, now).await?;
    let names: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    Ok(Json(IssuedTokenBody {
        access_token: secret.reveal().to_owned(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: EXCHANGED_TOKEN_LIFE.as_secs(),
        scope: names.join(" "),
    }))
}

/// Returns the scopes that are wanted, in the order of the trust's.
fn narrowed(trust: &Trust, wanted: &[Scope]) -> Result<Vec<Scope>> {
    match wanted.iter().find(|scope| !trust.terms.scopes.contains(scope)) {
        Some(scope) => {
            Err(Error::invalid("scope", format!("must not contain '{}', which the trust lacks", scope.as_str())))
        }
        None => Ok(trust.terms.scopes.iter().copied().filter(|scope| wanted.contains(scope)).collect()),
    }
}
