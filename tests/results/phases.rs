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

#[tokio::test]
async fn the_event_that_ends_a_deployment_has_the_commands_of_its_build() {
    let spec = "version: 0.2\nphases:\n  install: {commands: 'true'}\n  build:\n    commands: ['echo $TOKEN hunter22', exit 3]\n    finally: ['true']\n    on-failure: RETRY-1\n";
    let results = Results::of(spec).await;
    let ended = results.deployed(json!({"TOKEN": {"value": "hunter22", "secret": true}})).await;
    let events = results.owner.get(&format!("{}/events", super::path(&ended))).await.body;
    let events = events["data"].as_array().unwrap();
    let (last, others) = events.split_last().unwrap();
    assert!(others.iter().all(|event| event["commands"] == json!([])), "{others:?}");
    let facts: Vec<_> = last["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|command| {
            let names = ["number", "phase", "attempt", "command", "status", "exit_code", "signal"];
            // The clock of the test stands.
            assert_eq!((&command["started_at"], &command["duration_ms"]), (&ended["started_at"], &json!(0)));
            Value::Array(names.map(|name| command[name].clone()).to_vec())
        })
        .collect();
    let build = |first: u64, attempt: u32| {
        [
            json!([first, "build", attempt, "echo $TOKEN ***", "succeeded", 0, null]),
            json!([first + 1, "build", attempt, "exit 3", "failed", 3, null]),
            json!([first + 2, "build", attempt, "true", "succeeded", 0, null]),
        ]
    };
    let install = json!([1, "install", 1, "true", "succeeded", 0, null]);
    assert_eq!(facts, [vec![install], build(2, 1).to_vec(), build(5, 2).to_vec()].concat());
}

#[tokio::test]
async fn of_many_commands_the_last_are_kept() {
    let commands: Vec<_> = (1..=103).map(|number| format!("test {number} -lt 103")).collect();
    let commands: Vec<_> = commands.iter().map(String::as_str).collect();
    let results = Results::of(&tests::buildspec(&commands)).await;
    let ended = results.deployed(json!({})).await;
    let events = results.owner.get(&format!("{}/events", super::path(&ended))).await.body;
    let kept = events["data"].as_array().unwrap().last().unwrap()["commands"].as_array().unwrap().clone();
    let facts = |command: &Value| (command["number"].as_u64().unwrap(), command["status"].as_str().unwrap().to_owned());
    assert_eq!((kept.len(), facts(&kept[0])), (100, (4, "succeeded".to_owned())));
    assert_eq!(facts(&kept[99]), (103, "failed".to_owned()));
}
