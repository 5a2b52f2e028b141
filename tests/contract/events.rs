//! The types of events in the code, in the OpenAPI document and in the documentation.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::model::Action;
use tests::read_file;

use super::{conforms, document};

#[test]
fn the_document_and_the_documentation_have_each_type_of_events() {
    let types: BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    let document = document();
    let described: BTreeSet<_> = document["webhooks"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, types);

    let page = read_file("infra/docs/webhooks.md");
    let (_, table) = page.split_once("| types | events of |\n|---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.split(" | ").next());
    let listed: Vec<_> = rows.flat_map(|types| types.split('`').skip(1).step_by(2)).collect();
    assert_eq!(BTreeSet::from_iter(listed.iter().copied()), types);
    assert_eq!(listed.len(), types.len(), "each once");
}

#[test]
fn each_type_of_events_has_a_message_with_data_of_its_own() {
    let document = document();
    let mut schemas = BTreeSet::new();
    for (name, item) in document["webhooks"].as_object().unwrap() {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        assert!(schemas.insert(content["schema"]["$ref"].as_str().unwrap()), "{name}");
        let example = &content["examples"]["event"]["value"];
        conforms(&document, &content["schema"], example, name).unwrap();
        assert_eq!(example["type"], **name);
        assert_eq!(Some(example["data"]["target"]["type"].as_str().unwrap()), name.split('.').next());
    }

    let message = |of: &str| document["webhooks"][of]["post"]["requestBody"]["content"]["application/json"].clone();
    let (deployment, member) = (message("deployment.failed"), message("member.updated"));
    let example = |content: &Value| content["examples"]["event"]["value"].clone();
    assert!(example(&deployment)["data"]["repository"]["id"].is_string());
    let mut sent = example(&member);
    sent["data"]["environment"] = Value::Null;
    conforms(&document, &member["schema"], &sent, "a member has no environment").unwrap();
    conforms(&document, &deployment["schema"], &example(&member), "another type").unwrap_err();
}
