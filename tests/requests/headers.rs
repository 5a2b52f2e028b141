//! Headers with which a client chooses the form of its answer, and those with which browsers ask for another origin.

use std::io::Read;
use std::time::Duration;

use axum::Json;
use flate2::read::GzDecoder;
use jiff::civil::date;
use local::function::Function;
use local::gateway::Gateway;
use local::route::Routes;
use reqwest::Method;
use serde_json::{Value, json};
use shared::route::Deprecation;
use shared::{Endpoint, Route, pipeline};
use tests::{GitRepository, World};

#[tokio::test]
async fn a_client_that_accepts_problem_details_gets_them_for_every_error_and_json_otherwise() {
    let world = World::start().await;
    let (owner, anonymous) = (world.owner("acme").await, world.anonymous());
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let accept = "application/json, application/problem+json; q=0.5";
    let create = |actor: &tests::Actor| actor.request(Method::POST, "/v1/repositories/app/deployments");
    for (request, status, code, fields) in [
        (create(&owner).json(&json!({"ref": "feature-x"})), 400, "invalid_ref", vec![]),
        (create(&owner).json(&json!({"ref": "main", "more": 1})), 400, "invalid_request", vec!["more"]),
        (create(&owner).body("{"), 415, "unsupported_media_type", vec![]),
        (create(&anonymous).json(&json!({"ref": "main"})), 401, "missing_token", vec![]),
        (owner.request(Method::GET, "/v1/nothing"), 404, "not_found", vec![]),
        (owner.request(Method::DELETE, "/v1/repositories"), 405, "method_not_allowed", vec![]),
    ] {
        let answer = owner.send(request.header("accept", accept)).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"), "{answer:?}");
        let mut problem = answer.body.as_object().unwrap().clone();
        let details = problem.remove("details").unwrap_or(json!([]));
        let named: Vec<&str> = details.as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{details}");
        let texts = ["title", "detail"].map(|name| problem.remove(name).unwrap());
        assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| text.len() > 10)), "{texts:?}");
        let expected = json!({
            "type": format!("/docs/errors/{code}"), "status": status, "code": code,
            "request_id": answer.header("x-request-id"),
        });
        assert_eq!(Value::Object(problem), expected);
        assert!(answer.headers.contains_key("x-ratelimit-limit"));
    }
    let list = owner.send(owner.request(Method::GET, "/v1/repositories").header("accept", accept)).await;
    assert_eq!((list.status, list.header("content-type")), (200, "application/json"));
    for accept in ["application/json", "*/*", "application/problem+json;q=0"] {
        let request = owner.request(Method::GET, "/v1/nothing").header("accept", accept);
        owner.send(request).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn an_answer_of_a_kilobyte_is_compressed_for_a_client_that_accepts_gzip() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    for name in ["app", "api", "web", "docs", "site"] {
        owner.repository(name, &source).await;
    }
    let get = async |path: &str, coding: Option<&str>| {
        let mut request = owner.request(Method::GET, path);
        if let Some(coding) = coding {
            request = request.header("accept-encoding", coding);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        (headers, response.bytes().await.unwrap())
    };
    let text =
        |headers: &reqwest::header::HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (headers, plain) = get("/v1/repositories", None).await;
    assert_eq!(["content-encoding", "vary"].map(|name| text(&headers, name)), [None, Some("Accept-Encoding".into())]);
    for coding in ["gzip", "br;q=1, gzip;q=0.2, *;q=0"] {
        let (headers, compressed) = get("/v1/repositories", Some(coding)).await;
        let told = ["content-encoding", "vary"].map(|name| text(&headers, name));
        assert_eq!(told, [Some("gzip".to_owned()), Some("Accept-Encoding".to_owned())]);
        assert!(compressed.len() < plain.len() / 2, "{} of {}", compressed.len(), plain.len());
        let mut content = Vec::new();
        GzDecoder::new(&compressed[..]).read_to_end(&mut content).unwrap();
        assert_eq!(content, plain);
        assert!(headers["etag"].to_str().unwrap().starts_with("W/"));
        let known = owner.request(Method::GET, "/v1/repositories").header("if-none-match", &headers["etag"]);
        assert_eq!(known.header("accept-encoding", coding).send().await.unwrap().status(), 304);
    }
    // Nothing is refused for its coding. A small answer is sent as it is, and one with a strong ETag always.
    for (path, coding) in [
        ("/v1/repositories", "identity;q=0"),
        ("/v1/repositories", "gzip;q=0"),
        ("/v1/repositories/app", "gzip"),
        ("/v1/account", "gzip"),
    ] {
        let (headers, body) = get(path, Some(coding)).await;
        assert_eq!(text(&headers, "content-encoding"), None, "{path} {coding}");
        serde_json::from_slice::<Value>(&body).unwrap();
    }
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    owner.ended(&created).await;
    let path = format!("/v1/deployments/{}/log", created["id"].as_str().unwrap());
    let (headers, _) = get(&path, Some("gzip")).await;
    assert_eq!(text(&headers, "vary").unwrap().matches("Accept").count(), 2, "one header names both: {headers:?}");
}

#[tokio::test]
async fn a_script_of_another_origin_may_ask_with_a_token_and_read_every_header() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let anonymous = world.anonymous();
    for path in ["/v1/repositories", "/v1/repositories/acme%2Fapp/deployments", "/v1/nothing"] {
        let asked = anonymous
            .request(Method::OPTIONS, path)
            .header("origin", "https://dashboard.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,idempotency-key")
            .send()
            .await
            .unwrap();
        let header = |name: &str| asked.headers()[name].to_str().unwrap();
        assert_eq!(asked.status(), 204);
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("access-control-allow-methods"), "GET, HEAD, POST, PUT, PATCH, DELETE");
        assert_eq!(header("access-control-allow-headers"), "authorization,idempotency-key");
        assert!(!asked.headers().contains_key("access-control-allow-credentials"));
        assert_eq!(header("x-ratelimit-remaining"), "60", "it counts against no limit");
        let cost = tests::cost_of(&world.log().pop().unwrap());
        assert_eq!(cost.0, 0, "it makes no call");
    }
    for (answer, status) in [
        (owner.get("/v1/repositories").await, 200),
        (owner.get("/v1/nothing").await, 404),
        (anonymous.get("/v1/repositories").await, 401),
    ] {
        assert_eq!(answer.status, status);
        let headers = ["access-control-allow-origin", "access-control-expose-headers"].map(|name| answer.header(name));
        assert_eq!(headers, ["*", "*"]);
    }
    // Nothing allows another origin to read the dashboard.
    let page = anonymous.request(Method::GET, "/").send().await.unwrap();
    assert!(!page.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_caller_with_a_trace_is_told_the_span_of_its_request() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut spans = Vec::new();
    for path in ["/v1/repositories", "/v1/nothing"] {
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        let answer = owner.send(owner.request(Method::GET, path).header("traceparent", &traceparent)).await;
        let span = world.line_of(&answer)["span_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("traceresponse"), format!("00-{trace}-{span}-01"));
        assert!(span.len() == 16 && span.bytes().all(|byte| byte.is_ascii_hexdigit()), "{span}");
        spans.push(span);
    }
    assert_ne!(spans[0], spans[1]);
    let without = owner.get("/v1/repositories").await;
    assert!(!without.headers.contains_key("traceresponse"));
}

#[tokio::test]
async fn an_endpoint_that_ends_says_so_in_every_answer() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let deprecation = Deprecation { since: date(2026, 1, 31), sunset: date(2027, 2, 1), page: "/docs/guides/versions" };
    let route = Route::get("old-things", "/v1/old").ends(deprecation);
    let endpoint = Endpoint::new(route, async || Json(json!({})), ());
    let service = pipeline::service(world.stack.app().clone(), endpoint);
    let function = Function::http(route.function, service, Duration::from_secs(29), world.clock.clone());
    let routes = Routes::new([(route.key(), function)]).unwrap();
    let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), routes, world.clock.clone()).await.unwrap();
    let url = format!("{}/v1/old", gateway.endpoint());
    for (answer, status) in [
        (owner.send(owner.request(Method::GET, &url)).await, 200),
        (owner.send(owner.request(Method::GET, &format!("{url}?x=1"))).await, 400),
        (world.anonymous().send(world.anonymous().request(Method::GET, &url)).await, 401),
    ] {
        assert_eq!(answer.status, status);
        // 2026-01-31T00:00:00Z
        let told = ["deprecation", "sunset", "link"].map(|name| answer.header(name));
        let link = "</docs/guides/versions>; rel=\"deprecation\"";
        assert_eq!(told, ["@1769817600", "Mon, 01 Feb 2027 00:00:00 GMT", link]);
    }
    let other = owner.get("/v1/repositories").await;
    assert!(!other.headers.contains_key("deprecation") && !other.headers.contains_key("sunset"));
}
