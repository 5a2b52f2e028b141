//! The hosts of issuers, which nobody has checked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;
use shared::settings::CLONE_HOSTS;
use tests::World;
use tests::issuer::{AUDIENCE, SigningKey};

use super::{exchange, exchange_job, trust};

/// The answers of a host.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Honest,
    Fails,
    Redirects,
    NamesAnother,
    HasKeysElsewhere(&'static str),
    IsNoJson,
    IsEnormous,
    HangsUp,
}

/// An issuer that may answer in other ways than an honest one.
#[derive(Clone)]
struct Host {
    url: String,
    key: Arc<SigningKey>,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Host {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key: Arc::new(SigningKey::random()),
            answer: Arc::new(Mutex::new(Answer::Honest)),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(Self::respond).with_state(host.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        host
    }

    async fn respond(State(host): State<Self>, request: Request) -> Response {
        host.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, url) = (*host.answer.lock().unwrap(), &host.url);
        let metadata =
            |issuer: &str, keys: &str| axum::Json(json!({"issuer": issuer, "jwks_uri": keys})).into_response();
        let keys = format!("{url}/keys");
        match (request.uri().path(), answer) {
            ("/moved", _) => metadata(url, &keys),
            ("/keys", Answer::IsEnormous) => "[".repeat(1 << 20).into_response(),
            ("/keys", _) => axum::Json(json!({"keys": [host.key.jwk("first")]})).into_response(),
            (_, Answer::Fails) => (StatusCode::INTERNAL_SERVER_ERROR, "secret of the host").into_response(),
            (_, Answer::Redirects) => Redirect::temporary("/moved").into_response(),
            (_, Answer::NamesAnother) => metadata("https://token.actions.githubusercontent.com", &keys),
            (_, Answer::HasKeysElsewhere(place)) => metadata(url, place),
            (_, Answer::IsNoJson) => "secret of the host".into_response(),
            (_, Answer::HangsUp) => panic!("the connection ends without an answer"),
            (_, Answer::Honest | Answer::IsEnormous) => metadata(url, &keys),
        }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    /// Signs a token of a job.
    fn token(&self, world: &World) -> String {
        let mut claims = world.issuer.job("acme/app", world.clock.now());
        claims["iss"] = json!(self.url);
        self.key.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "first"}), &claims)
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_as_it_should_is_an_error_to_retry() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let host = Host::start().await;
    let trusted = trust(&world, &owner, json!({"issuer": host.url})).await;
    for answer in [
        Answer::Fails,
        Answer::Redirects,
        Answer::NamesAnother,
        Answer::HasKeysElsewhere("http://ci.example/keys"),
        Answer::HasKeysElsewhere("https://10.0.0.1/keys"),
        Answer::HasKeysElsewhere("https://169.254.169.254/latest/meta-data"),
        Answer::HasKeysElsewhere("file:///etc/passwd"),
        Answer::IsNoJson,
        Answer::IsEnormous,
        Answer::HangsUp,
    ] {
        host.answers(answer);
        let refused = exchange(&world, &trusted, &host.token(&world)).await;
        refused.refused(503, "remote_unavailable");
        let message = "The issuer of the trust did not answer as it should; try again in a minute";
        assert_eq!(refused.body["error"]["message"], message, "{answer:?}: the reason is for the log");
        assert!(world.line_of(&refused)["cause"].is_string(), "{answer:?}");
        assert!((1..=2).contains(&host.asked()), "{answer:?}");
        // While the failure is remembered, nobody makes the API ask again.
        for _ in 0..3 {
            exchange(&world, &trusted, &host.token(&world)).await.refused(503, "remote_unavailable");
        }
        assert_eq!(host.asked(), 0, "{answer:?}");
        world.clock.advance(Duration::from_secs(30));
    }
    host.answers(Answer::Honest);
    assert_eq!(exchange(&world, &trusted, &host.token(&world)).await.status, 200);
    assert_eq!(host.asked(), 2, "the metadata and the keys");
}

#[tokio::test]
async fn keys_are_remembered_and_an_unknown_one_is_looked_for_once_a_minute() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({})).await;
    for _ in 0..3 {
        assert_eq!(exchange_job(&world, &trusted, json!({})).await.status, 200);
    }
    assert_eq!(world.issuer.asked(), 1);
    world.issuer.rotate("second");
    for _ in 0..3 {
        exchange_job(&world, &trusted, json!({})).await.refused(400, "invalid_grant");
    }
    assert_eq!(world.issuer.asked(), 1, "the keys were read less than a minute ago");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(exchange_job(&world, &trusted, json!({})).await.status, 200);
    assert_eq!(world.issuer.asked(), 2);
}

#[tokio::test]
async fn one_issuer_that_is_down_does_not_keep_others_from_being_asked() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let host = Host::start().await;
    host.answers(Answer::Fails);
    let down = trust(&world, &owner, json!({"issuer": host.url})).await;
    exchange(&world, &down, &host.token(&world)).await.refused(503, "remote_unavailable");
    let up = trust(&world, &owner, json!({})).await;
    assert_eq!(exchange_job(&world, &up, json!({})).await.status, 200);
    // A token of one issuer is nothing to a trust in another.
    host.answers(Answer::Honest);
    world.clock.advance(Duration::from_secs(30));
    let mut foreign = world.issuer.job("acme/app", world.clock.now());
    foreign["iss"] = json!(host.url);
    exchange(&world, &down, &world.issuer.id_token(&foreign)).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn issuers_are_at_public_addresses_unless_an_operator_allows_more() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let trusted = trust(&world, &owner, json!({"audience": AUDIENCE})).await;
    let mut settings = world.stack.environment().settings.clone();
    settings.set(CLONE_HOSTS, "public".to_owned());
    let gateway = world.gateway(settings).await;
    let refused = owner.at(gateway.endpoint()).post("/v1/trusts", super::new_trust(&world, json!({}))).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.body["error"]["details"][0]["field"], "issuer");

    // The trust was created under another setting, or the name of its host leads elsewhere by now.
    let fields = [
        ("grant_type", super::GRANT),
        ("audience", trusted["id"].as_str().unwrap()),
        ("subject_token", &world.issuer.id_token(&world.issuer.job("acme/app", world.clock.now()))),
        ("subject_token_type", super::JWT),
    ];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let outside = world.anonymous().at(gateway.endpoint());
    let request = outside.request(reqwest::Method::POST, "/v1/token");
    let answer = outside.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await;
    answer.refused(503, "remote_unavailable");
    assert_eq!(world.issuer.asked(), 0);
}
