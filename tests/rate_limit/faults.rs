//! A limiter whose table throttles its writes, loses their answers, or does not answer at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use local::gateway::Gateway;
use serde_json::json;
use tests::{Actor, Answer, GitRepository, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Refuses each write, as a hot partition does.
    Throttles,
    /// Answers each write with an internal error, without applying it.
    Fails,
    /// Applies each write, and answers every other one with an internal error.
    LosesAnswers,
}

/// A proxy of DynamoDB with a fault for UpdateItem. Only the limiter updates items in a request, so that all other calls pass.
struct Proxy {
    dynamodb: String,
    fault: Fault,
    writes: AtomicUsize,
    client: reqwest::Client,
}

impl Proxy {
    /// Starts new execution environments of the functions, whose calls pass a proxy.
    async fn start(world: &World, fault: Fault) -> (Arc<Self>, Gateway) {
        let mut settings = world.stack.environment().settings.clone();
        let dynamodb = settings.get("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned();
        let proxy = Arc::new(Self { dynamodb, fault, writes: AtomicUsize::new(0), client: reqwest::Client::new() });
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        settings.set("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", listener.local_addr().unwrap()));
        let app = axum::Router::new().fallback(pass).with_state(proxy.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        (proxy, world.gateway(settings).await)
    }

    /// Takes the number of the limiter's writes since the last call.
    fn writes(&self) -> usize {
        self.writes.swap(0, Ordering::Relaxed)
    }

    async fn forward(&self, parts: Parts, body: Bytes) -> Response {
        let answer = self.client.post(&self.dynamodb).headers(parts.headers).body(body).send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap()).into_response()
    }
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if !parts.headers["x-amz-target"].as_bytes().ends_with(b".UpdateItem") {
        return proxy.forward(parts, body).await;
    }
    let failed = |status: http::StatusCode, name: &str| {
        let name = format!("com.amazonaws.dynamodb.v20120810#{name}");
        (status, axum::Json(json!({"__type": name}))).into_response()
    };
    let before = proxy.writes.fetch_add(1, Ordering::Relaxed);
    match proxy.fault {
        Fault::Throttles => failed(http::StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException"),
        Fault::Fails => failed(http::StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        Fault::LosesAnswers => {
            let answer = proxy.forward(parts, body).await;
            if before % 2 == 1 {
                return answer;
            }
            failed(http::StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
        }
    }
}

async fn deployments(owner: &Actor) -> i64 {
    owner.get("/v1/repositories/app/deployments").await.body["meta"]["total"].as_i64().unwrap()
}

#[tokio::test]
async fn a_throttled_limiter_refuses_with_429_and_rests() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let (proxy, gateway) = Proxy::start(&world, Fault::Throttles).await;
    let there = owner.at(gateway.endpoint());
    let new = json!({"name": "other", "clone_url": source.url()});
    let send = async || {
        let bad_token = there.holding("nonsense");
        let answers = tokio::join!(
            there.get("/v1/repositories"),
            there.get("/v1/repositories/app"),
            there.get("/v1/sign-in"),
            bad_token.get("/v1/teams"),
            there.post("/v1/repositories", new.clone()),
            there.post("/v1/repositories/app/deployments", json!({"ref": "main"})),
        );
        <[Answer; 6]>::from(answers)
    };
    for answer in send().await {
        assert_eq!(answer.refused(429, "rate_limited").header("retry-after"), "1");
        let told = answer.rate_limit();
        assert!(told.remaining < told.limit && told.burst_left == 0, "a lower bound: {told:?}");
        assert!(world.line_of(&answer)["cause"].is_string());
    }
    assert_eq!(proxy.writes(), 6, "a throttled write is not sent again");
    for answer in send().await {
        assert_eq!(answer.refused(429, "rate_limited").header("retry-after"), "1");
    }
    assert_eq!(proxy.writes(), 0, "each function rests");
    world.clock.advance(Duration::from_secs(1));
    there.get("/v1/repositories/app").await.refused(429, "rate_limited");
    assert_eq!(proxy.writes(), 1, "a second later it goes on");
    assert_eq!(owner.get("/v1/repositories").await.column("name"), ["app"]);
    assert_eq!(deployments(&owner).await, 0);
}

#[tokio::test]
async fn without_the_limiter_reads_go_on_and_writes_are_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let app = owner.repository("app", &source).await;
    let (proxy, gateway) = Proxy::start(&world, Fault::Fails).await;
    let there = owner.at(gateway.endpoint());
    let new = json!({"name": "other", "clone_url": source.url()});
    let bad_token = there.holding("nonsense");
    let (listed, found, public, bad_token, created, deployed) = tokio::join!(
        there.get("/v1/repositories"),
        there.get("/v1/repositories/app"),
        there.get("/v1/sign-in"),
        bad_token.get("/v1/repositories"),
        there.post("/v1/repositories", new),
        there.post("/v1/repositories/app/deployments", json!({"ref": "main"})),
    );
    assert_eq!(proxy.writes(), 12, "each of six requests makes two");
    assert_eq!((listed.status, &listed.body["data"]), (200, &json!([app])));
    assert_eq!((found.status, &found.body), (200, &app));
    assert_eq!(public.status, 200);
    bad_token.refused(401, "invalid_token");
    for refused in [&created, &deployed] {
        assert_eq!(refused.refused(503, "service_unavailable").header("retry-after"), "1");
    }
    // Each function has read the account's state with the request that created the repository, but no state of a
    // source.
    for (answer, counted) in [(&listed, 1), (&found, 1), (&public, 0), (&bad_token, 0), (&created, 1), (&deployed, 1)] {
        let told = answer.rate_limit();
        assert_eq!(told.remaining, told.limit - counted);
        let failure = world.line_of(answer)["limiter_failure"].clone();
        assert!(failure.as_str().unwrap().contains("InternalServerError"), "{failure}");
        assert!(!answer.body.to_string().contains("InternalServerError"), "the cause is internal");
    }
    assert_eq!(owner.get("/v1/repositories").await.column("name"), ["app"]);
    assert_eq!(deployments(&owner).await, 0);
}

/// The second write counts the request again, because nobody knows whether the first one was applied.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_followed_by_one_other() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let (proxy, gateway) = Proxy::start(&world, Fault::LosesAnswers).await;
    let there = owner.at(gateway.endpoint());
    for remaining in [597, 595, 593, 591] {
        let answer = there.get("/v1/repositories/app").await;
        assert_eq!((answer.status, answer.rate_limit().remaining), (200, remaining));
        assert_eq!(proxy.writes(), 2);
    }
}

#[tokio::test]
async fn without_dynamodb_the_public_endpoint_answers_and_all_others_say_so() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let mut settings = world.stack.environment().settings.clone();
    settings.set("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1".to_owned());
    let gateway = world.gateway(settings).await;
    let there = owner.at(gateway.endpoint());
    let (public, nobody, read, written) = tokio::join!(
        there.get("/v1/openapi.json"),
        async { there.holding("nonsense").get("/v1/repositories").await },
        there.get("/v1/rate_limit"),
        there.post("/v1/repositories", json!({})),
    );
    assert_eq!((public.status, public.rate_limit().limit), (200, 60));
    assert_eq!(nobody.refused(401, "invalid_token").rate_limit().limit, 60);
    for answer in [read, written] {
        assert_eq!(answer.refused(503, "service_unavailable").rate_limit().limit, 60, "the account is unknown");
        assert!(world.line_of(&answer)["cause"].as_str().unwrap().contains("unreachable"));
    }
}
