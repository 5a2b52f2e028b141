//! Builds that CodeBuild refuses because it has too many.

use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Rfc3339;
use shared::settings::CONCURRENT_BUILDS;
use tests::eventually;

use super::Here;
use crate::permits::{account, branches, deploy};

impl Here {
    /// Waits until CodeBuild has refused this many builds, and their deployments are in the queue again.
    async fn refused(&self, times: usize) {
        eventually("the refusals", async || (self.moto.refused() == times).then_some(())).await;
        self.world.queue_is_empty().await;
    }

    async fn try_again_after(&self, seconds: u64, times: usize) {
        self.world.clock.advance(Duration::from_secs(seconds - 1));
        self.world.sweep().await.unwrap();
        self.world.queue_is_empty().await;
        assert_eq!(self.moto.refused(), times - 1, "not before");
        self.world.clock.advance(Duration::from_secs(1));
        self.world.sweep().await.unwrap();
        self.refused(times).await;
    }
}

#[tokio::test]
async fn a_build_that_codebuild_refuses_for_lack_of_capacity_waits_in_its_lane_and_is_no_attempt() {
    let Some(here) = Here::start().await else { return };
    here.moto.refuse_builds(Some("AccountLimitExceededException"));
    let body = json!({"ref": "main", "environment": "production", "variables": {"A": {"value": "x", "secret": true}}});
    let created = here.owner.deploy("app", body).await;
    here.refused(1).await;
    let waits = here.status(&created).await;
    let capacity = |until: &str| json!({"kind": "capacity", "deployment_id": null, "position": null, "until": until, "reason": null});
    assert_eq!((&waits["status"], &waits["started_at"]), (&json!("queued"), &Value::Null));
    let queue = json!({
        "position": 1, "blocked_by": capacity("2026-01-01T12:01:00Z"), "since": "2026-01-01T12:00:00Z",
        "deadline": "2026-01-02T12:00:00Z",
    });
    assert_eq!(waits["queue"], queue);
    assert_eq!(here.secrets().await, [""; 0], "nobody would delete it if the deployment ended now");

    // The next one does not overtake it, and no message makes it start earlier.
    let next = here.owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    here.world.queue_is_empty().await;
    assert_eq!(here.status(&next).await["queue"]["blocked_by"]["deployment_id"], created["id"]);
    for (times, wait) in [(2, 60), (3, 60), (4, 120), (5, 240)] {
        here.try_again_after(wait, times).await;
    }
    assert_eq!(here.status(&created).await["queue"]["blocked_by"], capacity("2026-01-01T12:16:00Z"));

    here.moto.refuse_builds(None);
    here.world.clock.advance(Duration::from_secs(480));
    here.world.sweep().await.unwrap();
    let stored = here.started(&here.owner, &created).await;
    here.world.queue_is_empty().await;
    let events = here.owner.events(&created).await;
    let refused = "in_progress runner: claimed, attempt 1";
    let again = "queued runner: AWS did not start the build, which is tried again";
    assert_eq!(events[1..=2], [format!("2 {refused}"), format!("3 {again}")]);
    assert_eq!(events[11], format!("12 {refused}"), "{events:?}");
    assert!(here.owner.log(&created).await.contains(&"system: Trying again: AWS did not start the build".to_owned()));
    let audited = here.owner.get("/v1/audit_events?action=deployment.requeued&per_page=100").await;
    assert_eq!(audited.body["data"].as_array().unwrap().len(), 5, "{audited:?}");

    // Each try has names of its own, which no earlier one has used.
    let starts = here.moto.calls("CodeBuild_20161006.StartBuild");
    let tokens: std::collections::BTreeSet<_> =
        starts.iter().map(|start| start["idempotencyToken"].to_string()).collect();
    assert_eq!((starts.len(), tokens.len(), here.secrets().await.len()), (6, 6, 1));
    for (status, outcome) in [("IN_PROGRESS", "started"), ("SUCCEEDED", "succeeded")] {
        let mut event = super::event(&stored, stored.build.as_ref().unwrap(), status);
        event["time"] = json!(Rfc3339::from(here.world.clock.now()));
        assert_eq!(here.told(&event).await.unwrap(), outcome);
    }
    eventually("the next build", async || here.world.stored(&here.owner, &next).await.build).await;
    assert_eq!(here.minutes(&here.owner).await, 0, "refusals and the wait for them use none");
}

#[tokio::test]
async fn the_permit_of_a_refused_build_goes_to_the_next_account_without_the_sweep() {
    let one = |options: &mut local::stack::Options| options.overrides.push((CONCURRENT_BUILDS, "1".to_owned()));
    let Some(here) = Here::start_with(one).await else { return };
    let source = branches(2);
    let [first, second] =
        [account(&here.world, "initech", 2, &source).await, account(&here.world, "globex", 2, &source).await];
    let running = deploy(&first, 0).await;
    let running = here.started(&first, &running).await;
    here.world.queue_is_empty().await;
    let (refused, next) = (deploy(&first, 1).await, deploy(&second, 0).await);
    here.world.queue_is_empty().await;

    here.moto.refuse_a_build("AccountLimitExceededException");
    let ended = super::event(&running, running.build.as_ref().unwrap(), "SUCCEEDED");
    assert_eq!(here.told(&ended).await.unwrap(), "succeeded");
    here.started(&second, &next).await;
    assert_eq!(here.moto.refused(), 1);
    let waits = first.deployment(&refused).await;
    assert_eq!(waits["queue"]["blocked_by"]["until"], "2026-01-01T12:01:00Z");
}

#[tokio::test]
async fn a_deployment_that_waits_for_capacity_is_canceled_or_superseded_at_once_and_ends_in_a_day() {
    let Some(here) = Here::start().await else { return };
    here.moto.refuse_builds(Some("ThrottlingException"));
    let deploy =
        async |environment: &str| here.owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
    let waits = async |deployment: &Value| {
        eventually("the wait for capacity", async || {
            let found = here.status(deployment).await;
            (found["queue"]["blocked_by"]["kind"] == "capacity").then_some(())
        })
        .await;
        here.world.queue_is_empty().await;
    };
    let canceled = deploy("production").await;
    waits(&canceled).await;
    let answer = here.owner.act(&canceled, "cancel", json!({})).await;
    assert_eq!(answer.body["status"], "canceled");
    assert_eq!(here.owner.events(&canceled).await.last().unwrap(), "4 canceled user: canceled before it started");

    let older = deploy("preview").await;
    waits(&older).await;
    let newer = deploy("preview").await;
    assert_eq!(here.owner.ended(&older).await["status"], "superseded");
    waits(&newer).await;

    let never = deploy("staging").await;
    waits(&never).await;
    here.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    eventually("the end of the wait", async || {
        here.world.sweep().await.unwrap();
        (here.status(&never).await["status"] == "failed").then_some(())
    })
    .await;
    let failure = here.status(&never).await["failure"].clone();
    assert_eq!(failure["code"], "queue_deadline", "{failure}");
}

#[tokio::test]
async fn a_deployment_whose_build_is_refused_after_a_request_to_cancel_is_canceled() {
    let Some(here) = Here::start_with(tests::without_queue).await else { return };
    let created = here.owner.deploy("app", json!({"ref": "main"})).await;
    let claimed = here.world.lose_a_runner(&here.owner, &created).await;
    assert_eq!(here.owner.act(&created, "cancel", json!({})).await.body["status"], "in_progress");
    let (table, now) = (here.world.stack.app().table(), here.world.clock.now());
    claimed.await_capacity(table, now).await.unwrap();
    assert_eq!(here.status(&created).await["status"], "canceled");
    assert_eq!(here.owner.events(&created).await.last().unwrap(), "4 canceled runner: canceled before it started");
    assert!(claimed.await_capacity(table, now).await.is_err(), "it is over");

    // A runner that has lost its deployment puts nothing back.
    let created = here.owner.deploy("app", json!({"ref": "main"})).await;
    let lost = here.world.lose_a_runner(&here.owner, &created).await;
    here.world.clock.advance(super::LEASE);
    here.world.lose_a_runner(&here.owner, &created).await;
    assert!(lost.await_capacity(table, here.world.clock.now()).await.is_err());
    assert_eq!(here.status(&created).await["status"], "in_progress");
}
