//! One deployment at a time in each lane, in the order of their numbers.

use std::time::Duration;

use serde_json::{Value, json};
use shared::model::{Failure, Lane, MAX_WAITING, Transition, TransitionFailed};
use tests::{Actor, GitRepository, World, cost_of, eventually};

async fn environment(owner: &Actor, name: &str) -> Value {
    owner.get(&format!("/v1/repositories/app/environments/{name}")).await.body
}

#[tokio::test]
async fn deployments_to_an_environment_run_one_after_the_other_in_their_order() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    // A build that finds another build's mark did not run alone.
    let alone =
        format!("mkdir {0} && echo $DEPLOYMENT_ID >> {1} && sleep 0.05 && rmdir {0}", file("mark"), file("order"));
    let source = GitRepository::with_commands(&[&format!("'{alone}'")]);
    owner.repository("app", &source).await;
    let mut created = Vec::new();
    for _ in 0..6 {
        created.push(owner.deploy("app", json!({"ref": "main", "environment": "production"})).await);
    }
    for deployment in &created {
        assert_eq!(owner.ended(deployment).await["status"], "succeeded", "{:?}", owner.log(deployment).await);
    }
    let ids: Vec<_> = created.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let order = std::fs::read_to_string(file("order")).unwrap();
    assert_eq!(order.lines().collect::<Vec<_>>(), ids);
    let live = environment(&owner, "production").await["live"].clone();
    assert_eq!((live["deployment_id"].as_str(), &live["number"]), (ids.last().map(String::as_str), &json!(6)));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_queued_deployment_tells_its_place_and_what_is_in_its_way() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let deploy = async || owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let first = deploy().await;
    let (second, third) = (deploy().await, deploy().await);
    let queue = async |deployment: &Value| owner.deployment(deployment).await["queue"].clone();
    let place = |position: u32, blocker: Value| {
        json!({
            "position": position, "blocked_by": blocker, "since": "2026-01-01T12:00:00Z", "deadline": "2026-01-02T12:00:00Z",
        })
    };
    let by = |deployment: &Value| json!({"kind": "deployment", "deployment_id": deployment["id"], "position": null, "until": null, "reason": null});
    assert_eq!(queue(&first).await, place(1, Value::Null));
    assert_eq!(queue(&third).await, place(3, by(&first)));
    world.lose_a_runner(&owner, &first).await;
    assert_eq!(queue(&first).await, Value::Null);
    assert_eq!(queue(&second).await, place(1, by(&first)));
    assert_eq!(queue(&third).await, place(2, by(&first)));
    let staging = environment(&owner, "staging").await;
    assert_eq!(
        (&staging["in_progress"], &staging["queued"]),
        (&json!([first["id"]]), &json!([second["id"], third["id"]]))
    );
    owner.set("app", "staging", json!({"frozen": true})).await;
    let freeze = json!({"kind": "freeze", "deployment_id": null, "position": null, "until": null, "reason": null});
    assert_eq!(queue(&second).await, place(1, freeze));
}

#[tokio::test]
async fn a_message_starts_whoever_is_next_and_not_whom_it_names() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let first = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let second = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    world.deliver(&owner, &second).await;
    assert_eq!(owner.ended(&first).await["status"], "succeeded", "the message of the first was lost");
    assert_eq!(owner.deployment(&second).await["status"], "queued");
    world.deliver(&owner, &second).await;
    assert_eq!(owner.ended(&second).await["status"], "succeeded");
}

#[tokio::test]
async fn in_preview_a_newer_deployment_of_the_same_ref_takes_the_place_of_those_that_wait() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    source.git(&["branch", "other"]);
    owner.repository("app", &source).await;
    let running = owner.deploy("app", json!({"ref": "main"})).await;
    world.lose_a_runner(&owner, &running).await;
    let waiting = owner.deploy("app", json!({"ref": "main"})).await;
    let other = owner.deploy("app", json!({"ref": "other"})).await;
    let newest = owner.deploy("app", json!({"ref": "refs/heads/main"})).await;
    world.deliver(&owner, &newest).await;
    let superseded = owner.ended(&waiting).await;
    assert_eq!((&superseded["status"], &superseded["queue"]), (&json!("superseded"), &Value::Null));
    assert_eq!(owner.events(&waiting).await[1], "2 superseded runner: superseded by deployment 4");
    for (deployment, status) in [(&running, "in_progress"), (&other, "queued"), (&newest, "queued")] {
        assert_eq!(owner.deployment(deployment).await["status"], status);
    }
    owner.act(&waiting, "cancel", json!({})).await.refused(409, "already_finished");
    world.deliver(&owner, &other).await;
    assert_eq!(owner.ended(&other).await["status"], "succeeded", "another ref waits for nobody");
}

#[tokio::test]
async fn a_runner_that_lost_its_deployment_to_another_can_write_nothing_any_more() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let lost = world.lose_a_runner(&owner, &created).await;
    world.clock.advance(Duration::from_secs(60));
    let second = world.lose_a_runner(&owner, &created).await;
    assert_eq!((lost.fence, second.fence), (1, 2));

    let (table, now) = (world.stack.app().table(), world.clock.now());
    let before = world.items().await;
    let succeed = shared::model::Transition::Succeed;
    let written = lost.report(table, succeed.clone(), shared::model::Actor::Runner, now).await;
    assert!(matches!(written, Err(TransitionFailed::Stale)), "{written:?}");
    assert!(lost.renew_lease(table, now, now.plus(Duration::from_secs(60))).await.unwrap().is_none());
    assert_eq!(world.items().await, before);

    second.report(table, succeed, shared::model::Actor::Runner, now).await.unwrap();
    let lane = Lane::load(table, &second.lane()).await.unwrap();
    assert_eq!((lane.lock.holder, lane.lock.fence, lane.lock.live.unwrap().number), (None, 2, 1));
}

/// The event of a build can come just when a consumer or the sweep ends the deployment because its runner is lost.
#[tokio::test]
async fn a_deployment_that_has_got_a_build_does_not_end_for_lack_of_a_runner() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let lost = world.lose_a_runner(&owner, &created).await;
    world.clock.advance(Duration::from_secs(3600));
    let (table, now) = (world.stack.app().table(), world.clock.now());
    let build = "git-api:2d5b9a1c-0a4e-4a50-8f7e-6a6f3f0f5b11".parse().unwrap();
    lost.transition(table, Transition::HandOver { build }, shared::model::Actor::Runner, now).await.unwrap();
    let fail = Transition::Fail(Failure::run_deadline());
    let written = lost.report(table, fail, shared::model::Actor::Runner, now).await;
    assert!(matches!(written, Err(TransitionFailed::Stale)), "{written:?}");
    assert_eq!(owner.deployment(&created).await["status"], "in_progress");
}

#[tokio::test]
async fn each_deployment_that_is_queued_or_in_progress_ends_by_its_deadline() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let lost = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let waiting = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    let claimed = world.lose_a_runner(&owner, &lost).await;
    // Ten minutes for the commands, and five for the steps around them.
    assert_eq!(claimed.deadline, Some(world.clock.now().plus(Duration::from_secs(900))));
    world.clock.advance(Duration::from_secs(899));
    let swept = async || world.sweep().await.unwrap_or_default()["ended"].clone();
    assert_ne!(swept().await, 1);
    assert_eq!(owner.deployment(&lost).await["status"], "in_progress");
    world.clock.advance(Duration::from_secs(3600));
    swept().await;
    let failed = owner.deployment(&lost).await;
    assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("failed"), &json!("run_deadline")));

    world.clock.advance(Duration::from_secs(24 * 3600));
    swept().await;
    let failed = owner.deployment(&waiting).await;
    assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("failed"), &json!("queue_deadline")));
    let production = environment(&owner, "production").await;
    assert_eq!((&production["in_progress"], &production["queued"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn a_runner_does_not_renew_its_lease_past_the_deadline() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let claimed = world.lose_a_runner(&owner, &created).await;
    let (table, deadline) = (world.stack.app().table(), claimed.deadline.unwrap());
    assert!(claimed.renew_lease(table, world.clock.now(), deadline).await.unwrap().is_some());
    assert!(
        claimed.renew_lease(table, world.clock.now(), deadline.plus(Duration::from_millis(1))).await.unwrap().is_none()
    );
}

#[tokio::test]
async fn the_end_of_one_starts_the_next_without_the_sweep() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    let source = GitRepository::with_commands(&[&wait]);
    owner.repository("app", &source).await;
    let first = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    eventually("its start", async || (owner.deployment(&first).await["status"] == "in_progress").then_some(())).await;
    let second = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let waits = async || world.log().iter().any(|line| line["outcome"] == "waits").then_some(());
    eventually("the second one's message being deleted", waits).await;
    std::fs::write(gate, "").unwrap();
    assert_eq!(owner.ended(&first).await["status"], "succeeded");
    assert_eq!(owner.ended(&second).await["status"], "succeeded");
    world.queue_is_empty().await;
}

#[tokio::test]
async fn the_number_that_waits_is_bounded_and_a_turn_costs_the_same_however_many_wait() {
    const DEPLOYMENTS: &str = "/v1/repositories/app/deployments";
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let body = json!({"ref": "main", "environment": "production"});
    let first = owner.deploy("app", body.clone()).await;
    let calls_of_a_turn = async || {
        let message = json!({"account_id": owner.account_id, "deployment_id": first["id"]}).to_string();
        let record = json!({"Records": [{"messageId": "m1", "body": message}]});
        let consumer = world.stack.environment().consumer().unwrap();
        assert_eq!(consumer.invoke(record).await.unwrap(), json!({"batchItemFailures": []}));
        let line = world.log().into_iter().rfind(|line| line["outcome"] == "waits").unwrap();
        cost_of(&line).0
    };
    let alone = calls_of_a_turn().await;
    for _ in 1..MAX_WAITING {
        owner.deploy("app", body.clone()).await;
    }
    assert_eq!(calls_of_a_turn().await, alone);

    let full = "100 deployments are waiting; wait until one has started, or cancel one";
    let refused = owner.post(DEPLOYMENTS, body.clone()).await;
    refused.refused(409, "limit_reached");
    assert_eq!(refused.body["error"]["message"], full);
    let preflight = owner.post(&format!("{DEPLOYMENTS}/preflight"), body.clone()).await.body;
    let failed = preflight["gates"].as_array().unwrap().iter().find(|gate| gate["passes"] == false).unwrap();
    assert_eq!(
        (&preflight["outcome"], &failed["gate"], &failed["message"]),
        (&json!("refused"), &json!("queue"), &json!(full))
    );
    let elsewhere = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    assert_eq!(owner.act(&elsewhere, "cancel", json!({})).await.status, 200);

    // A retry joins the same lane.
    let canceled = owner.act(&first, "cancel", json!({})).await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    assert_eq!(owner.act(&first, "retry", json!({})).await.status, 201);
    owner.act(&first, "retry", json!({})).await.refused(409, "limit_reached");

    // One that supersedes the others needs no room.
    owner.set("app", "production", json!({"concurrency": "supersede"})).await;
    let newest = owner.deploy("app", body).await;
    assert_eq!(owner.deployment(&newest).await["queue"]["position"], 1);
}

/// Checks the figures of `infra/docs/table.md`.
#[tokio::test]
async fn a_deployment_costs_what_the_model_says() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let first = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    owner.ended(&first).await;
    world.queue_is_empty().await;
    let created =
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main", "environment": "production"})).await;
    owner.ended(&created.body).await;
    world.queue_is_empty().await;
    let consumed = world.log().into_iter().rfind(|line| line["outcome"] == "succeeded").unwrap();
    // The cost includes the limiter's call and the repository's.
    assert_eq!((world.cost(&created), cost_of(&consumed)), ((9, 35.5), (9, 78.5)));
}

/// Rules, variables and patterns add no round trip to the creation of a deployment, nor to the message that runs it.
#[tokio::test]
async fn a_deployment_takes_as_many_round_trips_whatever_its_environment_has() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let environments = "/v1/repositories/app/environments";
    for name in ["qa", "review-*"] {
        assert_eq!(owner.post(environments, json!({"name": name})).await.status, 201);
    }
    for list in ["account", "repositories/app", "repositories/app/environments/qa"] {
        let set =
            owner.put(&format!("/v1/{list}/variables/API_KEY"), json!({"value": "hunter22", "secret": true})).await;
        assert_eq!(set.status, 200, "{set:?}");
    }
    let deploy = async |environment: &str| {
        let body = json!({"ref": "main", "environment": environment, "variables": {"LOG_LEVEL": "debug"}});
        let created = owner.post("/v1/repositories/app/deployments", body).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(owner.ended(&created.body).await["status"], "succeeded");
        world.queue_is_empty().await;
        let ran = world.log().into_iter().rfind(|line| line["outcome"] == "succeeded").unwrap();
        [world.line_of(&created), ran].map(|line| line["dynamodb_round_trips"].as_u64().unwrap())
    };
    // The functions know their caller from now on.
    deploy("preview").await;
    let plain = deploy("staging").await;
    assert!(plain[0] <= 3, "{plain:?}");
    let rules =
        json!({"requires": ["staging"], "refs": ["main"], "reviewers": {"users": [owner.user_id], "teams": []}});
    for environment in ["production", "qa", "review-*"] {
        owner.set("app", environment, rules.clone()).await;
    }
    for environment in ["production", "qa", "review-7", "review-7"] {
        let found = deploy(environment).await;
        assert!(found[0] <= 3 && found[1] <= plain[1], "{environment}: {found:?}, and without rules {plain:?}");
    }
}
