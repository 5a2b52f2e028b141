//! Exported variables of builds.

use serde_json::json;

use super::{Here, event};

#[tokio::test]
async fn exported_variables_of_a_build_are_outputs_without_what_is_not_the_builds_own() {
    let Some(here) = Here::start().await else { return };
    here.owner.put("/v1/account/variables/DATABASE_PASSWORD", json!({"value": "correct horse", "secret": true})).await;
    here.owner.put("/v1/account/variables/REGION", json!({"value": "eu-central-1"})).await;
    let variables = json!({"API_KEY": {"value": "hunter22", "secret": true}, "LOG_LEVEL": "debug"});
    let (created, stored) = here.building(variables).await;
    let mut ended = event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED");
    ended["detail"]["additional-information"]["exported-environment-variables"] = json!([
        {"name": "API_KEY", "value": "hunter22"},
        {"name": "LOG_LEVEL", "value": "debug"},
        {"name": "DATABASE_PASSWORD", "value": "correct horse"},
        {"name": "REGION", "value": "eu-central-1"},
        {"name": "DEPLOYMENT_URL", "value": "https://pr-7.example.com/"},
        {"name": "SOURCE", "value": format!("archive/{}/source.zip", stored.source_prefix())},
        {"name": "LARGE", "value": "x".repeat(5000)},
    ]);
    assert_eq!(here.told(&ended).await.unwrap(), "succeeded");
    let found = here.status(&created).await;
    let prefix = format!("archive/deployments/{}/{}", stored.account_id, stored.id);
    let expected = json!({
        "API_KEY": "***", "DATABASE_PASSWORD": "***", "DEPLOYMENT_URL": "https://pr-7.example.com/",
        "LOG_LEVEL": "debug", "REGION": "eu-central-1", "SOURCE": format!("{prefix}/cap_***/source.zip"),
    });
    assert_eq!((&found["outputs"], &found["environment_url"]), (&expected, &json!("https://pr-7.example.com/")));
}
