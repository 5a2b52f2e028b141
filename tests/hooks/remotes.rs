//! Git hosts that can't be read.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::DELIVERY_TRIED_FOR;

use super::{Acme, push};

/// An address at which nothing answers.
const DOWN: &str = "http://127.0.0.1:1/acme/app.git";

impl Acme {
    /// Waits until the git host could not be read for the given number of times.
    async fn postponed(&self, delivery: &Value, attempts: u32) -> Value {
        let hook = self.hook["id"].as_str().unwrap().parse().unwrap();
        let id = delivery["id"].as_str().unwrap().parse().unwrap();
        tests::eventually("the attempt", async || {
            let found =
                shared::model::Delivery::load(self.world.stack.app().table(), &hook, &id).await.unwrap().unwrap();
            (found.attempts == attempts || found.due_at.is_none()).then_some(())
        })
        .await;
        self.delivery(delivery).await
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_tried_again_until_it_answers() {
    let acme = Acme::start().await;
    let sha = acme.head().await;
    acme.is_at(DOWN).await;
    let sent = acme.send("push", "1", &push("refs/heads/main", &sha, json!([]))).await;
    assert_eq!(sent.status, 202, "the sender does not wait for the host: {sent:?}");
    // Each wait is twice as long as the one before.
    for (attempt, wait) in [(1, 60), (2, 120), (3, 240)] {
        let waits = acme.postponed(&sent.body, attempt).await;
        assert_eq!(waits["outcome"], "queued");
        let reason = waits["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("Can't read {DOWN}: ")), "{reason}");
        assert!(reason.ends_with(". The delivery is tried again"), "{reason}");
        acme.world.clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(acme.world.sweep().await.unwrap()["sent"], 0, "it is too early");
        acme.world.clock.advance(Duration::from_secs(1));
        if attempt == 3 {
            acme.is_at(&acme.source.url()).await;
        }
        assert_eq!(acme.world.sweep().await.unwrap()["sent"], 1);
    }
    let handled = acme.handled(&sent.body).await;
    assert_eq!(
        (&handled["outcome"], &handled["reason"]),
        (&json!("deployed"), &json!("'main' was deployed to production"))
    );
    assert_eq!(acme.deployments().await.len(), 1);
}

#[tokio::test]
async fn a_delivery_fails_after_the_last_attempt_and_can_be_sent_again() {
    let acme = Acme::start().await;
    let body = push("refs/heads/main", &acme.head().await, json!([]));
    acme.is_at(DOWN).await;
    let sent = acme.send("push", "1", &body).await;
    let mut attempts = 0;
    let mut waited = Duration::ZERO;
    let failed = loop {
        attempts += 1;
        let found = acme.postponed(&sent.body, attempts).await;
        if found["outcome"] != "queued" {
            break found;
        }
        let wait = Duration::from_secs(60 << (attempts - 1).min(5)).min(Duration::from_secs(1800));
        acme.world.clock.advance(wait);
        waited += wait;
        assert_eq!(acme.world.sweep().await.unwrap()["sent"], 1, "attempt {attempts}");
    };
    assert_eq!((&failed["outcome"], &failed["sha"]), (&json!("failed"), &body["after"]), "{failed}");
    assert!(failed["reason"].as_str().unwrap().ends_with(". There is no further attempt"), "{failed}");
    assert!(waited <= DELIVERY_TRIED_FOR && waited + Duration::from_secs(1800) > DELIVERY_TRIED_FOR, "{waited:?}");
    assert!((10..30).contains(&attempts), "{attempts}");

    acme.is_at(&acme.source.url()).await;
    let again = acme.send("push", "1", &body).await;
    assert_eq!((&again.body["outcome"], &again.body["id"]), (&json!("queued"), &sent.body["id"]), "{again:?}");
    assert_eq!(acme.handled(&again.body).await["outcome"], "deployed");
    assert_eq!(acme.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_repository_that_can_not_be_read_fails_at_once() {
    let acme = Acme::start().await;
    acme.is_at("/nowhere/app.git").await;
    let handled = acme.push("1", "refs/heads/main", &"1".repeat(40)).await;
    assert_eq!(handled["outcome"], "failed", "{handled}");
    assert!(handled["reason"].as_str().unwrap().starts_with("Can't read /nowhere/app.git: "), "{handled}");
}
