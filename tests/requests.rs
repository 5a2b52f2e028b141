//! Requests, including some that no client library sends, and their responses.

mod body;
mod headers;
mod log;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use local::function::Function;
use local::gateway::Gateway;
use local::route::Routes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use shared::{Endpoint, Route, pipeline};
use tests::{Actor, Answer, GitRepository, World, sample_event};

const MAX_BODY: usize = 256 * 1024;

async fn post(actor: &Actor, path: &str, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let mut request = actor.request(Method::POST, path).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    actor.send(request).await
}

/// Sends a GET whose target and host are not normalized, which no client library does.
async fn get_raw(world: &World, actor: &Actor, target: &[u8], host: &[u8]) -> Answer {
    let address = world.stack.url().trim_start_matches("http://").to_owned();
    let token = actor.token.clone().unwrap_or_default();
    let authorization = format!("\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    let request = [b"GET ", target, b" HTTP/1.1\r\nhost: ", host, authorization.as_bytes()].concat();
    let target = target.to_vec();
    let exchange = move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(&request).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = tokio::task::spawn_blocking(exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
    };
    let headers: HeaderMap = lines.map(header).collect();
    let body = serde_json::from_str(body)
        .unwrap_or_else(|_| panic!("not JSON for {}: {answer}", String::from_utf8_lossy(&target)));
    Answer { status, headers, body }
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let long = format!("/v1/repositories/{}", "a".repeat(8000));
    let long_and_wide = format!("/v1/repositories/{}", "%C3%A9".repeat(1300));
    for target in [
        &b"//"[..],
        b"/v1",
        b"/v2/repositories",
        b"/v1/repositories/",
        b"/v1//repositories",
        b"//v1/repositories",
        b"/V1/repositories",
        b"/v1/repositories/app/",
        b"/v1/repositories//deployments",
        b"/v1/repositories/app/deployments/",
        b"/v1/repositories/%20",
        b"/v1/repositories/a%20b",
        b"/v1/repositories/app%3Fpage=1",
        b"/v1/repositories/app%23x",
        b"/v1/repositories/..",
        b"/v1/repositories/../repositories",
        b"/v1/repositories/%2e%2e",
        b"/v1/repositories/%2E%2E%2Frepositories",
        b"/v1/../v1/repositories",
        b"/v1/repositories/app%00",
        b"/v1/repositories/%00",
        b"/v1/repositories/%0d%0aSet-Cookie:%20a=b",
        b"/v1/repositories/%ff",
        b"/v1/repositories/%C3%28",
        b"/v1/repositories/%",
        b"/v1/repositories/%2",
        b"/v1/repositories/%zz",
        b"/v1/repositories/%25",
        b"/v1/repositories/%2525",
        b"/v1/repositories/%7Brepo_id%7D",
        b"/v1/repositories/{repo_id}",
        b"/v1/repositories/a%5Cb",
        b"/v1/repositories/%22%3C%3E%5E%60%7C",
        b"/v1/repositories/caf\xc3\xa9",
        b"/v1/repositories/%F0%9F%9A%80",
        b"/v1/repositories/app;v=1",
        b"/v1/deployments/%2F",
        b"/v1/deployments/%00/log",
        b"/v1/%2F/repositories",
        long.as_bytes(),
        long_and_wide.as_bytes(),
    ] {
        let answer = get_raw(&world, &owner, target, b"localhost").await;
        assert_eq!(answer.status, 404, "{}: {answer:?}", String::from_utf8_lossy(target));
        answer.refused(404, "not_found");
        assert_eq!(world.line_of(&answer)["status"], 404);
    }
    for target in [&b"/v1/repositories/%61pp"[..], b"/v1/%72epositories/app", b"/v1/repositories/app?"] {
        let answer = get_raw(&world, &owner, target, b"localhost").await;
        assert_eq!((answer.status, &answer.body["name"]), (200, &json!("app")), "{}", String::from_utf8_lossy(target));
    }
}

#[tokio::test]
async fn a_query_that_no_client_library_sends_is_refused_by_the_name_of_its_parameter() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let answer = get_raw(&world, &owner, b"/v1/repositories/app?a=?%ff&`{|}\\^", b"localhost").await;
    answer.refused(400, "invalid_request");
    let fields = answer.body["error"]["details"].as_array().unwrap().iter().map(|detail| detail["field"].clone());
    assert_eq!(fields.collect::<Vec<_>>(), ["`{|}\\^", "a"]);
}

#[tokio::test]
async fn no_host_can_confuse_a_request() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for host in [
        &b""[..],
        b"api.git.dev",
        b"api.git.dev:99999",
        b"a b",
        b"a/b?c#d",
        b"user:password@host",
        b"[::1",
        b"[::g]",
        b"1.2.3.999",
        b"host\xff",
        b"%00",
        b"xn--a",
        b"a..b:",
        b"<script>",
    ] {
        let answer = get_raw(&world, &owner, b"/v1/repositories?per_page=5", host).await;
        let host = String::from_utf8_lossy(host);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        assert_eq!(answer.body["meta"]["per_page"], 5, "{host}");
        let link = answer.link("first").unwrap();
        assert!(link.starts_with(&format!("{}/v1/repositories?", world.stack.url())), "{host}: {link}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_told_the_others() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let unlisted = Method::from_bytes(b"BREW").unwrap();
    for (path, allow) in [
        ("/v1/repositories", "GET, HEAD, POST"),
        ("/v1/repositories/app", "DELETE, GET, HEAD, PATCH"),
        ("/v1/repositories/acme%2Fapp", "DELETE, GET, HEAD, PATCH"),
        ("/v1/repositories/acme%2Fapp/deployments", "GET, HEAD, POST"),
        ("/v1/repositories/caf%C3%A9", "DELETE, GET, HEAD, PATCH"),
        ("/v1/repositories/app/deployments", "GET, HEAD, POST"),
        ("/v1/deployments/deploy_aaaaaaaaaaaaaaaa", "GET, HEAD"),
        ("/v1/deployments/deploy_aaaaaaaaaaaaaaaa/log", "GET, HEAD"),
        ("/v1/teams", "GET, HEAD, POST"),
        ("/v1/teams/team_aaaaaaaaaaaaaaaa", "DELETE, GET, HEAD, PATCH"),
        ("/v1/teams/team_aaaaaaaaaaaaaaaa/members/x", "DELETE, PUT"),
        ("/v1/members/x", "DELETE, PUT"),
        ("/v1/rate_limit", "GET, HEAD"),
        ("/v1/openapi.json", "GET, HEAD"),
    ] {
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, unlisted.clone(), Method::POST] {
            // With these methods the path is that of a repository of the account `app`.
            let is_full_name =
                path == "/v1/repositories/app/deployments" && [Method::PATCH, Method::DELETE].contains(&method);
            if allow.contains(method.as_str()) || is_full_name {
                continue;
            }
            let refused = owner.send(owner.request(method.clone(), path)).await;
            refused.refused(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), allow, "{method} {path}");
            let message = format!("The path does not support {method}; use {allow}");
            assert_eq!(refused.body["error"]["message"], message);
            assert_eq!(world.line_of(&refused)["status"], 405);
        }
        if !allow.contains("HEAD") {
            // A HEAD has no body to read.
            let head = owner.request(Method::HEAD, path).send().await.unwrap();
            assert_eq!((head.status().as_u16(), &head.headers()["allow"]), (405, &HeaderValue::from_static(allow)));
            assert!(head.bytes().await.unwrap().is_empty());
        }
    }
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        let refused = owner.send(owner.request(method, "/v1/nothing")).await;
        refused.refused(404, "not_found");
        assert!(refused.headers.get("allow").is_none());
    }
}

#[tokio::test]
async fn no_response_is_kept_by_a_cache_or_guessed_at_by_a_browser() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let token = json!({"name": "ci", "scopes": ["repositories:read"]});
    for (status, answer) in [
        (200, owner.get("/v1/repositories").await),
        (200, owner.get("/v1/rate_limit").await),
        (201, owner.post("/v1/tokens", token).await),
        (400, owner.post("/v1/tokens", json!({})).await),
        (401, world.anonymous().get("/v1/repositories").await),
        (404, owner.get("/v1/nothing").await),
        (405, owner.delete("/v1/repositories").await),
    ] {
        let headers = (answer.status, answer.header("cache-control"), answer.header("x-content-type-options"));
        assert_eq!(headers, (status, "no-store", "nosniff"), "{answer:?}");
        assert!(!answer.headers.contains_key("strict-transport-security"), "the local stack has no https: {answer:?}");
    }
    let functions = world.stack.environment().http().unwrap();
    let (_, function) = functions.into_iter().find(|(key, _)| key == "GET /v1/repositories").unwrap();
    let event = sample_event("list-repositories");
    assert_eq!(event["headers"]["x-forwarded-proto"], "https");
    let answer = function.invoke(event).await.unwrap();
    let headers = ["cache-control", "strict-transport-security"].map(|name| &answer["headers"][name]);
    assert_eq!(headers, [&json!("no-store"), &json!("max-age=31536000")], "{answer}");
}

async fn panics_with_text() -> shared::Error {
    panic!("the password is hunter2")
}

async fn panics_with_numbers() -> shared::Error {
    let index = MAX_BODY;
    panic!("index {index} is out of bounds")
}

async fn panics_with_something_else() -> shared::Error {
    std::panic::panic_any(5)
}

#[tokio::test]
async fn a_panic_answers_in_the_envelope_and_its_cause_is_in_the_log_only() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let app = world.stack.app();
    let endpoints = [
        Endpoint::new(Route::get("reads", "/v1/reads"), panics_with_text, ()),
        Endpoint::new(Route::post("writes", "/v1/writes"), panics_with_numbers, ()),
        Endpoint::new(Route::get("public", "/v1/public").public(), panics_with_something_else, ()),
    ];
    let functions = endpoints.map(|endpoint| {
        let route = endpoint.route;
        let service = pipeline::service(app.clone(), endpoint);
        let function = Function::http(route.function, service, Duration::from_secs(29), world.clock.clone());
        (format!("{} {}", route.method, route.path), function)
    });
    let routes = Routes::new(functions).unwrap();
    let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), routes, world.clock.clone()).await.unwrap();

    let (reads, writes, public) = (Method::GET, Method::POST, Method::GET);
    for (method, path, cause, account, left) in [
        (reads, "/v1/reads", "panic: the password is hunter2", Some(&owner), ["59", "58"]),
        (writes, "/v1/writes", "panic: index 262144 is out of bounds", Some(&owner), ["57", "56"]),
        (public, "/v1/public", "panic: ", None, ["59", "58"]),
    ] {
        // The first panic leaves the function intact. Both requests count.
        for left in left {
            let failed = owner.send(owner.request(method.clone(), &format!("{}{path}", gateway.endpoint()))).await;
            failed.refused(500, "internal_error");
            assert_eq!(failed.body["error"]["message"], "Internal server error");
            assert!(!format!("{failed:?}").contains(cause), "{failed:?}");
            assert_eq!(failed.header("x-ratelimit-limit"), "60");
            assert_eq!(failed.header("x-ratelimit-remaining"), left);
            assert_eq!(failed.header("x-ratelimit-reset"), "1767268860");
            assert!(failed.header("ratelimit").starts_with("\"minute\";r="));
            let line = world.line_of(&failed);
            assert_eq!((&line["cause"], &line["code"]), (&json!(cause), &json!("internal_error")));
            assert_eq!(
                (&line["status"], &line["level"], &line["server_errors"]),
                (&json!(500), &json!("ERROR"), &json!(1))
            );
            let account = account.map(|owner| owner.account_id.as_ref().unwrap().as_str());
            assert_eq!(line["account_id"].as_str(), account);
        }
    }
}

/// Counts the sequential DynamoDB calls that a client waits for.
#[tokio::test]
async fn a_warm_request_makes_few_round_trips() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let repository = owner.repository("app", &source).await;
    let id = repository["id"].as_str().unwrap();
    let canceled = owner.deploy("app", json!({"ref": "main"})).await;
    owner.act(&canceled, "cancel", json!({})).await;
    let queued = owner.deploy("app", json!({"ref": "main"})).await;
    let [canceled, queued] = [canceled, queued].map(|deployment| deployment["id"].as_str().unwrap().to_owned());
    for (path, calls) in [
        ("/v1/repositories".to_owned(), 3),
        ("/v1/repositories/app".to_owned(), 2),
        (format!("/v1/repositories/{id}"), 2),
        ("/v1/repositories/app/deployments".to_owned(), 4),
        (format!("/v1/repositories/{id}/deployments"), 4),
        (format!("/v1/deployments/{canceled}"), 2),
        (format!("/v1/deployments/{queued}"), 4),
    ] {
        owner.get(&path).await;
        let line = world.line_of(&owner.get(&path).await);
        let sequence = if path.ends_with("/events") { 2 } else { 1 };
        assert_eq!(
            (&line["dynamodb_round_trips"], &line["dynamodb_calls"]),
            (&json!(sequence), &json!(calls)),
            "{path}"
        );
    }
    for (environment, key, calls) in [("preview", None, 9), ("production", None, 9), ("staging", Some("key"), 10)] {
        let body = json!({"ref": "main", "environment": environment});
        let request = owner.request(Method::POST, "/v1/repositories/app/deployments").json(&body);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        let line = world.line_of(&owner.send(request).await);
        let found = (&line["status"], &line["dynamodb_round_trips"], &line["dynamodb_calls"]);
        assert_eq!(found, (&json!(201), &json!(3), &json!(calls)), "{environment}");
    }
}
