//! References of buildspecs to Parameter Store and Secrets Manager.

use serde_json::{Value, json};
use shared::settings::VALUES_FROM_AWS;

use super::Here;

const STORES: &str =
    "env:\n  parameter-store: {LOGIN: /app/login, PORT: /app/port}\n  secrets-manager: {TOKEN: 'app:token'}\n";

#[tokio::test]
async fn codebuild_takes_from_aws_what_no_variable_stands_for_if_the_operator_allows_it() {
    let allowed = (VALUES_FROM_AWS, "allowed".to_owned());
    let Some(here) = Here::start_with(|options| options.overrides.push(allowed)).await else { return };
    here.commit(&(tests::buildspec(&["make"]) + STORES));
    let (created, _) = here.building(json!({"PORT": "8080"})).await;
    let start = here.moto.calls("CodeBuild_20161006.StartBuild").pop().unwrap();
    let read: Value = serde_json::from_str(start["buildspecOverride"].as_str().unwrap()).unwrap();
    let references = json!({"parameter-store": {"LOGIN": "/app/login"}, "secrets-manager": {"TOKEN": "app:token"}});
    assert_eq!(read["env"], references);
    let variables = start["environmentVariablesOverride"].as_array().unwrap();
    let port = json!({"name": "PORT", "value": "8080", "type": "PLAINTEXT"});
    assert!(variables.contains(&port), "{variables:?}");
    let note = "system: AWS CodeBuild takes from AWS, without a variable of the name: LOGIN, TOKEN";
    let log = here.owner.log(&created).await;
    assert!(log.contains(&note.to_owned()), "{log:?}");
}

#[tokio::test]
async fn a_reference_that_no_variable_stands_for_fails_a_deployment_unless_the_operator_allows_it() {
    for setting in [None, Some("forbidden")] {
        let setting = setting.map(|value| (VALUES_FROM_AWS, value.to_owned()));
        let Some(here) = Here::start_with(|options| options.overrides.extend(setting)).await else { return };
        here.commit(&(tests::buildspec(&["make"]) + STORES));
        let variables = json!({"PORT": "8080", "LOGIN": "ada"});
        let created = here.owner.deploy("app", json!({"ref": "main", "variables": variables})).await;
        let ended = here.owner.ended(&created).await;
        assert_eq!(ended["failure"]["code"], "variables_missing", "{ended}");
        assert!(ended["failure"]["message"].as_str().unwrap().contains("takes TOKEN from AWS"), "{ended}");
        assert_eq!(here.moto.calls("CodeBuild_20161006.StartBuild").len(), 0);
    }
}
