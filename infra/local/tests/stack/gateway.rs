use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lambda_runtime::{LambdaEvent, service_fn};
use local::function::Function;
use local::gateway::{BODY_LIMIT, Gateway, HEAD_LIMIT};
use local::route::{RouteError, Routes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;

use crate::{NOW, clock, eventually, free_port};

const LIMIT: Duration = Duration::from_secs(5);
const DEPLOYMENTS: &str = "POST /v1/repositories/{repo_id}/deployments";

/// Returns a function that responds with its event.
fn echo() -> Function {
    let service = service_fn(async |event: LambdaEvent<Value>| Ok::<_, Infallible>(event.payload));
    Function::events("echo", service, LIMIT, clock())
}

fn answering(response: Value) -> Function {
    let service = service_fn(move |_: LambdaEvent<Value>| {
        let response = response.clone();
        async { Ok::<_, Infallible>(response) }
    });
    Function::events("answering", service, LIMIT, clock())
}

fn app(router: Router) -> Function {
    Function::http("app", BoxCloneSyncService::new(router), LIMIT, clock())
}

async fn gateway<const N: usize>(routes: [(&str, Function); N]) -> Gateway {
    Gateway::start(free_port(), Routes::new(routes).unwrap(), clock()).await.unwrap()
}

async fn send(gateway: &Gateway, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let connection = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn get_path(gateway: &Gateway, path: &str) -> Response<Bytes> {
    send(gateway, request("GET", path).body(Full::default()).unwrap()).await
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "api.git.test:3000")
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("not JSON: {response:?}"))
}

#[track_caller]
fn assert_refused(response: &Response<Bytes>, status: StatusCode, message: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.body(), format!(r#"{{"message":"{message}"}}"#).as_bytes());
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()["apigw-requestid"].len(), 16);
}

#[tokio::test]
async fn the_event_is_the_one_that_an_http_api_sends() {
    let gateway = gateway([(DEPLOYMENTS, echo())]).await;
    let request =
        request("POST", "/v1/repositories/acme%252Ffrontend%20app/deployments?a=1&q=x%20y%26z&a=2&plus=a+b&empty=")
            .header("User-Agent", "curl/8.5.0")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Team", "one")
            .header("x-team", "two")
            .header("Cookie", "theme=dark; lang=en")
            .header("Cookie", "beta=1")
            .header("X-Forwarded-For", "192.0.2.7")
            .header("Connection", "keep-alive")
            .body(Full::from(r#"{"ref":"größe"}"#))
            .unwrap();
    let response = send(&gateway, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let mut event = json_of(&response);

    let request_id = event["requestContext"]["requestId"].take();
    assert_eq!(response.headers()["apigw-requestid"].to_str().unwrap(), request_id.as_str().unwrap());
    let trace = event["headers"]["x-amzn-trace-id"].take();
    let trace: Vec<_> = trace.as_str().unwrap().split('-').collect();
    assert_eq!((trace[0], trace[1], trace[2].len()), ("Root=1", "5e6a879e", 24));
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": DEPLOYMENTS,
            "rawPath": "/v1/repositories/acme%2Ffrontend app/deployments",
            "rawQueryString": "a=1&q=x%20y%26z&a=2&plus=a+b&empty=",
            "cookies": ["theme=dark", "lang=en", "beta=1"],
            "headers": {
                "content-length": "17",
                "content-type": "application/json; charset=utf-8",
                "host": "api.git.test:3000",
                "user-agent": "curl/8.5.0",
                "x-amzn-trace-id": null,
                "x-forwarded-for": "192.0.2.7, 127.0.0.1",
                "x-forwarded-port": gateway.address().port().to_string(),
                "x-forwarded-proto": "http",
                "x-team": "one,two",
            },
            "queryStringParameters": { "a": "1,2", "q": "x y&z", "plus": "a b", "empty": "" },
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": "api.git.test",
                "domainPrefix": "api",
                "http": {
                    "method": "POST",
                    "path": "/v1/repositories/acme%2Ffrontend app/deployments",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "curl/8.5.0",
                },
                "requestId": null,
                "routeKey": DEPLOYMENTS,
                "stage": "$default",
                "time": "12/Mar/2020:19:03:58 +0000",
                "timeEpoch": NOW,
            },
            "pathParameters": { "repo_id": "acme%2Ffrontend app" },
            "body": r#"{"ref":"größe"}"#,
            "isBase64Encoded": false,
        })
    );
}

#[tokio::test]
async fn a_bare_request_has_no_empty_fields() {
    let gateway = gateway([("GET /", echo())]).await;
    let event = json_of(&get_path(&gateway, "/").await);
    assert_eq!(event["rawPath"], "/");
    assert_eq!(event["rawQueryString"], "");
    for absent in ["cookies", "queryStringParameters", "pathParameters", "body"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["headers"]["content-length"], "0");
    serde_json::from_value::<ApiGatewayV2httpRequest>(event).unwrap();
}

#[tokio::test]
async fn the_most_specific_route_takes_a_request() {
    let gateway = gateway([
        ("$default", echo()),
        ("GET /v1/{kind}/new", echo()),
        ("GET /v1/repositories/{repo_id}", echo()),
        ("GET /v1/repositories/new", echo()),
        ("GET /v1/repositories", echo()),
        (DEPLOYMENTS, echo()),
    ])
    .await;
    for (method, path, key) in [
        ("GET", "/v1/repositories", "GET /v1/repositories"),
        ("GET", "/v1/repositories?page=2", "GET /v1/repositories"),
        ("GET", "/v1/repositories/new", "GET /v1/repositories/new"),
        ("GET", "/v1/repositories/n%65w", "GET /v1/repositories/new"),
        ("GET", "/v1/repositories/newer", "GET /v1/repositories/{repo_id}"),
        ("GET", "/v1/repositories/acme%252Fnew", "GET /v1/repositories/{repo_id}"),
        ("GET", "/v1/repositories/acme%2Fnew", "$default"),
        ("GET", "/v1/%2Fnew", "$default"),
        ("GET", "/v1/teams/new", "GET /v1/{kind}/new"),
        ("POST", "/v1/repositories/a/deployments", DEPLOYMENTS),
        ("GET", "/v1/repositories/a/deployments", "$default"),
        ("DELETE", "/v1/repositories", "$default"),
        ("GET", "/v1/repositories/", "$default"),
        ("POST", "/v1/repositories//deployments", "$default"),
        ("GET", "/v1/repositories/acme/new", "$default"),
        ("GET", "/V1/repositories", "$default"),
        ("GET", "/", "$default"),
    ] {
        let response = send(&gateway, request(method, path).body(Full::default()).unwrap()).await;
        let event = json_of(&response);
        assert_eq!(event["routeKey"], key, "{method} {path}");
        assert_eq!(event["requestContext"]["routeKey"], key, "{method} {path}");
    }
}

#[tokio::test]
async fn a_greedy_route_takes_what_no_other_does_and_the_longest_one_first() {
    let gateway = gateway([
        ("$default", echo()),
        ("GET /{proxy+}", echo()),
        ("GET /v1/{proxy+}", echo()),
        ("GET /v1/repositories/{repo_id}", echo()),
        ("GET /", echo()),
    ])
    .await;
    for (method, path, key, proxy) in [
        ("GET", "/", "GET /", None),
        ("GET", "/docs", "GET /{proxy+}", Some("docs")),
        ("GET", "/docs/a/b", "GET /{proxy+}", Some("docs/a/b")),
        ("GET", "/docs/", "GET /{proxy+}", Some("docs/")),
        ("GET", "/v1", "GET /{proxy+}", Some("v1")),
        ("GET", "/v1/teams", "GET /v1/{proxy+}", Some("teams")),
        ("GET", "/v1/repositories/a/b", "GET /v1/{proxy+}", Some("repositories/a/b")),
        ("GET", "/v1/repositories/a", "GET /v1/repositories/{repo_id}", None),
        ("POST", "/docs", "$default", None),
    ] {
        let response = send(&gateway, request(method, path).body(Full::default()).unwrap()).await;
        let event = json_of(&response);
        assert_eq!(event["routeKey"], key, "{method} {path}");
        assert_eq!(event["pathParameters"]["proxy"].as_str(), proxy, "{method} {path}");
    }
}

#[test]
fn route_keys_that_http_apis_would_not_take_are_refused() {
    let new = |keys: &[&'static str]| Routes::new(keys.iter().map(|key| (*key, echo()))).err();
    for key in [
        "",
        "/v1",
        "GET",
        "GET v1",
        "get /v1",
        "ANY /v1",
        "GET /{+}",
        "GET /{proxy+}/a",
        "GET /a+",
        "GET /{}",
        "GET /a{b}",
        "GET /a%2Fb",
    ] {
        assert_eq!(new(&[key]), Some(RouteError::Key(key.to_owned())));
    }
    for (one, other) in
        [("$default", "$default"), ("GET /a", "GET /a"), ("GET /a/{b}/c", "GET /a/{d}/c"), ("GET /{a+}", "GET /{b+}")]
    {
        assert_eq!(new(&[one, other]), Some(RouteError::Conflict(other.to_owned())));
    }
    assert_eq!(new(&["GET /a/{b}", "GET /a/b", "POST /a/{b}", "$default"]), None);
}

#[tokio::test]
async fn without_a_default_route_the_gateway_answers() {
    let gateway = gateway([("GET /v1/repositories", echo())]).await;
    assert_refused(&get_path(&gateway, "/v1/teams").await, StatusCode::NOT_FOUND, "Not Found");
    assert_refused(&get_path(&gateway, "/v1/%FF").await, StatusCode::NOT_FOUND, "Not Found");
}

#[tokio::test]
async fn a_body_that_is_not_known_to_be_text_is_base64() {
    let gateway = gateway([(DEPLOYMENTS, echo())]).await;
    let invalid: &[u8] = &[0, 159, 146, 150];
    for (content_type, body, is_base64) in [
        (Some("application/json"), b"{}".as_slice(), false),
        (Some("Text/Plain; charset=utf-8"), b"hello", false),
        (Some("application/json"), invalid, true),
        (Some("application/octet-stream"), invalid, true),
        (Some("application/x-www-form-urlencoded"), b"a=1", true),
        (None, b"hello", true),
    ] {
        let mut request = request("POST", "/v1/repositories/a/deployments");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let event = json_of(&send(&gateway, request.body(Full::from(body)).unwrap()).await);
        assert_eq!(event["isBase64Encoded"], is_base64, "{content_type:?}");
        let text = event["body"].as_str().unwrap();
        let sent = if is_base64 { BASE64_STANDARD.decode(text).unwrap() } else { text.into() };
        assert_eq!(sent, body, "{content_type:?}");
    }
}

#[tokio::test]
async fn an_axum_service_is_served_as_lambda_http_serves_it() {
    let router = Router::new()
        .route("/bytes", post(|body: Bytes| async { ([(CONTENT_TYPE, "application/octet-stream")], body) }))
        .route("/teapot/{name}", get(|Path(name): Path<String>| async move { (StatusCode::IM_A_TEAPOT, name) }))
        .route(
            "/cookies",
            get(|| async { AppendHeaders([(SET_COOKIE, "a=1; Secure"), (SET_COOKIE, "b=2")]).into_response() }),
        );
    let gateway = gateway([("$default", app(router))]).await;

    let bytes: Vec<u8> = (0..=255).collect();
    let request = request("POST", "/bytes").body(Full::from(bytes.clone())).unwrap();
    let echoed = send(&gateway, request).await;
    assert_eq!(echoed.body(), bytes.as_slice());
    assert_eq!(echoed.headers()[CONTENT_TYPE], "application/octet-stream");

    let teapot = get_path(&gateway, "/teapot/pot").await;
    assert_eq!(teapot.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(teapot.body(), "pot");

    let cookies = get_path(&gateway, "/cookies").await;
    let cookies: Vec<_> = cookies.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; Secure", "b=2"]);
}

#[tokio::test]
async fn a_response_is_read_as_payload_format_2_0() {
    let full = json!({
        "statusCode": 201,
        "headers": { "Location": "/v1/deployments/1", "content-length": "99", "connection": "close" },
        "cookies": ["a=1"],
        "body": BASE64_STANDARD.encode([0, 255]),
        "isBase64Encoded": true,
    });
    let gateway = gateway([
        ("GET /full", answering(full)),
        ("GET /bodiless", answering(json!({ "statusCode": 204 }))),
        ("GET /untyped", answering(json!({ "statusCode": 200, "body": "hello" }))),
        ("GET /object", answering(json!({ "message": "hello" }))),
        ("GET /string", answering(json!("hello"))),
    ])
    .await;

    let response = get_path(&gateway, "/full").await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.body(), [0, 255].as_slice());
    assert_eq!(response.headers()["location"], "/v1/deployments/1");
    assert_eq!(response.headers()["content-length"], "2");
    assert_eq!(response.headers().get("connection"), None);
    assert_eq!(response.headers()[SET_COOKIE], "a=1");

    let response = get_path(&gateway, "/bodiless").await;
    assert_eq!((response.status(), response.body().len()), (StatusCode::NO_CONTENT, 0));

    for (path, content_type, body) in [
        ("/untyped", "text/plain; charset=utf-8", "hello"),
        ("/object", "application/json", r#"{"message":"hello"}"#),
        ("/string", "application/json", r#""hello""#),
    ] {
        let response = get_path(&gateway, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
        assert_eq!(response.body(), body, "{path}");
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_read_is_the_gateways_500() {
    for response in [
        json!({ "statusCode": "created" }),
        json!({ "statusCode": 99 }),
        json!({ "statusCode": 101 }),
        json!({ "statusCode": 200, "body": { "not": "text" } }),
        json!({ "statusCode": 200, "body": "not base64!", "isBase64Encoded": true }),
        json!({ "statusCode": 200, "headers": { "not a name": "value" } }),
        json!({ "statusCode": 200, "headers": { "x-lines": "one\ntwo" } }),
    ] {
        let gateway = gateway([("$default", answering(response))]).await;
        let response = get_path(&gateway, "/").await;
        assert_refused(&response, StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
}

#[tokio::test]
async fn a_function_that_fails_or_panics_is_the_gateways_500() {
    let failing = service_fn(async |_: LambdaEvent<Value>| Err::<(), _>("a secret"));
    let router = Router::new()
        .route("/panic", get(|| async { panic!("a secret") as &'static str }))
        .route("/", get(|| async { "still here" }));
    let gateway =
        gateway([("$default", app(router)), ("GET /fail", Function::events("failing", failing, LIMIT, clock()))]).await;
    for path in ["/panic", "/fail"] {
        let response = get_path(&gateway, path).await;
        assert_refused(&response, StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    assert_eq!(get_path(&gateway, "/").await.body(), "still here");
}

#[tokio::test]
async fn a_body_of_more_than_10_mib_never_reaches_the_function() {
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn({
        let calls = Arc::clone(&calls);
        move |event: LambdaEvent<Value>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Infallible>(json!({ "length": event.payload["body"].as_str().unwrap().len() })) }
        }
    });
    let gateway = gateway([(DEPLOYMENTS, Function::events("length", service, LIMIT, clock()))]).await;
    let post = |length| {
        let request = request("POST", "/v1/repositories/a/deployments").header("content-type", "text/plain");
        request.body(Full::from(vec![b'x'; length])).unwrap()
    };

    let response = send(&gateway, post(BODY_LIMIT + 1)).await;
    assert_refused(&response, StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    let response = send(&gateway, post(BODY_LIMIT)).await;
    assert_eq!(json_of(&response), json!({ "length": BODY_LIMIT }));
}

#[tokio::test]
async fn the_request_line_and_the_values_of_headers_have_a_limit_together() {
    let gateway = gateway([("$default", echo())]).await;
    let line = "GET / HTTP/1.1".len() + "api.git.test:3000".len();
    let of_size = |size: usize| request("GET", "/").header("x-long", "x".repeat(size - line));
    let answer = send(&gateway, of_size(HEAD_LIMIT).body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let posted = of_size(HEAD_LIMIT + 1).method("POST").body(Full::from(vec![b'x'; 1_000_000])).unwrap();
    for refused in [of_size(HEAD_LIMIT + 1).body(Full::default()).unwrap(), posted] {
        let answer = send(&gateway, refused).await;
        assert_refused(&answer, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large");
    }
    let many = (0..150).fold(request("GET", "/"), |many, number| many.header(format!("x-{number}"), "1"));
    let answer = send(&gateway, many.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK, "the number of headers has no limit");
    let answer = get_path(&gateway, &format!("/{}", "x".repeat(HEAD_LIMIT))).await;
    assert_refused(&answer, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large");
}

/// Sends bytes and returns the answer and all that follows.
async fn exchange(gateway: &Gateway, bytes: &str) -> String {
    let mut connection = TcpStream::connect(gateway.address()).await.unwrap();
    connection.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_that_the_server_cannot_read_is_answered_in_the_gateways_words() {
    let gateway = gateway([("$default", echo())]).await;
    let headers = "x-many: 1\r\n".repeat(2000);
    for (request, status) in [
        ("GET\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request"),
        (&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "431 Request Header Fields Too Large"),
        (&format!("GET / HTTP/1.1\r\n{headers}\r\n"), "431 Request Header Fields Too Large"),
        ("OPTIONS * HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = exchange(&gateway, request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        let (_, reason) = status.split_once(' ').unwrap();
        assert_eq!(body, format!(r#"{{"message":"{reason}"}}"#), "{answer}");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        let length = format!("content-length: {}", body.len());
        for header in ["content-type: application/json", &length, "apigw-requestid: ", "date: "] {
            assert_eq!(head.matches(&format!("\r\n{header}")).count(), 1, "{header} in {answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_looks_like_the_servers_own_is_not_replaced() {
    let body = "HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n\r\n";
    let gateway = gateway([
        ("GET /body", answering(json!({ "statusCode": 200, "body": body }))),
        ("GET /empty", answering(json!({ "statusCode": 404 }))),
    ])
    .await;
    assert_eq!(get_path(&gateway, "/body").await.body(), body);
    let empty = get_path(&gateway, "/empty").await;
    assert_eq!((empty.status(), empty.body().len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn a_shutdown_answers_what_runs_and_takes_nothing_more() {
    let (arrived, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = Router::new().fallback({
        let (arrived, released) = (Arc::clone(&arrived), Arc::clone(&released));
        || async move {
            arrived.notify_one();
            released.notified().await;
            "done"
        }
    });
    let gateway = gateway([("$default", app(slow))]).await;
    let address = gateway.address();
    let connection = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
    tokio::spawn(connection);
    let running = tokio::spawn(async move {
        let response = sender.send_request(request("GET", "/").body(Full::<Bytes>::default()).unwrap());
        response.await.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    arrived.notified().await;
    let shutdown = tokio::spawn(gateway.shutdown());
    let refused = async || TcpStream::connect(address).await.is_err().then_some(());
    eventually("the refusal of a connection", refused).await;
    released.notify_one();
    assert_eq!(running.await.unwrap(), "done");
    shutdown.await.unwrap();
}
