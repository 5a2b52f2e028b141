use serde_json::json;
use tests::{GitRepository, World};

#[tokio::test]
async fn a_deployment_runs_to_its_end() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo deploying $GIT_SHA"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    assert_eq!(created["status"], "queued");

    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let line = format!("stdout: deploying {}", source.git(&["rev-parse", "HEAD"]));
    let log = owner.log(&created).await;
    assert!(log.contains(&line), "{log:?}");
}
