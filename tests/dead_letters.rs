//! The dead-letter queue, whose messages are listed, explained and redriven.

use std::time::Duration;

use serde_json::{Value, json};
use shared::settings::QUEUE_URL;
use tests::{Actor, GitRepository, World, eventually, redelivering};

async fn redrive(world: &World, event: Value) -> Value {
    let environment = world.environment_with(QUEUE_URL, world.stack.queue());
    let redriven = environment.redrive_dead_letters().unwrap().invoke(event).await.unwrap();
    assert_eq!((&redriven["complete"], &redriven["failed"]), (&json!(true), &json!(0)), "{redriven}");
    redriven
}

fn numbers(redriven: &Value) -> [u64; 3] {
    ["redriven", "discarded", "kept"].map(|name| redriven[name].as_u64().unwrap())
}

/// Returns the message in the response that names this deployment.
fn about<'a>(redriven: &'a Value, deployment: &Value) -> &'a Value {
    let messages = redriven["messages"].as_array().unwrap();
    messages.iter().find(|message| message["deployment"]["id"] == deployment["id"]).unwrap()
}

async fn bury(world: &World, body: &str) {
    let sqs = world.stack.app().aws().sqs();
    let dead = world.stack.dead_letter_queue();
    sqs.send_message().queue_url(dead).message_body(body).send().await.unwrap();
}

fn naming(owner: &Actor, id: &Value) -> String {
    json!({"account_id": owner.account_id, "deployment_id": id}).to_string()
}

#[tokio::test]
async fn dead_letters_are_shown_and_left_and_then_redriven() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let deploy =
        async |environment: &str| owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
    let queued = deploy("production").await;
    let lost = deploy("staging").await;
    world.lose_a_runner(&owner, &lost).await;
    let canceled = deploy("preview").await;
    owner.act(&canceled, "cancel", json!({})).await;
    let long = format!("{{\"deployment\": \"{}\"}}", "x".repeat(1000));
    for deployment in [&queued, &lost, &canceled] {
        bury(&world, &naming(&owner, &deployment["id"])).await;
    }
    bury(&world, &naming(&owner, &json!("deploy_aaaaaaaaaaaaaaaa"))).await;
    bury(&world, &long).await;

    // By default, messages are only listed.
    for event in [json!({}), json!({"dry_run": true})] {
        let shown = redrive(&world, event).await;
        assert_eq!((numbers(&shown), shown["dry_run"].clone()), ([2, 2, 1], json!(true)), "{shown}");
        assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 5);
    }
    let shown = redrive(&world, json!({})).await;
    let message = about(&shown, &queued);
    assert_eq!(
        (&message["action"], &message["deployment"]),
        (
            &json!("redrive"),
            &json!({
                "id": queued["id"], "status": "queued", "attempts": 0, "updated_at": "2026-01-01T12:00:00Z", "failure": null,
            })
        )
    );
    let explanation = "the deployment is queued, and no runner could take it; the next deployment in its lane starts";
    assert_eq!(message["explanation"], explanation);
    let explanation = "a runner holds the deployment (attempt 1); if it is lost, another one takes over";
    assert_eq!(about(&shown, &lost)["explanation"], explanation);
    let message = about(&shown, &canceled);
    assert_eq!(
        (&message["action"], &message["explanation"]),
        (&json!("discard"), &json!("the deployment has ended with status canceled"))
    );
    let message = about(&shown, &json!({"id": "deploy_aaaaaaaaaaaaaaaa"}));
    assert_eq!(
        (&message["action"], &message["explanation"]),
        (&json!("discard"), &json!("the deployment does not exist"))
    );
    let unreadable =
        shown["messages"].as_array().unwrap().iter().find(|message| message.get("text").is_some()).unwrap();
    assert_eq!(unreadable["action"], "keep");
    let text = unreadable["text"].as_str().unwrap();
    assert!(text.chars().count() == 201 && text.ends_with("x…"), "{text}");

    world.clock.advance(Duration::from_secs(60));
    let redriven = redrive(&world, json!({"dry_run": false})).await;
    assert_eq!((numbers(&redriven), redriven["dry_run"].clone()), ([2, 2, 1], json!(false)), "{redriven}");
    for deployment in [&queued, &lost] {
        assert_eq!(owner.ended(deployment).await["status"], "succeeded");
    }
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 1, "the unreadable one");
    let redriven = redrive(&world, json!({"dry_run": false, "discard_unreadable": true})).await;
    assert_eq!(numbers(&redriven), [0, 1, 0], "{redriven}");
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
    let line = world.log().into_iter().rfind(|line| line["function"] == "redrive-dead-letters").unwrap();
    assert_eq!((&line["level"], &line["discarded"], &line["dry_run"]), (&json!("INFO"), &json!(1), &json!(false)));
}

/// Follows a message from the queue of deployments to the dead-letter queue and back, while another deployment runs.
#[tokio::test]
async fn a_poison_message_blocks_nobody() {
    let world = World::start_with(redelivering(2)).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let dead = world.stack.dead_letter_queue();
    world.send("not JSON").await;
    let arrived = async || (world.messages(dead).await == 1).then_some(());
    eventually("poison in the dead-letter queue", arrived).await;
    world.redeliver_after(Duration::from_secs(1800)).await;
    for _ in 0..2 {
        let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
        assert_eq!(owner.ended(&created).await["status"], "succeeded");
        let redriven = redrive(&world, json!({"dry_run": false})).await;
        assert_eq!(numbers(&redriven), [0, 0, 1], "it names nothing that could run");
        assert_eq!(world.messages(dead).await, 1);
    }
    // A message whose deployment can't run does not delay those behind it either.
    let gone = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    assert_eq!(owner.ended(&gone).await["status"], "succeeded");
    bury(&world, &naming(&owner, &gone["id"])).await;
    let next = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    bury(&world, &naming(&owner, &next["id"])).await;
    redrive(&world, json!({"dry_run": false})).await;
    assert_eq!(owner.ended(&next).await["status"], "succeeded");
    world.queue_is_empty().await;
    assert_eq!(world.messages(dead).await, 1);
}

#[tokio::test]
async fn what_can_not_be_sent_stays_where_it_is() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let queued = owner.deploy("app", json!({"ref": "main"})).await;
    let other = naming(&owner, &json!("deploy_aaaaaaaaaaaaaaaa"));
    for body in [naming(&owner, &queued["id"]), other] {
        bury(&world, &body).await;
    }
    let redrive = world.stack.environment().redrive_dead_letters().unwrap();
    let answer = redrive.invoke(json!({"dry_run": false})).await.unwrap();
    assert_eq!((numbers(&answer), &answer["failed"]), ([0, 1, 0], &json!(1)), "{answer}");
    assert_eq!(about(&answer, &queued)["action"], "keep");
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 1);
}
