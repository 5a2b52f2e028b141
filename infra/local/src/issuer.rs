//! An OpenID provider for the demo's users and its application, with the endpoints and the tokens of an Amazon Cognito user
//! pool. The API trusts it by the settings with which a deployed stack trusts its user pool.
//!
//! It differs from a user pool in five points: nobody needs a password, tokens are valid for ten minutes, there are no
//! refresh tokens, PKCE is required, and signatures are by ES256.

mod authorize;
mod directory;
mod key;
mod page;
mod parameters;
mod refusal;
mod token;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::InitError;
use shared::clock::Clock;

pub use directory::{ADA, Client, DEMO_DOMAIN, EVE, OWNER, User};
pub use key::{SigningKey, unsigned};

use crate::server::Server;
use crate::{data, server};
use authorize::Codes;

/// The file of the key and the secret in the data folder.
const FILE: &str = "issuer.json";

/// A running issuer. Dropping it stops it.
pub struct Issuer {
    server: Server,
    provider: Arc<Provider>,
}

struct Provider {
    url: String,
    key: SigningKey,
    /// The secret of the client `machines`.
    client_secret: String,
    /// The only redirect URI of the client `dashboard`.
    dashboard_callback: String,
    clock: Clock,
    codes: Codes,
}

/// The contents of the file. Tokens stay valid over a restart because the key does.
#[derive(Deserialize, Serialize)]
struct Kept {
    /// PKCS #8 in base64.
    key: String,
    client_secret: String,
}

impl Issuer {
    /// Listens on `address`, which must be on 127.0.0.1. Keeps the key and the client's secret in the data folder. People come
    /// back to the dashboard at `dashboard_callback`.
    ///
    /// # Errors
    /// Fails if the address can't be bound, or the file in the data folder can't be used.
    pub async fn start(
        address: SocketAddr,
        data: &Path,
        dashboard_callback: String,
        clock: Clock,
    ) -> Result<Self, InitError> {
        let (key, client_secret) = Kept::in_folder(data)?;
        let listener = server::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let provider =
            Arc::new(Provider { url, key, client_secret, dashboard_callback, clock, codes: Codes::default() });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/.well-known/jwks.json", get(keys))
            .route("/oauth2/authorize", get(authorize::ask).post(authorize::choose))
            .route("/oauth2/token", post(token::token))
            .route("/oauth2/userInfo", get(token::userinfo))
            .layer(middleware::from_fn_with_state(Arc::clone(&provider), guard))
            .with_state(Arc::clone(&provider));
        let server = Server::start(listener, |listener, stop| async {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the issuer stopped");
            }
        })?;
        Ok(Self { server, provider })
    }

    /// Returns the issuer's URL, as in the claim `iss`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.provider.url
    }

    /// Returns the secret of [`Client::Machines`].
    #[must_use]
    pub fn client_secret(&self) -> &str {
        &self.provider.client_secret
    }

    /// Stops listening, and waits at most five seconds for running requests.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

impl Kept {
    /// Reads the file, and makes it first if there is none.
    fn in_folder(folder: &Path) -> Result<(SigningKey, String), InitError> {
        let path = folder.join(FILE);
        let json = data::ensure_private(&path, || Ok(serde_json::to_vec_pretty(&Self::random())?))?;
        let damaged = |reason: String| format!("{} is damaged ({reason}); start with --fresh", path.display());
        let kept: Self = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        let pkcs8 = BASE64_STANDARD.decode(&kept.key).map_err(|error| damaged(error.to_string()))?;
        let key = SigningKey::from_pkcs8(&pkcs8).map_err(|error| damaged(error.to_string()))?;
        Ok((key, kept.client_secret))
    }

    fn random() -> Self {
        Self { key: BASE64_STANDARD.encode(SigningKey::random_pkcs8()), client_secret: random_text() }
    }
}

/// Returns 256 random bits in base64url.
fn random_text() -> String {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Refuses requests that name another host, so that no other site can reach the issuer under a name of its own.
async fn guard(State(provider): State<Arc<Provider>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let is_here = host.is_some_and(|host| Some(host) == provider.url.strip_prefix("http://").map(str::as_bytes));
    let mut response = match is_here {
        true => next.run(request).await,
        false => {
            let advice = format!("this is the issuer {}; use this address\n", provider.url);
            (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // With `no-referrer`, browsers would send the sign-in form without its origin.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Returns the discovery document (OpenID Connect Discovery, section 3).
async fn metadata(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let url = &provider.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/oauth2/authorize"),
        "token_endpoint": format!("{url}/oauth2/token"),
        "userinfo_endpoint": format!("{url}/oauth2/userInfo"),
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": Client::People.scopes(),
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let key = &provider.key;
    Json(json!({"keys": [key.jwk(&key.thumbprint())]}))
}
