//! Retries and rollbacks.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World, buildspec};

async fn deploy_to_production(world: &World, owner: &Actor) -> Value {
    // A ref that was read within the last second is not read again.
    world.clock.advance(Duration::from_secs(2));
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    owner.ended(&created).await
}

fn origin(kind: &str, of: &Value) -> Value {
    json!({"kind": kind, "deployment_id": of["id"], "number": of["number"]})
}

#[tokio::test]
async fn a_retry_deploys_the_same_commit_with_the_same_variables() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source =
        GitRepository::with_commands(&[r#"test "$KEY" = hunter22 && echo "the key is $KEY at $GIT_SHA" && false"#]);
    owner.repository("app", &source).await;
    let body =
        json!({"ref": "main", "environment": "staging", "variables": {"KEY": {"value": "hunter22", "secret": true}}});
    let first = owner.deploy("app", body).await;
    let first = owner.ended(&first).await;
    assert_eq!(first["failure"]["code"], "command_failed");
    source.commit(&[("later", "")]);

    let retried = owner.act(&first, "retry", json!({})).await;
    assert_eq!(retried.status, 201, "{retried:?}");
    assert_eq!(retried.header("location"), retried.body["url"]);
    assert_eq!(retried.body["origin"], origin("retry", &first));
    for field in ["sha", "ref", "environment", "repository_id", "created_by"] {
        assert_eq!(retried.body[field], first[field], "{field}");
    }
    assert_eq!(retried.body["number"], 2);
    owner.ended(&retried.body).await;
    let line = format!("stdout: the key is *** at {}", first["sha"].as_str().unwrap());
    assert!(owner.log(&retried.body).await.contains(&line), "{:?}", owner.log(&retried.body).await);
    assert_eq!(owner.deployment(&first).await, first, "the first one stays as it is");
}

#[tokio::test]
async fn only_what_has_ended_can_be_retried() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    owner.act(&created, "retry", json!({})).await.refused(409, "not_finished");
    world.lose_a_runner(&owner, &created).await;
    owner.act(&created, "retry", json!({})).await.refused(409, "not_finished");
    owner.set("app", "preview", json!({"frozen": true})).await;
    let other = world.owner("other").await;
    other.act(&created, "retry", json!({})).await.refused(404, "not_found");
    let listed = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!(listed.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_rollback_goes_back_to_what_succeeded_before_and_a_second_one_further() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let path = "/v1/repositories/app/rollback";
    let production = json!({"environment": "production"});
    owner.post(path, production.clone()).await.refused(409, "nothing_to_roll_back");
    let first = deploy_to_production(&world, &owner).await;
    owner.post(path, production.clone()).await.refused(409, "nothing_to_roll_back");
    source.commit(&[("2", "")]);
    let second = deploy_to_production(&world, &owner).await;
    source.commit(&[("buildspec.yml", &buildspec(&["false"]))]);
    let failed = deploy_to_production(&world, &owner).await;
    assert_eq!(failed["status"], "failed");
    source.commit(&[("buildspec.yml", &buildspec(&["true"]))]);
    let third = deploy_to_production(&world, &owner).await;

    // The git host is gone.
    std::fs::remove_dir_all(source.path().join(".git")).unwrap();
    for target in [&second, &first] {
        let rollback = owner.post(path, production.clone()).await;
        assert_eq!(rollback.status, 201, "{rollback:?}");
        assert_eq!((&rollback.body["origin"], &rollback.body["sha"]), (&origin("rollback", target), &target["sha"]));
        assert_eq!(owner.ended(&rollback.body).await["status"], "succeeded");
        let live = owner.get("/v1/repositories/app/environments/production").await.body["live"].clone();
        assert_eq!((&live["deployment_id"], &live["sha"]), (&rollback.body["id"], &target["sha"]));
    }
    owner.post(path, production).await.refused(409, "nothing_to_roll_back");

    let to = |deployment: &Value| json!({"environment": "production", "deployment_id": deployment["id"]});
    let forward = owner.post(path, to(&third)).await;
    assert_eq!((forward.status, &forward.body["sha"]), (201, &third["sha"]), "{forward:?}");
    for (body, message) in [
        (to(&failed), "must name a deployment that succeeded"),
        (
            json!({"environment": "staging", "deployment_id": third["id"]}),
            "must name a deployment of this repository to",
        ),
        (json!({"environment": "production", "deployment_id": "deploy_aaaaaaaaaaaaaaaa"}), "must name a deployment of"),
        (json!({"environment": "preview"}), "is required in preview"),
    ] {
        let refused = owner.post(path, body).await;
        refused.refused(400, "invalid_request");
        let detail = &refused.body["error"]["details"][0];
        assert_eq!(detail["field"], "deployment_id");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{detail}");
    }
}
