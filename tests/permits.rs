//! Permits: how many deployments run at once, whose turn it is, and how long they have run.

mod minutes;
mod turns;

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::stack::Options;
use serde_json::{Value, json};
use shared::model::{Actor as By, Deployment, Status, Transition, Turn};
use shared::settings::CONCURRENT_BUILDS;
use tests::{Actor, GitRepository, World, redelivering, without_queue};

/// A stack that runs so many deployments at once.
pub(crate) fn running(builds: usize) -> impl FnOnce(&mut Options) {
    move |options| {
        without_queue(options);
        options.overrides.push((CONCURRENT_BUILDS, builds.to_string()));
    }
}

/// Creates an account that runs so many deployments at once, with a repository `app`.
pub(crate) async fn account(world: &World, name: &str, builds: u32, source: &GitRepository) -> Actor {
    let owner = world
        .bootstrapped(json!({
            "account": name, "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
            "owner_email": "owner@example.com", "concurrent_builds": builds,
        }))
        .await;
    owner.repository("app", source).await;
    owner
}

/// Returns a remote with so many branches, `b0`, `b1` and so on, each of which is a lane of its own.
pub(crate) fn branches(number: usize) -> GitRepository {
    let source = GitRepository::with_commands(&["true"]);
    for at in 0..number {
        source.git(&["branch", &format!("b{at}")]);
    }
    source
}

pub(crate) async fn deploy(owner: &Actor, branch: usize) -> Value {
    owner.deploy("app", json!({"ref": format!("b{branch}")})).await
}

/// Gives the message of a deployment to a consumer, which claims a deployment and dies. Returns the claimed one.
pub(crate) async fn claim(world: &World, owner: &Actor, deployment: &Value) -> Option<Deployment> {
    let stored = world.stored(owner, deployment).await;
    let turn = stored.claim_next_in_lane(world.stack.app().table(), world.terms(), world.clock.now()).await.unwrap();
    turn.into_claimed()
}

/// Ends a deployment in progress.
pub(crate) async fn end(world: &World, running: &Deployment) {
    let (table, now) = (world.stack.app().table(), world.clock.now());
    running.report(table, Transition::Succeed, By::Runner, now).await.unwrap();
}

pub(crate) async fn blocker(owner: &Actor, deployment: &Value) -> Value {
    owner.deployment(deployment).await["queue"]["blocked_by"].clone()
}

pub(crate) fn capacity(position: u32) -> Value {
    json!({"kind": "capacity", "deployment_id": null, "position": position, "until": null, "reason": null})
}

/// Returns the number of permits that an account holds, as the API tells it, and the number of all.
async fn held(world: &World, owner: &Actor) -> (u64, usize) {
    let account = owner.get("/v1/account").await.body;
    let stack = shared::model::StackPermits::load(world.stack.app().table()).await.unwrap();
    (account["concurrent_builds"]["running"].as_u64().unwrap(), stack.running.len())
}

#[tokio::test]
async fn an_account_runs_as_many_deployments_as_its_plan_allows_and_the_next_waits_at_its_position() {
    let world = World::start_with(running(10)).await;
    let source = branches(4);
    let owner = account(&world, "acme", 2, &source).await;
    let mut created = Vec::new();
    for branch in 0..4 {
        created.push(deploy(&owner, branch).await);
    }
    let first = claim(&world, &owner, &created[0]).await.expect("a permit is free");
    claim(&world, &owner, &created[1]).await.expect("another is free");
    assert_eq!(held(&world, &owner).await, (2, 2));
    for (at, position) in [(2, 1), (3, 2)] {
        assert!(claim(&world, &owner, &created[at]).await.is_none());
        assert_eq!(blocker(&owner, &created[at]).await, capacity(position));
        assert_eq!(owner.deployment(&created[at]).await["status"], "queued");
    }
    let waits = "2 queued runner: waits for capacity: the account runs as many deployments as its plan allows";
    assert_eq!(owner.events(&created[2]).await[1], waits);
    // Another message changes nothing.
    let before = world.items().await;
    assert!(claim(&world, &owner, &created[2]).await.is_none());
    assert_eq!(world.items().await, before);

    end(&world, &first).await;
    assert_eq!(held(&world, &owner).await, (1, 1));
    assert!(claim(&world, &owner, &created[3]).await.is_none(), "the other one comes first");
    let third = claim(&world, &owner, &created[2]).await.expect("its turn has come");
    assert_eq!((third.id.as_str(), third.status), (created[2]["id"].as_str().unwrap(), Status::InProgress));
    assert_eq!(blocker(&owner, &created[3]).await, capacity(1));
    // Another account is not affected.
    let other = account(&world, "globex", 2, &source).await;
    let created = deploy(&other, 0).await;
    claim(&world, &other, &created).await.expect("it has permits of its own");
    assert_eq!((held(&world, &other).await, held(&world, &owner).await), ((1, 3), (2, 3)));
}

#[tokio::test]
async fn plans_differ_and_an_account_may_have_its_own_number() {
    let world = World::start_with(running(10)).await;
    for (plan, limit) in [("starter", 1), ("pro", 10)] {
        let owner = world.owner_on(plan, plan).await;
        let account = owner.get("/v1/account").await.body;
        assert_eq!(account["concurrent_builds"], json!({"running": 0, "limit": limit}), "{plan}");
    }
    let source = branches(0);
    let owner = account(&world, "acme", 25, &source).await;
    assert_eq!(owner.get("/v1/account").await.body["concurrent_builds"]["limit"], 25);
    // An operator stops an account by hand, although nothing of it has run yet.
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    let none = AttributeValue::N("0".to_owned());
    world.set_attribute((&account, "ACCOUNT"), "custom_concurrent_builds", none).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    assert!(claim(&world, &owner, &created).await.is_none());
    let nothing = json!({"account": "none", "plan": "pro", "owner_email": "owner@example.com", "concurrent_builds": 0});
    world.stack.bootstrap(nothing).await.unwrap_err();
}

#[tokio::test]
async fn a_permit_is_held_until_the_end_whoever_runs_the_deployment() {
    let world = World::start_with(running(10)).await;
    let source = branches(2);
    let owner = account(&world, "acme", 1, &source).await;
    let created = deploy(&owner, 0).await;
    claim(&world, &owner, &created).await.unwrap();
    // Another runner takes over, and gives the deployment back.
    world.clock.advance(Duration::from_secs(61));
    let second = world.lose_a_runner(&owner, &created).await;
    let (table, now) = (world.stack.app().table(), world.clock.now());
    second.report(table, Transition::GiveBack, By::Runner, now).await.unwrap();
    let third = world.lose_a_runner(&owner, &created).await;
    assert_eq!(held(&world, &owner).await, (1, 1));
    // The lost runner can't give it back.
    second.report(table, Transition::Succeed, By::Runner, now).await.unwrap_err();
    assert_eq!(held(&world, &owner).await, (1, 1));
    let waits = third.await_capacity(table, now).await.unwrap();
    assert_eq!((waits.status, held(&world, &owner).await), (Status::Queued, (0, 0)));
    world.clock.advance(Duration::from_secs(60));
    let fourth = claim(&world, &owner, &created).await.unwrap();
    assert_eq!(held(&world, &owner).await, (1, 1));
    end(&world, &fourth).await;
    assert_eq!(held(&world, &owner).await, (0, 0));
}

#[tokio::test]
async fn one_that_leaves_the_queue_gives_up_its_place() {
    let world = World::start_with(running(10)).await;
    let source = branches(5);
    let owner = account(&world, "acme", 1, &source).await;
    let mut created = Vec::new();
    for branch in 0..5 {
        created.push(deploy(&owner, branch).await);
    }
    let first = claim(&world, &owner, &created[0]).await.unwrap();
    for waiting in &created[1..] {
        assert!(claim(&world, &owner, waiting).await.is_none());
    }
    assert_eq!(owner.act(&created[1], "cancel", json!({})).await.status, 200);
    assert_eq!(blocker(&owner, &created[3]).await, capacity(2));
    // A newer deployment of the same ref supersedes it, and waits behind the others.
    let newer = deploy(&owner, 2).await;
    assert!(claim(&world, &owner, &newer).await.is_none());
    assert_eq!(owner.deployment(&created[2]).await["status"], "superseded");
    for (deployment, position) in [(&created[3], 1), (&created[4], 2), (&newer, 3)] {
        assert_eq!(blocker(&owner, deployment).await, capacity(position));
    }
    // A deployment that may not start any more lets the next one pass.
    owner.set("app", "preview", json!({"frozen": true})).await;
    end(&world, &first).await;
    let message = world.stored(&owner, &created[3]).await;
    let app = world.stack.app();
    let queue = shared::queue::Queue::new(app).unwrap();
    let dispatched = shared::dispatch::dispatch(app, &queue, message, world.terms()).await.unwrap();
    assert!(matches!(dispatched, shared::dispatch::Dispatched::Waits), "{dispatched:?}");
    assert_eq!(blocker(&owner, &created[3]).await["kind"], "freeze");
    let events = owner.events(&created[3]).await;
    assert_eq!(events[2], "3 queued runner: waits for something else than capacity");
    owner.set("app", "preview", json!({"frozen": false})).await;
    assert_eq!(blocker(&owner, &created[3]).await, Value::Null, "it may start");
    assert_eq!(blocker(&owner, &created[4]).await, capacity(1));
}

/// A permit that nobody holds comes from a fault in the code or a change of the table by hand.
#[tokio::test]
async fn the_sweep_gives_back_a_permit_that_nobody_holds_and_lets_the_next_one_start() {
    for (sets, builds) in [(&["account", "stack"][..], 4), (&["account"], 4), (&["stack"], 1)] {
        give_back_what_is_in(sets, builds).await;
    }
}

/// Leaves a permit in the set of the account, of the stack or of both.
async fn give_back_what_is_in(sets: &[&str], builds: usize) {
    let options = |options: &mut Options| options.overrides.push((CONCURRENT_BUILDS, builds.to_string()));
    let world = World::start_with(options).await;
    let source = branches(2);
    let owner = account(&world, "acme", 1, &source).await;
    let lost = owner.deploy("app", json!({"ref": "b0"})).await;
    owner.ended(&lost).await;
    world.queue_is_empty().await;
    let row = world.stored(&owner, &lost).await;
    let permit = AttributeValue::Ss(vec![row.permit().unwrap().to_string()]);
    let account = format!("ACCT#{}#CAPACITY", row.account_id);
    for set in sets {
        let partition = if *set == "account" { account.as_str() } else { "CAPACITY" };
        world.set_attribute((partition, "PERMITS"), "running", permit.clone()).await;
    }
    let held_in = |set: &str| usize::from(sets.contains(&set));
    assert_eq!(held(&world, &owner).await, (held_in("account") as u64, held_in("stack")));
    let waiting = owner.deploy("app", json!({"ref": "b1"})).await;
    world.queue_is_empty().await;
    assert_eq!(blocker(&owner, &waiting).await, capacity(1));

    // The sweep looks at the account's set when the message of a waiting deployment is due.
    world.clock.advance(Duration::from_secs(300));
    let swept = world.sweep().await.unwrap();
    assert_eq!((&swept["repaired"], &swept["failed"]), (&json!(1), &json!(0)), "{swept}");
    let told = world.log().iter().any(|line| line["message"] == "a permit without a run was given back");
    assert!(told, "an operator can see it");
    assert_eq!(owner.ended(&waiting).await["status"], "succeeded");
    world.queue_is_empty().await;
    assert_eq!(held(&world, &owner).await, (0, 0));
    assert_eq!(world.sweep().await.unwrap()["repaired"], 0);
}

/// Runs the builds themselves, and no sweep.
#[tokio::test]
async fn the_end_of_a_run_starts_the_next_one_without_the_sweep() {
    let world = World::start_with(|options| {
        options.overrides.push((CONCURRENT_BUILDS, "2".to_owned()));
        // A second message for a deployment that runs comes again.
        redelivering(1000)(options);
    })
    .await;
    let source = branches(6);
    let accounts = [account(&world, "acme", 1, &source).await, account(&world, "globex", 3, &source).await];
    let mut created = Vec::new();
    for branch in 0..6 {
        for owner in &accounts {
            created.push((owner, deploy(owner, branch).await));
        }
    }
    for (owner, deployment) in created {
        assert_eq!(owner.ended(&deployment).await["status"], "succeeded");
    }
    world.queue_is_empty().await;
    let failed: Vec<_> = world.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(failed, [Value::Null; 0], "no message comes a second time");
    for owner in &accounts {
        assert_eq!(held(&world, owner).await, (0, 0));
    }
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
}

#[tokio::test]
async fn concurrent_claims_never_take_more_permits_than_there_are() {
    let world = World::start_with(running(3)).await;
    let source = branches(8);
    let accounts = [account(&world, "acme", 2, &source).await, account(&world, "globex", 8, &source).await];
    let mut messages = Vec::new();
    for branch in 0..8 {
        for owner in &accounts {
            let created = deploy(owner, branch).await;
            messages.push(world.stored(owner, &created).await);
        }
    }
    let (table, terms, now) = (world.stack.app().table(), world.terms(), world.clock.now());
    let turns = messages.iter().map(|message| message.claim_next_in_lane(table, terms, now));
    let turns = futures_util::future::try_join_all(turns).await.unwrap();
    let claimed: Vec<_> = turns.into_iter().filter_map(Turn::into_claimed).collect();
    let of_acme = claimed.iter().filter(|one| Some(&one.account_id) == accounts[0].account_id.as_ref()).count();
    assert!(claimed.len() == 3 && of_acme <= 2, "{} and {of_acme}", claimed.len());
    let (first, all) = held(&world, &accounts[0]).await;
    assert_eq!((first, all), (of_acme as u64, 3));
}
