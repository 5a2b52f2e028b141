//! Events on their way to a receiver that accepts them sooner or later.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::{AUDIT_RETENTION_DAYS, READ_AFTER, SETTLED_AFTER};
use tests::{GitRepository, World, eventually};

use super::receiver::{Receiver, Reply};
use super::{Scene, create, deliveries, pending};

#[tokio::test]
async fn each_event_is_sent_once_signed_and_in_order() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, webhook, .. } = &scene;
    let team = owner.team("platform").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    for name in ["infra", "ops"] {
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(owner.patch(&path, json!({"name": name})).await.status, 200);
    }
    assert_eq!(receiver.types(), [""; 0]);
    scene.deliver().await;
    scene.deliver().await;
    let received = receiver.received();
    assert_eq!(receiver.types(), ["team.created", "team.updated", "team.updated"]);
    assert_eq!(received.len(), 3);
    let mut last = 0;
    for message in &received {
        assert!(message.is_signed_with(&webhook["secret"]), "{message:?}");
        assert_eq!((message.path.as_str(), message.signatures()), ("/in", 1));
        assert_eq!(message.header("webhook-id"), message.body["id"]);
        let sent_at: i64 = message.header("webhook-timestamp").parse().unwrap();
        assert!((0..10).contains(&(world.clock.now().as_seconds() - sent_at)), "{sent_at}");
        assert_eq!(message.body["ordering_key"], team["id"]);
        let sequence = message.body["sequence"].as_u64().unwrap();
        assert!(sequence > last);
        last = sequence;
        let data = &message.body["data"];
        assert_eq!((&data["actor"]["name"], &data["target"]["id"]), (&json!("owner@example.com"), &team["id"]));
        assert_eq!((&data["repository"], &data["deployment"]), (&Value::Null, &Value::Null));
    }
    let logged = owner.get("/v1/audit_events?action=team.created").await.body["data"][0].clone();
    assert_eq!((&received[0].body["id"], &received[0].body["data"]["changes"]), (&logged["id"], &logged["changes"]));
    let kept = scene.deliveries().await;
    assert_eq!(kept.len(), 3);
    for delivery in kept {
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("succeeded"), &json!(1)));
        let attempt = &delivery["last_attempt"];
        assert_eq!((&attempt["response_status"], &attempt["response_body"]), (&json!(200), &json!("ok")));
        assert_eq!((&attempt["error"], &delivery["next_attempt_at"]), (&Value::Null, &Value::Null));
    }
    let rows = scene.world.items_with_prefix("DELIVERY#").await;
    assert_eq!(rows.len(), 3);
    for row in rows {
        let number = |name: &str| row[name].as_n().unwrap().parse::<i64>().unwrap();
        assert_eq!(number("expires_at"), number("created_at") / 1000 + 14 * 24 * 60 * 60, "they are kept for 14 days");
    }
}

#[tokio::test]
async fn the_queue_and_the_sweep_deliver_without_anybodys_help() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let receiver = Receiver::start().await;
    let webhook = create(&owner, &receiver.url("/"), json!({"events": ["deployment.*"]})).await;
    let deployment = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    owner.ended(&deployment).await;
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await.unwrap();
    eventually("the last event", async || (receiver.types().len() == 3).then_some(())).await;
    assert_eq!(receiver.types(), ["deployment.created", "deployment.started", "deployment.succeeded"]);
    for (message, sequence) in receiver.received().iter().zip([1, 2]) {
        assert!(message.is_signed_with(&webhook["secret"]));
        assert_eq!(message.body["sequence"], sequence, "{message:?}");
        let data = &message.body["data"];
        assert_eq!(
            (&data["repository"]["full_name"], &data["environment"]),
            (&json!("acme/app"), &json!("production"))
        );
        let told = &data["deployment"];
        assert_eq!((&told["id"], &told["number"], &told["ref"]), (&deployment["id"], &json!(1), &json!("main")));
        assert_eq!((&told["sha"], &message.body["ordering_key"]), (&deployment["sha"], &deployment["id"]));
    }
    // The account is followed now, so that nobody waits for the sweep.
    world.clock.advance(Duration::from_secs(3));
    owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
    world.clock.advance(Duration::from_secs(3));
    eventually("the events of the next one", async || (receiver.types().len() == 6).then_some(())).await;
    // An account without webhooks has no outbox, and one with webhooks has one row.
    world.owner("initech").await.team("platform").await;
    assert_eq!(world.sweep().await.unwrap()["failed"], 0);
    assert_eq!(pending(&world).await, 0);
}

#[tokio::test]
async fn a_filter_selects_by_type_repository_and_environment() {
    let scene = Scene::start_with(json!({"events": ["team.created"]})).await;
    let Scene { owner, world, .. } = &scene;
    let source = GitRepository::with_commands(&["true"]);
    let (app, web) = (owner.repository("app", &source).await, owner.repository("web", &source).await);
    let receivers = [(); 4].map(|()| Receiver::start());
    let receivers = futures_util::future::join_all(receivers).await;
    let filters = [
        json!({"events": ["deployment.created"], "repositories": [app["id"]]}),
        json!({"events": ["deployment.created"], "environments": ["production"]}),
        json!({"events": ["deployment.created"], "repositories": [web["id"]], "environments": ["staging"]}),
        json!({"events": ["environment.*"], "environments": ["qa"]}),
    ];
    for (receiver, filter) in receivers.iter().zip(filters) {
        create(owner, &receiver.url("/"), filter).await;
    }
    for (repository, environment) in
        [("app", "staging"), ("app", "production"), ("web", "staging"), ("web", "production")]
    {
        owner.ended(&owner.deploy(repository, json!({"ref": "main", "environment": environment})).await).await;
        world.clock.advance(Duration::from_secs(1));
    }
    for name in ["qa", "load"] {
        owner.post("/v1/repositories/app/environments", json!({"name": name})).await;
        owner.set("app", name, json!({"wait_seconds": 60})).await;
        owner.delete(&format!("/v1/repositories/app/environments/{name}")).await;
    }
    scene.deliver().await;
    let places = |receiver: &Receiver| {
        let place = |message: &super::receiver::Received| {
            let data = &message.body["data"];
            format!("{} {}", data["repository"]["full_name"].as_str().unwrap(), data["environment"].as_str().unwrap())
        };
        receiver.received().iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(places(&receivers[0]), ["acme/app staging", "acme/app production"]);
    assert_eq!(places(&receivers[1]), ["acme/app production", "acme/web production"]);
    assert_eq!(places(&receivers[2]), ["acme/web staging"]);
    assert_eq!(places(&receivers[3]), ["acme/app qa"; 3]);
    assert_eq!(scene.receiver.received().len(), 0);
}

#[tokio::test]
async fn events_from_before_a_webhook_was_created_or_enabled_are_not_sent() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    let enable = async |enabled: bool| {
        world.clock.advance(Duration::from_secs(1));
        let changed = owner.patch(&scene.path(), json!({"enabled": enabled})).await;
        assert_eq!(changed.body["enabled"], enabled, "{changed:?}");
        world.clock.advance(Duration::from_secs(1));
    };
    enable(false).await;
    owner.team("before").await;
    enable(true).await;
    owner.team("after").await;
    scene.deliver().await;
    let late = Receiver::start().await;
    create(owner, &late.url("/"), json!({"events": ["team.*"]})).await;
    scene.deliver().await;
    world.clock.advance(SETTLED_AFTER);
    scene.deliver().await;
    let names: Vec<_> =
        receiver.received().iter().map(|message| message.body["data"]["target"]["name"].clone()).collect();
    assert_eq!((names, late.received().len()), (vec![json!("after")], 0));
}

#[tokio::test]
async fn an_event_that_becomes_visible_late_is_sent_too() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    owner.team("first").await;
    let table = world.stack.app().table();
    let partition = format!("ACCT#{}#AUDIT", owner.account_id.as_ref().unwrap());
    let scanned = table.client().scan().table_name(table.name()).send().await.unwrap();
    let is_event = |item: &&std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
        let action = item.get("action").and_then(|action| action.as_s().ok());
        item["pk"].as_s().unwrap() == &partition && action.is_some_and(|action| action == "team.created")
    };
    let event = scanned.items().iter().find(is_event).unwrap().clone();
    // The transaction of an earlier event commits after a later event was found.
    let key = ["pk", "sk"].map(|name| (name.to_owned(), event[name].clone()));
    table.client().delete_item().table_name(table.name()).set_key(Some(key.into())).send().await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    owner.team("second").await;
    scene.deliver().await;
    assert_eq!(receiver.types().len(), 1);
    table.client().put_item().table_name(table.name()).set_item(Some(event)).send().await.unwrap();
    world.clock.advance(SETTLED_AFTER + Duration::from_secs(1));
    scene.deliver().await;
    let names: Vec<_> =
        receiver.received().iter().map(|message| message.body["data"]["target"]["name"].clone()).collect();
    assert_eq!(names, [json!("second"), json!("first")]);
}

#[tokio::test]
async fn a_refused_event_is_sent_again_with_its_id_after_growing_pauses() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    receiver.reply_once(Reply::status(500));
    receiver.reply_once(Reply::status(404));
    owner.team("platform").await;
    scene.deliver().await;
    for (pause, attempts) in [(5, 2), (300, 3)] {
        let [delivery] = &scene.deliveries().await[..] else { panic!("one delivery") };
        assert_eq!((&delivery["status"], delivery["attempts"].as_u64()), (&json!("pending"), Some(attempts - 1)));
        let (pause, now) = (Duration::from_secs(pause), world.clock.now());
        let next = |pause: Duration| now.plus(pause).to_string();
        let planned = delivery["next_attempt_at"].as_str().unwrap().to_owned();
        assert!((next(pause)..=next(pause + pause / 10)).contains(&planned), "{delivery}");
        world.clock.advance(pause - Duration::from_millis(1));
        assert_eq!(scene.send().await, [""; 0], "it is too early");
        world.clock.advance(pause / 10 + Duration::from_millis(1));
        scene.send().await;
        assert_eq!(receiver.received().len() as u64, attempts);
    }
    let received = receiver.received();
    assert!(received.iter().all(|message| message.header("webhook-id") == received[0].header("webhook-id")));
    assert_ne!(received[0].header("webhook-timestamp"), received[2].header("webhook-timestamp"));
    assert_eq!(scene.deliveries().await[0]["status"], "succeeded");
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_left_alone_so_long() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, .. } = &scene;
    let hour = Duration::from_secs(60 * 60);
    let date = "Thu, 01 Jan 2026 23:59:59 GMT".to_owned();
    for (status, retry_after, wait) in
        [(429, "120".to_owned(), Duration::from_secs(120)), (503, "86400".to_owned(), hour), (503, date, hour)]
    {
        let before = receiver.received().len();
        receiver.reply_once(Reply(status, "slow down", Some(retry_after)));
        owner.team(&format!("first-{before}")).await;
        owner.team(&format!("second-{before}")).await;
        world.clock.advance(READ_AFTER + Duration::from_secs(1));
        scene.dispatch().await;
        assert_eq!(scene.send().await, ["told_to_wait"]);
        assert_eq!(receiver.received().len(), before + 1, "the other event waits too");
        world.clock.advance(wait - Duration::from_millis(1));
        assert!(scene.send().await.iter().all(|outcome| outcome == "resting"));
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(scene.send().await, ["sent"]);
        assert_eq!(receiver.received().len(), before + 3);
    }
    // An answer without a time to wait, or with another status, asks for nothing.
    let asking = |status, text: &str| Reply(status, "no", Some(text.to_owned()));
    for reply in [Reply::status(429), asking(500, "86400"), asking(429, "soon"), asking(429, "0")] {
        receiver.reply_once(reply);
        owner.team(&format!("team-{}", receiver.received().len())).await;
        scene.deliver().await;
        world.clock.advance(Duration::from_secs(6));
        assert_eq!(scene.send().await, ["sent"]);
    }
    assert_eq!(pending(world).await, 0);
}

#[tokio::test]
async fn messages_are_signed_with_both_secrets_while_one_replaces_the_other() {
    let scene = Scene::start().await;
    let Scene { world, owner, receiver, webhook, .. } = &scene;
    owner.team("one").await;
    scene.deliver().await;
    let rotated = owner.post(&format!("{}/rotate", scene.path()), json!({"overlap_seconds": 3600})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert!(rotated.body["previous_secret_expires_at"].is_string());
    owner.team("two").await;
    scene.deliver().await;
    world.clock.advance(Duration::from_secs(3600));
    owner.team("three").await;
    scene.deliver().await;
    let (old, new) = (&webhook["secret"], &rotated.body["secret"]);
    let signed: Vec<_> = receiver
        .received()
        .iter()
        .map(|message| (message.is_signed_with(old), message.is_signed_with(new), message.signatures()))
        .collect();
    assert_eq!(signed, [(true, false, 1), (true, true, 2), (false, true, 1)]);
    assert_eq!(scene.now().await["previous_secret_expires_at"], Value::Null);
}

#[tokio::test]
async fn a_test_and_a_redelivery_are_sent_at_once() {
    let scene = Scene::start().await;
    let Scene { owner, receiver, webhook, .. } = &scene;
    let tested = owner.post(&format!("{}/test", scene.path()), json!({})).await;
    assert_eq!((tested.status, &tested.body["status"]), (202, &json!("pending")), "{tested:?}");
    scene.send().await;
    assert_eq!(receiver.types(), ["webhook.tested"]);
    assert_eq!(receiver.received()[0].body["data"]["target"]["id"], webhook["id"]);
    let again = format!("{}/deliveries/{}/redeliver", scene.path(), tested.body["id"].as_str().unwrap());
    let redelivered = owner.post(&again, json!({})).await;
    assert_eq!((redelivered.status, &redelivered.body["attempts"]), (202, &json!(0)), "{redelivered:?}");
    scene.send().await;
    let received = receiver.received();
    assert_eq!((received.len(), received[0].header("webhook-id")), (2, received[1].header("webhook-id")));
    owner.post(&again.replace("dlv_", "dlv_x"), json!({})).await.refused(404, "not_found");
    for (filter, found) in [
        ("status=failed", 0),
        ("event_type=team.created", 0),
        ("event_type=webhook.tested", 1),
        ("event_type=webhook.tested&status=succeeded", 1),
        ("event_type=webhook.tested&status=pending", 0),
    ] {
        let filtered = owner.get(&format!("{}/deliveries?{filter}", scene.path())).await;
        assert_eq!(filtered.body["data"].as_array().unwrap().len(), found, "{filter}: {filtered:?}");
    }
    let shortest = Duration::from_secs(u64::from(*AUDIT_RETENTION_DAYS.start()) * 24 * 60 * 60);
    assert!(shortest > shared::model::WEBHOOK_DELIVERY_RETENTION, "an event is kept while it may be redelivered");
    assert_eq!(deliveries(owner, webhook).await.len(), 1);
}

#[tokio::test]
async fn a_change_pays_nothing_for_webhooks() {
    let world = World::start_with(super::by_hand).await;
    let owner = world.owner("acme").await;
    let mut costs = Vec::new();
    for round in 0..3 {
        if round == 2 {
            create(&owner, "https://ops.example.com/", json!({"events": ["*"]})).await;
        }
        let team = owner.post("/v1/teams", json!({"name": format!("team-{round}")})).await;
        costs.push(world.cost(&team));
    }
    assert_eq!(costs[1], costs[2], "with a webhook and without");
}

/// The figures of `infra/docs/webhooks.md`.
#[tokio::test]
async fn a_delivery_costs_few_calls_and_units() {
    let scene = Scene::start().await;
    let Scene { world, owner, .. } = &scene;
    owner.team("first").await;
    scene.deliver().await;
    owner.team("second").await;
    world.clock.advance(Duration::from_secs(3));
    scene.dispatch().await;
    let dispatched = tests::cost_of(&world.log().into_iter().rfind(|line| line["outcome"] == "dispatched").unwrap());
    scene.send().await;
    let sent = tests::cost_of(&world.log().into_iter().rfind(|line| line["outcome"] == "sent").unwrap());
    assert_eq!((dispatched, sent), ((5, 7.0), (7, 9.0)));
}
