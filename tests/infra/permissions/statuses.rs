//! Reports of commit statuses, in every way that leads to another AWS call.

use std::time::Duration;

use local::event_source::{EventSource, Mapping};
use serde_json::{Value, json};
use shared::aws::{Aws, Limits};
use shared::queue::Queue;
use shared::settings;
use tests::{Actor, GitRepository, eventually};

use super::super::{BUILD_EVENTS, CONSUMER, REPORTER, SWEEP};
use super::walk::Walk;
use crate::statuses::connect;
use crate::statuses::git_host::{Fault, GitHost};

/// Reports the statuses of deployments to a host that refuses, fails and answers. Nothing else may consume the queue.
pub(super) async fn report_everything(walk: &Walk, owner: &Actor) {
    let source = GitRepository::with_commands(&["true"]);
    let host = GitHost::start("github", &source).await;
    connect(owner, &host, "hosted").await;
    let environment = walk.environment(REPORTER);
    let poller = Aws::new(&environment.settings).unwrap().with_limits(Limits::PATIENT).sqs();
    let mapping = Mapping::new(environment.settings.require(settings::STATUS_QUEUE_URL).unwrap());
    let reporter = EventSource::start(poller, mapping, environment.report_status().unwrap()).await.unwrap();
    let deploy =
        async |environment: &str| owner.deploy("hosted", json!({"ref": "main", "environment": environment})).await;
    let outcome = async |expected: &str| {
        eventually(expected, async || {
            let refused = walk.gate.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            let is_it = |line: &Value| line["function"] == REPORTER && line["outcome"] == expected;
            walk.world.log().iter().any(is_it).then_some(())
        })
        .await
    };

    host.fail_once(Fault::Status(403));
    let refused = deploy("production").await;
    outcome("given_up").await;
    host.fail_once(Fault::Status(500));
    deploy("staging").await;
    outcome("deferred").await;
    walk.world.clock.advance(Duration::from_secs(60));
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(swept["failed"], 0, "{swept}");
    outcome("told").await;

    // The functions that run a deployment announce its status by the same code, whatever their runner.
    let deployment = walk.world.stored(owner, &refused).await;
    for function in [CONSUMER, BUILD_EVENTS] {
        let app = walk.app(function);
        Queue::with_statuses(&app).unwrap().announce_status(&app, &deployment).await;
    }
    assert_eq!(*walk.gate.refused.lock().unwrap(), []);
    reporter.stop(Duration::from_secs(5)).await;
}
