//! Freeze windows.

use super::*;

/// Freezes production each day from 13:00 in Berlin, which is noon in UTC in winter.
fn daily(hours: u64) -> Value {
    json!({"freeze_windows": [{
        "cron": "0 13 * * *", "duration_seconds": hours * 3600, "time_zone": "Europe/Berlin", "reason": "Lunch",
    }]})
}

/// Creates a deployment before its environment is frozen for some hours from now on, and approves it then.
async fn held_back(world: &World, owner: &Actor, window: Value) -> Value {
    let ann = world.member(owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let created = deploy_to_production(owner).await;
    owner.set("app", "production", window).await;
    assert_eq!(ann.act(&created, "approve", tests::approval(&created)).await.status, 200);
    world.queue_is_empty().await;
    created
}

#[tokio::test]
async fn nothing_is_created_in_a_window_and_the_refusal_has_its_end() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", daily(2)).await;
    world.clock.advance(HOUR);
    let refused = owner.post(DEPLOYMENTS, to_production("main")).await;
    refused.refused(409, "environment_frozen");
    let told = "The environment production is frozen until 2026-01-01T14:00:00Z: Lunch";
    assert_eq!((message(&refused), refused.header("retry-after")), (told, "3600"));
    let (gate, outcome) = gate(&owner, to_production("main"), "freeze").await;
    let expected = json!({"gate": "freeze", "passes": false, "message": told, "until": "2026-01-01T14:00:00Z"});
    assert_eq!((gate, outcome), (expected, json!("refused")));
    owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    world.clock.advance(HOUR);
    deploy_to_production(&owner).await;
}

#[tokio::test]
async fn an_environment_has_the_end_of_the_window_that_is_open() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let path = "/v1/repositories/app/environments/production";
    let frozen_until = async || owner.get(path).await.body["frozen_until"].clone();
    assert_eq!(frozen_until().await, Value::Null);
    let set = owner.set("app", "production", daily(2)).await;
    let end = json!("2026-01-01T14:00:00Z");
    assert_eq!((&set["frozen_until"], &set["frozen"]), (&end, &json!(false)));
    world.clock.advance(HOUR);
    assert_eq!(frozen_until().await, end);
    let listed = owner.get("/v1/repositories/app/environments").await;
    let ends: Vec<_> = listed.body["data"].as_array().unwrap().iter().map(|one| &one["frozen_until"]).collect();
    assert_eq!(ends, [&Value::Null, &Value::Null, &end]);
    owner.set("app", "production", json!({"frozen": true})).await;
    assert_eq!(frozen_until().await, Value::Null, "nobody knows the end of a freeze by hand");
    owner.set("app", "production", json!({"frozen": false})).await;
    world.clock.advance(HOUR);
    assert_eq!(frozen_until().await, Value::Null);
}

#[tokio::test]
async fn what_waits_in_a_window_starts_by_itself_after_its_end() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let waiting = held_back(&world, &owner, daily(2)).await;
    let until = json!("2026-01-01T14:00:00Z");
    let frozen = json!({"kind": "freeze", "deployment_id": null, "position": null, "until": until, "reason": "Lunch"});
    assert_eq!(blocked_by(&owner, &waiting).await, frozen);
    world.clock.advance(2 * HOUR - MOMENT);
    assert_eq!(swept(&world).await, (0, 0), "it is not due before the end");
    world.clock.advance(MOMENT);
    assert_eq!(swept(&world).await, (1, 0));
    assert_eq!(owner.ended(&waiting).await["status"], "succeeded");
}

#[tokio::test]
async fn the_time_of_a_window_does_not_count_as_time_in_the_queue() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let first = held_back(&world, &owner, daily(60)).await;
    // The first windows of a daily freeze of 60 hours never end. One of a month does.
    let window = json!([{"cron": "0 13 1 * *", "duration_seconds": 60 * 3600, "time_zone": "Europe/Berlin"}]);
    owner.set("app", "production", json!({"freeze_windows": window})).await;
    world.queue_is_empty().await;
    let queue = owner.deployment(&first).await["queue"].clone();
    assert_eq!(queue["blocked_by"]["until"], "2026-01-04T00:00:00Z");
    world.clock.advance(59 * HOUR);
    assert_eq!(swept(&world).await, (0, 0));
    assert_eq!(owner.deployment(&first).await["status"], "queued");
    world.clock.advance(HOUR);
    assert_eq!(swept(&world).await, (1, 0));
    assert_eq!(owner.ended(&first).await["status"], "succeeded");
}

#[tokio::test]
async fn one_whose_deadline_passes_in_a_window_waits_for_its_end() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let waiting = deploy_to_production(&owner).await;
    world.clock.advance(23 * HOUR);
    // From 11:00 on 2 January, for 3 hours.
    let window = json!([{"cron": "0 11 2 1 *", "duration_seconds": 3 * 3600}]);
    owner.set("app", "production", json!({"freeze_windows": window})).await;
    world.clock.advance(HOUR);
    assert_eq!(swept(&world).await, (0, 0));
    let queue = owner.deployment(&waiting).await["queue"].clone();
    assert_eq!((&queue["deadline"], &queue["blocked_by"]["kind"]), (&json!("2026-01-03T14:00:00Z"), &json!("freeze")));
    world.clock.advance(25 * HOUR);
    world.clock.advance(HOUR);
    assert_eq!(swept(&world).await, (0, 1));
    assert_eq!(owner.deployment(&waiting).await["failure"]["code"], "queue_deadline");
}

#[tokio::test]
async fn a_window_that_is_taken_away_or_shortened_releases_what_waits() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let waiting = held_back(&world, &owner, daily(10)).await;
    owner.set("app", "production", daily(3)).await;
    world.queue_is_empty().await;
    assert_eq!(blocked_by(&owner, &waiting).await["until"], "2026-01-01T15:00:00Z");
    assert_eq!(world.stored(&owner, &waiting).await.due_at.unwrap().to_string(), "2026-01-01T15:00:00Z");
    owner.set("app", "production", json!({"freeze_windows": []})).await;
    assert_eq!(owner.ended(&waiting).await["status"], "succeeded");
}

#[tokio::test]
async fn a_retry_and_a_rollback_are_not_created_in_a_window() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let first = deploy_to_production(&owner).await;
    owner.ended(&first).await;
    let second = deploy_to_production(&owner).await;
    owner.ended(&second).await;
    owner.set("app", "production", daily(2)).await;
    owner.act(&first, "retry", json!({})).await.refused(409, "environment_frozen");
    let rollback = owner.post("/v1/repositories/app/rollback", json!({"environment": "production"})).await;
    assert_eq!(rollback.refused(409, "environment_frozen").header("retry-after"), "7200");
}
