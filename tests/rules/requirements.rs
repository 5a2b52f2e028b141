//! The environments in which a commit has to succeed first.

use aws_sdk_dynamodb::types::AttributeValue;

use super::*;

async fn refused(owner: &Actor, environment: &str) {
    let (gate, outcome) = gate(owner, to_production("main"), "requires").await;
    let refused = owner.post(DEPLOYMENTS, to_production("main")).await;
    refused.refused(409, "requirement_not_met");
    let told = format!("The commit has not succeeded in {environment} within a year; deploy it there first");
    assert_eq!((message(&refused), &gate["message"], outcome), (told.as_str(), &json!(told), json!("refused")));
}

#[tokio::test]
async fn a_commit_is_deployed_after_it_has_succeeded_in_each_required_environment() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    owner.set("app", "production", json!({"requires": ["staging", "preview"]})).await;
    refused(&owner, "staging").await;
    let to = async |environment: &str| {
        let created = owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
        owner.ended(&created).await["status"].clone()
    };
    assert_eq!(to("staging").await, "succeeded");
    refused(&owner, "preview").await;
    assert_eq!(to("preview").await, "succeeded");
    assert_eq!(gate(&owner, to_production("main"), "requires").await.0["passes"], true);
    assert_eq!(to("production").await, "succeeded");

    // Another commit starts from the beginning, and a failure is no success.
    source.commit(&[("buildspec.yml", &tests::buildspec(&["false"]))]);
    assert_eq!(to("staging").await, "failed");
    refused(&owner, "staging").await;
    owner.set("app", "production", json!({"requires": null})).await;
    let failed = deploy_to_production(&owner).await;
    owner.ended(&failed).await;
    owner.set("app", "production", json!({"requires": ["staging"]})).await;
    owner.act(&failed, "retry", json!({})).await.refused(409, "requirement_not_met");
}

#[tokio::test]
async fn a_success_counts_for_a_year() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"requires": ["staging"]})).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    owner.ended(&created).await;
    let (account, repository) = (owner.account_id.as_ref().unwrap(), created["repository_id"].as_str().unwrap());
    let pk = format!("ACCT#{account}#REPO#{repository}");
    let sk = format!("SUCCEEDED#staging#{}", created["sha"].as_str().unwrap());
    let now = world.clock.now().as_seconds();
    let year = AttributeValue::N((now + 365 * 86_400).to_string());
    assert_eq!(world.item(pk.clone(), &sk).await["expires_at"], year);
    let ends_at = async |at: i64| {
        world.set_attribute((&pk, &sk), "expires_at", AttributeValue::N(at.to_string())).await;
    };
    for _ in 0..2 {
        ends_at(now + 1).await;
        owner.ended(&deploy_to_production(&owner).await).await;
    }
    // DynamoDB deletes an item some time after its end.
    ends_at(now).await;
    refused(&owner, "staging").await;
    // What was in production may return there.
    let rollback = owner.post("/v1/repositories/app/rollback", json!({"environment": "production"})).await;
    assert_eq!(rollback.status, 201, "{rollback:?}");
}

/// Starts a world in which staging needs an approval and production a success in staging. Returns it with its owner, somebody who
/// approves, and the source.
async fn staged() -> (World, Actor, Actor, tests::GitRepository) {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "staging", json!({"required_approvals": 1})).await;
    owner.set("app", "production", json!({"requires": ["staging"]})).await;
    (world, owner, ann, source)
}

async fn deploy_to(owner: &Actor, environment: &str) -> Value {
    owner.deploy("app", json!({"ref": "main", "environment": environment})).await
}

#[tokio::test]
async fn a_deployment_waits_for_one_of_its_commit_that_is_on_its_way_and_starts_when_it_succeeds() {
    let (_world, owner, ann, source) = staged().await;
    refused(&owner, "staging").await;
    let ahead = deploy_to(&owner, "staging").await;
    let (gate, outcome) = gate(&owner, to_production("main"), "requires").await;
    let told = format!("{} has to succeed in staging first", ahead["id"].as_str().unwrap());
    assert_eq!((&gate["passes"], &gate["message"], outcome), (&json!(false), &json!(told), json!("waits")));
    let created = deploy_to_production(&owner).await;
    let expected =
        json!({"kind": "requirement", "deployment_id": ahead["id"], "position": null, "until": null, "reason": null});
    assert_eq!(blocked_by(&owner, &created).await, expected);
    assert_eq!(owner.deployment(&created).await["queue"]["deadline"], "2026-01-02T12:00:00Z");

    // Another commit is not on its way.
    source.commit(&[("README.md", "new")]);
    owner.post(DEPLOYMENTS, to_production("main")).await.refused(409, "requirement_not_met");

    ann.act(&ahead, "approve", tests::approval(&ahead)).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded", "the end of the other one sends its message");
    let events = owner.events(&created).await;
    assert!(events[1].ends_with(": the commit has succeeded in staging"), "{events:?}");
}

#[tokio::test]
async fn a_deployment_ends_when_the_one_that_it_waits_for_ends_without_success() {
    let (world, owner, ann, source) = staged().await;
    source.commit(&[("buildspec.yml", &tests::buildspec(&["false"]))]);
    let code = async |created: &Value| owner.ended(created).await["failure"]["code"].clone();
    let ahead = deploy_to(&owner, "staging").await;
    let created = deploy_to_production(&owner).await;
    ann.act(&ahead, "approve", tests::approval(&ahead)).await;
    assert_eq!(code(&created).await, "requirement_not_met");
    owner.act(&created, "retry", json!({})).await.refused(409, "requirement_not_met");

    // Nobody sends a message when a queued deployment is canceled. The sweep does.
    let ahead = deploy_to(&owner, "staging").await;
    let created = deploy_to_production(&owner).await;
    assert_eq!(owner.act(&ahead, "cancel", json!({})).await.status, 200);
    assert_eq!(swept(&world).await, (0, 0));
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(swept(&world).await, (1, 0));
    assert_eq!(code(&created).await, "requirement_not_met");

    // The wait has the bound of the queue.
    deploy_to(&owner, "staging").await;
    let created = deploy_to_production(&owner).await;
    world.clock.advance(24 * HOUR - MOMENT);
    assert_eq!(swept(&world).await, (1, 0));
    world.clock.advance(MOMENT);
    assert_eq!(swept(&world).await, (0, 1));
    assert_eq!(code(&created).await, "queue_deadline");
}

#[tokio::test]
async fn a_deployment_waits_for_each_required_environment_and_for_its_approvals() {
    let (_world, owner, ann, _source) = staged().await;
    let rules = json!({"requires": ["staging", "preview"], "required_approvals": 1});
    owner.set("app", "preview", json!({"required_approvals": 1})).await;
    owner.set("app", "production", rules).await;
    let (first, second) = (deploy_to(&owner, "staging").await, deploy_to(&owner, "preview").await);
    let created = deploy_to_production(&owner).await;
    assert_eq!(blocked_by(&owner, &created).await["kind"], "approval");
    ann.act(&created, "approve", tests::approval(&created)).await;
    for ahead in [first, second] {
        assert_eq!(blocked_by(&owner, &created).await["deployment_id"], ahead["id"]);
        ann.act(&ahead, "approve", tests::approval(&ahead)).await;
        owner.ended(&ahead).await;
        let is_blocked = async || blocked_by(&owner, &created).await["deployment_id"] == ahead["id"];
        while is_blocked().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}
