//! Trusts, and the tokens that are exchanged under them.

mod authority;
mod conditions;
mod issuers;
mod owners;
mod provider;
mod tokens;

use serde_json::{Value, json};
use tests::issuer::AUDIENCE;
use tests::{Actor, Answer, World};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Returns the body of a trust in the jobs of the repository `acme/app` at the world's issuer, with changes.
fn new_trust(world: &World, changes: Value) -> Value {
    let mut new = json!({
        "name": "CI", "issuer": world.issuer.url(), "audience": AUDIENCE, "claims": {"repository": "acme/app"},
        "scopes": ["repositories:read", "deployments:read", "deployments:write"],
    });
    new.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    new
}

/// Creates a trust in the jobs of the repository `acme/app`, with changes.
async fn trust(world: &World, owner: &Actor, changes: Value) -> Value {
    let created = owner.post("/v1/trusts", new_trust(world, changes)).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body
}

/// Sends a form to the endpoint that exchanges tokens.
async fn send_form(world: &World, fields: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let anonymous = world.anonymous();
    let request = anonymous.request(reqwest::Method::POST, "/v1/token");
    anonymous.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

/// Exchanges a token of an issuer.
async fn exchange(world: &World, trust: &Value, subject_token: &str) -> Answer {
    let trust = trust["id"].as_str().unwrap();
    let fields = [
        ("grant_type", GRANT),
        ("audience", trust),
        ("subject_token", subject_token),
        ("subject_token_type", ID_TOKEN),
    ];
    send_form(world, &fields).await
}

/// Returns the claims of a job of the repository `acme/app`, with changes.
fn job(world: &World, changes: Value) -> Value {
    let mut claims = world.issuer.job("acme/app", world.clock.now());
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

/// Exchanges a token of a job with these claims.
async fn exchange_job(world: &World, trust: &Value, changes: Value) -> Answer {
    exchange(world, trust, &world.issuer.id_token(&job(world, changes))).await
}

/// Returns a caller that holds a token of the trust.
async fn program(world: &World, owner: &Actor, trust: &Value) -> Actor {
    let issued = exchange_job(world, trust, json!({})).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    owner.holding(issued.body["access_token"].as_str().unwrap())
}
