//! Canceling deployments, and their events.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, GitRepository, World, eventually};

/// Creates a deployment whose build has started a process that runs until it is killed.
async fn running(world: &World, owner: &Actor, folder: &tempfile::TempDir) -> (Value, GitRepository) {
    let pid = folder.path().join("pid").display().to_string();
    let source =
        GitRepository::with_commands(&[&format!("\"sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait\"")]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    eventually("the build's start", async || folder.path().join("pid").exists().then_some(())).await;
    assert_eq!(world.stored(owner, &created).await.attempt, 1);
    (created, source)
}

/// Returns the process that the build has started. The next deployment's build starts another one.
fn process_of(folder: &tempfile::TempDir) -> String {
    std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().to_owned()
}

fn runs(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_queued_deployment_is_canceled_at_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    world.clock.advance(Duration::from_secs(1));
    let canceled = owner.act(&created, "cancel", json!({})).await;
    assert_eq!((canceled.status, &canceled.body["status"]), (200, &json!("canceled")), "{canceled:?}");
    assert_eq!(canceled.body["finished_at"], "2026-01-01T12:00:01Z");
    assert_eq!(owner.events(&created).await, ["1 queued user: created", "2 canceled user: canceled before it started"]);
    let again = owner.act(&created, "cancel", json!({})).await;
    again.refused(409, "already_finished");

    world.deliver(&owner, &created).await;
    world.queue_is_empty().await;
    let mut unchanged = owner.deployment(&created).await;
    // Only a read tells the variables.
    unchanged["variables"] = Value::Null;
    assert_eq!(unchanged, canceled.body, "its message changes nothing");
    let listed = owner.get("/v1/repositories/app/deployments?status=canceled").await;
    assert_eq!(listed.body["meta"]["total"], 1);
    let environment = owner.get("/v1/repositories/app/environments/preview").await.body;
    assert_eq!((&environment["queued"], &environment["live"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_running_deployment_really_stops_and_then_says_so() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let (created, _source) = running(&world, &owner, &folder).await;
    let process = process_of(&folder);
    let next = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;

    let asked = owner.act(&created, "cancel", json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert_eq!((&asked.body["status"], &asked.body["cancel_requested"]), (&json!("in_progress"), &json!(true)));
    assert!(runs(&process), "it has not been told yet");
    let again = owner.act(&created, "cancel", json!({})).await;
    assert_eq!((again.status, &again.body), (202, &asked.body), "asking again changes nothing");

    world.clock.advance(Duration::from_secs(3));
    let ended = owner.ended(&created).await;
    assert!(!runs(&process), "its process was killed before it was called canceled");
    assert_eq!((&ended["status"], &ended["failure"]), (&json!("canceled"), &Value::Null));
    let events = owner.events(&created).await;
    assert_eq!(
        events,
        [
            "1 queued user: created",
            "2 in_progress runner: claimed, attempt 1",
            "3 in_progress user: asked to stop",
            "4 canceled runner: stopped"
        ]
    );
    assert_eq!(owner.log(&created).await.last().unwrap(), "system: Canceled");
    owner.act(&created, "cancel", json!({})).await.refused(409, "already_finished");

    // The next one in its lane has started by itself.
    eventually("the next one's start", async || {
        (owner.deployment(&next).await["status"] == "in_progress").then_some(())
    })
    .await;
    owner.act(&next, "cancel", json!({})).await;
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(owner.ended(&next).await["status"], "canceled");
    let environment = owner.get("/v1/repositories/app/environments/production").await.body;
    assert_eq!((&environment["live"], &environment["in_progress"]), (&Value::Null, &json!([])));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_deployment_that_lost_its_runner_is_canceled_when_the_lease_is_over() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    world.lose_a_runner(&owner, &created).await;
    assert_eq!(owner.act(&created, "cancel", json!({})).await.status, 202);
    world.clock.advance(Duration::from_secs(60));
    world.deliver(&owner, &created).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "canceled");
    assert_eq!(world.stored(&owner, &created).await.attempt, 1, "no other runner has run it");
}

#[tokio::test]
async fn events_are_read_from_a_position() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    owner.ended(&created).await;
    let path = format!("/v1/deployments/{}/events", created["id"].as_str().unwrap());
    let all = owner.get(&path).await.body;
    assert_eq!(
        all["data"][0],
        json!({
            "number": 1, "at": "2026-01-01T12:00:00Z", "status": "queued", "actor": "user", "user_id": owner.user_id,
            "reason": "created", "commands": [],
        })
    );
    assert_eq!((all["data"][2]["status"].as_str(), &all["data"][2]["user_id"]), (Some("succeeded"), &Value::Null));
    assert_eq!(all["meta"], json!({"next_after": 3, "complete": true}));
    let first = owner.get(&format!("{path}?limit=1")).await.body;
    let expected = json!({
        "data": [all["data"][0]], "meta": {"next_after": 1, "complete": false}, "actors": all["actors"],
    });
    assert_eq!(first, expected);
    let rest = owner.get(&format!("{path}?after=1")).await.body;
    assert_eq!(rest["data"].as_array().unwrap().len(), 2);
    let beyond = owner.get(&format!("{path}?after=9223372036854775807")).await.body;
    assert_eq!(beyond["data"], json!([]));
    owner.get(&format!("{path}?limit=101")).await.refused(400, "invalid_request");
}
