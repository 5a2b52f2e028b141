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
