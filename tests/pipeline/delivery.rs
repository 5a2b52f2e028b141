//! Messages that are delivered twice, too late, or make no sense.

use std::time::Duration;

use local::stack::Lifetime;
use serde_json::json;
use shared::id::DeploymentId;
use tests::{World, eventually, redelivering, without_queue};
use tokio::task::JoinSet;

use super::{LEASE, Outside, commands, delivered, deploy, event, outcomes};

#[tokio::test]
async fn a_message_that_is_delivered_again_does_not_run_its_deployment_again() {
    let world = World::start_with(redelivering(1000)).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count(), &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    for _ in 0..3 {
        world.deliver(&owner, &created).await;
    }
    delivered(&world, "held", 3).await;
    outside.open("gate");
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    world.deliver(&owner, &created).await;
    delivered(&world, "already_ended", 1).await;
    world.queue_is_empty().await;

    assert_eq!(outside.counted(), 1);
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body, ended, "the second delivery changed nothing");
    let ran = outcomes(&world).iter().filter(|outcome| *outcome == "succeeded").count();
    assert_eq!((ran, world.stored(&owner, &created).await.attempt), (1, 1));
}

#[tokio::test]
async fn of_many_consumers_with_the_same_message_at_once_one_runs_it() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    let mut deliveries = JoinSet::new();
    for _ in 0..8 {
        let (consumer, event) = (world.stack.environment().consumer().unwrap(), event(&owner, &created));
        deliveries.spawn(async move { consumer.invoke(event).await.unwrap() });
    }
    let responses = deliveries.join_all().await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!(outside.counted(), 1);
    assert_eq!(world.stored(&owner, &created).await.attempt, 1);
    let comes_again = responses.iter().filter(|response| !response["batchItemFailures"].as_array().unwrap().is_empty());
    let lost = outcomes(&world).into_iter().filter(|outcome| ["held", "stale"].contains(&outcome.as_str()));
    assert_eq!(
        comes_again.count(),
        lost.count(),
        "every consumer that did not run the deployment returned its message"
    );
}

#[tokio::test]
async fn a_message_for_a_deployment_that_is_gone_is_deleted() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    world.deliver(&owner, &json!({"id": DeploymentId::random()})).await;
    delivered(&world, "gone", 1).await;
    world.queue_is_empty().await;
    assert_eq!(outcomes(&world), ["gone"]);
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
}

#[tokio::test]
async fn poison_messages_end_in_the_dead_letter_queue_and_hold_up_nobody() {
    let world = World::start_with(redelivering(2)).await;
    let owner = world.owner("acme").await;
    let poison =
        ["not JSON", "{}", r#"{"account_id": "acct_x", "deployment_id": "deploy_x"}"#, "[]", "null", "{", "7", "x"];
    for body in poison {
        world.send(body).await;
    }
    let dead = world.stack.dead_letter_queue();
    let arrived = async || (world.messages(dead).await == poison.len() as u32).then_some(());
    eventually("all poison in the dead-letter queue", arrived).await;
    world.queue_is_empty().await;
    let failed = outcomes(&world).iter().filter(|outcome| *outcome == "failed").count();
    assert_eq!(failed, 2 * poison.len(), "each was tried twice");

    let sqs = world.stack.app().aws().sqs();
    let received = sqs.receive_message().queue_url(dead).max_number_of_messages(10).send().await.unwrap();
    let mut bodies: Vec<_> = received.messages().iter().map(|message| message.body().unwrap()).collect();
    let mut sent = poison.to_vec();
    bodies.sort_unstable();
    sent.sort_unstable();
    assert_eq!(bodies, sent);

    world.redeliver_after(Duration::from_secs(1800)).await;
    for body in poison {
        world.send(body).await;
    }
    let source = commands(&["true"]);
    let created = deploy(&owner, &source, json!({})).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}

#[tokio::test]
async fn a_stack_runs_what_an_ended_process_left() {
    let world = World::start_with(|options| {
        without_queue(options);
        options.table = Lifetime::Kept;
    })
    .await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let queued = deploy(&owner, &source, json!({"variables": {"KEY": "hunter22"}})).await;
    // Each deployment has its own lane, so that none waits for another.
    source.git(&["branch", "other"]);
    let running = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let running_long = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let ended = owner.deploy("app", json!({"ref": "other"})).await;
    world.deliver(&owner, &ended).await;
    let ended = owner.ended(&ended).await;
    world.lose_a_runner(&owner, &running).await;
    world.clock.advance(LEASE);
    world.lose_a_runner(&owner, &running_long).await;

    let world = world.restart().await;
    let owner = world.again(&owner);
    for deployment in [&queued, &running] {
        let ended = owner.ended(deployment).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    assert_eq!(outside.counted(), 3);
    let left = async || (world.messages(world.stack.queue()).await == 1).then_some(());
    eventually("only the delayed message of the deployment whose lease is not over", left).await;
    let unchanged = owner.get(&format!("/v1/deployments/{}", ended["id"].as_str().unwrap())).await.body;
    assert_eq!(unchanged["finished_at"], ended["finished_at"]);
    assert!(!outcomes(&world).contains(&"held".to_owned()), "{:?}", outcomes(&world));
}
