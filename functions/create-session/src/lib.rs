//! `POST /v1/session`: signs a person in to the dashboard.
//!
//! The endpoint is public because the person has no session yet. The token or the code authenticates the request.

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::access::{NewSession, Proof, WITHOUT_ISSUER};
use shared::body::CallerBody;
use shared::clock::Rfc3339;
use shared::id::SessionId;
use shared::model::RequestOrigin;
use shared::oauth::{AuthorizationCode, PublicClient};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::post(env!("CARGO_PKG_NAME"), "/v1/session").takes_body().public().sets_cookie().refuses_with(&[
        ErrorCode::InvalidToken,
        ErrorCode::TokenExpired,
        ErrorCode::TokenRevoked,
        ErrorCode::TokenRotated,
        ErrorCode::InsufficientPermission,
        ErrorCode::NotLinked,
    ]);

/// Returns the endpoint with the app and the dashboard's client as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let state = SignIn { app: app.clone(), client: app.dashboard_client()? };
    Ok(Endpoint::new(ROUTE, create_session, state))
}

/// The state of the endpoint.
#[derive(Clone, Debug)]
pub struct SignIn {
    app: App,
    client: Option<PublicClient>,
}

/// The proof of who signs in: a token, or a code with its verifier and redirect URI.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// A personal access token.
    #[schema(value_type = Option<String>, examples("dgp_0000000000000000000000000000003A6u5b"))]
    token: Option<SecretString>,
    /// The authorization code with which the identity provider sent the browser back.
    #[schema(value_type = Option<String>)]
    code: Option<SecretString>,
    /// The PKCE code verifier, whose challenge was in the authorization request.
    #[schema(value_type = Option<String>)]
    code_verifier: Option<SecretString>,
    /// The redirect URI of the authorization request, which is `redirect_uri` of `GET /v1/sign-in`.
    #[schema(value_type = Option<String>, examples("https://api.git.dev/sign-in"))]
    redirect_uri: Option<String>,
}

/// The new session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CreatedSession)]
pub struct CreatedBody {
    id: SessionId,
    created_at: Rfc3339,
    /// The time at which the session ends at the latest. It ends before if it is not used for twelve hours.
    expires_at: Rfc3339,
    /// The caller, as `GET /v1/user` returns it. Null for a person who belongs to no account yet: they join one with
    /// `POST /v1/user/join`.
    #[schema(required)]
    user: Option<CallerBody>,
}

/// Sign in
///
/// Makes a session of the dashboard. Takes either `token`, or `code`, `code_verifier` and `redirect_uri`. The response sets the
/// cookie `__Host-session`, which browsers send with requests of the API's own origin in the place of a token. A session
/// allows what its token or its sign-in allows, and ends with it. A session whose cookie the request has is ended. Requires no
/// token, and counts against the rate limit of the source address.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Sessions", request_body = Credentials, responses((status = 201, body = CreatedBody))
)]
pub async fn create_session(
    State(SignIn { app, client }): State<SignIn>,
    origin: RequestOrigin,
    headers: HeaderMap,
    extract::Json(credentials): extract::Json<Credentials>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<CreatedBody>)> {
    let proof = credentials.proof(client)?;
    let NewSession { session, caller, cookie } = app.sign_in(&proof, &headers, &origin).await?;
    let body = CreatedBody {
        id: session.id,
        created_at: session.created_at.into(),
        expires_at: session.valid_until.into(),
        user: caller.as_ref().map(CallerBody::from),
    };
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie)], Json(body)))
}

impl Credentials {
    /// Returns the proof in the body.
    fn proof(self, client: Option<PublicClient>) -> Result<Proof> {
        let required = |field: &str| Error::invalid(field, "is required with 'code'");
        match self {
            Self { token: Some(token), code: None, code_verifier: None, redirect_uri: None } => Ok(Proof::Token(token)),
            Self { token: Some(_), .. } => {
                Err(Error::invalid("token", "can't be combined with 'code', 'code_verifier' or 'redirect_uri'"))
            }
            Self { code: None, .. } => Err(Error::invalid("token", "is required, unless there is a 'code'")),
            Self { code: Some(code), code_verifier, redirect_uri, token: None } => {
                let client = client.ok_or_else(|| Error::invalid("code", WITHOUT_ISSUER));
                let code_verifier = code_verifier.ok_or_else(|| required("code_verifier"));
                let redirect_uri = match (redirect_uri, &client) {
                    (None, _) => Err(required("redirect_uri")),
                    (Some(given), Ok(client)) if given != client.redirect_uri => {
                        Err(Error::invalid("redirect_uri", format!("must be {}", client.redirect_uri)))
                    }
                    (Some(_), _) => Ok(()),
                };
                let ((client, code_verifier), ()) = Error::both(Error::both(client, code_verifier), redirect_uri)?;
                Ok(Proof::Code(AuthorizationCode { code, code_verifier }, client))
            }
        }
    }
}
