//! Reviewers, and the time for approvals.

use shared::settings::QUEUE_URL;

use super::*;

/// Runs the sweep with a queue that has no runner. Returns what [`swept`] does.
async fn swept_to_nobody(world: &World) -> (u64, u64) {
    let environment = world.environment_with(QUEUE_URL, world.stack.dead_letter_queue());
    let tally = environment.sweep().unwrap().invoke(json!({})).await.unwrap();
    (tally["sent"].as_u64().unwrap(), tally["ended"].as_u64().unwrap())
}

#[tokio::test]
async fn only_reviewers_approve() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let (ann, bob, eve) = (
        world.member(&owner, Role::Admin).await,
        world.member(&owner, Role::Admin).await,
        world.member(&owner, Role::Owner).await,
    );
    let team = owner.team("Release managers").await;
    let reviewers = json!({"users": [ann.user_id], "teams": [team["id"]]});
    owner.set("app", "production", json!({"required_approvals": 2, "reviewers": reviewers})).await;
    let (gate, outcome) = gate(&owner, to_production("main"), "approvals").await;
    let names = format!("{} or a member of {}", ann.user_id.as_ref().unwrap(), team["id"].as_str().unwrap());
    assert_eq!((&gate["message"], outcome), (&json!(format!("2 approvals by {names} are required")), json!("waits")));
    let created = deploy_to_production(&owner).await;
    let approval = tests::approval(&created);
    let awaited = async |by: &Actor| by.get("/v1/deployments?awaiting=me").await.column("id");
    assert_eq!((awaited(&ann).await.len(), awaited(&bob).await.len()), (1, 0));
    for stranger in [&eve, &bob] {
        let refused = stranger.act(&created, "approve", approval.clone()).await;
        refused.refused(403, "insufficient_permission");
        assert_eq!(message(&refused), "Only the environment's reviewers approve deployments to it");
    }
    assert_eq!(ann.act(&created, "approve", approval.clone()).await.status, 200);
    // Whoever is in the team when they approve is a reviewer.
    owner.add_to_team(&team, &bob).await;
    world.callers_are_forgotten();
    assert_eq!(awaited(&bob).await.len(), 1);
    let approved = bob.act(&created, "approve", approval).await;
    assert_eq!(approved.body["approvals"]["given_by"], json!([ann.user_id, bob.user_id]), "{approved:?}");
    assert_eq!(owner.ended(&created).await["status"], "succeeded");

    let next = deploy_to_production(&owner).await;
    let membership = format!("/v1/teams/{}/members/{}", team["id"].as_str().unwrap(), bob.user_id.as_ref().unwrap());
    assert_eq!(owner.delete(&membership).await.status, 200);
    bob.act(&next, "approve", tests::approval(&next)).await.refused(403, "insufficient_permission");
    // The reviewers of now decide, whoever they were at the creation.
    owner.set("app", "production", json!({"reviewers": null})).await;
    assert_eq!(bob.act(&next, "approve", tests::approval(&next)).await.status, 200);
    assert_eq!(eve.act(&next, "approve", tests::approval(&next)).await.status, 200);
}

#[tokio::test]
async fn a_reviewer_who_created_the_deployment_does_not_approve_it() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"required_approvals": 1, "reviewers": {"users": [owner.user_id]}})).await;
    let created = deploy_to_production(&owner).await;
    owner.act(&created, "approve", tests::approval(&created)).await.refused(409, "self_approval");
}

/// A deployment of Friday is approved on Monday.
#[tokio::test]
async fn an_approval_has_its_own_deadline_and_the_queue_begins_with_it() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1, "approval_timeout_seconds": 3 * 86_400})).await;
    let (approved, late, forgotten) =
        (deploy_to_production(&owner).await, deploy_to_production(&owner).await, deploy_to_production(&owner).await);
    assert_eq!(owner.deployment(&approved).await["queue"]["deadline"], "2026-01-04T12:00:00Z");
    world.clock.advance(70 * HOUR);
    assert_eq!(swept_to_nobody(&world).await, (0, 0), "nothing is due before a deadline");
    assert_eq!(ann.act(&approved, "approve", tests::approval(&approved)).await.status, 200);
    assert_eq!(owner.deployment(&approved).await["queue"]["deadline"], "2026-01-05T10:00:00Z");

    world.clock.advance(2 * HOUR);
    let refused = ann.act(&late, "approve", tests::approval(&late)).await;
    refused.refused(409, "not_awaiting_approval");
    assert_eq!(message(&refused), "The time for approvals is over");
    assert_eq!(swept_to_nobody(&world).await, (1, 2), "the approved one waits for a runner");
    for ended in [&late, &forgotten] {
        let ended = owner.deployment(ended).await;
        assert_eq!((&ended["status"], &ended["failure"]["code"]), (&json!("failed"), &json!("approval_expired")));
    }
    world.clock.advance(22 * HOUR);
    assert_eq!(swept_to_nobody(&world).await, (0, 1));
    assert_eq!(owner.deployment(&approved).await["failure"]["code"], "queue_deadline");
}
