//! Build minutes of a calendar month.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tests::{Actor, World};

use super::{branches, claim, deploy, end, running};

async fn minutes(owner: &Actor) -> Value {
    owner.get("/v1/account").await.body["build_minutes"].clone()
}

async fn account(world: &World, minutes: Option<u32>) -> (Actor, tests::GitRepository) {
    let source = branches(2);
    let owner = world
        .bootstrapped(json!({
            "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
            "owner_email": "owner@example.com", "concurrent_builds": 10, "build_minutes": minutes,
        }))
        .await;
    owner.repository("app", &source).await;
    (owner, source)
}

/// Runs a deployment for this time.
async fn run(world: &World, owner: &Actor, branch: usize, seconds: u64) -> Value {
    let created = deploy(owner, branch).await;
    let claimed = claim(world, owner, &created).await.unwrap();
    world.clock.advance(Duration::from_secs(seconds));
    end(world, &claimed).await;
    created
}

#[tokio::test]
async fn each_run_counts_once_in_the_month_in_which_it_ends() {
    let world = World::start_with(running(10)).await;
    let (owner, _source) = account(&world, None).await;
    let january = |used: u64| json!({"used": used, "limit": null, "resets_at": "2026-02-01T00:00:00Z"});
    assert_eq!(minutes(&owner).await, january(0));
    run(&world, &owner, 0, 60).await;
    assert_eq!(minutes(&owner).await, january(1));
    run(&world, &owner, 1, 61).await;
    assert_eq!(minutes(&owner).await, january(3), "of 121 seconds in all, the last minute has begun");

    // A runner that was lost has used a machine, and a deployment that was never claimed has not.
    let created = deploy(&owner, 0).await;
    claim(&world, &owner, &created).await.unwrap();
    world.clock.advance(Duration::from_secs(100));
    let second = world.lose_a_runner(&owner, &created).await;
    world.clock.advance(Duration::from_secs(19));
    end(&world, &second).await;
    let canceled = deploy(&owner, 0).await;
    world.clock.advance(Duration::from_secs(600));
    owner.act(&canceled, "cancel", json!({})).await;
    assert_eq!(minutes(&owner).await, january(4));

    // 2026-01-31T23:59:59Z plus the run.
    world.clock.advance(Duration::from_secs(31 * 24 * 3600 - 12 * 3600 - 840 - 1));
    run(&world, &owner, 0, 60).await;
    assert_eq!(minutes(&owner).await, json!({"used": 1, "limit": null, "resets_at": "2026-03-01T00:00:00Z"}));
}

#[tokio::test]
async fn a_deployment_whose_build_never_started_has_used_none() {
    let world = World::start_with(running(10)).await;
    let (owner, _source) = account(&world, None).await;
    for is_canceled in [true, false] {
        let created = deploy(&owner, 0).await;
        let claimed = claim(&world, &owner, &created).await.unwrap();
        if is_canceled {
            assert_eq!(owner.act(&created, "cancel", json!({})).await.status, 202);
        }
        world.clock.advance(Duration::from_secs(45));
        // AWS refuses the build.
        claimed.await_capacity(world.stack.app().table(), world.clock.now()).await.unwrap();
        if !is_canceled {
            assert_eq!(owner.act(&created, "cancel", json!({})).await.status, 200);
        }
        let canceled = owner.deployment(&created).await;
        assert_eq!((&canceled["status"], &canceled["started_at"]), (&json!("canceled"), &Value::Null));
        assert_eq!(minutes(&owner).await["used"], 0, "canceled before: {is_canceled}");
    }
}

#[tokio::test]
async fn an_account_without_minutes_creates_no_deployment_and_none_is_stopped() {
    const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";
    let world = World::start_with(running(10)).await;
    let (owner, _source) = account(&world, Some(2)).await;
    let first = run(&world, &owner, 0, 60).await;
    let waiting = deploy(&owner, 1).await;
    run(&world, &owner, 0, 1).await;
    assert_eq!(minutes(&owner).await["used"], 2);

    let message =
        "The account has used its 2 build minutes of this month; the next month begins at 2026-02-01T00:00:00Z";
    let body = json!({"ref": "b0", "environment": "production"});
    for refused in [
        owner.post(DEPLOYMENTS, body.clone()).await,
        owner.act(&first, "retry", json!({})).await,
        owner
            .post("/v1/repositories/app/rollback", json!({"environment": "preview", "deployment_id": first["id"]}))
            .await,
    ] {
        refused.refused(409, "build_minutes_exhausted");
        assert_eq!(refused.body["error"]["message"], message);
        // Half a month and 12 hours less 61 seconds.
        assert_eq!(refused.header("retry-after"), (31 * 24 * 3600 - 12 * 3600 - 61 + 1).to_string());
    }
    let preflight = owner.post(&format!("{DEPLOYMENTS}/preflight"), body.clone()).await.body;
    let gate = json!({"gate": "minutes", "passes": false, "message": message, "until": "2026-02-01T00:00:00Z"});
    assert_eq!(
        (&preflight["outcome"], preflight["gates"].as_array().unwrap().contains(&gate)),
        (&json!("refused"), true)
    );
    // The deployments that exist run all the same.
    let claimed = claim(&world, &owner, &waiting).await.expect("it was created before");
    end(&world, &claimed).await;

    world.clock.advance(Duration::from_secs(31 * 24 * 3600));
    assert_eq!(minutes(&owner).await["used"], 0);
    assert_eq!(owner.post(DEPLOYMENTS, body).await.status, 201);
}

#[tokio::test]
async fn a_preflight_tells_that_a_deployment_would_wait_for_capacity() {
    let world = World::start_with(running(10)).await;
    let source = branches(3);
    let owner = super::account(&world, "acme", 1, &source).await;
    let preflight = async || {
        let body = json!({"ref": "b1"});
        let found = owner.post("/v1/repositories/app/deployments/preflight", body).await.body;
        let gate = found["gates"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(gate["gate"], "capacity");
        (found["outcome"].clone(), gate["passes"].clone(), gate["message"].clone())
    };
    let free = "The account may run another deployment at once";
    assert_eq!(preflight().await, (json!("starts"), json!(true), json!(free)));
    let running = claim(&world, &owner, &deploy(&owner, 0).await).await.unwrap();
    let full = "1 of 1 deployments that the account may run at once are in progress";
    assert_eq!(preflight().await, (json!("waits"), json!(false), json!(full)));
    end(&world, &running).await;
    assert_eq!(preflight().await, (json!("starts"), json!(true), json!(free)));
    // The mark that deployments may wait stays until the next claim removes it.
    let partition = format!("ACCT#{}#CAPACITY", owner.account_id.as_ref().unwrap());
    world.set_attribute((&partition, "PERMITS"), "waiting", AttributeValue::Bool(true)).await;
    assert_eq!(preflight().await, (json!("starts"), json!(true), json!(free)));
}
