//! The OpenAPI document, the sample events and the crates against the routes, and the API's answers against the document.

mod answers;
mod events;
mod examples;
mod schema;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use local::functions::{FUNCTIONS, routes};
use serde_json::{Value, json};
use shared::access::Access;
use tests::{World, body_of, checkout, read_file, sample_event};

pub(crate) use self::schema::conforms;
use crate::authorization::CASES;
use crate::inputs::resolved;

/// The functions without an operation. The fallback is not an operation of the API.
const WITHOUT_OPERATION: [&str; 1] = ["not-found"];
/// A deployment in progress is not canceled at once. This list only shrinks, because
/// generated clients type a call by its first success.
const WITH_TWO_SUCCESSES: [&str; 1] = ["cancel-deployment"];

pub(crate) fn document() -> Value {
    serde_json::from_str(&read_file("functions/get-openapi/openapi.json")).unwrap()
}

/// Returns every operation with its route key.
pub(crate) fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

/// Returns the status of an operation's success.
pub(crate) fn success(operation: &Value) -> u16 {
    let mut statuses = operation["responses"].as_object().unwrap().keys();
    statuses.find(|status| status.starts_with('2')).unwrap().parse().unwrap()
}

/// Returns the names in a folder, without this ending.
fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(checkout().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.strip_suffix(ending).unwrap_or_else(|| panic!("{folder}/{name}")).to_owned()).collect()
}

/// Returns the schema at a place in a resource that has the schema.
fn schema_at<'a>(document: &'a Value, schema: &'a Value, place: &str) -> &'a Value {
    place.split('/').fold(schema, |schema, name| {
        let schema = schema["$ref"].as_str().map_or(schema, |name| document.pointer(&name[1..]).unwrap());
        if schema["type"] == "array" { &schema["items"] } else { &schema["properties"][name] }
    })
}

#[test]
fn links_lead_to_each_operation_that_names_something() {
    let document = document();
    let operations = operations(&document);
    let by_id = |id: &Value| operations.iter().find(|(_, operation)| operation["operationId"] == *id).unwrap();
    let mut links = Vec::new();
    for (route, operation) in &operations {
        for response in operation["responses"].as_object().unwrap().values() {
            for link in response["links"].as_object().into_iter().flatten().map(|(_, link)| link) {
                let (other, _) = by_id(&link["operationId"]);
                links.push((route.as_str(), other.as_str()));
                let given = link["parameters"].as_object().unwrap();
                let names: BTreeSet<_> = given.keys().map(|name| format!("{{{name}}}")).collect();
                let taken = other.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned);
                let mut taken: BTreeSet<_> = taken.collect();
                // A client chooses the name of a variable that it sets.
                if other.starts_with("PUT ") && !names.contains("{name}") {
                    taken.remove("{name}");
                }
                assert_eq!(names, taken, "{route} to {other}");
                for source in given.values().map(|source| source.as_str().unwrap()) {
                    let schema = &response["content"]["application/json"]["schema"];
                    match source.split_once("#/") {
                        Some(("$response.body", place)) => {
                            assert!(schema_at(&document, schema, place).is_object(), "{route} to {other}: {source}");
                        }
                        _ => {
                            let name = source.strip_prefix("$request.path.").unwrap();
                            assert!(route.contains(&format!("{{{name}}}")), "{route} to {other}: {source}");
                        }
                    }
                }
            }
        }
    }
    // From the operations that name nothing, links lead to all others.
    let (named, mut reached): (BTreeSet<&str>, BTreeSet<&str>) =
        operations.keys().map(String::as_str).partition(|route| route.contains('{'));
    while let Some((_, other)) = links.iter().find(|(route, other)| reached.contains(route) && !reached.contains(other))
    {
        reached.insert(*other);
    }
    assert_eq!(named.difference(&reached).collect::<Vec<_>>(), [&""; 0]);
    let variables = links.iter().filter(|(_, other)| *other == "DELETE /v1/account/variables/{name}");
    let from: BTreeSet<_> = variables.map(|(route, _)| *route).collect();
    let of_account = ["GET /v1/account/variables", "PUT /v1/account/variables/{name}"];
    assert_eq!(from, of_account.into(), "the name of a variable means nothing elsewhere");
}

#[test]
fn routes_operations_events_and_crates_are_the_same_set() {
    let routes: BTreeMap<_, _> = routes().map(|route| (route.function.to_owned(), route.key())).collect();

    let document = document();
    let operation = |(key, operation): (String, &Value)| (operation["operationId"].as_str().unwrap().to_owned(), key);
    let documented: BTreeMap<_, _> = operations(&document).into_iter().map(operation).collect();
    let mut with_operation = routes.clone();
    with_operation.retain(|function, _| !WITHOUT_OPERATION.contains(&function.as_str()));
    assert_eq!(documented, with_operation, "the document has each route");

    let functions: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name.to_owned()).collect();
    assert_eq!(functions.len(), FUNCTIONS.len(), "each function is registered once");
    assert_eq!(names("functions", ""), functions, "each function is a crate under functions/");
    assert_eq!(names("events", ".json"), functions, "each function has a sample event");
    for (function, key) in routes {
        let event = sample_event(&function);
        assert_eq!((&event["routeKey"], &event["requestContext"]["routeKey"]), (&json!(key), &json!(key)));
    }
}

#[test]
fn each_operation_documents_the_access_of_its_authorization_case() {
    let document = document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let schemes: Vec<_> = schemes.iter().map(|(name, scheme)| (name.as_str(), &scheme["scheme"])).collect();
    assert_eq!(schemes, [("bearer", &json!("bearer"))], "a generated client sends one `Authorization` for each scheme");
    let operations = operations(&document);
    for &(key, access, ..) in CASES {
        let security = match access {
            Access::Public => json!([]),
            Access::Authenticated => json!([{"bearer": []}]),
            Access::Scope(scope) => json!([{"bearer": [scope.as_str()]}]),
        };
        if key != "$default" {
            assert_eq!(operations[key]["security"], security, "{key}");
        }
    }
}

#[test]
fn a_function_its_folder_its_crate_and_its_binary_have_one_name() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    for folder in names("functions", "") {
        let manifest = checkout().join("functions").join(&folder).join("Cargo.toml");
        let mut packages = metadata["packages"].as_array().unwrap().iter();
        let package = packages.find(|package| package["manifest_path"] == *manifest.to_str().unwrap()).unwrap();
        let targets = package["targets"].as_array().unwrap().iter();
        let binaries: Vec<_> = targets.filter(|target| target["kind"] == json!(["bin"])).collect();
        assert_eq!((&package["name"], binaries.len()), (&json!(folder), 1), "{folder}");
        assert_eq!(binaries[0]["name"], *folder);
    }
}

/// Checks the requirements of OpenAPI 3.1's meta-schema for the parts that this document uses, and the expectations of
/// its readers.
#[test]
fn the_document_is_whole() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    walk(&document, &mut |object| {
        if let Some(reference) = object.get("$ref") {
            let target = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(target).is_some(), "{target} is not there");
        }
        if let Some(Value::String(text)) = object.get("description") {
            assert!(!text.is_empty() && !text.contains("[`") && !text.contains("`Debug`"), "not for readers: {text}");
        }
        for example in
            object.get("examples").and_then(Value::as_array).into_iter().flatten().chain(object.get("default"))
        {
            conforms(&document, &json!(object), example, "the example").unwrap();
        }
        assert!(!object.contains_key("example"), "3.1 deprecates it: {object:?}");
    });
    let mut with_two_successes = Vec::new();
    let envelope = json!({
        "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}},
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
    });
    for (key, operation) in operations(&document) {
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{key}");
        assert!(matches!(&operation["tags"].as_array().unwrap()[..], [tag] if tags.contains(&tag)), "{key}");
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let in_path: Vec<_> = in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        assert_eq!(in_path, key.split('/').filter(|segment| segment.starts_with('{')).collect::<Vec<_>>());
        for parameter in parameters {
            assert_eq!(parameter["required"], parameter["in"] == "path", "{key}");
            assert!(!parameter["description"].as_str().unwrap().is_empty() && parameter["schema"].is_object());
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            assert!(!response["description"].as_str().unwrap().is_empty(), "{key} {status}");
            let has_envelope = response["content"] == envelope;
            assert_eq!(
                has_envelope,
                !status.starts_with('2') && !["302", "304"].contains(&status.as_str()),
                "{key} {status}"
            );
            let headers = response["headers"].as_object().unwrap();
            let expected = ["X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
            assert!(expected.iter().all(|name| headers.contains_key(*name)), "{key} {status}");
        }
        let successes = operation["responses"].as_object().unwrap().keys().filter(|status| status.starts_with('2'));
        match successes.count() {
            1 => {}
            2 => with_two_successes.push(operation["operationId"].as_str().unwrap()),
            count => panic!("{key} has {count} successes"),
        }
        let description = operation["description"].as_str();
        assert!(description.is_some_and(|text| !text.is_empty()), "{key} has no description");
    }
    with_two_successes.sort_unstable();
    assert_eq!(with_two_successes, WITH_TWO_SUCCESSES);
}

fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|value| walk(value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn each_sample_event_is_one_that_its_function_takes() {
    let world = World::start().await;
    let owner = world.owner("globex").await;
    let document = document();
    let functions: BTreeMap<_, _> = world.stack.environment().http().unwrap().into_iter().collect();
    for route in routes() {
        let (function, key, access) = (route.function, route.key(), route.access);
        // The source address may send another burst.
        world.clock.advance(Duration::from_secs(60));
        let mut event = sample_event(function);
        let http = &event["requestContext"]["http"];
        assert_eq!((&event["version"], &http["path"]), (&json!("2.0"), &event["rawPath"]), "{function}");
        if key != "$default" {
            assert!(key.starts_with(http["method"].as_str().unwrap()), "{function}");
        }
        let operation = operations(&document).get(&key).copied().unwrap_or(&Value::Null);
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
            conforms(&document, schema, &body, function).unwrap();
        }

        // This exceeds the burst of the source address.
        world.clock.advance(Duration::from_secs(5));
        // The token is well-formed, so the event is refused only because no account has the token.
        let answer = functions[&key].invoke(event.clone()).await.unwrap();
        let body = body_of(&answer);
        let expected = match access {
            Access::Public if key.contains("{invitation_id}") => (404, json!("Invitation not found")),
            Access::Public if key.contains("{hook_id}") => (404, json!(receive_hook::REFUSED)),
            Access::Public if function == "exchange-token" => (400, json!("audience must be the ID of a trust")),
            Access::Public if function != "create-session" => (200, Value::Null),
            _ => (401, json!("The token is unknown")),
        };
        assert_eq!((answer["statusCode"].as_i64().unwrap(), body["error"]["message"].clone()), expected, "{function}");
        assert_eq!(answer["headers"]["x-ratelimit-limit"], "60", "{function}");

        event["headers"]["authorization"] = json!(format!("Bearer {}", owner.token.as_ref().unwrap()));
        let expected = match function {
            // The endpoint would contact a host on the internet.
            "create-repository" => continue,
            "not-found" => 405,
            "exchange-token" => 400,
            // The sample event of create-application has already created the application.
            "delete-application" => 200,
            // The event has a token and no session.
            "end-session" => 404,
            // The first names the variable that it creates, and the second deletes it.
            "set-account-variable" | "delete-account-variable" => 200,
            _ if key.contains('{') => 404,
            _ => success(operation),
        };
        if function == "create-application" {
            let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
            let client = body["client_id"].as_str().unwrap();
            body["access_token"] = json!(world.issuer.client_token(client, world.clock.now()));
            event["body"] = json!(body.to_string());
        }
        if function == "create-session" {
            event["body"] = json!(json!({"token": owner.token}).to_string());
        }
        let answer = functions[&key].invoke(event).await.unwrap();
        assert_eq!(answer["statusCode"], expected, "{function}: {answer}");
    }

    let created = world.stack.bootstrap(sample_event("bootstrap")).await.unwrap();
    let new = owner.holding(created["token"].as_str().unwrap());
    assert_eq!(new.get("/v1/rate_limit").await.body["plan"], sample_event("bootstrap")["plan"]);

    let consumer = world.stack.environment().consumer().unwrap();
    let consumed = consumer.invoke(sample_event("deployment-consumer")).await.unwrap();
    assert_eq!(consumed, json!({"batchItemFailures": []}), "a message for a deployment that is gone is deleted");
    let reporter = world.stack.environment().report_status().unwrap();
    let told = reporter.invoke(sample_event("report-status")).await.unwrap();
    assert_eq!(told, json!({"batchItemFailures": []}), "a message for a status that is gone is deleted");
    let sender = world.stack.environment().send_webhooks().unwrap();
    let sent = sender.invoke(sample_event("send-webhooks")).await.unwrap();
    assert_eq!(sent, json!({"batchItemFailures": []}), "a message for a webhook that is gone is deleted");
    let hooks = world.stack.environment().hook_consumer().unwrap();
    let consumed = hooks.invoke(sample_event("hook-consumer")).await.unwrap();
    assert_eq!(consumed, json!({"batchItemFailures": []}), "a message for a delivery that is gone is deleted");
    let mut environment = world.stack.environment().clone();
    let project = sample_event("build-events")["detail"]["project-name"].as_str().unwrap().to_owned();
    environment.settings.set(builds::CODEBUILD_PROJECT, project);
    let handled = environment.build_events().unwrap().invoke(sample_event("build-events")).await.unwrap();
    assert_eq!(handled, json!({"outcome": "gone"}), "an event of a deployment that is gone is harmless");
    let copied = world.stack.environment().build_log().unwrap().invoke(sample_event("build-log")).await.unwrap();
    assert_eq!(copied, json!({"outcome": "gone"}), "lines of a deployment that is gone are harmless");
    let redrive = world.stack.environment().redrive_dead_letters().unwrap();
    let redriven = redrive.invoke(sample_event("redrive-dead-letters")).await.unwrap();
    assert_eq!((&redriven["dry_run"], &redriven["messages"]), (&json!(true), &json!([])));
    // The account with the webhook of the sample event has events that are no deliveries yet.
    let swept = world.stack.environment().sweep().unwrap().invoke(sample_event("sweep")).await.unwrap();
    assert_eq!(
        swept,
        json!({"sent": 1, "ended": 0, "unchanged": 0, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": true})
    );
}
