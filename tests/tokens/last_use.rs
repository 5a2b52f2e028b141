//! The time of a token's last use, for which no request waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use local::gateway::Gateway;
use serde_json::Value;
use tests::{World, eventually};

/// The writes of last uses that a proxy has, and those among them that their senders have given up.
#[derive(Debug, Default)]
struct Uses {
    came: AtomicUsize,
    given_up: AtomicUsize,
}

/// A write that gets no answer. It ends when its sender gives it up.
struct Unanswered(Arc<Uses>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts a proxy of DynamoDB that never answers the write of a last use.
async fn forgetful(dynamodb: &str, uses: Arc<Uses>) -> String {
    let (client, upstream) = (reqwest::Client::new(), dynamodb.to_owned());
    let forward = async move |headers: HeaderMap, body: Bytes| {
        if String::from_utf8_lossy(&body).contains("SET last_used_at") {
            uses.came.fetch_add(1, Ordering::Relaxed);
            let _write = Unanswered(Arc::clone(&uses));
            std::future::pending::<()>().await;
        }
        let mut request = client.post(&upstream).body(body);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            request = request.header(name, headers[name].clone());
        }
        let answer = request.send().await.unwrap();
        (answer.status(), [("content-type", "application/x-amz-json-1.0")], answer.bytes().await.unwrap())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(forward)).await.unwrap() });
    endpoint
}

/// Starts functions without cached state behind this proxy.
async fn forgetful_gateway(world: &World, uses: &Arc<Uses>) -> Gateway {
    let mut settings = world.stack.environment().settings.clone();
    let dynamodb = settings.require("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned();
    settings.set("AWS_ENDPOINT_URL_DYNAMODB", forgetful(&dynamodb, uses.clone()).await);
    world.gateway(settings).await
}

#[tokio::test]
async fn no_answer_waits_for_the_last_use_to_be_recorded() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let uses = Arc::<Uses>::default();
    let gateway = forgetful_gateway(&world, &uses).await;
    let answer = owner.get(&format!("{}/v1/repositories", gateway.endpoint())).await;
    assert_eq!(answer.status, 200);
    eventually("the write", async || (uses.came.load(Ordering::Relaxed) == 1).then_some(())).await;
    assert_eq!(uses.given_up.load(Ordering::Relaxed), 0, "the answer came before the function gave the write up");
    assert_eq!(
        world.line_of(&answer)["dynamodb_calls"],
        5,
        "the token, what it stands for, the limiter, the page and its total"
    );
    assert_eq!(owner.get("/v1/tokens").await.body["data"][0]["last_used_at"], Value::Null);
}

#[tokio::test]
async fn a_function_that_starts_says_nothing_of_a_use_that_is_recorded() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let last_use = async || owner.get("/v1/tokens").await.body["data"][0]["last_used_at"].clone();
    eventually("the first use", async || (!last_use().await.is_null()).then_some(())).await;

    let uses = Arc::<Uses>::default();
    let gateway = forgetful_gateway(&world, &uses).await;
    let path = format!("{}/v1/repositories", gateway.endpoint());
    for minutes in [59, 1] {
        world.clock.advance(Duration::from_secs(60 * minutes));
        assert_eq!(owner.get(&path).await.status, 200);
    }
    // There is one write, which is the second request's, an hour after the first use.
    eventually("a use", async || (uses.came.load(Ordering::Relaxed) > 0).then_some(())).await;
    assert_eq!(uses.came.load(Ordering::Relaxed), 1);
}
