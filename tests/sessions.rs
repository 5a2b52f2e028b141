//! Sessions of the dashboard, over HTTP as a browser sends it.

mod cookie;
mod end;
mod list;
mod newcomer;
mod recent;
mod sign_in;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use local::issuer::User;
use local::stack::OwnIssuer;
use reqwest::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tests::{Actor, Answer, World, session_secret};

/// A code verifier of PKCE (RFC 7636).
const VERIFIER: &str = "a-verifier-of-this-test-that-is-long-enough-for-rfc-7636";

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

/// Starts a stack with its own issuer, where people sign in to the dashboard. Returns the owner of an account that claims the
/// demo users' domain, too.
async fn with_an_issuer() -> (World, Actor) {
    let world = World::start_with(|options| options.issuer = OwnIssuer::Started).await;
    let event = json!({
        "account": "demo", "plan": "pro", "owner_email": "owner@example.com", "email_domains": ["example.com"],
    });
    let owner = world.bootstrapped(event).await;
    (world, owner)
}

/// Sends the request of the sign-in page.
async fn post(world: &World, proof: Value) -> Answer {
    let page = world.anonymous();
    let request = page.request(Method::POST, "/v1/session").header("sec-fetch-site", "same-origin");
    page.send(request.header("user-agent", "Browser/1.0").json(&proof)).await
}

/// Returns the browser that a response gives a session.
fn browser(world: &World, answer: &Answer) -> Actor {
    assert_eq!(answer.status, 201, "{answer:?}");
    world.anonymous().holding(session_secret(answer.headers[SET_COOKIE].to_str().unwrap()))
}

/// Signs the holder of a token in. Returns the browser and the ID of its session.
async fn signed_in(world: &World, holder: &Actor) -> (Actor, String) {
    let answer = post(world, json!({"token": holder.token})).await;
    (browser(world, &answer), answer.body["id"].as_str().unwrap().to_owned())
}

/// Goes to the issuer as `GET /v1/sign-in` tells, and comes back with a code.
async fn code(world: &World, user: &User) -> Value {
    let told = world.anonymous().get("/v1/sign-in").await.body["oauth2"].clone();
    let text = |name: &str| told[name].as_str().unwrap();
    let scopes: Vec<_> = told["scopes"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    let challenge = BASE64.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()));
    let form = [
        ("response_type", "code"),
        ("client_id", text("client_id")),
        ("redirect_uri", text("redirect_uri")),
        ("scope", &scopes.join(" ")),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("user", user.subject),
    ];
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = Url::parse_with_params("http://form", form).unwrap().query().unwrap().to_owned();
    let request = http.post(text("authorization_endpoint")).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await.unwrap();
    let back = answer.headers().get(LOCATION).map(|url| Url::parse(url.to_str().unwrap()).unwrap());
    let back = back.unwrap_or_else(|| panic!("the issuer refuses: {}", answer.status()));
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    json!({"code": code, "code_verifier": VERIFIER, "redirect_uri": text("redirect_uri")})
}

/// Returns the audit events about sessions, newest first, each as its action and its target.
async fn events(owner: &Actor) -> Vec<(String, String)> {
    let found = owner.get("/v1/audit_events?per_page=100").await;
    assert_eq!(found.status, 200, "{found:?}");
    let of_sessions =
        found.body["data"].as_array().unwrap().iter().filter(|event| event["target"]["type"] == "session");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_sessions.map(|event| (text(&event["action"]), text(&event["target"]["id"]))).collect()
}
