//! The examples of the OpenAPI document.

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
