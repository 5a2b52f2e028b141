//! Creations, deletions, removals and deployments at the same time.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::model::{DueEntry, DueEnvironment};
use tests::{Actor, Answer, World};

use super::names::{ENVIRONMENTS, create};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROUNDS: usize = 12;

async fn post_deployment(owner: &Actor, environment: &str) -> Answer {
    let body = json!({"ref": "main", "environment": environment});
    owner.post("/v1/repositories/app/deployments", body).await
}

async fn state(owner: &Actor, name: &str) -> Option<Value> {
    let found = owner.get(&format!("{ENVIRONMENTS}/{name}")).await;
    (found.status == 200).then_some(found.body)
}

#[tokio::test]
async fn of_creations_of_one_name_one_succeeds() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let answers = join_all((0..8).map(|_| owner.post(ENVIRONMENTS, json!({"name": "qa"})))).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.refused(409, "name_taken");
    }
    assert_eq!(owner.get(ENVIRONMENTS).await.body["meta"]["total"], 4);
}

#[tokio::test]
async fn deployments_at_once_create_their_member_once() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "review-*"})).await;
    let answers = join_all((0..6).map(|_| post_deployment(&owner, "review-1"))).await;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(state(&owner, "review-1").await.unwrap()["queued"].as_array().unwrap().len(), 6);
    let events = owner.get("/v1/audit_events?action=deployment.created&per_page=100").await;
    let creates = |event: &&Value| {
        event["changes"].as_array().unwrap().iter().any(|change| change["field"] == "creates_environment")
    };
    assert_eq!(events.body["data"].as_array().unwrap().iter().filter(creates).count(), 1);
    assert_eq!(world.sweep().await.unwrap()["repaired"], 0, "the counter has one environment more");
}

/// A deployment is created in an environment that exists, or not at all.
#[tokio::test]
async fn a_deployment_and_the_deletion_of_its_environment_exclude_each_other() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let (mut deleted, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        create(&owner, json!({"name": "qa"})).await;
        let path = format!("{ENVIRONMENTS}/qa");
        let (deployment, deletion) = join(post_deployment(&owner, "qa"), owner.delete(&path)).await;
        match (deployment.status, deletion.status) {
            (201, 409) => {
                deletion.refused(409, "environment_in_use");
                assert_eq!(state(&owner, "qa").await.unwrap()["queued"], json!([deployment.body["id"]]));
                assert_eq!(owner.act(&deployment.body, "cancel", json!({})).await.status, 200);
                assert_eq!(owner.delete(&path).await.status, 200);
                refused += 1;
            }
            (400, 200) => {
                deployment.refused(400, "invalid_request");
                deleted += 1;
            }
            other => panic!("{other:?}: {deployment:?} {deletion:?}"),
        }
        assert_eq!(state(&owner, "qa").await, None);
    }
    assert_eq!(deleted + refused, ROUNDS);
    assert_eq!(world.sweep().await.unwrap()["repaired"], 0);
}

/// The sweep never takes an environment from a deployment. One that comes too late creates it again.
#[tokio::test]
async fn a_deployment_and_the_removal_of_its_idle_environment_exclude_each_other() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    create(&owner, json!({"name": "review-*", "removed_after_days": 1})).await;
    let table = world.stack.app().table();
    for round in 0..ROUNDS {
        let name = format!("review-{round}");
        let first = post_deployment(&owner, &name).await;
        assert_eq!(owner.act(&first.body, "cancel", json!({})).await.status, 200);
        world.clock.advance(2 * DAY);
        let due = DueEnvironment::page(table, 0, Timestamp::from_millis(i64::MAX), None, 100).await.unwrap();
        let now = world.clock.now();
        let removals = join_all(due.iter().map(|entry| entry.remove_if_idle(table, now)));
        let (deployment, removals) = join(post_deployment(&owner, &name), removals).await;
        assert_eq!(deployment.status, 201, "{deployment:?}");
        for removal in removals {
            removal.unwrap();
        }
        let found = state(&owner, &name).await.expect("the environment of a queued deployment exists");
        assert_eq!(found["queued"], json!([deployment.body["id"]]));
        assert_eq!(found["pattern"], "review-*");
        assert_eq!(owner.act(&deployment.body, "cancel", json!({})).await.status, 200);
        let list = format!("/v1/repositories/app/deployments?environment={name}");
        assert_eq!(owner.get(&list).await.body["meta"]["total"], 2);
    }
    assert_eq!(world.sweep().await.unwrap()["repaired"], 0);
}
