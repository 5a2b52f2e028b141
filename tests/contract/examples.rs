//! The examples of the OpenAPI document.

use std::time::Duration;

use serde_json::{Value, json};
use tests::estate::{Estate, in_order, request};
use tests::{GitRepository, World, read_file};

use super::{conforms, document, operations};
use crate::inputs::resolved;

/// The operation whose caller has no account yet. `tests/oauth/linking.rs` calls it.
const OF_NEWCOMERS: &str = "join-account";

/// Asserts that an example shows each field of an answer that its schema names, with a value of the same type.
fn shows(document: &Value, schema: &Value, example: &Value, answer: &Value, at: &str) {
    let schema = resolved(document, schema);
    match (example, answer) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(example), Value::Object(answer)) => {
            let named = answer.iter().filter_map(|(name, value)| Some((name, schema["properties"].get(name)?, value)));
            for (name, schema, value) in named {
                let shown = example.get(name).unwrap_or_else(|| panic!("the example of {at} lacks {name}"));
                shows(document, schema, shown, value, &format!("{at}.{name}"));
            }
        }
        (Value::Array(example), Value::Array(answer)) => {
            for (shown, value) in example.iter().zip(answer) {
                shows(document, &schema["items"], shown, value, &format!("{at}[]"));
            }
        }
        _ => {
            let kind = std::mem::discriminant::<Value>;
            let is_any = schema.get("type").is_none();
            assert!(is_any || kind(example) == kind(answer), "{at}: {example} and {answer}");
        }
    }
}

#[tokio::test]
async fn the_example_of_a_success_shows_what_the_example_of_the_request_is_answered_with() {
    let world = World::start().await;
    let source = GitRepository::with_commands(&["true"]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    let operations = operations(&document);
    let mut compared = 0;
    for route in in_order().into_iter().filter(|route| route.function != OF_NEWCOMERS) {
        let key = route.key();
        let Some(operation) = operations.get(&key) else { continue };
        // The source address may send another request without a token.
        world.clock.advance(Duration::from_secs(2));
        if ["retry-deployment", "create-rollback"].contains(&route.function) {
            estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
        }
        let parameters = estate.ready(&world, route.function).await;
        let caller = if operation["security"] == json!([]) { world.anonymous() } else { estate.caller(&key).clone() };
        let answer = caller.send(request(&caller, &key, &parameters)).await;
        assert!((200..300).contains(&answer.status), "{key}: {answer:?}");
        let response = &operation["responses"][answer.status.to_string()];
        let Some(content) = response.pointer("/content/application~1json") else { continue };
        conforms(&document, &content["schema"], &answer.body, &key).unwrap_or_else(|wrong| {
            assert_eq!(key, "GET /v1/openapi.json", "{wrong}");
        });
        for example in content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]) {
            shows(&document, &content["schema"], example, &answer.body, &key);
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared} answers were compared");
}

#[test]
fn each_example_of_an_operation_is_one_that_its_schema_allows() {
    let document = document();
    for (key, operation) in operations(&document) {
        let body = operation.pointer("/requestBody/content/application~1json");
        let responses = operation["responses"].as_object().unwrap().iter();
        let answers = responses.filter(|(status, _)| status.starts_with('2'));
        let answers = answers.filter_map(|(_, response)| response.pointer("/content/application~1json"));
        let form = operation.pointer("/requestBody/content/application~1x-www-form-urlencoded");
        for media_type in body.into_iter().chain(form).chain(answers) {
            let examples = media_type["examples"].as_object();
            assert!(examples.is_some() || key == "GET /v1/openapi.json", "{key} has no example");
            for example in examples.into_iter().flatten().map(|(_, example)| &example["value"]) {
                conforms(&document, &media_type["schema"], example, &key).unwrap();
            }
        }
    }
}

#[test]
fn the_example_of_an_event_has_the_id_of_a_resource_of_its_kind() {
    let document = document();
    let webhooks = document["webhooks"].as_object().unwrap();
    for (name, item) in webhooks {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        let example = &content["examples"]["event"]["value"];
        conforms(&document, &content["schema"], example, name).unwrap();
        let (kind, _) = name.split_once('.').unwrap();
        let target = &example["data"]["target"];
        let (target, ordering_key) = (target["id"].as_str().unwrap(), example["ordering_key"].as_str().unwrap());
        let (schema, rest) = match kind {
            "account" => ("AccountId", None),
            "application" => ("ClientId", None),
            "connection" => ("ConnectionId", None),
            "deployment" => ("DeploymentId", None),
            "environment" => ("RepositoryId", Some("preview")),
            "hook" => ("HookId", None),
            "invitation" => ("InvitationId", None),
            "member" => ("UserId", None),
            "repository" => ("RepositoryId", None),
            "session" => ("SessionId", None),
            "team" => ("TeamId", None),
            "token" => ("TokenId", None),
            "trust" => ("TrustId", None),
            "variable" => ("RepositoryId", Some("preview/API_URL")),
            "webhook" => ("WebhookId", None),
            other => panic!("{other} has no id"),
        };
        let of = |schema: &str| document["components"]["schemas"][schema]["examples"][0].as_str().unwrap();
        let expected = rest.map_or(of(schema).to_owned(), |rest| format!("{}/{rest}", of(schema)));
        assert_eq!(target, expected, "{name}");
        let ordered_by = if name == "trust.exchanged" { of("TokenId") } else { target };
        assert_eq!(ordering_key, ordered_by, "{name}");
    }
    assert!(webhooks.len() > 50, "{}", webhooks.len());
}

#[test]
fn the_examples_of_an_error_tell_what_is_wrong_and_what_is_used_up() {
    let document = document();
    let schema = &document["components"]["schemas"]["ErrorEnvelope"];
    let examples = schema["examples"].as_array().unwrap();
    assert_eq!(
        examples.iter().map(|example| &example["error"]["code"]).collect::<Vec<_>>(),
        ["invalid_ref", "build_minutes_exhausted"]
    );
    for example in examples {
        conforms(&document, schema, example, "an error").unwrap();
        let page = format!("/docs/errors/{}", example["error"]["code"].as_str().unwrap());
        assert_eq!(example["error"]["doc_url"], page);
    }
}

#[test]
fn the_example_of_a_queued_deployment_says_what_it_waits_for() {
    let document = document();
    let content = &operations(&document)["GET /v1/deployments/{deployment_id}"]["responses"]["200"]["content"];
    let example = &content["application/json"]["examples"]["response"]["value"];
    assert_eq!((&example["status"], &example["queue"]["blocked_by"]["kind"]), (&json!("queued"), &json!("capacity")));
}

#[test]
fn a_delivery_to_a_hook_has_the_push_of_a_git_host_and_its_proofs() {
    let document = document();
    let operation = &document["paths"]["/v1/hooks/{hook_id}"]["post"];
    let body = &operation["requestBody"];
    let push: Value = serde_json::from_str(&read_file("tests/hooks/payloads/github-push.json")).unwrap();
    let example = &body["content"]["application/json"]["examples"]["request"]["value"];
    assert_eq!((&body["required"], &example["ref"]), (&json!(false), &push["ref"]));
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(fields(example).iter().all(|field| fields(&push).contains(field)), "{example}");
    let parameters = operation["parameters"].as_array().unwrap();
    let headers = parameters.iter().filter(|parameter| parameter["in"] == "header");
    let headers: Vec<_> =
        headers.map(|header| (&header["name"], &header["required"], &header["schema"]["type"])).collect();
    for name in ["X-Hub-Signature-256", "X-Gitea-Signature", "X-Hub-Signature", "X-Gitlab-Token", "webhook-signature"] {
        assert!(headers.contains(&(&json!(name), &json!(false), &json!("string"))), "{name}: {headers:?}");
    }
}

#[test]
fn the_properties_of_a_schema_are_in_the_order_of_their_declarations() {
    let text = read_file("functions/get-openapi/openapi.json");
    for (schema, expected) in [
        ("NewDeployment", ["ref", "environment", "variables"]),
        ("Deployment", ["id", "status", "url"]),
        ("LogLine", ["number", "at", "stream"]),
    ] {
        let (_, rest) = text.split_once(&format!("\n      \"{schema}\": {{")).unwrap();
        let (_, rest) = rest.split_once("\n        \"properties\": {").unwrap();
        let names = rest.lines().filter_map(|line| line.strip_prefix("          \"")?.strip_suffix("\": {"));
        assert_eq!(names.take(3).collect::<Vec<_>>(), expected, "{schema}");
    }
}
