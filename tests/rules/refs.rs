//! The branches and tags that an environment takes.

use super::*;

#[tokio::test]
async fn only_matching_branches_and_tags_are_deployed_and_commits_that_they_point_to() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    let older = source.git(&["rev-parse", "HEAD"]);
    let tip = source.commit(&[("more", "")]);
    source.git(&["checkout", "--quiet", "-b", "feature"]);
    let feature = source.commit(&[("feature", "")]);
    source.git(&["tag", "v1.0"]);
    source.git(&["branch", "release/1", &tip]);
    source.git(&["checkout", "--quiet", "main"]);
    owner.set("app", "production", json!({"refs": ["main", "tags/v*"]})).await;
    let on = async |git_ref: &str| {
        let (gate, outcome) = gate(&owner, to_production(git_ref), "refs").await;
        let created = owner.post(DEPLOYMENTS, to_production(git_ref)).await;
        assert_eq!((gate["passes"] == true, outcome == "refused"), (created.status == 201, created.status == 409));
        if created.status != 201 {
            created.refused(409, "ref_not_allowed");
            assert_eq!(gate["message"], message(&created));
            return None;
        }
        Some(created.body["on_ref"].as_str().unwrap().to_owned())
    };
    let (main, v1) = (Some("refs/heads/main".to_owned()), Some("refs/tags/v1.0".to_owned()));
    assert_eq!(on("main").await, main);
    assert_eq!(on("HEAD").await, main);
    assert_eq!(on("v1.0").await, v1);
    assert_eq!(on("feature").await, None, "a branch is deployed by its own name");
    assert_eq!(on("release/1").await, None, "although main points to its commit too");
    assert_eq!(on(&tip).await, main);
    assert_eq!(on(&feature).await, v1, "the tag points to it");
    assert_eq!(on(&older).await, None, "no branch points to it any more");

    owner.set("app", "production", json!({"refs": ["release/*"]})).await;
    assert_eq!(on(&tip).await, Some("refs/heads/release/1".to_owned()), "not only the default branch is looked at");
    assert_eq!(on("main").await, None);
    owner.deploy("app", json!({"ref": "feature", "environment": "staging"})).await;
}

#[tokio::test]
async fn a_retry_is_held_to_the_rule_and_a_rollback_is_not() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    source.git(&["branch", "feature"]);
    let first = owner.deploy("app", to_production("feature")).await;
    owner.ended(&first).await;
    let second = deploy_to_production(&owner).await;
    owner.ended(&second).await;
    owner.set("app", "production", json!({"refs": ["main"]})).await;
    owner.act(&first, "retry", json!({})).await.refused(409, "ref_not_allowed");
    let retried = owner.act(&second, "retry", json!({})).await;
    assert_eq!(retried.status, 201, "{retried:?}");
    owner.ended(&retried.body).await;
    let body = json!({"environment": "production", "deployment_id": first["id"]});
    let rollback = owner.post("/v1/repositories/app/rollback", body).await;
    assert_eq!(rollback.status, 201, "{rollback:?}");
}
