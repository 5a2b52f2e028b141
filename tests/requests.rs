use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::function::Function;
use local::gateway::Gateway;
use local::route::Routes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use shared::{Endpoint, Route, pipeline};
use tests::{Actor, Answer, GitRepository, World, cost_of};

const ENDPOINTS_WITH_A_BODY: [&str; 2] = ["/v1/repositories", "/v1/repositories/app/deployments"];
const MAX_BODY: usize = 256 * 1024;

async fn post(actor: &Actor, path: &str, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let mut request = actor.request(Method::POST, path).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    actor.send(request).await
}

/// A GET whose target and host are sent as they are, which no client library would do.
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
async fn a_body_that_is_not_json_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.repository("app", &GitRepository::new(&[])).await;
    let json = Some("application/json");
    let deep = format!("{{\"name\": {}", "[".repeat(100_000));
    for path in ENDPOINTS_WITH_A_BODY {
        for body in [
            &b""[..],
            b" \n",
            b"{",
            b"name=app",
            b"{'name': 'app'}",
            b"{\"name\": \"app\",}",
            b"{\"name\": app}",
            b"{} {}",
            b"{\"name\": \"app\"} trailing",
            b"{\"ref\": \"\xff\", \"name\": \"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\"ref\": \"main\"\0}",
            deep.as_bytes(),
        ] {
            post(&owner, path, json, body).await.refused(400, "invalid_json");
        }
        for content_type in
            [None, Some(""), Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")]
        {
            post(&owner, path, content_type, "{\"ref\": \"main\"}").await.refused(415, "unsupported_media_type");
        }
    }
    for content_type in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        let path = "/v1/repositories/app/deployments";
        let created = post(&owner, path, Some(content_type), " {\"ref\": \"main\"}\r\n").await;
        assert_eq!(created.status, 201, "{content_type}: {created:?}");
    }
    let repositories = owner.get("/v1/repositories").await;
    assert_eq!(repositories.column("name"), ["app"], "what was refused left nothing behind");
    let deployments = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!(deployments.body["meta"]["total"], 3);
}

#[tokio::test]
async fn a_field_of_the_wrong_shape_is_named_and_its_value_is_not_repeated() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.repository("app", &GitRepository::new(&[])).await;
    let deep = format!("{{\"name\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let [repositories, deployments] = ENDPOINTS_WITH_A_BODY;
    let no_string = "has a value that is not a string: that of \"KEY\"";
    for (path, body, field, message) in [
        (repositories, "null", "body", "must be an object"),
        (repositories, "5", "body", "must be an object"),
        (repositories, "\"name\"", "body", "must be an object"),
        (repositories, "[\"app2\", \"https://example.com/a\", \"private\", null]", "body", "must be an object"),
        (repositories, "{}", "name", "is required"),
        (repositories, "{\"name\": \"x\"}", "clone_url", "is required"),
        (repositories, "{\"name\": null, \"clone_url\": \"/\"}", "name", "must be a string"),
        (repositories, "{\"name\": 5012, \"clone_url\": \"/\"}", "name", "must be a string"),
        (repositories, &deep, "name", "must be a string"),
        (repositories, "{\"clone_url\": {\"a\": 1}}", "clone_url", "must be a string"),
        (repositories, "{\"default_branch\": 5012}", "default_branch", "must be a string"),
        (repositories, "{\"visibility\": \"hidden\"}", "visibility", "must be `private` or `public`"),
        (repositories, "{\"visibility\": 5012}", "visibility", "must be a string"),
        (repositories, "{\"visibility\": null}", "visibility", "must be a string"),
        (repositories, "{\"name\": \"a\", \"name\": \"b\"}", "name", "is given twice"),
        (
            repositories,
            "{\"names\": \"a\"}",
            "names",
            "is not one of `name`, `clone_url`, `visibility`, `default_branch`",
        ),
        (deployments, "null", "body", "must be an object"),
        (deployments, "[\"main\", \"preview\", {}]", "body", "must be an object"),
        (deployments, "{}", "ref", "is required"),
        (deployments, "{\"ref\": 5012}", "ref", "must be a string"),
        (deployments, "{\"ref\": \"\"}", "ref", "must not be empty"),
        (deployments, "{\"ref\": \"a\", \"ref\": \"b\"}", "ref", "is given twice"),
        (
            deployments,
            "{\"ref\": \"main\", \"force\": true}",
            "force",
            "is not one of `ref`, `environment`, `variables`, `expected_current`, `sequence`, `dry_run`",
        ),
        (
            deployments,
            "{\"environment\": \"moon\"}",
            "environment",
            "must be one of `preview`, `staging`, `production`",
        ),
        (deployments, "{\"environment\": []}", "environment", "must be a string"),
        (deployments, "{\"variables\": [\"hunter2\"]}", "variables", "must be an object"),
        (deployments, "{\"variables\": \"KEY=hunter2\"}", "variables", "must be an object"),
        (deployments, "{\"variables\": {\"KEY\": 5012}}", "variables", no_string),
        (
            deployments,
            "{\"variables\": {\"KEY\": {\"hunter2\": 1}}}",
            "variables",
            "has an object that is not {\"value\": string, \"secret\": boolean}: that of \"KEY\"",
        ),
    ] {
        let refused = post(&owner, path, Some("application/json"), body).await;
        refused.refused(400, "invalid_request");
        let details = json!([{"field": field, "message": message}]);
        assert_eq!(refused.body["error"]["details"], details, "{body:.100}");
        assert_eq!(refused.body["error"]["message"], format!("{field} {message}"));
        assert!(!refused.body.to_string().contains("5012"), "{refused:?}");
        assert!(!refused.body.to_string().contains("hunter2"), "{refused:?}");
    }
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);
    assert_eq!(owner.get(deployments).await.body["meta"]["total"], 0);
}

/// The text with spaces behind it.
fn padded(text: &str, size: usize) -> String {
    format!("{text}{}", " ".repeat(size - text.len()))
}

#[tokio::test]
async fn a_body_may_have_256_kib() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.repository("app", &GitRepository::new(&[])).await;
    let path = "/v1/repositories/app/deployments";
    let of_size = |size: usize| padded(&json!({"ref": "main"}).to_string(), size);
    let json = Some("application/json");
    assert_eq!(post(&owner, path, json, of_size(MAX_BODY)).await.status, 201);
    for size in [MAX_BODY + 1, 2 * MAX_BODY, 9 * 1024 * 1024] {
        post(&owner, path, json, of_size(size)).await.refused(413, "body_too_large");
    }
    // Without a right to post, the size is nobody's business.
    world
        .anonymous()
        .send(world.anonymous().request(Method::POST, path).body(of_size(MAX_BODY + 1)))
        .await
        .refused(401, "missing_token");
    assert_eq!(owner.get(path).await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_body_that_the_gateway_delivers_in_base64_is_decoded() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let functions = world.stack.environment().http().unwrap();
    let (key, function) = functions.into_iter().find(|(key, _)| key == "POST /v1/repositories").unwrap();
    let event = |body: &[u8]| {
        json!({
            "version": "2.0", "routeKey": key, "rawPath": "/v1/repositories", "rawQueryString": "",
            "headers": {
                "authorization": format!("Bearer {}", owner.token.as_ref().unwrap()), "content-type": "application/json",
            },
            "requestContext": {
                "accountId": "0", "apiId": "api", "domainName": "api.git.dev", "domainPrefix": "api",
                "http": {
                    "method": "POST", "path": "/v1/repositories", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                    "userAgent": "curl",
                },
                "requestId": "JKJaXmPLvHcESHA=", "routeKey": key, "stage": "$default",
                "time": "01/Jan/2026:12:00:00 +0000", "timeEpoch": 1_767_268_800_000_u64,
            },
            "body": BASE64_STANDARD.encode(body), "isBase64Encoded": true,
        })
    };
    let body = json!({"name": "app", "clone_url": source.url()}).to_string();
    for (body, status, code) in [
        (body.as_bytes(), 201, Value::Null),
        (b"{\"name\": \"\xff\"}", 400, json!("invalid_json")),
        // The limit is one of the body's own bytes, and not of its base64.
        (padded(&body, MAX_BODY).as_bytes(), 409, json!("name_taken")),
        (padded(&body, MAX_BODY + 1).as_bytes(), 413, json!("body_too_large")),
    ] {
        let response = function.invoke(event(body)).await.unwrap();
        assert_eq!(response["statusCode"], status, "{response}");
        let answer: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    assert_eq!(owner.get("/v1/repositories").await.column("full_name"), ["acme/app"]);
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    owner.repository("app", &GitRepository::new(&[])).await;
    let long = format!("/v1/repositories/{}", "a".repeat(8000));
    let long_and_wide = format!("/v1/repositories/{}", "%C3%A9".repeat(1300));
    for target in [
        &b"/"[..],
        b"//",
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
    for target in [
        &b"/v1/repositories/%61pp"[..],
        b"/v1/%72epositories/app",
        b"/v1/repositories/app?",
        b"/v1/repositories/app?a=?%ff&`{|}\\^",
    ] {
        let answer = get_raw(&world, &owner, target, b"localhost").await;
        assert_eq!((answer.status, &answer.body["name"]), (200, &json!("app")), "{}", String::from_utf8_lossy(target));
    }
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
        ("/v1/repositories", "GET, POST"),
        ("/v1/repositories/app", "GET"),
        ("/v1/repositories/acme%2Fapp", "GET"),
        ("/v1/repositories/acme%2Fapp/deployments", "GET, POST"),
        ("/v1/repositories/caf%C3%A9", "GET"),
        ("/v1/repositories/app/deployments", "GET, POST"),
        ("/v1/deployments/deploy_aaaaaaaaaaaaaaaa", "GET"),
        ("/v1/deployments/deploy_aaaaaaaaaaaaaaaa/log", "GET"),
        ("/v1/teams", "GET, POST"),
        ("/v1/teams/team_aaaaaaaaaaaaaaaa", "DELETE, GET, PATCH"),
        ("/v1/teams/team_aaaaaaaaaaaaaaaa/members/x", "DELETE, PUT"),
        ("/v1/members/x", "DELETE, PUT"),
        ("/v1/rate_limit", "GET"),
        ("/v1/openapi.json", "GET"),
    ] {
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, unlisted.clone(), Method::POST] {
            if allow.contains(method.as_str()) {
                continue;
            }
            let refused = owner.send(owner.request(method.clone(), path)).await;
            refused.refused(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), allow, "{method} {path}");
            let message = format!("{method} is not allowed here; use {allow}");
            assert_eq!(refused.body["error"]["message"], message);
            assert_eq!(world.line_of(&refused)["status"], 405);
        }
        // A HEAD has no body to read.
        let head = owner.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["allow"]), (405, &HeaderValue::from_static(allow)));
        assert!(head.bytes().await.unwrap().is_empty());
    }
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        let refused = owner.send(owner.request(method, "/v1/nothing")).await;
        refused.refused(404, "not_found");
        assert!(refused.headers.get("allow").is_none());
    }
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own_that_its_log_line_has_too() {
    let world = World::start().await;
    let (owner, anonymous) = (world.owner("acme").await, world.anonymous());
    owner.repository("app", &GitRepository::new(&[])).await;
    let mut answers = vec![
        owner.get("/v1/openapi.json").await,
        owner.get("/v1/rate_limit").await,
        owner.post("/v1/repositories", json!({})).await,
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await,
        owner.get("/v1/nothing").await,
        owner.send(owner.request(Method::DELETE, "/v1/repositories")).await,
        // A client can't choose it.
        owner.send(owner.request(Method::GET, "/v1/repositories").header("x-request-id", "req_mine")).await,
    ];
    for _ in 0..20 {
        let (one, other) = tokio::join!(owner.get("/v1/repositories"), anonymous.get("/v1/repositories"));
        answers.extend([one, other]);
    }
    let mut ids = HashSet::new();
    for answer in &answers {
        let id = answer.header("x-request-id");
        assert!(id.strip_prefix("req_").is_some_and(|id| id.len() == 16), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} came twice");
        assert_eq!(world.line_of(answer)["status"], answer.status);
        if answer.status >= 400 {
            assert_eq!(answer.body["error"]["request_id"], id);
        }
    }
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
        // The second one finds the function as it was. Both count.
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

#[tokio::test]
async fn a_request_is_one_line_in_the_log() {
    let world = World::start().await;
    let (owner, anonymous) = (world.owner("acme").await, world.anonymous());
    owner.repository("app", &GitRepository::new(&[])).await;
    let account = json!(owner.account_id.as_ref().unwrap().as_str());
    owner.get("/v1/repositories").await;
    let list = "/v1/repositories";
    let (list_function, get_function) = ("list-repositories", "get-repository");
    for (answer, function, route, status, account, code, cost) in [
        (owner.get(list).await, list_function, list, 200, &account, Value::Null, Some((3, 2.5))),
        (
            owner.get("/v1/repositories?page=0").await,
            list_function,
            list,
            400,
            &account,
            json!("invalid_request"),
            None,
        ),
        (
            owner.get("/v1/repositories/x").await,
            get_function,
            "/v1/repositories/{repo_id}",
            404,
            &account,
            json!("not_found"),
            None,
        ),
        (owner.get("/v1/nothing").await, "not-found", "$default", 404, &account, json!("not_found"), None),
        // The first request from a source counts against it; that is all it costs.
        (anonymous.get(list).await, list_function, list, 401, &Value::Null, json!("missing_token"), Some((1, 1.0))),
    ] {
        assert_eq!(answer.status, status);
        let line = world.line_of(&answer);
        assert_eq!(line["function"], function);
        assert_eq!((&line["route"], &line["status"]), (&json!(route), &json!(status)));
        assert_eq!((&line["account_id"], &line["code"]), (account, &code));
        assert_eq!((&line["level"], &line["server_errors"]), (&json!("INFO"), &json!(0)));
        assert_eq!(line["_aws"]["Timestamp"], world.clock.now().as_millis());
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["lambda_request_id"].as_str().unwrap().len() >= 32);
        let (calls, units) = cost_of(&line);
        assert!(calls > 0 && units > 0.0, "{line}");
        if let Some(cost) = cost {
            assert_eq!((calls, units), cost);
        }
    }
}

/// What a client waits for: the calls of DynamoDB of which each begins after the one before has ended.
#[tokio::test]
async fn a_warm_request_makes_few_round_trips() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let repository = owner.repository("app", &GitRepository::new(&[])).await;
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
    for (environment, key, calls) in [("preview", None, 6), ("production", None, 6), ("staging", Some("key"), 7)] {
        let body = json!({"ref": "main", "environment": environment});
        let request = owner.request(Method::POST, "/v1/repositories/app/deployments").json(&body);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        let line = world.line_of(&owner.send(request).await);
        let found = (&line["status"], &line["dynamodb_round_trips"], &line["dynamodb_calls"]);
        assert_eq!(found, (&json!(201), &json!(3), &json!(calls)), "{environment}");
    }
}

#[tokio::test]
async fn a_trace_is_taken_over_into_the_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    for (traceparent, taken) in [
        (format!("00-{trace}-{parent}-01"), true),
        (format!("01-{trace}-{parent}-00-more"), true),
        (format!("00-{trace}-{parent}"), false),
        (format!("00-{}-{parent}-01", "0".repeat(32)), false),
        ("garbage\"}".to_owned(), false),
    ] {
        let request = owner.request(Method::GET, "/v1/repositories").header("traceparent", &traceparent);
        let answer = owner.send(request).await;
        assert_eq!(answer.status, 200);
        let line = world.line_of(&answer);
        let expected = if taken { (json!(trace), json!(parent)) } else { (Value::Null, Value::Null) };
        assert_eq!((&line["trace_id"], &line["parent_id"]), (&expected.0, &expected.1), "{traceparent}");
    }
}

#[tokio::test]
async fn the_log_has_no_token_no_variable_and_no_body() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo $API_KEY", "exit 1"]);
    owner.repository("app", &source).await;
    let deployment = json!({"ref": "main", "variables": {"API_KEY": "hunter2-variable"}});
    owner.ended(&owner.deploy("app", deployment).await).await;

    let mut secrets = vec![owner.token.clone().unwrap(), "hunter2".to_owned()];
    for body in [
        "{\"ref\": \"main\", \"variables\": {\"API_KEY\": [\"hunter2-list\"]}}",
        "{\"ref\": \"main\", \"variables\": {\"AWS_KEY\": \"hunter2-reserved\"}}",
        "{\"ref\": \"main\", \"variables\": {\"KEY\": \"hunter2-nul\\u0000\"}}",
        "{\"ref\": \"hunter2-branch\"}",
        "{\"ref\": \"hunter2-cut",
        "hunter2-text",
    ] {
        let refused = post(&owner, "/v1/repositories/app/deployments", Some("application/json"), body).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let mut mistyped = owner.token.clone().unwrap();
    mistyped.pop();
    for token in [&mistyped[..], "dgp_hunter2", "hunter2 hunter2"] {
        owner.holding(token).get("/v1/repositories").await.refused(401, "invalid_token");
        secrets.push(token.to_owned());
    }
    owner.get("/v1/repositories?token=hunter2&cursor=hunter2").await.refused(400, "invalid_cursor");
    owner.get("/v1/hunter2").await.refused(404, "not_found");

    let log = world.log();
    assert!(log.iter().any(|line| line["function"] == "deployment-consumer"), "{log:?}");
    assert!(log.len() >= 14, "{}", log.len());
    for line in log {
        for secret in &secrets {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
}
