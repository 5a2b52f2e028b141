//! The phases of builds.

use serde_json::{Value, json};

use super::Results;

fn facts(deployment: &Value) -> Vec<Value> {
    let facts = |phase: &Value| json!([phase["name"], phase["status"], phase["attempts"], phase["failed_command"]]);
    deployment["phases"].as_array().unwrap().iter().map(facts).collect()
}

#[tokio::test]
async fn a_deployment_has_the_phases_of_its_build_and_the_command_that_failed() {
    let spec = "version: 0.2\nphases:\n  install: {commands: 'true'}\n  build: {commands: ['true', exit 3], on-failure: RETRY-2}\n";
    let results = Results::of(spec).await;
    let created = results.owner.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(created["phases"], json!([]));
    let ended = results.owner.ended(&created).await;
    // The clock of the test stands.
    let failed = json!({"command": "exit 3", "exit_code": 3, "signal": null, "duration_ms": 0});
    let expected = [json!(["install", "succeeded", 1, null]), json!(["build", "failed", 3, failed])];
    assert_eq!(facts(&ended), expected);
    for phase in ended["phases"].as_array().unwrap() {
        assert_eq!((&phase["started_at"], &phase["duration_ms"]), (&ended["started_at"], &json!(0)));
    }
    let list = results.owner.get("/v1/repositories/app/deployments").await.body;
    assert_eq!(list["data"][0]["phases"], ended["phases"]);
    let row = results.world.stored(&results.owner, &ended).await;
    assert!(!row.has_results, "the write that ended the deployment has the phases");

    results.source.commit(&[("buildspec.yml", &spec.replace("exit 3", "'true'"))]);
    let retried = results.owner.ended(&results.owner.deploy("app", json!({"ref": "main"})).await).await;
    assert_eq!(facts(&retried), [json!(["install", "succeeded", 1, null]), json!(["build", "succeeded", 1, null])]);
    results.source.commit(&[("buildspec.yml", "version: 0.2\nphases: {}\n")]);
    let refused = results.owner.ended(&results.owner.deploy("app", json!({"ref": "main"})).await).await;
    assert_eq!((&refused["status"], &refused["phases"]), (&json!("failed"), &json!([])));
}
