//! The examples of the OpenAPI document.

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
