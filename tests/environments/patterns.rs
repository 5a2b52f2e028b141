//! Patterns, whose members deployments create and the sweep removes.

use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::model::{DueEntry, DueEnvironment};
use tests::{Actor, World};

use super::names::{ENVIRONMENTS, create};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MOMENT: Duration = Duration::from_millis(1);

async fn deploy(owner: &Actor, git_ref: &str, environment: &str) -> Value {
    owner.deploy("app", json!({"ref": git_ref, "environment": environment})).await
}

async fn exists(owner: &Actor, name: &str) -> bool {
    owner.get(&format!("{ENVIRONMENTS}/{name}")).await.status == 200
}

/// Sweeps once. Returns the number of removed environments.
async fn removed(world: &World) -> u64 {
    let swept = world.sweep().await.unwrap();
    assert_eq!((&swept["failed"], &swept["repaired"]), (&json!(0), &json!(0)), "{swept}");
    swept["removed"].as_u64().unwrap()
}

#[tokio::test]
async fn a_deployment_creates_the_member_with_the_settings_of_its_pattern() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    source.git(&["branch", "Feature/Login"]);
    let pattern = create(&owner, json!({"name": "review-*", "removed_after_days": 3})).await;
    assert_eq!((&pattern["removed_after_days"], &pattern["pattern"]), (&json!(3), &json!(null)));
    let settings = json!({"concurrency": "supersede", "time_limit_seconds": 90});
    owner.set("app", "review-*", settings).await;
    let preflight = json!({"ref": "main", "environment": "review-42"});
    let preflight = owner.post("/v1/repositories/app/deployments/preflight", preflight).await;
    assert_eq!((preflight.status, &preflight.body["outcome"]), (200, &json!("starts")), "{preflight:?}");
    assert!(!exists(&owner, "review-42").await, "a preflight creates nothing");

    for (git_ref, environment, member) in [
        ("main", "review-42", "review-42"),
        ("main", "review-*", "review-main"),
        ("refs/heads/Feature/Login", "review-*", "review-feature-login"),
    ] {
        let first = deploy(&owner, git_ref, environment).await;
        assert_eq!(first["environment"], member);
        let state = owner.get(&format!("{ENVIRONMENTS}/{member}")).await.body;
        assert_eq!((&state["pattern"], &state["removed_after_days"]), (&json!("review-*"), &json!(3)), "{state}");
        assert_eq!((&state["concurrency"], &state["time_limit_seconds"]), (&json!("supersede"), &json!(90)));
        assert_eq!((&state["updated_at"], &state["created_at"]), (&json!(null), &json!("2026-01-01T12:00:00Z")));
        assert_eq!(world.stored(&owner, &first).await.time_limit_seconds, Some(90), "the first one has them too");
        let second = deploy(&owner, git_ref, environment).await;
        let state = owner.get(&format!("{ENVIRONMENTS}/{member}")).await.body;
        assert_eq!(state["queued"], json!([first["id"], second["id"]]));
        for (deployment, creates) in [(&first, true), (&second, false)] {
            let id = deployment["id"].as_str().unwrap();
            let event = owner.get(&format!("/v1/audit_events?target={id}")).await.body["data"][0].clone();
            let changes = event["changes"].as_array().unwrap();
            let told = changes.iter().any(|change| change["field"] == "creates_environment" && change["to"] == true);
            assert_eq!(told, creates, "{event}");
        }
    }

    // A change of the time applies to members from then on.
    let days = async |name: &str| owner.get(&format!("{ENVIRONMENTS}/{name}")).await.body["removed_after_days"].clone();
    assert_eq!(owner.set("app", "review-*", json!({"removed_after_days": 7})).await["removed_after_days"], 7);
    deploy(&owner, "main", "review-41").await;
    assert_eq!((days("review-41").await, days("review-42").await), (json!(7), json!(3)));
    assert_eq!(owner.set("app", "review-*", json!({"removed_after_days": null})).await["removed_after_days"], 30);
    for name in ["review-41", "production"] {
        let refused = owner.patch(&format!("{ENVIRONMENTS}/{name}"), json!({"removed_after_days": 7})).await;
        let details = &refused.refused(400, "invalid_request").body["error"]["details"];
        assert_eq!(details[0]["field"], "removed_after_days", "{name}");
    }

    // The pattern and the member have settings of their own from then on.
    owner.set("app", "review-42", json!({"required_approvals": 1})).await;
    owner.set("app", "review-*", json!({"required_approvals": 2})).await;
    let approvals =
        async |name: &str| owner.get(&format!("{ENVIRONMENTS}/{name}")).await.body["required_approvals"].clone();
    assert_eq!((approvals("review-42").await, approvals("review-main").await), (json!(1), json!(0)));
    assert_eq!(deploy(&owner, "main", "review-43").await["approvals"]["required"], 2);

    assert_eq!(owner.delete(&format!("{ENVIRONMENTS}/review-*")).await.status, 200);
    deploy(&owner, "main", "review-42").await;
    let refused =
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main", "environment": "review-99"})).await;
    refused.refused(400, "invalid_request");
    assert!(!exists(&owner, "review-99").await);
}

#[tokio::test]
async fn the_longest_pattern_that_matches_counts() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    for (name, days) in [("r*", 1), ("review-*", 2), ("review-x-*", 3)] {
        create(&owner, json!({"name": name, "removed_after_days": days})).await;
    }
    create(&owner, json!({"name": "review-own"})).await;
    for (name, pattern) in [
        ("review-1", json!("review-*")),
        ("review-x-1", json!("review-x-*")),
        ("rest", json!("r*")),
        ("review-own", json!(null)),
    ] {
        deploy(&owner, "main", name).await;
        assert_eq!(owner.get(&format!("{ENVIRONMENTS}/{name}")).await.body["pattern"], pattern, "{name}");
    }
    let refused = owner.post("/v1/repositories/app/deployments", json!({"ref": "main", "environment": "qa"})).await;
    refused.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_member_is_removed_when_nothing_was_deployed_to_it_for_the_set_time() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "review-*", "removed_after_days": 2})).await;
    create(&owner, json!({"name": "qa"})).await;
    for environment in ["review-1", "review-2", "qa"] {
        owner.ended(&deploy(&owner, "main", environment).await).await;
    }
    world.clock.advance(2 * DAY - MOMENT);
    assert_eq!(removed(&world).await, 0);
    owner.ended(&deploy(&owner, "main", "review-2").await).await;
    world.clock.advance(MOMENT);
    assert_eq!(removed(&world).await, 1);
    assert!(!exists(&owner, "review-1").await && exists(&owner, "review-2").await && exists(&owner, "qa").await);
    let repository = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    let events = owner.get(&format!("/v1/audit_events?target={repository}/review-1")).await;
    assert_eq!(events.column("action"), ["environment.deleted"]);
    assert_eq!(events.body["data"][0]["actor"]["type"], "system");

    // The deployments stay, and the next one creates the member again.
    let list = "/v1/repositories/app/deployments?environment=review-1";
    assert_eq!(owner.get(list).await.body["meta"]["total"], 1);
    world.clock.advance(2 * DAY - 2 * MOMENT);
    assert_eq!(removed(&world).await, 0, "the last deployment to review-2 is too recent");
    owner.ended(&deploy(&owner, "main", "review-1").await).await;
    assert!(exists(&owner, "review-1").await);
    assert_eq!(owner.get(list).await.body["meta"]["total"], 2);
    world.clock.advance(MOMENT);
    assert_eq!(removed(&world).await, 1);
    assert!(exists(&owner, "review-1").await && !exists(&owner, "review-2").await);
    world.clock.advance(10 * DAY);
    assert_eq!(removed(&world).await, 1);
    let left = owner.get(ENVIRONMENTS).await.column("name");
    assert_eq!(left, ["preview", "staging", "production", "qa", "review-*"]);
}

#[tokio::test]
async fn a_member_with_a_deployment_that_has_not_ended_is_never_removed() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "review-*", "removed_after_days": 1})).await;
    // A deployment that waits longer than the member may be idle is a fault, or an approval with a longer deadline.
    let queued = deploy(&owner, "main", "review-queued").await;
    let running = deploy(&owner, "main", "review-running").await;
    world.lose_a_runner(&owner, &running).await;
    let table = world.stack.app().table();
    let due = async || {
        let all = DueEnvironment::page(table, 0, Timestamp::from_millis(i64::MAX), None, 100);
        all.await.unwrap()
    };
    world.clock.advance(30 * DAY);
    for entry in due().await {
        assert!(!entry.remove_if_idle(table, world.clock.now()).await.unwrap(), "{entry:?}");
    }
    assert!(exists(&owner, "review-queued").await && exists(&owner, "review-running").await);
    assert!(due().await.iter().all(|entry| entry.at() == world.clock.now().plus(DAY)));
    assert_eq!(owner.act(&queued, "cancel", json!({})).await.status, 200);
    world.clock.advance(DAY);
    let removals = due().await;
    for entry in &removals {
        entry.remove_if_idle(table, world.clock.now()).await.unwrap();
    }
    assert!(!exists(&owner, "review-queued").await && exists(&owner, "review-running").await);
    for entry in &removals {
        assert!(!entry.remove_if_idle(table, world.clock.now()).await.unwrap(), "an old entry changes nothing");
    }
}

#[tokio::test]
async fn members_count_among_the_environments_that_a_repository_may_have() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "review-*"})).await;
    for at in 1..99 {
        create(&owner, json!({"name": format!("qa-{at}")})).await;
    }
    deploy(&owner, "main", "review-1").await;
    let told =
        "The repository has 100 environments besides the built-in ones, the most that it may have; delete one first";
    let refused = owner.post(ENVIRONMENTS, json!({"name": "one-more"})).await;
    assert_eq!(refused.refused(409, "limit_reached").body["error"]["message"], told);
    let refused =
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main", "environment": "review-2"})).await;
    assert_eq!(refused.refused(409, "limit_reached").body["error"]["message"], told);
    deploy(&owner, "main", "review-1").await;
    assert_eq!(owner.delete(&format!("{ENVIRONMENTS}/qa-1")).await.status, 200);
    deploy(&owner, "main", "review-2").await;
    owner.post(ENVIRONMENTS, json!({"name": "qa-1"})).await.refused(409, "limit_reached");
}
