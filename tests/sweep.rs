//! The sweep: no deployment waits forever, whatever fails.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::model::{Due, DueEntry, LEASE_GRACE, PICKED_UP_WITHIN};
use shared::settings::QUEUE_URL;
use tests::{Actor, GitRepository, World, eventually, without_queue};

const LEASE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

/// Creates a deployment whose message SQS refuses. SQS accepts later messages.
async fn never_queued(world: &World, owner: &Actor, source: &GitRepository) -> Value {
    owner.repository("app", source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(world.messages(world.stack.queue()).await, 0);
    created
}

/// Starts a world in which only creation can't reach the queue.
async fn world_with_a_queue_for_the_sweep() -> World {
    World::start_with(without_queue).await
}

/// Runs the sweep in a function that reaches the queue.
async fn sweep(world: &World) -> Value {
    sweep_with(world, world.stack.queue()).await.unwrap()
}

async fn sweep_with(world: &World, queue: &str) -> Result<Value, String> {
    let environment = world.environment_with(QUEUE_URL, queue);
    environment.sweep().unwrap().invoke(json!({})).await.map_err(|error| error.to_string())
}

/// Returns the entries of the index, whether or not they are due.
async fn unfinished(world: &World) -> Vec<Due> {
    let mut all = Vec::new();
    for shard in 0..Due::SHARDS {
        let table = world.stack.app().table();
        all.extend(Due::page(table, shard, Timestamp::from_millis(i64::MAX), None, 1000).await.unwrap());
    }
    all
}

fn swept(sent: u32, unchanged: u32) -> Value {
    json!({"sent": sent, "ended": 0, "unchanged": unchanged, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": true})
}

#[tokio::test]
async fn a_deployment_that_was_never_picked_up_is_sent_again_and_runs() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let created = never_queued(&world, &owner, &source).await;
    world.clock.advance(PICKED_UP_WITHIN - MOMENT);
    assert_eq!(sweep(&world).await, swept(0, 0), "its message may still be on its way");

    world.clock.advance(MOMENT);
    assert_eq!(sweep(&world).await, swept(1, 0));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!(unfinished(&world).await, [], "what has ended is never due");
    world.clock.advance(PICKED_UP_WITHIN * 100);
    assert_eq!(sweep(&world).await, swept(0, 0));
    world.queue_is_empty().await;

    let line = world.log().into_iter().rfind(|line| line["function"] == "sweep").unwrap();
    assert_eq!((&line["level"], &line["sent"], &line["server_errors"]), (&json!("INFO"), &json!(0), &json!(0)));
    assert!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "GitApi", "{line}");
}

#[tokio::test]
async fn messages_for_one_that_nobody_takes_become_rarer() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let created = never_queued(&world, &owner, &source).await;
    let mut sent_at = Vec::new();
    for minute in 1..=240 {
        world.clock.advance(Duration::from_secs(60));
        // A queue without a consumer.
        let answer = sweep_with(&world, world.stack.dead_letter_queue()).await.unwrap();
        if answer == swept(1, 0) {
            sent_at.push(minute);
        }
    }
    assert_eq!(sent_at, [5, 10, 20, 40, 80, 140, 200]);
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 7);
    assert_eq!(world.stored(&owner, &created).await.events, 1, "nothing has changed for those who read it");
}

#[tokio::test]
async fn a_deployment_whose_runner_was_lost_is_sent_again_when_its_lease_is_over() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let created = never_queued(&world, &owner, &source).await;
    let claimed = world.lose_a_runner(&owner, &created).await;
    world.clock.advance(LEASE / 2);
    let until = world.clock.now().plus(LEASE);
    assert!(claimed.renew_lease(world.stack.app().table(), world.clock.now(), until).await.unwrap().is_some());
    world.clock.advance(LEASE + LEASE_GRACE - MOMENT);
    assert_eq!(sweep(&world).await, swept(0, 0), "the renewal has moved it on");

    world.clock.advance(MOMENT);
    assert_eq!(sweep(&world).await, swept(1, 0));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!(world.stored(&owner, &created).await.attempt, 2);
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_deployment_that_keeps_losing_its_runners_comes_to_an_end() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let created = never_queued(&world, &owner, &source).await;
    for _ in 0..3 {
        world.lose_a_runner(&owner, &created).await;
        world.clock.advance(LEASE);
    }
    world.clock.advance(LEASE_GRACE);
    assert_eq!(sweep(&world).await, swept(1, 0));
    assert_eq!(owner.ended(&created).await["failure"]["code"], "runner_lost");
    assert_eq!(unfinished(&world).await, []);
}

#[tokio::test]
async fn two_sweeps_at_once_send_one_message_each_and_page_through_any_number() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    never_queued(&world, &owner, &source).await;
    owner.set("app", "preview", json!({"concurrency": "queue"})).await;
    for number in 1..120 {
        let environment = ["preview", "staging", "production"][number % 3];
        owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
    }
    // All deployments are in one shard, which then has more than a page.
    for due in unfinished(&world).await {
        let pk = format!("ACCT#{}#DEPLOY#{}", due.account_id, due.deployment_id);
        let shard = AttributeValue::S("DUE#0".to_owned());
        world.set_attribute((&pk, "DEPLOY"), "gsi5pk", shard).await;
    }

    world.clock.advance(PICKED_UP_WITHIN);
    let queue = world.stack.dead_letter_queue();
    let (one, other) = tokio::join!(sweep_with(&world, queue), sweep_with(&world, queue));
    let (one, other) = (one.unwrap(), other.unwrap());
    let sum = |what: &str| one[what].as_u64().unwrap() + other[what].as_u64().unwrap();
    assert_eq!((sum("sent"), sum("failed")), (120, 0), "{one} {other}");
    assert_eq!(world.messages(queue).await, 120);
}

#[tokio::test]
async fn what_could_not_be_sent_is_reported_and_due_again() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let created = never_queued(&world, &owner, &source).await;
    world.clock.advance(PICKED_UP_WITHIN);
    let failed = sweep_with(&world, "http://127.0.0.1/0/nowhere").await.unwrap_err();
    assert!(failed.contains("1 deployments or pages failed"), "{failed}");
    let line = world.log().into_iter().rfind(|line| line["function"] == "sweep").unwrap();
    assert_eq!((&line["level"], &line["failed"], &line["server_errors"]), (&json!("ERROR"), &json!(1), &json!(1)));

    world.clock.advance(PICKED_UP_WITHIN);
    assert_eq!(sweep(&world).await, swept(1, 0));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}

#[tokio::test]
async fn a_sweep_that_runs_out_of_time_says_so() {
    let world = world_with_a_queue_for_the_sweep().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    never_queued(&world, &owner, &source).await;
    world.clock.advance(PICKED_UP_WITHIN);
    let app = world.stack.app().clone();
    let sweep = ::sweep::Sweep::new(&app).unwrap();
    let mut context = lambda_runtime::Context::default();
    context.deadline = world.clock.now().plus(Duration::from_secs(10)).as_millis().unsigned_abs();
    let event = lambda_runtime::LambdaEvent::new(serde::de::IgnoredAny, context);
    let answer = serde_json::to_value(sweep.invoke(event).await.unwrap()).unwrap();
    assert_eq!(
        answer,
        json!({"sent": 0, "ended": 0, "unchanged": 0, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": false})
    );
}

#[tokio::test]
async fn the_local_stack_sweeps_by_itself() {
    let world = World::start_with(|options| options.sweep_every = Some(Duration::from_secs(60))).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    owner.ended(&created).await;
    for minute in 1..=3 {
        world.clock.advance(Duration::from_secs(60));
        let ran = async || (world.log().iter().filter(|l| l["function"] == "sweep").count() >= minute).then_some(());
        eventually("a sweep", ran).await;
    }
}
