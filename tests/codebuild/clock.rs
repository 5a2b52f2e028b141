//! The clock of a run: the time in CodeBuild's queue, and the time limit from then on.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::{BUILD_QUEUE_LIMIT, BUILD_REPORTS_WITHIN, Deployment};

use super::{Here, event, failed, phase_change};

const STOP: &str = "CodeBuild_20161006.StopBuild";

/// The phases of a build that waits for a machine.
fn queued() -> Value {
    json!([{"phaseType": "SUBMITTED", "phaseStatus": "SUCCEEDED"}, {"phaseType": "QUEUED"}])
}

impl Here {
    /// Returns the phases of a build that got a machine some seconds ago.
    fn running_since(&self, seconds: i64) -> Value {
        let started = self.world.clock.now().as_millis() / 1000 - seconds;
        json!([
            {"phaseType": "QUEUED", "phaseStatus": "SUCCEEDED"},
            {"phaseType": "PROVISIONING", "startTime": started},
        ])
    }

    /// Returns the event that the build has left the queue at this moment.
    fn leaves_queue(&self, deployment: &Deployment) -> Value {
        let mut event = phase_change(deployment, "QUEUED");
        event["time"] = json!(shared::clock::Rfc3339::from(self.world.clock.now()));
        event
    }

    fn stops(&self) -> usize {
        self.moto.calls(STOP).len()
    }

    async fn advance(&self, seconds: u64) -> Value {
        self.world.clock.advance(Duration::from_secs(seconds));
        self.world.sweep().await.unwrap()
    }
}

#[tokio::test]
async fn the_time_limit_counts_from_the_end_of_the_wait_for_a_machine() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    let path = format!("/v1/deployments/{}", stored.id);
    let waits = here.owner.get(&path).await;
    assert_eq!(waits.header("x-poll-interval"), "5");
    let capacity = json!({"kind": "capacity", "deployment_id": null, "position": null, "until": null, "reason": null});
    let queue = json!({
        "position": 1, "blocked_by": capacity, "since": "2026-01-01T12:00:00Z", "deadline": "2026-01-01T13:00:00Z",
    });
    assert_eq!((&waits.body["status"], &waits.body["queue"]), (&json!("in_progress"), &queue));

    here.moto.say_that_builds_are_in(queued());
    for _ in 0..11 {
        here.advance(BUILD_REPORTS_WITHIN.as_secs()).await;
    }
    assert_eq!(here.status(&created).await["queue"], queue, "after 55 minutes, for which there is a limit of 10");
    let leaves = here.leaves_queue(&stored);
    assert_eq!(here.told(&leaves).await.unwrap(), "started");
    let running = here.owner.get(&path).await;
    assert_eq!((&running.body["queue"], running.header("x-poll-interval")), (&Value::Null, "2"));
    assert_eq!(here.owner.events(&created).await[3], "4 in_progress runner: the build has a machine");

    // Events that are delivered twice, or of an earlier time.
    here.world.clock.advance(Duration::from_secs(30));
    let mut earlier = event(&stored, stored.build.as_ref().unwrap(), "IN_PROGRESS");
    earlier["detail"]["additional-information"]["phases"] = json!([{"phase-type": "SUBMITTED"}]);
    for event in [&leaves, &earlier, &here.leaves_queue(&stored)] {
        assert_eq!(here.told(event).await.unwrap(), "running");
    }
    here.moto.say_that_builds_are_in(here.running_since(30));
    here.advance(569).await;
    assert_eq!(here.stops(), 0, "a second before the limit");
    here.advance(1).await;
    assert_eq!(here.stops(), 1);
    here.advance(59).await;
    assert_eq!(here.stops(), 1, "the stop gets its time");
    here.advance(1).await;
    assert_eq!(here.stops(), 2, "and is repeated");
    assert_eq!(here.told(&failed(&stored, "STOPPED", "BUILD", "STOPPED", "")).await.unwrap(), "failed");
    let message = "The time limit of 600 s was reached in phase BUILD";
    assert_eq!(here.status(&created).await["failure"], json!({"code": "timed_out", "message": message}));
    assert_eq!(here.told(&leaves).await.unwrap(), "already_ended");
    assert_eq!(here.minutes(&here.owner).await, 11, "660 seconds with a machine, and none of the 55 minutes without");
}

#[tokio::test]
async fn a_limit_below_five_minutes_is_kept_although_the_event_was_lost() {
    let Some(here) = Here::start().await else { return };
    here.owner.set("app", "preview", json!({"time_limit_seconds": 90})).await;
    let (created, stored) = here.building(json!({})).await;
    let start = &here.moto.calls("CodeBuild_20161006.StartBuild")[0];
    assert_eq!((&start["timeoutInMinutesOverride"], &start["queuedTimeoutInMinutesOverride"]), (&json!(5), &json!(60)));

    here.world.clock.advance(Duration::from_secs(89));
    here.moto.say_that_builds_are_in(here.running_since(40));
    assert_eq!(here.world.sweep().await.unwrap()["unchanged"], 0, "it is not asked about all the time");
    here.advance(1).await;
    assert_eq!(
        here.world.stored(&here.owner, &created).await.build_started_at.unwrap().since(stored.created_at).as_secs(),
        49
    );
    here.advance(48).await;
    assert_eq!(here.stops(), 0, "a second before the limit, by CodeBuild's own time of the start");
    here.advance(1).await;
    assert_eq!(here.stops(), 1);
    assert_eq!(here.told(&failed(&stored, "STOPPED", "INSTALL", "STOPPED", "")).await.unwrap(), "failed");
    let message = "The time limit of 90 s was reached in phase INSTALL";
    assert_eq!(here.status(&created).await["failure"], json!({"code": "timed_out", "message": message}));
}

#[tokio::test]
async fn the_wait_for_a_machine_has_a_limit_of_its_own() {
    let Some(here) = Here::start().await else { return };
    let failure = json!({
        "code": "queue_deadline", "message": "AWS CodeBuild had no machine for the build within 60 minutes",
    });
    let (created, stored) = here.building(json!({})).await;
    let timed_out = failed(&stored, "TIMED_OUT", "QUEUED", "TIMED_OUT", "BUILD_TIMED_OUT: Build has timed out.");
    assert_eq!(here.told(&timed_out).await.unwrap(), "failed");
    assert_eq!(here.status(&created).await["failure"], failure);

    // CodeBuild does not end the wait.
    let (created, stored) = here.building(json!({})).await;
    here.moto.say_that_builds_are_in(queued());
    here.advance(BUILD_QUEUE_LIMIT.as_secs() - 1).await;
    assert_eq!(here.stops(), 0);
    here.advance(1).await;
    assert_eq!(here.stops(), 1);
    let mut stopped = event(&stored, stored.build.as_ref().unwrap(), "STOPPED");
    stopped["detail"]["additional-information"]["phases"] =
        json!([{"phase-type": "QUEUED", "phase-status": "STOPPED"}]);
    assert_eq!(here.told(&stopped).await.unwrap(), "failed");
    assert_eq!(here.status(&created).await["failure"], failure);
    assert_eq!(here.minutes(&here.owner).await, 0, "no build had a machine");
}

#[tokio::test]
async fn a_build_that_has_no_machine_yet_can_be_canceled() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    assert_eq!(here.owner.act(&created, "cancel", json!({})).await.status, 202);
    here.world.queue_is_empty().await;
    assert_eq!(here.stops(), 1);
    assert_eq!(here.told(&failed(&stored, "STOPPED", "QUEUED", "STOPPED", "")).await.unwrap(), "canceled");
    assert_eq!(here.status(&created).await["queue"], Value::Null);
}
