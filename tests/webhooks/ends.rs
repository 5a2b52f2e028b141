//! The ends of deliveries that fail, and of their webhooks.

use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::{Receiver, Reply};
use super::{Scene, create, path_of, pending};

#[tokio::test]
async fn a_receiver_that_refuses_for_three_days_disables_its_webhook() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, webhook, .. } = &scene;
    let watcher = Receiver::start().await;
    create(owner, &watcher.url("/"), json!({"events": ["webhook.disabled"]})).await;
    receiver.reply_always(Some(Reply::status(503)));
    owner.team("platform").await;
    scene.deliver().await;
    let started = world.clock.now();
    while scene.now().await["enabled"] == true {
        world.clock.advance(Duration::from_secs(30 * 60));
        scene.send().await;
        assert!(world.clock.now().since(started) < Duration::from_secs(88 * 3600), "it is tried for ever");
    }
    assert!(world.clock.now().since(started) > Duration::from_secs(3 * 24 * 3600));
    assert_eq!(receiver.received().len(), 10);
    let [delivery] = &scene.deliveries().await[..] else { panic!("one delivery") };
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("failed"), &json!(10)));
    assert_eq!(delivery["last_attempt"]["error"], "The receiver answered with the HTTP status 503");
    let reason = "An event could not be delivered for three days, and no other was accepted";
    assert_eq!(scene.now().await["disabled_reason"], reason);
    let event = owner.get("/v1/audit_events?action=webhook.disabled").await.body["data"][0].clone();
    assert_eq!((&event["target"]["id"], &event["actor"]["type"]), (&webhook["id"], &json!("system")));
    scene.deliver().await;
    assert_eq!(watcher.types(), ["webhook.disabled"], "another webhook tells of it");
    // Enabled again, it gets what happens from then on.
    receiver.reply_always(None);
    owner.team("missed").await;
    world.clock.advance(Duration::from_secs(1));
    owner.patch(&scene.path(), json!({"enabled": true})).await;
    owner.team("next").await;
    scene.deliver().await;
    assert_eq!(receiver.received().last().unwrap().body["data"]["target"]["name"], "next");
    assert_eq!(receiver.received().len(), 11);
}

#[tokio::test]
async fn one_event_that_is_never_accepted_does_not_disable_a_webhook_that_works() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    owner.team("poison").await;
    receiver.reply_once(Reply::status(500));
    scene.deliver().await;
    for round in 0..200 {
        world.clock.advance(Duration::from_secs(30 * 60));
        if scene.deliveries().await.iter().any(|delivery| delivery["status"] == "failed") {
            break;
        }
        receiver.reply_always(Some(Reply::status(500)));
        scene.send().await;
        receiver.reply_always(None);
        if round % 40 == 0 {
            owner.team(&format!("fine-{round}")).await;
            scene.deliver().await;
        }
    }
    assert!(scene.deliveries().await.iter().any(|delivery| delivery["status"] == "failed"));
    assert_eq!(scene.now().await["enabled"], true);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_webhook_at_once() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    receiver.reply_always(Some(Reply::status(410)));
    for name in ["one", "two"] {
        owner.team(name).await;
        world.clock.advance(Duration::from_secs(1));
    }
    scene.deliver().await;
    assert_eq!(receiver.received().len(), 1);
    let webhook = scene.now().await;
    assert_eq!((&webhook["enabled"], webhook["disabled_at"].is_string()), (&json!(false), true));
    // What is pending ends with the webhook.
    scene.send().await;
    assert_eq!((receiver.received().len(), pending(world).await), (1, 0));
    let delivery = scene.deliveries().await.into_iter().find(|delivery| delivery["attempts"] == 0).unwrap();
    assert_eq!(
        (&delivery["status"], &delivery["last_attempt"]["error"]),
        (&json!("failed"), &json!("The webhook was disabled"))
    );
    let again = format!("{}/deliveries/{}/redeliver", scene.path(), delivery["id"].as_str().unwrap());
    owner.post(&again, json!({})).await.refused(409, "webhook_disabled");
    owner.post(&format!("{}/test", scene.path()), json!({})).await.refused(409, "webhook_disabled");
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_and_leaves_nothing_pending() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, webhook, .. } = &scene;
    owner.team("platform").await;
    world.clock.advance(Duration::from_secs(3));
    scene.dispatch().await;
    assert_eq!(pending(world).await, 1);
    assert_eq!(owner.delete(&path_of(webhook)).await.status, 200);
    scene.send().await;
    assert_eq!((receiver.received().len(), pending(world).await), (0, 0));
    owner.get(&format!("{}/deliveries", path_of(webhook))).await.refused(404, "not_found");
    let log: Vec<Value> = world.log();
    assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:?}");
}
