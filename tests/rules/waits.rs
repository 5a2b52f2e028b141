//! The wait timer.

use super::*;

#[tokio::test]
async fn a_deployment_starts_when_its_wait_ends_and_costs_nothing_before() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"wait_seconds": 7200})).await;
    let (gate, outcome) = gate(&owner, to_production("main"), "wait").await;
    let until = json!("2026-01-01T14:00:00Z");
    assert_eq!((&gate["passes"], &gate["until"], outcome), (&json!(false), &until, json!("waits")));
    let created = deploy_to_production(&owner).await;
    assert_eq!(created["wait_until"], until);
    let wait = json!({"kind": "wait", "deployment_id": null, "position": null, "until": until, "reason": null});
    assert_eq!(blocked_by(&owner, &created).await, wait);
    assert_eq!(owner.deployment(&created).await["queue"]["deadline"], "2026-01-02T14:00:00Z");

    // The setting of its creation counts.
    owner.set("app", "production", json!({"wait_seconds": null})).await;
    world.clock.advance(2 * HOUR - MOMENT);
    assert_eq!(swept(&world).await, (0, 0), "it is not due");
    world.deliver(&owner, &created).await;
    world.queue_is_empty().await;
    assert_eq!(owner.deployment(&created).await["status"], "queued", "no message starts it");
    world.clock.advance(MOMENT);
    assert_eq!(swept(&world).await, (1, 0));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}

#[tokio::test]
async fn one_that_waits_holds_up_nobody_and_overtakes_nobody() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"wait_seconds": 3600})).await;
    let older = deploy_to_production(&owner).await;
    owner.set("app", "production", json!({"wait_seconds": null})).await;
    let newer = deploy_to_production(&owner).await;
    assert_eq!(owner.ended(&newer).await["status"], "succeeded");
    world.queue_is_empty().await;
    world.clock.advance(HOUR);
    assert_eq!(swept(&world).await, (1, 0));
    assert_eq!(owner.ended(&older).await["status"], "superseded", "a newer one has gone live");
}

#[tokio::test]
async fn approvals_and_the_wait_run_at_the_same_time() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"wait_seconds": 3600, "required_approvals": 1})).await;
    let (early, late) = (deploy_to_production(&owner).await, deploy_to_production(&owner).await);
    assert_eq!(blocked_by(&owner, &early).await["kind"], "approval");
    ann.act(&early, "approve", tests::approval(&early)).await;
    assert_eq!(blocked_by(&owner, &early).await["kind"], "wait");
    world.clock.advance(HOUR);
    assert_eq!(swept(&world).await, (1, 0), "the other one still lacks its approval");
    assert_eq!(owner.ended(&early).await["status"], "succeeded");
    ann.act(&late, "approve", tests::approval(&late)).await;
    assert_eq!(owner.ended(&late).await["status"], "succeeded", "its wait is over");
}

#[tokio::test]
async fn a_wait_of_seconds_ends_without_the_sweep() {
    let world = World::start_with(|options| options.clock = shared::clock::Clock::system()).await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"wait_seconds": 1})).await;
    let created = deploy_to_production(&owner).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded");
    assert!(ended["started_at"].as_str() >= ended["wait_until"].as_str(), "{ended}");
}
