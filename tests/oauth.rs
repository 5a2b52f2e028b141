//! Access tokens of an OpenID Connect issuer.

mod linking;
mod own_issuer;
pub(crate) mod provider;
mod token;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use reqwest::Url;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::settings::{OIDC_AUDIENCE, OIDC_CLIENT_IDS, OIDC_ISSUER};
use tests::issuer::AUDIENCE;
use tests::{Actor, World};

/// A code verifier of PKCE (RFC 7636).
const VERIFIER: &str = "a-verifier-of-this-test-that-is-long-enough-for-rfc-7636";

/// Returns the S256 code challenge of a verifier.
fn challenge(verifier: &str) -> String {
    BASE64.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
}

/// Encodes a form.
fn form<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    Url::parse_with_params("http://form", pairs).unwrap().query().unwrap_or_default().to_owned()
}

/// Starts a stack that trusts an issuer.
async fn trusting(issuer: &str, clock: Option<Clock>, cognito: bool) -> World {
    World::start_with(|options| {
        options.overrides.push((OIDC_ISSUER, issuer.to_owned()));
        match cognito {
            true => options.overrides.push((OIDC_CLIENT_IDS, "web, mobile".to_owned())),
            false => options.overrides.push((OIDC_AUDIENCE, AUDIENCE.to_owned())),
        }
        if let Some(clock) = clock {
            options.clock = clock;
        }
    })
    .await
}

/// Creates an account for the mail domain `acme.example`. Returns its owner.
async fn acme(world: &World) -> Actor {
    world
        .bootstrapped(json!({
            "account": "acme", "plan": "pro", "owner_email": "owner@acme.example", "email_domains": ["acme.example"],
        }))
        .await
}

/// Joins the account of the person's mail domain. Fails the test unless the API lets the person in.
async fn joined(person: &Actor) -> Value {
    let answer = person.post("/v1/user/join", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}
