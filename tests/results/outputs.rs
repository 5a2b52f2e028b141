//! The outputs of builds, and the URL of an environment among them.

use std::time::Duration;

use serde_json::json;
use tests::buildspec;

use super::Results;

fn exporting(names: &str, commands: &[&str]) -> String {
    format!("{}env:\n  exported-variables: [{names}]\n", buildspec(commands))
}

#[tokio::test]
async fn exported_variables_are_outputs_in_which_secrets_are_masked() {
    let spec = exporting("VERSION, LEAK, UNSET", &["export VERSION=1.2.0", "export LEAK=key-$API_KEY"]);
    let results = Results::of(&spec).await;
    let ended = results.deployed(json!({"API_KEY": {"value": "hunter22", "secret": true}})).await;
    let log = results.owner.log(&ended).await;
    assert_eq!(ended["status"], "succeeded", "{log:?}");
    assert_eq!(
        (&ended["outputs"]["VERSION"], &ended["outputs"]["LEAK"]),
        (&json!("1.2.0"), &json!("key-***")),
        "{log:?}"
    );
    assert_eq!(ended["outputs"].get("UNSET"), None);
    assert_eq!(ended["environment_url"], json!(null));
    let list = results.owner.get("/v1/repositories/app/deployments").await.body;
    assert_eq!(list["data"][0]["outputs"], json!(null), "a list has none");
    assert!(!json!(results.world.items().await).to_string().contains("hunter22"));
}

#[tokio::test]
async fn the_url_of_a_deployment_is_that_of_its_environment() {
    let spec = exporting("DEPLOYMENT_URL", &["export DEPLOYMENT_URL=https://$NAME.example.com"]);
    let results = Results::of(&spec).await;
    for environment in ["production", "preview"] {
        let body = json!({"ref": "main", "environment": environment, "variables": {"NAME": {"value": "pr-7", "secret": true}}});
        let ended = results.owner.ended(&results.owner.deploy("app", body).await).await;
        let log = results.owner.log(&ended).await;
        // The name is secret, so that the host is not the build's.
        assert_eq!(ended["outputs"], json!({"DEPLOYMENT_URL": "https://***.example.com"}));
        assert_eq!(ended["environment_url"], json!(null));
        let note =
            "system: DEPLOYMENT_URL is no URL of the environment: it must be an http or https URL without secrets";
        assert!(log.contains(&note.to_owned()), "{log:?}");
    }
    results.world.clock.advance(Duration::from_secs(60));
    results.source.commit(&[("buildspec.yml", &spec.replace("$NAME", "pr-8"))]);
    for environment in ["production", "preview"] {
        let created = results.owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
        let ended = results.owner.ended(&created).await;
        assert_eq!(ended["environment_url"], "https://pr-8.example.com/");
        let state = results.owner.get(&format!("/v1/repositories/app/environments/{environment}")).await.body;
        assert_eq!(state["live"]["environment_url"], ended["environment_url"], "{state}");
        let list = results.owner.get(&format!("/v1/repositories/app/deployments?environment={environment}")).await.body;
        assert_eq!(list["data"][0]["environment_url"], ended["environment_url"]);
        let again = results.owner.ended(&results.owner.act(&ended, "retry", json!({})).await.body).await;
        assert_eq!(again["environment_url"], ended["environment_url"], "as its own build told");
    }
}

#[tokio::test]
async fn outputs_have_bounds_and_the_log_says_what_is_left_out() {
    let spec = exporting("SMALL, LARGE", &["export SMALL=a", "export LARGE=$(printf '%05000d' 0)"]);
    let results = Results::of(&spec).await;
    let ended = results.deployed(json!({})).await;
    let log = results.owner.log(&ended).await;
    assert_eq!(ended["outputs"], json!({"SMALL": "a"}), "{log:?}");
    let note =
        "system: The variable LARGE is not exported: a deployment has at most 50 outputs of 4096 bytes together.";
    assert!(log.contains(&note.to_owned()), "{log:?}");
}
