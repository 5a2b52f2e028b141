//! The OpenAPI document, the sample events and the crates against the routes, and the API's answers against the document.

mod examples;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use local::functions::{FUNCTIONS, routes};
use reqwest::Method;
use serde_json::{Value, json};
use shared::access::Access;
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World, body_of, checkout, read_file, sample_event};

use self::schema::conforms;
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

#[test]
fn each_link_gives_an_operation_all_parameters_of_its_path() {
    let document = document();
    let operations = operations(&document);
    let by_id = |id: &Value| operations.iter().find(|(_, operation)| operation["operationId"] == *id).unwrap();
    let mut linked = BTreeSet::new();
    for (route, operation) in &operations {
        for response in operation["responses"].as_object().unwrap().values() {
            for link in response["links"].as_object().into_iter().flatten().map(|(_, link)| link) {
                let (other, _) = by_id(&link["operationId"]);
                linked.insert(other.as_str());
                let given = link["parameters"].as_object().unwrap();
                let names: BTreeSet<_> = given.keys().map(|name| format!("{{{name}}}")).collect();
                let taken = other.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned);
                assert_eq!(names, taken.collect(), "{route} to {other}");
                for source in given.values().map(|source| source.as_str().unwrap()) {
                    let schema = &response["content"]["application/json"]["schema"];
                    match source.split_once("#/") {
                        Some(("$response.body", place)) => {
                            let field = place.split('/').fold(schema, |schema, name| {
                                let schema = document.pointer(&schema["$ref"].as_str().unwrap()[1..]).unwrap();
                                &schema["properties"][name]
                            });
                            assert!(field.is_object(), "{route} to {other}: {source}");
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
    // No single response has two unrelated ids, and no other request has an environment with the name of a variable.
    let unlinked = [
        "PUT /v1/teams/{team_id}/members/{user_id}",
        "PUT /v1/teams/{team_id}/repositories/{repo_id}",
        "PUT /v1/repositories/{repo_id}/environments/{environment}/variables/{name}",
        // No response of a change has the path of a file.
        "GET /v1/deployments/{deployment_id}/artifacts/{artifact_path}",
    ];
    let named = operations.keys().map(String::as_str).filter(|route| route.contains('{') && !unlinked.contains(route));
    assert_eq!(linked, named.collect(), "a link leads to each operation that names something");
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

/// Asserts that the document has an answer: its status, its code, its headers and its body.
#[track_caller]
fn documented(document: &Value, key: &str, answer: &Answer) {
    let operations = operations(document);
    let response = &operations[key]["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{key} has no {}: {answer:?}", answer.status);
    let schema = &response["content"]["application/json"]["schema"];
    if key != "GET /v1/openapi.json" || answer.status != 200 {
        conforms(document, schema, &answer.body, key).unwrap();
    }
    if let Some(code) = answer.body["error"]["code"].as_str() {
        assert!(response["description"].as_str().unwrap().contains(&format!("`{code}`")), "{key} has no {code}");
    }
    let mut sometimes = vec!["Idempotent-Replayed", "Retry-After", "X-Token-Expires-At", "X-Poll-Interval"];
    // Another token could not bring the permission.
    sometimes.extend((answer.body["error"]["code"] == "insufficient_permission").then_some("WWW-Authenticate"));
    for name in response["headers"].as_object().unwrap().keys() {
        if sometimes.contains(&name.as_str()) && !answer.headers.contains_key(name) {
            continue;
        }
        let kind = &document["components"]["headers"][name]["schema"]["type"];
        let value = answer.header(name);
        let is_of_type = match kind.as_str() {
            Some("integer") => value.parse::<u64>().is_ok(),
            Some("boolean") => value.parse::<bool>().is_ok(),
            kind => kind == Some("string"),
        };
        assert!(is_of_type, "{name}: {value} is not of type {kind}");
    }
    answer.rate_limit();
}

/// Calls the endpoints of teams, members and invitations. Returns each response with the expected status.
async fn calls_of_teams(world: &World, owner: &Actor) -> Vec<(&'static str, u16, Answer)> {
    let member = world.member(owner, Role::Member).await;
    let team = owner.team("Platform").await;
    owner.team("Other").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    let (person, app) =
        (format!("{path}/members/{}", member.user_id.as_ref().unwrap()), format!("{path}/repositories/app"));
    let user = format!("/v1/members/{}", member.user_id.as_ref().unwrap());
    let last = format!("/v1/members/{}", owner.user_id.as_ref().unwrap());
    let stale = owner.request(Method::PATCH, &path).header("if-match", "\"0\"").json(&json!({"name": "x"}));
    let invited = owner.post("/v1/invitations", json!({"email": "ada@example.com", "teams": [team["id"]]})).await;
    let invitation = format!("/v1/invitations/{}", invited.body["invitation"]["id"].as_str().unwrap());
    let accept = format!("{invitation}/accept");
    let secret = json!({"secret": invited.body["secret"]});
    let wrong = json!({"secret": format!("dgi_{}", "a".repeat(32))});
    let other = owner.post("/v1/invitations", json!({"email": "ben@example.com"})).await;
    let other = format!("/v1/invitations/{}", other.body["invitation"]["id"].as_str().unwrap());
    const CREATE: &str = "POST /v1/teams";
    const UPDATE: &str = "PATCH /v1/teams/{team_id}";
    const MEMBER: &str = "PUT /v1/teams/{team_id}/members/{user_id}";
    const REPOSITORY: &str = "PUT /v1/teams/{team_id}/repositories/{repo_id}";
    const INVITE: &str = "POST /v1/invitations";
    const ACCEPT: &str = "POST /v1/invitations/{invitation_id}/accept";
    const ROLE: &str = "PUT /v1/members/{user_id}";
    vec![
        (CREATE, 201, owner.post("/v1/teams", json!({"name": "New"})).await),
        (CREATE, 409, owner.post("/v1/teams", json!({"name": "new"})).await),
        (CREATE, 400, owner.post("/v1/teams", json!({"name": ""})).await),
        (CREATE, 403, member.post("/v1/teams", json!({"name": "x"})).await),
        ("GET /v1/teams", 200, owner.get("/v1/teams").await),
        ("GET /v1/teams", 200, member.get("/v1/teams").await),
        ("GET /v1/teams/{team_id}", 200, owner.get(&path).await),
        ("GET /v1/teams/{team_id}", 404, member.get(&path).await),
        (UPDATE, 200, owner.patch(&path, json!({"description": "x"})).await),
        (UPDATE, 409, owner.patch(&path, json!({"name": "other"})).await),
        (UPDATE, 412, owner.send(stale).await),
        (MEMBER, 200, owner.put(&person, json!({})).await),
        (MEMBER, 404, owner.put(&format!("{path}/members/x"), json!({})).await),
        (REPOSITORY, 200, owner.put(&app, json!({"permission": "read"})).await),
        (REPOSITORY, 400, owner.put(&app, json!({"permission": "x"})).await),
        (REPOSITORY, 404, owner.put(&format!("{path}/repositories/x"), json!({"permission": "read"})).await),
        ("GET /v1/teams/{team_id}/members", 200, owner.get(&format!("{path}/members")).await),
        ("GET /v1/teams/{team_id}/repositories", 200, owner.get(&format!("{path}/repositories")).await),
        (INVITE, 201, invited),
        (INVITE, 409, owner.post("/v1/invitations", json!({"email": "ADA@example.com"})).await),
        (INVITE, 400, owner.post("/v1/invitations", json!({"email": "ada"})).await),
        ("GET /v1/invitations", 200, owner.get("/v1/invitations").await),
        ("GET /v1/invitations", 403, member.get("/v1/invitations").await),
        (ACCEPT, 404, world.anonymous().post(&accept, wrong).await),
        (ACCEPT, 400, world.anonymous().post(&accept, json!({})).await),
        (ACCEPT, 200, world.anonymous().post(&accept, secret).await),
        ("DELETE /v1/invitations/{invitation_id}", 200, owner.delete(&other).await),
        ("DELETE /v1/invitations/{invitation_id}", 404, owner.delete(&other).await),
        ("GET /v1/members", 200, owner.get("/v1/members").await),
        (ROLE, 200, owner.put(&user, json!({"role": "admin"})).await),
        (ROLE, 409, owner.put(&last, json!({"role": "admin"})).await),
        ("DELETE /v1/teams/{team_id}/members/{user_id}", 200, owner.delete(&person).await),
        ("DELETE /v1/teams/{team_id}/repositories/{repo_id}", 200, owner.delete(&app).await),
        ("DELETE /v1/teams/{team_id}", 200, owner.delete(&path).await),
        ("DELETE /v1/members/{user_id}", 409, owner.delete(&last).await),
        ("DELETE /v1/members/{user_id}", 200, owner.delete(&user).await),
        ("DELETE /v1/members/{user_id}", 404, owner.delete(&user).await),
    ]
}

#[tokio::test]
async fn what_the_api_answers_is_what_the_document_says() {
    let world = World::start().await;
    let document = document();
    let owner = world.owner("acme").await;
    let powerless = world.with_token(&owner, |token| token.scopes = vec![]).await;
    let source = GitRepository::with_commands(&["echo out", "false"]);
    let new = json!({"name": "app", "clone_url": source.url()});
    let mut calls: Vec<(&str, u16, Answer)> = Vec::new();

    const CREATE: &str = "POST /v1/repositories";
    calls.push((CREATE, 201, owner.post("/v1/repositories", new.clone()).await));
    calls.push((CREATE, 409, owner.post("/v1/repositories", new).await));
    let refused: [(u16, Value); 4] = [
        (400, json!({"name": "..", "clone_url": source.url(), "unknown": 1})),
        (400, json!({"name": "b", "clone_url": "ftp://example.com/x"})),
        (400, json!({"name": "b", "clone_url": source.url(), "default_branch": "nope"})),
        (413, json!({"name": "a".repeat(300 * 1024), "clone_url": source.url()})),
    ];
    for (status, body) in refused {
        calls.push((CREATE, status, owner.post("/v1/repositories", body).await));
    }
    let text = async |actor: &Actor, path: &str, kind: &str| {
        actor.send(actor.request(Method::POST, path).header("content-type", kind).body("{")).await
    };
    calls.push((CREATE, 400, text(&owner, "/v1/repositories", "application/json").await));
    calls.push((CREATE, 415, text(&owner, "/v1/repositories", "text/plain").await));

    const DEPLOY: &str = "POST /v1/repositories/{repo_id}/deployments";
    let path = "/v1/repositories/app/deployments";
    let body = json!({"ref": "main", "variables": {"LOG_LEVEL": "debug"}});
    let created = owner.post(path, body).await;
    calls.push((DEPLOY, 400, owner.post(path, json!({"ref": "nope"})).await));
    calls.push((DEPLOY, 400, owner.post(path, json!({"ref": "main", "variables": {"AWS_X": "1"}})).await));
    calls.push((DEPLOY, 404, owner.post("/v1/repositories/nope/deployments", json!({"ref": "main"})).await));
    calls.push((DEPLOY, 415, text(&owner, path, "text/plain").await));

    const TOKEN: &str = "POST /v1/tokens";
    let new = json!({"name": "ci", "scopes": ["tokens:read", "tokens:write"], "expires_in_days": 13});
    let token = owner.post("/v1/tokens", new).await;
    let ci = owner.holding(token.body["token"].as_str().unwrap());
    let one = format!("/v1/tokens/{}", token.body["id"].as_str().unwrap());
    let rotation = format!("{one}/rotate");
    calls.push((TOKEN, 201, token));
    calls.push((TOKEN, 400, owner.post("/v1/tokens", json!({"name": "ci", "scopes": ["x"]})).await));
    calls.push((TOKEN, 403, ci.post("/v1/tokens", json!({"name": "ci", "scopes": ["account:read"]})).await));
    let member = world.member(&owner, Role::Member).await;
    let admin = world.member(&owner, Role::Admin).await;
    for (status, actor) in [(200, &ci), (403, &powerless), (404, &member), (403, &admin)] {
        calls.push(("PATCH /v1/tokens/{token_id}", status, actor.patch(&one, json!({"name": "ci"})).await));
        calls.push(("POST /v1/tokens/{token_id}/rotate", status, actor.post(&rotation, json!({})).await));
        if actor.token != admin.token {
            calls.push(("GET /v1/tokens/{token_id}", status, actor.get(&one).await));
        }
    }
    calls.push(("GET /v1/tokens", 403, member.get("/v1/tokens?user=all").await));
    for (status, actor) in [(403, &powerless), (404, &member), (200, &admin), (404, &owner)] {
        calls.push(("DELETE /v1/tokens/{token_id}", status, actor.delete(&one).await));
    }
    const REGISTER: &str = "POST /v1/applications";
    let token = world.issuer.client_token("ci", world.clock.now());
    let new = |client: &str| json!({"name": "CI", "client_id": client, "access_token": token, "scopes": ["repositories:read"]});
    for (status, actor, body) in [
        (201, &owner, new("ci")),
        (409, &owner, new("ci")),
        (400, &owner, new("")),
        (400, &owner, new("other")),
        (403, &admin, new("other")),
        (403, &powerless, new("other")),
    ] {
        calls.push((REGISTER, status, actor.post("/v1/applications", body).await));
    }
    calls.push(("GET /v1/applications", 200, owner.get("/v1/applications").await));
    for (status, actor) in [(403, &powerless), (403, &admin), (200, &owner), (404, &owner)] {
        let deleted = actor.delete("/v1/applications/ci").await;
        calls.push(("DELETE /v1/applications/{application_id}", status, deleted));
    }
    assert!(calls.iter().any(|(_, _, answer)| answer.headers.contains_key("x-token-expires-at")));

    const PREFLIGHT: &str = "POST /v1/repositories/{repo_id}/deployments/preflight";
    for (status, body) in [(200, json!({"ref": "main"})), (200, json!({"ref": "nope"})), (400, json!({}))] {
        calls.push((PREFLIGHT, status, owner.post(&format!("{path}/preflight"), body).await));
    }
    let late = json!({"ref": "main", "expected_current": "deploy_aaaaaaaaaaaaaaaa"});
    calls.push((DEPLOY, 409, owner.post(path, late).await));
    let with_key = async |key: &str, body: Value| {
        owner.send(owner.request(Method::POST, path).header("idempotency-key", key).json(&body)).await
    };
    let staging = json!({"ref": "main", "environment": "staging"});
    let first = with_key("k", staging.clone()).await;
    owner.ended(&first.body).await;
    calls.push((DEPLOY, 201, first));
    calls.push((DEPLOY, 201, with_key("k", staging).await));
    calls.push((DEPLOY, 422, with_key("k", json!({"ref": "main"})).await));
    calls.push((DEPLOY, 400, with_key("", json!({"ref": "main"})).await));

    let failed = owner.ended(&created.body).await;
    assert!(failed["failure"].is_object() && failed["finished_at"].is_string(), "{failed}");
    let deployment = format!("/v1/deployments/{}", created.body["id"].as_str().unwrap());
    calls.push((DEPLOY, 201, created));
    calls.extend(calls_of_teams(&world, &owner).await);
    let (log, events) = (format!("{deployment}/log"), format!("{deployment}/events"));
    let acts = [
        ("cancel", 409, json!({})),
        ("retry", 201, json!({})),
        ("approve", 409, json!({"sha": "0", "approval_digest": "0"})),
        ("approve", 400, json!({})),
        ("reject", 409, json!({})),
    ];
    for (action, status, body) in acts {
        let key = match action {
            "cancel" => "POST /v1/deployments/{deployment_id}/cancel",
            "retry" => "POST /v1/deployments/{deployment_id}/retry",
            "approve" => "POST /v1/deployments/{deployment_id}/approve",
            _ => "POST /v1/deployments/{deployment_id}/reject",
        };
        let answer = owner.post(&format!("{deployment}/{action}"), body).await;
        if action == "retry" {
            owner.ended(&answer.body).await;
        }
        calls.push((key, status, answer));
    }
    const UPDATE: &str = "PATCH /v1/repositories/{repo_id}/environments/{environment}";
    let production = "/v1/repositories/app/environments/production";
    calls.push((UPDATE, 200, owner.patch(production, json!({"required_approvals": 1})).await));
    calls.push((UPDATE, 400, owner.patch(production, json!({"required_approvals": 7})).await));
    let to_production = json!({"ref": "main", "environment": "production"});
    let waiting = owner.post(path, to_production.clone()).await;
    calls.push((DEPLOY, 201, waiting.clone()));
    const APPROVE: &str = "POST /v1/deployments/{deployment_id}/approve";
    let approval = tests::approval(&waiting.body);
    calls.push((APPROVE, 409, owner.act(&waiting.body, "approve", approval.clone()).await));
    const GET: &str = "GET /v1/deployments/{deployment_id}";
    let url = waiting.body["url"].as_str().unwrap();
    calls.push((GET, 200, owner.get(url).await));
    calls.push((UPDATE, 200, owner.patch(production, json!({"frozen": true})).await));
    calls.push((DEPLOY, 409, owner.post(path, to_production).await));
    let ann = world.member(&owner, Role::Admin).await;
    calls.push((APPROVE, 200, ann.act(&waiting.body, "approve", approval).await));
    calls.push((GET, 200, owner.get(url).await));
    calls.push(("POST /v1/deployments/{deployment_id}/reject", 200, ann.act(&waiting.body, "reject", json!({})).await));
    const ROLLBACK: &str = "POST /v1/repositories/{repo_id}/rollback";
    let rollback = "/v1/repositories/app/rollback";
    calls.push((ROLLBACK, 409, owner.post(rollback, json!({"environment": "staging"})).await));
    calls.push((ROLLBACK, 400, owner.post(rollback, json!({"environment": "preview"})).await));

    let gets = [
        ("GET /v1/repositories", "/v1/repositories", [200, 403]),
        ("GET /v1/repositories", "/v1/repositories?per_page=0", [400, 403]),
        ("GET /v1/repositories", "/v1/repositories?cursor=x", [400, 403]),
        ("GET /v1/repositories/{repo_id}", "/v1/repositories/app", [200, 403]),
        ("GET /v1/repositories/{repo_id}", "/v1/repositories/nope", [404, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", path, [200, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", "/v1/repositories/app/deployments?sort=name", [400, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", "/v1/repositories/app/deployments?status=x", [400, 403]),
        ("GET /v1/deployments/{deployment_id}", &deployment, [200, 403]),
        ("GET /v1/deployments/{deployment_id}", "/v1/deployments/nope", [404, 403]),
        ("GET /v1/deployments/{deployment_id}/log", &log, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/events", &events, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/events", &format!("{events}?limit=0"), [400, 403]),
        ("GET /v1/repositories/{repo_id}/environments", "/v1/repositories/app/environments", [200, 403]),
        ("GET /v1/repositories/{repo_id}/environments/{environment}", production, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/log", &format!("{log}?limit=0"), [400, 403]),
        ("GET /v1/tokens", "/v1/tokens", [200, 403]),
        ("GET /v1/tokens", "/v1/tokens?user=x", [400, 403]),
        ("GET /v1/applications", "/v1/applications?sort=name", [400, 403]),
        ("GET /v1/user", "/v1/user", [200, 200]),
        ("GET /v1/rate_limit", "/v1/rate_limit", [200, 200]),
        ("GET /v1/openapi.json", "/v1/openapi.json", [200, 200]),
    ];
    for (key, path, [status, without_scope]) in gets {
        calls.push((key, status, owner.get(path).await));
        calls.push((key, without_scope, powerless.get(path).await));
        let public = key == "GET /v1/openapi.json";
        calls.push((key, if public { 200 } else { 401 }, world.anonymous().get(path).await));
        world.clock.advance(Duration::from_secs(5));
    }
    let anonymous = world.anonymous();
    for _ in 0..20 {
        anonymous.get("/v1/openapi.json").await;
    }
    for &(key, ..) in CASES {
        if let Some((method, path)) = key.split_once(' ') {
            calls.push((key, 429, anonymous.send(anonymous.request(method.parse().unwrap(), path)).await));
        }
    }

    assert!(calls.iter().any(|(_, _, answer)| answer.body["data"][0]["text"].is_string()), "a log with lines");
    for (key, status, answer) in calls {
        assert_eq!(answer.status, status, "{key}: {answer:?}");
        documented(&document, key, &answer);
    }
}
