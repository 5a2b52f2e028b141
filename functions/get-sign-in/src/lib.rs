//! `GET /v1/sign-in`: tells how people sign in to the dashboard.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue};
use serde::Serialize;
use shared::model::{ClientId, SignInMethod};
use shared::oauth::PublicClient;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/sign-in").public();

/// Returns the endpoint with the app and the dashboard's client as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let state = SignIn { app: app.clone(), client: app.dashboard_client()? };
    Ok(Endpoint::new(ROUTE, get_sign_in, state))
}

/// The state of the endpoint.
#[derive(Clone, Debug)]
pub struct SignIn {
    app: App,
    client: Option<PublicClient>,
}

/// The ways to sign in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SignIn)]
pub struct SignInBody {
    /// The ways that work now, the preferred one first.
    methods: Vec<SignInMethod>,
    /// The parameters of the authorization request (RFC 6749, section 4.1.1). Null if nobody can sign in at an identity provider.
    #[schema(required)]
    oauth2: Option<OAuth2Body>,
}

/// The parameters of the authorization request. The page adds `response_type=code`, `state`, and an S256 code challenge.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SignInAtProvider)]
pub struct OAuth2Body {
    /// The identity provider.
    #[schema(examples("https://login.acme.example"))]
    issuer: String,
    /// The URL to which the browser goes.
    #[schema(examples("https://login.acme.example/oauth2/authorize"))]
    authorization_endpoint: String,
    client_id: ClientId,
    /// The URL to which the identity provider sends the browser back.
    #[schema(examples("https://api.git.dev/sign-in"))]
    redirect_uri: String,
    /// The scopes to ask for, as the identity provider names them.
    scopes: Vec<String>,
}

/// Get the ways to sign in
///
/// Returns how people sign in to the dashboard: with a token, and with the identity provider that the API trusts. While the
/// identity provider does not respond, only tokens are returned. Requires no token.
#[utoipa::path(get, path = ROUTE.path, tag = "Sessions", responses((status = 200, body = SignInBody)))]
pub async fn get_sign_in(
    State(SignIn { app, client }): State<SignIn>,
) -> ([(HeaderName, HeaderValue); 1], Json<SignInBody>) {
    let found = match &client {
        Some(_) => app.sign_in_page().await,
        None => Ok(None),
    };
    // An answer without the identity provider is outdated as soon as the provider responds again.
    let cached = if found.is_ok() { "public, max-age=300" } else { "no-store" };
    let oauth2 = found.ok().flatten().zip(client).map(|(page, client)| OAuth2Body {
        issuer: page.issuer,
        authorization_endpoint: page.authorization_endpoint,
        client_id: client.id,
        redirect_uri: client.redirect_uri,
        scopes: page.scopes,
    });
    let of_provider = oauth2.iter().map(|_| SignInMethod::OAuth2);
    let body = SignInBody { methods: of_provider.chain([SignInMethod::Token]).collect(), oauth2 };
    ([(CACHE_CONTROL, HeaderValue::from_static(cached))], Json(body))
}
