//! The order of reports.

use futures_util::future::join_all;
use serde_json::json;
use shared::model::{REPORT_LEASE, REPORTED_WITHIN};

use super::git_host::Fault;
use super::{Scene, message};

#[tokio::test]
async fn a_report_that_takes_long_is_followed_by_the_newest_state_and_never_overtaken() {
    let scene = Scene::by_hand("github").await;
    let Scene { owner, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    host.fail_once(Fault::Held);
    let (slow, ()) = tokio::join!(scene.tell(&deployment), async {
        tests::eventually("the slow report", async || (host.requests() == 1).then_some(())).await;
        assert_eq!(owner.act(&deployment, "cancel", json!({})).await.status, 200);
        assert_eq!(scene.tell(&deployment).await, "already_told", "another function tells it");
        assert_eq!((host.requests(), host.accepted()), (1, vec![]));
        host.release();
    });
    assert_eq!(slow, "told");
    assert_eq!(host.states(), ["pending", "error"]);
    assert_eq!(scene.tell(&deployment).await, "already_told");
}

#[tokio::test]
async fn messages_that_are_doubled_and_late_tell_a_state_once() {
    let scene = Scene::by_hand("gitlab").await;
    let Scene { world, owner, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    let twelve = async || {
        let function = world.stack.environment().report_status().unwrap();
        let message = message(owner, &deployment);
        let batch = json!({"Records": [message, message, message]});
        join_all((0..4).map(|_| function.invoke(batch.clone()))).await
    };
    twelve().await;
    world.lose_a_runner(owner, &deployment).await;
    twelve().await;
    world.clock.advance(std::time::Duration::from_secs(61));
    scene.run(&deployment).await;
    twelve().await;
    assert_eq!((host.states(), host.requests()), (["pending", "running", "success"].map(str::to_owned).to_vec(), 3));
}

#[tokio::test]
async fn a_report_of_a_function_that_died_is_made_by_another() {
    let scene = Scene::by_hand("gitea").await;
    let Scene { world, host, .. } = &scene;
    let deployment = scene.deploy("production").await;
    host.fail_once(Fault::Hang);
    let dying = scene.tell(&deployment);
    let died = tests::eventually("the request", async || (host.requests() == 1).then_some(()));
    tokio::select! {
        outcome = dying => panic!("the host does not answer, but the report has {outcome}"),
        () = died => {}
    }
    assert_eq!(scene.tell(&deployment).await, "already_told", "its lease goes on");
    world.clock.advance(REPORT_LEASE.max(REPORTED_WITHIN));
    assert_eq!(scene.tell(&deployment).await, "told");
    assert_eq!(host.states(), ["pending"]);
}

#[tokio::test]
async fn the_status_of_a_commit_is_that_of_its_newest_deployment() {
    let scene = Scene::by_hand("github").await;
    let Scene { owner, host, .. } = &scene;
    let last = || host.accepted().last().map(|report| (report.state.clone(), report.description.clone())).unwrap();
    let says = |state: &str, description: &str| (state.to_owned(), description.to_owned());

    // The older one ends in the queue, because the newer one takes its place.
    let older = scene.deploy("preview").await;
    let newer = scene.deploy("preview").await;
    assert_eq!(older["sha"], newer["sha"]);
    scene.run(&newer).await;
    assert_eq!(owner.deployment(&older).await["status"], "superseded");
    assert_eq!(scene.tell(&older).await, "told");
    assert_eq!(last(), says("success", "Deployment 2 succeeded"));

    // A report that the host did not take is not made any more once another deployment is newer.
    let first = scene.deploy("production").await;
    host.fail_once(Fault::Status(500));
    assert_eq!(owner.act(&first, "cancel", json!({})).await.status, 200);
    assert_eq!(scene.tell(&first).await, "deferred");
    let again = owner.act(&first, "retry", json!({})).await;
    assert_eq!(again.status, 201, "{again:?}");
    scene.run(&again.body).await;
    scene.world.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(scene.tell(&first).await, "told");
    assert_eq!(last(), says("success", "Deployment 4 succeeded"));
    assert_eq!(host.accepted().len(), 2);
}
