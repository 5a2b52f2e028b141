//! The calls of functions that build with CodeBuild.

use std::collections::BTreeMap;
use std::time::Duration;

use builds::{Builds, Start};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{self, BUILD_REPORTS_WITHIN, Deployment, Transition};
use tests::{Actor, GitRepository};

use super::super::{BUILD_EVENTS, CONSUMER, REDRIVE, SWEEP, text};
use super::walk::Walk;
use super::{PROJECT, build_log, environments, hooks, permits};

/// Deploys by CodeBuild in every way that leads to another AWS call. Nothing else may consume the queue.
pub(super) async fn build_everything(walk: &Walk, owner: &Actor) {
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("built", &source).await;
    // Each deployment has its own environment, so that none waits for another.
    let deploy = async |environment: &str| {
        let new = json!({"ref": "main", "environment": environment, "variables": {"GREETING": {"value": "hello", "secret": true}}});
        owner.deploy("built", new).await
    };
    let mut environment = walk.environment(CONSUMER);
    environment.settings.set(deployment_consumer::RUNNER, "codebuild".to_owned());
    let consumer = environment.consumer().unwrap();
    let consume = async |deployment: &Value| {
        let body = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]}).to_string();
        let event = json!({"Records": [{"messageId": "m1", "body": body}]});
        let answer = consumer.invoke(event).await.unwrap();
        let refused = walk.gate.refused.lock().unwrap().clone();
        assert_eq!(answer, json!({"batchItemFailures": []}), "{refused:?} {:?}", walk.world.log().last());
        walk.world.stored(owner, deployment).await
    };

    let built = consume(&deploy("preview").await).await;
    let silent = consume(&deploy("staging").await).await;
    let queued = deploy("production").await;
    // The deployment waits for the first one, whose end sends its message.
    deploy("preview").await;
    for build in [&built, &silent] {
        assert!(build.build.is_some(), "{build:?}");
    }
    build_log::copy_a_long_log(walk, &built).await;
    permits::wait(walk, owner, async |waiting| drop(consume(waiting).await)).await;

    for build in [&built, &silent] {
        store_files(walk, build).await;
    }
    let events = walk.environment(BUILD_EVENTS).build_events().unwrap();
    for (attempt, status, outcome) in [(0, "IN_PROGRESS", "stopped"), (1, "SUCCEEDED", "succeeded")] {
        let build = if attempt == 0 { "of-a-lost-runner" } else { built.build.as_ref().unwrap().uuid() };
        let variable = |name: &str, value: &str| json!({"name": name, "type": "PLAINTEXT", "value": value});
        let variables = [
            variable(builds::DEPLOYMENT_VARIABLE, built.id.as_str()),
            variable(builds::ACCOUNT_VARIABLE, built.account_id.as_str()),
            variable(builds::ATTEMPT_VARIABLE, &attempt.to_string()),
        ];
        let event = json!({"detail-type": "CodeBuild Build State Change", "time": "2026-01-01T12:00:00Z", "detail": {
            "build-status": status,
            "project-name": PROJECT,
            "build-id": format!("arn:aws:codebuild:us-east-1:000000000000:build/{PROJECT}:{build}"),
            "additional-information": {"environment": {"environment-variables": variables}},
        }});
        assert_eq!(events.invoke(event).await.unwrap(), json!({"outcome": outcome}));
    }

    walk.world.clock.advance(BUILD_REPORTS_WITHIN);
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    // Three deployments, two statuses of the private repository's commit, and two messages about webhooks.
    assert_eq!(
        swept,
        json!({"sent": 7, "ended": 1, "unchanged": 0, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": true})
    );

    hooks::wait_for_the_sweep(walk, owner).await;

    // A message in the dead-letter queue, of each kind that leads to another call.
    let redrive = walk.environment(REDRIVE).redrive_dead_letters().unwrap();
    let dead = walk.world.stack.dead_letter_queue();
    for body in [
        "not JSON".to_owned(),
        json!({"account_id": owner.account_id, "deployment_id": silent.id}).to_string(),
        json!({"account_id": owner.account_id, "deployment_id": queued["id"]}).to_string(),
    ] {
        walk.world.stack.app().aws().sqs().send_message().queue_url(dead).message_body(body).send().await.unwrap();
    }
    let redriven = redrive.invoke(json!({"dry_run": true})).await.unwrap();
    assert_eq!((&redriven["kept"], &redriven["failed"]), (&json!(1), &json!(0)), "{redriven}");
    let redriven = redrive.invoke(json!({"dry_run": false, "discard_unreadable": true})).await.unwrap();
    assert_eq!((&redriven["discarded"], &redriven["failed"]), (&json!(2), &json!(0)), "{redriven}");
    assert_eq!(redriven["redriven"], 1);

    environments::leave_one_idle(walk, owner, &source).await;
    // A day later, the deployments that no runner took and the delivery are past their deadlines, and another deployment is
    // asked to stop.
    walk.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    let swept = walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(swept["ended"], 4, "three deployments and the delivery: {swept}");
    assert_eq!(swept["removed"], 1, "the idle environment: {swept}");
    let stopped = consume(&deploy("staging").await).await;
    let cancel = owner.act(&json!({"id": stopped.id}), "cancel", json!({})).await;
    assert_eq!(cancel.status, 202, "{cancel:?}");
    consume(&json!({"id": stopped.id})).await;
    Builds::new(&walk.app(SWEEP)).unwrap().stop(stopped.build.as_ref().unwrap()).await.unwrap();

    deleted_while_it_builds(walk, owner, &source, &consume).await;

    walk.world.clock.advance(Duration::from_secs(2));
    source.commit(&[("buildspec.yml", "none")]);
    assert_eq!(consume(&deploy("preview").await).await.failure.unwrap().code.as_str(), "buildspec_invalid");

    // Calls the same code directly: for a runner with a later attempt, and for one that lost to another runner.
    let builds = Builds::new(&walk.app(CONSUMER)).unwrap();
    let secrets = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    for _ in 0..2 {
        let start = Start {
            project: PROJECT,
            deployment: &built,
            bucket: "archive",
            source: "source.zip",
            buildspec: "version: 0.2\n",
            artifacts: None,
            reports: None,
            cache: None,
            secrets: &secrets,
            plain: &BTreeMap::new(),
            time_limit: Duration::from_secs(600),
        };
        let build = builds.start(start).await.unwrap();
        builds.stop(&build).await.unwrap();
    }
}

/// Stores an artifact and a test report, as a build does.
async fn store_files(walk: &Walk, build: &Deployment) {
    for folder in ["artifacts", "reports"] {
        let path = format!("/archive/{}/{folder}/unit.xml", build.artifacts_prefix());
        let request = http::Request::put(format!("http://s3{path}")).header("content-length", "12");
        let request = request.body(s3s::Body::from("<testsuite/>".to_owned())).unwrap();
        assert_eq!(walk.gate.s3.call(request).await.unwrap().status(), 200);
    }
}

/// Deletes a repository whose deployment runs in CodeBuild. The sweep deletes what is left, once the build has stopped.
async fn deleted_while_it_builds(
    walk: &Walk,
    owner: &Actor,
    source: &GitRepository,
    consume: impl AsyncFn(&Value) -> Deployment,
) {
    owner.repository("gone", source).await;
    let running = consume(&owner.deploy("gone", json!({"ref": "main"})).await).await;
    let hook =
        walk.take("create-hook", owner.post("/v1/repositories/gone/hooks", json!({"provider": "gitea"})).await, 201);
    let partition = format!("ACCT#{}#REPO#{}", running.account_id, running.repository_id);
    let rows = [(format!("HOOK#{}", text(&hook["id"])), "HOOK"), (format!("{partition}#HOOKS"), "TOTAL")];
    let rows = join_all(rows.map(|(pk, sk)| walk.world.item(pk, sk))).await;
    walk.take("delete-repository", owner.delete("/v1/repositories/gone").await, 200);
    // The index of hooks was behind, so that the request did not find this one.
    let table = walk.world.stack.app().table();
    for row in rows {
        table.client().put_item().table_name(table.name()).set_item(Some(row)).send().await.unwrap();
    }
    let sweep = async || walk.environment(SWEEP).sweep().unwrap().invoke(json!({})).await.unwrap();
    assert_eq!(sweep().await["deleted"], 0);
    let asked = Deployment::load(table, &running.account_id, &running.id).await.unwrap().unwrap();
    asked.report(table, Transition::Cancel, model::Actor::Runner, walk.world.clock.now()).await.unwrap();
    assert_eq!(sweep().await["deleted"], 1);
}
