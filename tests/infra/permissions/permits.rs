//! Deployments that wait for a permit.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::queue::Queue;
use tests::{Actor, GitRepository, eventually};

use super::super::CONSUMER;
use super::walk::Walk;

/// Sets the number of deployments that the account runs at once.
async fn allow(walk: &Walk, owner: &Actor, number: u32) {
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    let number = AttributeValue::N(number.to_string());
    walk.world.set_attribute((&account, "ACCOUNT"), "custom_concurrent_builds", number).await;
}

/// Reads and cancels a deployment that waits for a permit, after its message came twice.
pub(super) async fn wait_and_cancel(walk: &Walk, owner: &Actor) {
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("full", &source).await;
    allow(walk, owner, 0).await;
    let waiting = owner.deploy("full", json!({"ref": "main"})).await;
    let path = format!("/v1/deployments/{}", waiting["id"].as_str().unwrap());
    let handled = async |times: usize| {
        eventually("the message", async || {
            let refused = walk.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            let lines = walk.world.log();
            let of_it =
                lines.iter().filter(|line| line["deployment_id"] == waiting["id"] && line["outcome"] == "waits");
            (of_it.count() == times).then_some(())
        })
        .await
    };
    handled(1).await;
    let read = walk.take("get-deployment", owner.get(&path).await, 200);
    assert_eq!(read["queue"]["blocked_by"]["position"], 1);
    let stored = walk.world.stored(owner, &waiting).await;
    Queue::new(&walk.app(CONSUMER)).unwrap().send(&stored).await.unwrap();
    handled(2).await;
    walk.take("cancel-deployment", owner.act(&waiting, "cancel", json!({})).await, 200);
    allow(walk, owner, 10).await;
}

/// Lets a deployment wait for a permit, so that whoever ends another one sends its message.
pub(super) async fn wait(walk: &Walk, owner: &Actor, consume: impl AsyncFn(&Value)) {
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("waits", &source).await;
    allow(walk, owner, 0).await;
    let waiting = owner.deploy("waits", json!({"ref": "main"})).await;
    consume(&waiting).await;
    assert!(walk.world.stored(owner, &waiting).await.has_waited_for_permit());
    allow(walk, owner, 10).await;
}
