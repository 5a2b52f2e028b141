//! The examples of the OpenAPI document.

use serde_json::{Value, json};
use tests::read_file;

use super::schema::conforms;
use super::{document, operations};

#[test]
fn each_example_of_an_operation_is_one_that_its_schema_allows() {
    let document = document();
    for (key, operation) in operations(&document) {
        let body = operation.pointer("/requestBody/content/application~1json");
        let responses = operation["responses"].as_object().unwrap().iter();
        let answers = responses.filter(|(status, _)| status.starts_with('2'));
        let answers = answers.filter_map(|(_, response)| response.pointer("/content/application~1json"));
        for media_type in body.into_iter().chain(answers) {
            let examples = media_type["examples"].as_object();
            assert!(examples.is_some() || key == "GET /v1/openapi.json", "{key} has no example");
            for example in examples.into_iter().flatten().map(|(_, example)| &example["value"]) {
                conforms(&document, &media_type["schema"], example, &key).unwrap();
            }
        }
    }
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
