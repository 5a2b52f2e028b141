//! Deliveries to webhooks, in every way that leads to another AWS call.

use std::time::Duration;

use axum::http::Method;
use local::event_source::{EventSource, Mapping};
use serde_json::{Value, json};
use shared::aws::{Aws, Limits};
use shared::model::SETTLED_AFTER;
use shared::settings;
use tests::{Actor, eventually};

use super::super::{SENDER, SWEEP, text};
use super::walk::Walk;
use crate::webhooks::receiver::{Receiver, Reply};

/// Sends events to a receiver that accepts, fails and wants no more. Nothing else may consume the queue.
pub(super) async fn send_everything(walk: &Walk, owner: &Actor) {
    let receiver = Receiver::start().await;
    let environment = walk.environment(SENDER);
    let poller = Aws::new(&environment.settings).unwrap().with_limits(Limits::PATIENT).sqs();
    let mapping = Mapping::new(environment.settings.require(settings::WEBHOOK_QUEUE_URL).unwrap());
    let sender = EventSource::start(poller, mapping, environment.send_webhooks().unwrap()).await.unwrap();
    let sweep = async || {
        walk.world.clock.advance(Duration::from_secs(61));
        let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
        assert_eq!(swept["failed"], 0, "{swept}");
    };
    let outcome = async |expected: &str| {
        eventually(expected, async || {
            let refused = walk.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            let is_it = |line: &Value| line["function"] == SENDER && line["outcome"] == expected;
            walk.world.log().iter().any(is_it).then_some(())
        })
        .await
    };
    let source = walk.take("get-account", owner.get("/v1/account").await, 200);
    assert!(source["id"].is_string());
    let new = json!({"name": "Walk", "url": receiver.url("/"), "events": ["deployment.created", "team.*"]});
    let webhook = walk.take("create-webhook", owner.post("/v1/webhooks", new).await, 201);
    let path = format!("/v1/webhooks/{}", text(&webhook["id"]));
    // With an idempotency key, in a session, an answer is kept by another write.
    let (session, _) = walk.world.session(owner).await;
    let test = session.request(Method::POST, &format!("{path}/test")).header("idempotency-key", "walk-test");
    let tested = walk.take("test-webhook", owner.send(test).await, 202);
    outcome("sent").await;
    let again = format!("{path}/deliveries/{}/redeliver", text(&tested["id"]));
    let again = session.request(Method::POST, &again).header("idempotency-key", "walk-again");
    walk.take("redeliver-webhook", owner.send(again).await, 202);
    let rotate = session.request(Method::POST, &format!("{path}/rotate")).header("idempotency-key", "walk-rotate");
    walk.take("rotate-webhook", owner.send(rotate.json(&json!({}))).await, 200);

    receiver.reply_always(Some(Reply::status(500)));
    walk.take("create-team", owner.post("/v1/teams", json!({"name": "walked"})).await, 201);
    sweep().await;
    outcome("dispatched").await;
    // A sweep that comes before the end of the last attempt does not see that its message is to be sent again.
    let received = async |count: usize| {
        eventually("the message", async || {
            let has_come = receiver.received().len() >= count;
            if !has_come {
                sweep().await;
            }
            has_come.then_some(())
        })
        .await;
    };
    received(3).await;
    receiver.reply_always(None);
    // Old events settle, and what failed is sent again.
    walk.world.clock.advance(SETTLED_AFTER);
    received(4).await;
    receiver.reply_always(Some(Reply::status(410)));
    walk.take("create-team", owner.post("/v1/teams", json!({"name": "last"})).await, 201);
    sweep().await;
    outcome("gone").await;
    assert_eq!(*walk.gate.refused.lock().unwrap(), []);
    sender.stop(Duration::from_secs(5)).await;
}
