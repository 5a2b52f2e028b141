use std::collections::BTreeSet;

use lambda_runtime::{LambdaEvent, service_fn};
use local::function::Function;
use local::gateway::Gateway;
use local::route::Routes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use shared::{App, Endpoint, Error, Route, pipeline, serve};
use tests::{Answer, GitRepository, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REPOSITORIES: &str = "/v1/repositories";

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for body in [
        &b""[..],
        b"{",
        b"{\"name\": }",
        b"{\"name\": \"a\", \"clone_url\": \"b\"} x",
        b"{\"name\": \"\xff\"}",
        b"\xef\xbb\xbf{}",
        b"name=app",
    ] {
        let request = owner.request(Method::POST, REPOSITORIES).header(CONTENT_TYPE, "application/json");
        let refused = owner.send(request.body(body)).await;
        refused.refused(400, "invalid_json");
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let request = owner.request(Method::POST, REPOSITORIES).header(CONTENT_TYPE, "application/json");
    owner.send(request.body(nested)).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for (body, field, said) in [
        (json!([]), "body", "expected struct"),
        (json!(null), "body", "null"),
        (json!({}), "body", "missing field `name`"),
        (json!({"name": 1, "clone_url": ""}), "name", "expected a string"),
        (json!({"name": "app"}), "body", "missing field `clone_url`"),
        (json!({"name": "app", "clone_url": "", "visibility": "secret"}), "visibility", "unknown variant `secret`"),
        (json!({"name": "app", "clone_url": "", "colour": "red"}), "colour", "unknown field `colour`"),
    ] {
        let refused = owner.post(REPOSITORIES, body.clone()).await;
        let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{body}: {refused:?}");
        assert!(detail["message"].as_str().unwrap().contains(said), "{body}: {refused:?}");
    }
    let twice = r#"{"name": "app", "name": "app", "clone_url": "x"}"#;
    let request = owner.request(Method::POST, REPOSITORIES).header(CONTENT_TYPE, "application/json").body(twice);
    owner.send(request).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let body = json!({"name": "a b", "clone_url": "x"}).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let request = owner.request(Method::POST, REPOSITORIES).header(CONTENT_TYPE, content_type).body(body.clone());
        owner.send(request).await.refused(415, "unsupported_media_type");
    }
    owner
        .send(owner.request(Method::POST, REPOSITORIES).body(body.clone()))
        .await
        .refused(415, "unsupported_media_type");
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let request = owner.request(Method::POST, REPOSITORIES).header(CONTENT_TYPE, content_type).body(body.clone());
        owner.send(request).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_body_may_have_256_kib() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let body = |bytes: usize| {
        let empty = json!({"name": ""}).to_string().len();
        json!({"name": "x".repeat(bytes - empty)})
    };
    owner.post(REPOSITORIES, body(256 * 1024)).await.refused(400, "invalid_request");
    owner.post(REPOSITORIES, body(256 * 1024 + 1)).await.refused(413, "body_too_large");
}

#[tokio::test]
async fn a_path_that_is_none_is_not_found() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let long = format!("/v1/{}", "x".repeat(4000));
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/repositories",
        "/v1/repositories/",
        "/v1//repositories",
        "/V1/repositories",
        "/v1/repositories/a/b/c",
        "/v1/nothing%20here",
        "/v1/%3F%23",
        "/v1/%00",
        "/v1/..%2F..",
        "/v1/a%0Ab",
        long.as_str(),
    ] {
        owner.get(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/repositories", "GET, POST"),
        (Method::PUT, "/v1/repositories/app", "GET"),
        (Method::PATCH, "/v1/repositories/acme%20x/deployments", "GET, POST"),
        (Method::POST, "/v1/rate_limit", "GET"),
        (Method::OPTIONS, "/v1/deployments/deploy_x", "GET"),
    ] {
        let refused = owner.send(owner.request(method, path)).await;
        assert_eq!(refused.refused(405, "method_not_allowed").header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_strange_host_harms_nobody() {
    let world = World::start().await;
    let address = world.stack.url().replace("http://", "");
    for host in ["[bad", "a b", "user@host", "\"", ""] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /v1/rate_limit HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{host:?}: {answer}");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_which_the_log_has_too() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let answers = [
        owner.get(REPOSITORIES).await,
        owner.get("/nothing").await,
        world.anonymous().get(REPOSITORIES).await,
        world.anonymous().get("/v1/openapi.json").await,
        owner.post(REPOSITORIES, json!({})).await,
    ];
    let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.header("x-request-id")).collect();
    assert_eq!(ids.len(), answers.len());
    let log = world.log();
    for (answer, route, account) in [
        (&answers[0], "/v1/repositories", true),
        (&answers[1], "$default", true),
        (&answers[2], "/v1/repositories", false),
        (&answers[3], "/v1/openapi.json", false),
        (&answers[4], "/v1/repositories", true),
    ] {
        let line = log.iter().find(|line| line["request_id"] == answer.header("x-request-id")).unwrap();
        assert_eq!((&line["route"], &line["status"]), (&json!(route), &json!(answer.status)));
        assert_eq!(line["account_id"].is_string(), account, "{line}");
        assert_eq!(line["code"], answer.body["error"]["code"], "{line}");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && line["dynamodb_calls"].as_u64().unwrap() > 0, "{line}");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "GitApi");
    }
}

#[tokio::test]
async fn a_trace_is_taken_over_into_the_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    owner.send(owner.request(Method::GET, REPOSITORIES).header("traceparent", parent)).await;
    let line = world.log().pop().unwrap();
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(line["parent_id"], "00f067aa0ba902b7");
}

#[tokio::test]
async fn the_log_has_no_token_no_body_and_no_variable() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.repository("app", &GitRepository::with_commands(&["echo $API_KEY"])).await;
    let body = json!({"ref": "main", "variables": {"API_KEY": "hunter2-hunter2"}});
    owner.ended(&owner.deploy("app", body).await).await;
    owner.post(REPOSITORIES, json!({"name": "hunter2-hunter2", "clone_url": 1})).await.refused(400, "invalid_request");
    let log = Value::from(world.log()).to_string();
    assert!(log.contains("deployment-consumer"));
    for secret in ["hunter2", owner.token.as_deref().unwrap()] {
        assert!(!log.contains(secret));
    }
}

#[tokio::test]
async fn a_panic_is_answered_in_the_envelope_and_its_cause_stays_in_the_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    async fn panicking() -> Result<(), Error> {
        panic!("the password is hunter2")
    }
    let environment = world.stack.environment();
    let app = App::new(environment.settings.clone(), world.clock.clone(), environment.log.clone()).unwrap();
    let route = Route::get("panicking", "/v1/panic");
    let service = pipeline::service(app, Endpoint::new(route, panicking, ()));
    let handle = move |event: LambdaEvent<_>| serve::handle(service.clone(), event);
    let limit = std::time::Duration::from_secs(10);
    let function = Function::events("panicking", service_fn(handle), limit, world.clock.clone());
    let routes = Routes::new([("GET /v1/panic", function)]).unwrap();
    let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), routes, world.clock.clone()).await.unwrap();

    let answer: Answer = owner.get(&format!("{}/v1/panic", gateway.endpoint())).await;
    answer.refused(500, "internal_error");
    assert!(!answer.body.to_string().contains("hunter2"));
    assert_eq!(answer.header("x-ratelimit-remaining"), "999999");
    assert_eq!(world.log().pop().unwrap()["cause"], "panic: the password is hunter2");
}
