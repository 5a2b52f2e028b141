//! Hosts that fail, refuse, ask to wait, or never answer.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use super::git_host::Fault;
use super::{Scene, connect_app};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn a_failure_of_the_host_is_tried_again_later() {
    let scene = Scene::by_hand("gitlab").await;
    let Scene { world, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    host.fail_once(Fault::Status(500));
    host.fail_once(Fault::Status(502));
    assert_eq!(scene.tell(&deployment).await, "deferred");
    for (pause, requests) in [(seconds(10), 2), (seconds(20), 3)] {
        assert_eq!(scene.tell(&deployment).await, "already_told", "it is too early");
        world.clock.advance(pause - Duration::from_millis(1));
        scene.tell(&deployment).await;
        assert_eq!(host.requests(), requests - 1, "it is too early");
        world.clock.advance(Duration::from_millis(1));
        scene.tell(&deployment).await;
        assert_eq!(host.requests(), requests);
    }
    assert_eq!(host.states(), ["pending"]);
    assert_eq!(scene.error(&deployment).await, Value::Null);
}

#[tokio::test]
async fn a_host_that_asks_to_wait_is_left_alone_for_that_time_whatever_happens() {
    let scene = Scene::by_hand("github").await;
    let Scene { world, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    host.fail_once(Fault::Busy(600));
    assert_eq!(scene.tell(&deployment).await, "deferred");
    assert_eq!(scene.run(&deployment).await["status"], "succeeded");
    world.clock.advance(seconds(599));
    scene.tell(&deployment).await;
    assert_eq!(host.requests(), 1, "the new state waits too");
    world.clock.advance(seconds(1));
    assert_eq!(scene.tell(&deployment).await, "told");
    assert_eq!((host.requests(), host.states()), (2, vec!["success".to_owned()]));
}

#[tokio::test]
async fn an_app_that_has_asked_for_too_many_tokens_waits_and_reports_then() {
    let scene = Scene::by_hand("github").await;
    let Scene { world, owner, host, .. } = &scene;
    connect_app(owner, host).await;
    let deployment = owner.deploy("of-the-app", json!({"ref": "main", "environment": "production"})).await;
    host.fail_once(Fault::NoToken(600));
    assert_eq!(scene.tell(&deployment).await, "deferred");
    world.clock.advance(seconds(599));
    scene.tell(&deployment).await;
    assert_eq!((host.tokens(), host.requests()), (0, 0), "the app waits as long as it has to");
    world.clock.advance(seconds(1));
    assert_eq!(scene.tell(&deployment).await, "told");
    assert_eq!((host.tokens(), host.states()), (1, vec!["pending".to_owned()]));
}

#[tokio::test]
async fn a_refusal_is_final_and_shown_until_the_host_takes_a_later_state() {
    for (status, meaning) in [
        (401, "it does not accept the connection's credential"),
        (403, "the connection's credential may not write commit statuses"),
        (404, "it has no such repository, or does not show it to the connection"),
        (422, "it does not have the commit, or the commit has too many statuses"),
    ] {
        let scene = Scene::by_hand("gitea").await;
        let Scene { world, host, .. } = &scene;
        let deployment = scene.deploy("production").await;
        host.fail_once(Fault::Status(status));
        assert_eq!(scene.tell(&deployment).await, "given_up");
        let error = format!("{} answered with the HTTP status {status}: {meaning}", host.address());
        assert_eq!(scene.error(&deployment).await, json!(error));
        world.clock.advance(seconds(3600));
        assert_eq!(scene.tell(&deployment).await, "already_told");
        assert_eq!(host.requests(), 1);

        assert_eq!(scene.run(&deployment).await["status"], "succeeded");
        assert_eq!(scene.tell(&deployment).await, "told");
        assert_eq!((host.states(), scene.error(&deployment).await), (vec!["success".to_owned()], Value::Null));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_credential() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    for status in [301, 302, 303, 307, 308] {
        let scene = Scene::by_hand("gitea").await;
        let deployment = scene.deploy("production").await;
        scene.host.fail_once(Fault::Redirect(status, port));
        assert_eq!(scene.tell(&deployment).await, "given_up");
        let meaning = "the repository has moved; change its clone URL";
        let error = format!("{} answered with the HTTP status {status}: {meaning}", scene.host.address());
        assert_eq!(scene.error(&deployment).await, json!(error));
        assert_eq!(scene.host.requests(), 1);
        assert!(elsewhere.accept().is_err(), "{status}: the other host was connected to");
    }
}

#[tokio::test]
async fn a_host_that_never_recovers_is_given_up_after_a_day() {
    let scene = Scene::by_hand("github").await;
    let Scene { world, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    host.fail_always(Some(Fault::Status(503)));
    let mut minutes = 0;
    while scene.tell(&deployment).await != "given_up" {
        world.clock.advance(seconds(600));
        minutes += 10;
        assert!(minutes <= 24 * 60, "it is asked for ever");
    }
    assert!(minutes > 23 * 60, "it was given up after {minutes} minutes");
    assert!((40..60).contains(&host.requests()), "it was asked {} times", host.requests());
    let error = format!("{} answered with the HTTP status 503, and was asked for 24 hours", host.address());
    assert_eq!(scene.error(&deployment).await, json!(error));
}

#[tokio::test]
async fn a_deployment_ends_in_time_while_its_host_hangs_and_the_host_is_left_alone() {
    let scene = Scene::start_with("github", |_| {}).await;
    let Scene { world, owner, host, .. } = &scene;
    host.fail_always(Some(Fault::Hang));
    let deployments = [scene.deploy("production").await, scene.deploy("staging").await];
    for deployment in &deployments {
        assert_eq!(owner.ended(deployment).await["status"], "succeeded");
    }
    // Both reports began before the host was known to hang. Others are not begun while it is left alone.
    let line = tests::eventually("the end of a report", async || {
        let ended = |line: &Value| line["function"] == "report-status" && line["cause"].is_string();
        world.log().into_iter().find(ended)
    })
    .await;
    assert_eq!(line["cause"], format!("{} took too long to answer", host.address()));
    host.fail_always(None);
    world.clock.advance(seconds(3600));
    for deployment in &deployments {
        tests::eventually("the report", async || {
            world.clock.advance(seconds(60));
            scene.tell(deployment).await;
            let context = format!("dotgit/{}", deployment["environment"].as_str().unwrap());
            host.accepted().into_iter().rfind(|report| report.context == context && report.state == "success")
        })
        .await;
        assert_eq!(scene.error(deployment).await, Value::Null);
    }
}
