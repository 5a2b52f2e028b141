//! Deliveries that come twice, late, in another order, or not to their queue.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use shared::model::DELIVERY_RETENTION;
use shared::settings::HOOK_QUEUE_URL;
use tests::World;

use super::{Acme, path_of, push};

#[tokio::test]
async fn a_delivery_that_comes_twice_deploys_once() {
    let acme = Acme::start().await;
    let body = push("refs/heads/main", &acme.head().await, json!([]));
    let sent = join_all((0..5).map(|_| acme.send("push", "1", &body))).await;
    for answer in &sent {
        assert_eq!((answer.status, &answer.body["id"]), (202, &sent[0].body["id"]), "{answer:?}");
    }
    let handled = acme.handled(&sent[0].body).await;
    assert_eq!(handled["outcome"], "deployed");
    // The host sends it again once it is handled, and gets the result.
    let again = acme.send("push", "1", &body).await;
    assert_eq!((again.status, &again.body), (202, &handled));
    assert_eq!((acme.deployments().await.len(), acme.deliveries().await.len()), (1, 1));
}

#[tokio::test]
async fn the_same_commit_of_a_ref_is_deployed_once_whatever_brings_it() {
    let acme = Acme::start().await;
    let body = push("refs/heads/main", &acme.head().await, json!([]));
    let sent: Vec<_> = (0..8).map(|id| id.to_string()).collect();
    let sent = join_all(sent.iter().map(|id| acme.send("push", id, &body))).await;
    let handled = join_all(sent.iter().map(|answer| acme.handled(&answer.body))).await;
    let count = |outcome: &str| handled.iter().filter(|delivery| delivery["outcome"] == outcome).count();
    assert_eq!((count("deployed"), count("already_deployed")), (1, 7), "{handled:?}");
    let [deployment] = &acme.deployments().await[..] else { panic!("one deployment") };
    let reason = format!("The newest commit of 'main' was deployed before, by {}", deployment["id"].as_str().unwrap());
    let other = handled.iter().find(|delivery| delivery["outcome"] == "already_deployed").unwrap();
    assert_eq!(other["reason"], reason);
}

#[tokio::test]
async fn deliveries_in_another_order_deploy_the_newest_commit() {
    let acme = Acme::start().await;
    let first = acme.head().await;
    let second = acme.source.commit(&[("file", "2")]);
    // The delivery of the second push comes first.
    let handled = acme.push("2", "refs/heads/main", &second).await;
    assert_eq!((&handled["outcome"], &handled["sha"]), (&json!("deployed"), &json!(second)));
    let late = acme.push("1", "refs/heads/main", &first).await;
    assert_eq!((&late["outcome"], &late["sha"]), (&json!("already_deployed"), &json!(second)));

    // A delivery that is late deploys what is newest, and the delivery of that finds nothing to do.
    let third = acme.source.commit(&[("file", "3")]);
    let handled = acme.push("late", "refs/heads/main", &second).await;
    assert_eq!((&handled["outcome"], &handled["sha"]), (&json!("deployed"), &json!(third)));
    assert_eq!(acme.push("3", "refs/heads/main", &third).await["outcome"], "already_deployed");

    // A forced push back is a new state of the branch.
    acme.source.git(&["reset", "--quiet", "--hard", &first]);
    let handled = acme.push("4", "refs/heads/main", &first).await;
    assert_eq!((&handled["outcome"], &handled["sha"]), (&json!("deployed"), &json!(first)));
    let shas: Vec<_> = acme.deployments().await.iter().map(|deployment| deployment["sha"].clone()).collect();
    assert_eq!(shas, [first, third, second]);
}

#[tokio::test]
async fn deliveries_are_filtered_by_their_outcome() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    assert_eq!(acme.push("1", "refs/heads/main", &sha).await["outcome"], "deployed");
    assert_eq!(acme.push("2", "refs/heads/main", &sha).await["outcome"], "already_deployed");
    for (outcome, ids) in [("deployed", vec!["1"]), ("already_deployed", vec!["2"]), ("failed", vec![])] {
        let page = acme.owner.get(&format!("{}/deliveries?outcome={outcome}", path_of(&acme.hook))).await;
        assert_eq!(page.column("provider_delivery_id"), ids, "{outcome}");
    }
    let refused = acme.owner.get(&format!("{}/deliveries?outcome=lost", path_of(&acme.hook))).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.body["error"]["details"][0]["field"], "outcome", "{refused:?}");
}

#[tokio::test]
async fn events_that_are_no_pushes_are_kept_and_do_nothing() {
    let acme = Acme::start().await;
    for (event, id, reason) in [
        ("ping", "1", "The git host has tested the hook, which works"),
        ("issues", "2", "Only pushes are deployed, and the event 'issues' is none"),
    ] {
        let answer = acme.send(event, id, &json!({"zen": "x", "hook_id": 1})).await;
        assert_eq!((answer.status, &answer.body["outcome"]), (202, &json!("skipped")), "{answer:?}");
        assert_eq!((&answer.body["reason"], &answer.body["event"]), (&json!(reason), &json!(event)));
        assert_eq!((&answer.body["ref"], &answer.body["sha"]), (&json!(null), &json!(null)));
    }
    acme.send("push", "3", &json!({"ref": 7})).await.refused(400, "invalid_json");
    assert_eq!(acme.deliveries().await.len(), 2);
}

#[tokio::test]
async fn a_delivery_whose_message_is_lost_is_handled_after_the_next_sweep() {
    let nowhere = (HOOK_QUEUE_URL, "http://127.0.0.1/0/nowhere".to_owned());
    let world = World::start_with(|options| options.overrides.push(nowhere)).await;
    let acme = Acme::in_world(world, json!([{"refs": ["main"], "environment": "production"}])).await;
    let sent = acme.send("push", "1", &push("refs/heads/main", &acme.head().await, json!([]))).await;
    assert_eq!((sent.status, &sent.body["outcome"]), (202, &json!("queued")), "the host need not know");

    // The sweep has a queue that works.
    let environment = acme.world.environment_with(HOOK_QUEUE_URL, acme.world.stack.hook_queue());
    let sweep = async || environment.sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(sweep().await["sent"], 0, "it is too early");
    acme.world.clock.advance(Duration::from_secs(61));
    assert_eq!(sweep().await["sent"], 1);
    assert_eq!(acme.handled(&sent.body).await["outcome"], "deployed");
    acme.world.clock.advance(Duration::from_secs(3600));
    assert_eq!(sweep().await["sent"], 0, "nothing waits any more");
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_for_two_weeks() {
    let acme = Acme::start().await;
    for id in ["1", "2", "3", "4", "5"] {
        acme.world.clock.advance(Duration::from_secs(60));
        acme.send("ping", id, &json!({})).await;
    }
    let list = format!("{}/deliveries?per_page=2", super::path_of(&acme.hook));
    let (mut found, mut next) = (Vec::new(), Some(list.clone()));
    while let Some(path) = next {
        let page = acme.owner.get(&path).await;
        assert_eq!((page.status, &page.body["meta"]["per_page"]), (200, &json!(2)), "{page:?}");
        found.extend(page.column("provider_delivery_id"));
        next = page.body["meta"]["next_cursor"].as_str().map(|cursor| format!("{list}&cursor={cursor}"));
    }
    assert_eq!(found, ["5", "4", "3", "2", "1"]);
    let hooks = acme.owner.get("/v1/repositories/app/hooks").await;
    assert_eq!(hooks.body["data"][0]["last_delivery_at"], "2026-01-01T12:05:00Z");

    let deliveries = acme.world.items_with_prefix("DELIVERY#").await;
    assert_eq!(deliveries.len(), 5);
    for item in deliveries {
        let number = |name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
        assert_eq!(number("expires_at"), number("received_at") / 1000 + DELIVERY_RETENTION.as_secs() as i64);
    }
}
