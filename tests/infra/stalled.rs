//! AWS services that take connections and never answer. They never do, so no machine is too slow for these tests.

use std::time::Duration;

use local::functions::{Environment, FUNCTIONS};
use serde_json::{Value, json};
use shared::aws::Limits;
use shared::clock::Clock;
use shared::route::Content;
use shared::settings::{self, Settings};
use shared::telemetry::Log;
use tests::{NOON, World, body_of, sample_event};
use tokio::net::TcpListener;

use super::Template;

/// Starts a server that accepts connections and never answers, and returns its URL.
async fn stalled() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    url
}

#[test]
fn a_function_outlives_two_stalled_calls() {
    let Limits { connect, attempt, call } = Limits::LAMBDA;
    assert!(connect < attempt && attempt < call);
    for function in Template::read().functions() {
        assert!(2 * call < Duration::from_secs(function.timeout()), "{}", function.name);
    }
}

#[tokio::test]
async fn each_endpoint_answers_in_the_envelope_while_dynamodb_stalls() {
    let settings = Settings::from([
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_ENDPOINT_URL", stalled().await),
        (settings::TABLE_NAME, "table".to_owned()),
        (settings::QUEUE_URL, "http://127.0.0.1:1/queue".to_owned()),
        (settings::STATUS_QUEUE_URL, "http://127.0.0.1:1/statuses".to_owned()),
        (settings::HOOK_QUEUE_URL, "http://127.0.0.1:1/hooks".to_owned()),
        (settings::WEBHOOK_QUEUE_URL, "http://127.0.0.1:1/webhooks".to_owned()),
        (settings::ARCHIVE_URL, "s3://archive".to_owned()),
        (settings::VARIABLES_KEY, "kms:arn:aws:kms:us-east-1:000000000000:key/variables".to_owned()),
        (builds::CODEBUILD_PROJECT, "git-api".to_owned()),
    ]);
    let limits = Limits { attempt: Duration::from_millis(50), call: Duration::from_millis(100), ..Limits::LAMBDA };
    let environment =
        Environment { settings, clock: Clock::manual(NOON), log: Log::to(std::io::sink()), limits, patience: 1 };
    for registration in FUNCTIONS {
        let Some(route) = registration.route() else { continue };
        let name = registration.name;
        let function = registration.start(&environment).unwrap();
        let answer = function.invoke(sample_event(name)).await.unwrap();
        if route.content == Content::Pages {
            assert_eq!(answer["statusCode"], 200, "{name} needs no service");
            continue;
        }
        let body = body_of(&answer);
        // These answers need no item of the table, and a public read does without the limiter.
        let needs_no_item = ["get-openapi", "get-sign-in"].contains(&name);
        let expected = if needs_no_item { (200, Value::Null) } else { (503, json!("service_unavailable")) };
        assert_eq!((answer["statusCode"].as_u64().unwrap(), body["error"]["code"].clone()), expected, "{name}: {body}");
        if !needs_no_item {
            assert_eq!(answer["headers"]["retry-after"], "1", "{name}");
        }
    }
}

#[tokio::test]
async fn a_stalled_service_beside_the_table_is_a_503() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;

    let mut environment = world.stack.environment().clone();
    environment.limits = Limits::LAMBDA;
    let url = stalled().await;
    for (setting, value) in [
        ("AWS_ENDPOINT_URL_S3", url.as_str()),
        ("AWS_ENDPOINT_URL_KMS", &url),
        (settings::ARCHIVE_URL, "s3://archive"),
        (settings::VARIABLES_KEY, "kms:arn:aws:kms:us-east-1:000000000000:key/variables"),
    ] {
        environment.settings.set(setting, value.to_owned());
    }
    let gateway = world.gateway_of(&environment).await;
    let owner = owner.at(gateway.endpoint());
    let id = deployment["id"].as_str().unwrap();
    owner.get(&format!("/v1/deployments/{id}/log")).await.refused(503, "service_unavailable");
    let sealed = json!({"ref": "main", "variables": {"KEY": {"value": "hunter2", "secret": true}}});
    owner.post("/v1/repositories/app/deployments", sealed).await.refused(503, "service_unavailable");
}
