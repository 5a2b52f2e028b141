//! A minimal OpenID provider. Tests sign any token with its key, also those that an honest issuer would not sign.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
pub use local::issuer::{SigningKey, unsigned};
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::id::RequestId;

/// The audience that the tests' stacks expect in `aud`.
pub const AUDIENCE: &str = "https://api.git.dev";

/// A running provider.
#[derive(Clone)]
pub struct Issuer(Arc<Parts>);

struct Parts {
    url: String,
    /// The published keys by id.
    keys: Mutex<Vec<(String, SigningKey)>>,
    /// The claims that the userinfo endpoint returns, by subject.
    people: Mutex<HashMap<String, Value>>,
    /// The claims of the tokens that codes are exchanged for.
    codes: Mutex<HashMap<String, Value>>,
    /// The number of times the keys were read.
    asked: AtomicUsize,
}

impl Issuer {
    /// Starts a provider on a free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self(Arc::new(Parts {
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Mutex::new(vec![("first".to_owned(), SigningKey::random())]),
            people: Mutex::default(),
            codes: Mutex::default(),
            asked: AtomicUsize::new(0),
        }));
        let metadata = async |State(issuer): State<Issuer>| {
            let url = issuer.url();
            Json(json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"), "userinfo_endpoint": format!("{url}/userinfo"),
                "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            }))
        };
        let keys = async |State(issuer): State<Issuer>| {
            issuer.0.asked.fetch_add(1, Ordering::Relaxed);
            let keys = issuer.0.keys.lock().unwrap();
            let keys: Vec<_> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
            Json(json!({"keys": keys}))
        };
        let userinfo = async |State(issuer): State<Issuer>, headers: HeaderMap| {
            let claims = headers["authorization"].to_str().unwrap().split('.').nth(1).unwrap();
            let claims: Value = serde_json::from_slice(&BASE64.decode(claims).unwrap()).unwrap();
            let people = issuer.0.people.lock().unwrap();
            people.get(claims["sub"].as_str().unwrap()).cloned().map(Json).ok_or(StatusCode::UNAUTHORIZED)
        };
        let token = async |State(issuer): State<Issuer>, form: String| {
            let url = reqwest::Url::parse(&format!("http://form?{form}")).unwrap();
            let fields: HashMap<_, _> = url.query_pairs().into_owned().collect();
            let Some(mut claims) = issuer.0.codes.lock().unwrap().remove(&fields["code"]) else {
                return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"})));
            };
            claims["client_id"] = json!(fields["client_id"]);
            (StatusCode::OK, Json(json!({"access_token": issuer.token(&claims), "token_type": "Bearer"})))
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/userinfo", get(userinfo))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        issuer
    }

    /// Returns the issuer's URL.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Returns the number of times the keys were read.
    pub fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Replaces the published keys with a new one.
    pub fn rotate(&self, kid: &str) {
        *self.0.keys.lock().unwrap() = vec![(kid.to_owned(), SigningKey::random())];
    }

    /// Sets the claims that the userinfo endpoint returns for a subject.
    pub fn says(&self, subject: &str, claims: Value) {
        self.0.people.lock().unwrap().insert(subject.to_owned(), claims);
    }

    /// Issues a code that is exchanged, once and with any verifier, for a token with these claims and the client that asks.
    pub fn code(&self, claims: Value) -> String {
        let code = format!("code-{}", self.0.codes.lock().unwrap().len());
        self.0.codes.lock().unwrap().insert(code.clone(), claims);
        code
    }

    /// Returns the claims of an access token for a subject with a verified address.
    pub fn claims(&self, subject: &str, now: Timestamp) -> Value {
        json!({
            "iss": self.url(), "sub": subject, "aud": AUDIENCE, "client_id": "web",
            "iat": now.as_seconds(), "exp": now.as_seconds() + 600,
            "scope": "openid repositories:read", "jti": "0b6e7d2c",
            "email": format!("{subject}@acme.example"), "email_verified": true,
        })
    }

    /// Signs an access token that a client gets by client credentials.
    pub fn client_token(&self, client: &str, now: Timestamp) -> String {
        let mut claims = self.claims(client, now);
        claims["client_id"] = json!(client);
        self.token(&claims)
    }

    /// Returns the claims of a token that GitHub Actions gives to a job on the branch `main` of a repository.
    pub fn job(&self, repository: &str, now: Timestamp) -> Value {
        let owner = repository.split('/').next().unwrap();
        let now = now.as_seconds();
        json!({
            "jti": RequestId::random(), "iss": self.url(), "aud": AUDIENCE, "iat": now, "nbf": now - 300, "exp": now + 300,
            "sub": format!("repo:{repository}:ref:refs/heads/main"), "ref": "refs/heads/main", "ref_type": "branch",
            "ref_protected": "true", "sha": "3f786850e387550fdab836ed7e6dc881de23001b", "repository": repository,
            "repository_id": "74", "repository_owner": owner, "repository_owner_id": "65",
            "repository_visibility": "private", "actor": "ada", "actor_id": "12", "workflow": "deploy",
            "workflow_ref": format!("{repository}/.github/workflows/deploy.yml@refs/heads/main"), "head_ref": "",
            "base_ref": "", "event_name": "push", "run_id": "9183", "run_number": "10", "run_attempt": "1",
            "runner_environment": "github-hosted",
            "job_workflow_ref": format!("{repository}/.github/workflows/deploy.yml@refs/heads/main"),
        })
    }

    /// Returns the header of an ID token.
    pub fn id_header(&self) -> Value {
        let mut header = self.header();
        header["typ"] = json!("JWT");
        header
    }

    /// Signs an ID token with these claims.
    pub fn id_token(&self, claims: &Value) -> String {
        self.sign(&self.id_header(), claims)
    }

    /// Returns the header of an access token.
    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.0.keys.lock().unwrap()[0].0})
    }

    /// Signs an access token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// Signs a JWT with the issuer's key.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.0.keys.lock().unwrap()[0].1.sign(header, claims)
    }

    /// Returns the issuer's public key as an uncompressed point.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.keys.lock().unwrap()[0].1.public().to_vec()
    }
}
