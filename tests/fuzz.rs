//! Events that no gateway sends. Each one gets an answer that is not a 5xx. `PROPTEST_CASES` sets the number of events, which
//! is 256 by default.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use lambda_http::request::LambdaRequest;
use lambda_http::{Context, LambdaEvent, RequestExt};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::extract::{Json, Query};
use shared::page::{PageQuery, Sort};
use shared::route::List;
use shared::settings::{Settings, TABLE_NAME};
use shared::telemetry::Log;
use shared::{App, Endpoint, Result, Route, pipeline, serve};
use tests::NOON;

/// Reads everything that a handler can read.
const LIST: List = List { name: "things", sorts: &[Sort::Created, Sort::Name] };

async fn look(headers: HeaderMap, _: Query<PageQuery>, request: Request) -> Result<String> {
    let parameters = format!("{:?} {:?}", request.path_parameters(), request.query_string_parameters());
    let Json(body) = Json::<Value>::from_request(request, &()).await?;
    Ok(format!("{headers:?} {parameters} {body}"))
}

fn service() -> pipeline::Service {
    let settings = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", TABLE_NAME];
    let settings = Settings::from(settings.map(|name| (name, "none".to_owned())));
    let app = App::new(settings, Clock::manual(NOON), Log::to(std::io::sink())).unwrap();
    let route = Route::post("look", "/v1/look/{thing}").public().free().lists(LIST);
    pipeline::service(app, Endpoint::new(route, look, ()))
}

fn valid_event() -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /v1/look/{thing}",
        "rawPath": "/v1/look/acme/app",
        "rawQueryString": "page=2&sort=name",
        "cookies": ["a=b"],
        "headers": {
            "authorization": "Bearer dgp_0000000000000000000000000000002Ihdjb",
            "content-length": "17",
            "content-type": "application/json",
            "host": "api.git.dev",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "x-forwarded-for": "203.0.113.5",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": {"page": "2", "sort": "name"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "api.git.dev",
            "domainPrefix": "api",
            "http": {
                "method": "POST",
                "path": "/v1/look/acme/app",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.5",
                "userAgent": "curl/8.7.1",
            },
            "requestId": "UgXj4hQxoAMEVdA=",
            "routeKey": "POST /v1/look/{thing}",
            "stage": "$default",
            "time": "24/Nov/2025:10:15:00 +0000",
            "timeEpoch": 1_763_979_300_123_u64,
        },
        "pathParameters": {"thing": "acme/app"},
        "body": "{\"ref\": [1, \"x\"]}",
        "isBase64Encoded": false,
    })
}

/// A change of one member of an event.
#[derive(Clone, Debug)]
enum Change {
    Remove,
    Replace(Value),
    /// Inserts into a string, at a character.
    Insert(Index, String),
}

fn text() -> impl Strategy<Value = String> {
    const SIGNS: &[&str] = &[
        "%", "%zz", "%2F", "?", "#", "//", "\\", "@", ":", ":99999", "[::", "http://", "\0", "\n", "é", "\u{202e}", "=",
    ];
    prop_oneof![select(SIGNS).prop_map(str::to_owned), "\\PC{0,12}", any::<String>()]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let object = btree_map(text(), inner.clone(), 0..4).prop_map(|members| json!(members));
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    })
}

fn change() -> impl Strategy<Value = Change> {
    let insert = (any::<Index>(), text()).prop_map(|(at, text)| Change::Insert(at, text));
    prop_oneof![1 => Just(Change::Remove), 3 => json().prop_map(Change::Replace), 6 => insert]
}

/// Collects the JSON pointers of a value's members.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut visit = |key: &str, inner: &Value| {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        pointers(inner, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, inner)| visit(key, inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, inner)| visit(&at.to_string(), inner)),
        _ => {}
    }
}

fn apply(event: &mut Value, place: Index, change: Change) {
    let mut found = Vec::new();
    pointers(event, "", &mut found);
    let Some(pointer) = found.get(place.index(found.len().max(1))) else { return };
    let target = event.pointer_mut(pointer).expect("the pointer was found");
    match (change, target) {
        (Change::Insert(at, text), Value::String(into)) => {
            let at = into.char_indices().nth(at.index(into.len() + 1)).map_or(into.len(), |(byte, _)| byte);
            into.insert_str(at, &text);
        }
        (Change::Insert(_, text), other) => *other = text.into(),
        (Change::Replace(value), other) => *other = value,
        (Change::Remove, _) => {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
            match event.pointer_mut(parent).expect("it has a parent") {
                Value::Object(members) => drop(members.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
                _ => unreachable!("a parent has members"),
            }
        }
    }
}

/// Returns the status of the answer, or `None` if the runtime rejects the event.
fn status(service: pipeline::Service, event: &Value) -> Option<u64> {
    let event: LambdaRequest = serde_json::from_str(&event.to_string()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(serve::handle(service, LambdaEvent::new(event, Context::default())));
    let answer = serde_json::to_value(answer.unwrap_or_else(|never| match never {})).unwrap();
    let status = answer["statusCode"].as_u64().unwrap();
    let request_id = &answer["headers"]["x-request-id"];
    assert!(request_id.as_str().is_some_and(|id| id.starts_with("req_")), "{answer}");
    if status != 200 {
        let envelope: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(envelope["error"]["request_id"], *request_id, "{answer}");
    }
    Some(status)
}

#[test]
fn the_unchanged_event_is_handled() {
    assert_eq!(status(service(), &valid_event()), Some(200));
}

/// The failures of earlier runs stand in `fuzz.proptest-regressions`. They are tried first.
fn config() -> ProptestConfig {
    let failures = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(failures)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_changed_event_is_answered(changes in vec((any::<Index>(), change()), 1..6)) {
        let mut event = valid_event();
        for (place, change) in changes {
            apply(&mut event, place, change);
        }
        if let Some(status) = status(service(), &event) {
            prop_assert!((200..500).contains(&status), "{status} for {event}");
        }
    }

    #[test]
    fn any_path_host_query_and_body_are_answered(
        path in text(),
        host in text(),
        query in text(),
        body in text(),
        base64: bool,
    ) {
        let mut event = valid_event();
        event["rawPath"] = format!("/{path}").into();
        event["headers"]["host"] = host.into();
        event["rawQueryString"] = query.into();
        event["body"] = body.into();
        event["isBase64Encoded"] = base64.into();
        if let Some(status) = status(service(), &event) {
            prop_assert!((200..500).contains(&status), "{status} for {event}");
        }
    }
}
