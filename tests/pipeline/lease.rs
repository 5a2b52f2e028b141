//! Runners that lose their lease, or their connection.

use std::time::Duration;

use archive::Archive;
use local::functions::Environment;
use serde_json::{Value, json};
use shared::dispatch::{Dispatched, dispatch};
use shared::model::{Terms, TransitionFailed};
use shared::queue::Queue;
use tests::{Actor, GitRepository, World, buildspec, eventually, redelivering, without_queue};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{LEASE, Outside, commands, delivered, deploy, event, is_logged, warned};

/// DynamoDB may answer a claim so late that another runner has claimed the deployment since.
#[tokio::test]
async fn a_claim_whose_lease_is_over_is_handed_to_no_runner() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let app = world.stack.app();
    let queue = Queue::new(app).unwrap();
    let claim = async |lease| {
        let terms = Terms { lease, ..world.terms() };
        dispatch(app, &queue, world.stored(&owner, &created).await, terms).await
    };
    for _ in ["the first claim", "another one of the same deployment"] {
        let late = claim(Duration::ZERO).await;
        assert!(matches!(late, Err(TransitionFailed::Stale)), "{late:?}");
        assert_eq!(owner.deployment(&created).await["status"], "in_progress");
    }
    let in_time = claim(LEASE).await;
    assert!(matches!(in_time, Ok(Dispatched::Claimed(_))), "{in_time:?}");
}

#[tokio::test]
async fn a_deployment_whose_runner_was_lost_is_run_by_another_when_the_lease_is_over() {
    let world = World::start_with(|options| {
        without_queue(options);
        redelivering(1000)(options);
    })
    .await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    world.lose_a_runner(&owner, &created).await;
    world.deliver(&owner, &created).await;
    delivered(&world, "held", 1).await;
    world.clock.advance(LEASE - Duration::from_millis(1));
    delivered(&world, "held", 2).await;
    assert_eq!(outside.counted(), 0, "the first runner may still be alive");
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    world.clock.advance(Duration::from_millis(1));
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(
        (&ended["started_at"], &ended["finished_at"]),
        (&json!("2026-01-01T12:00:00Z"), &json!("2026-01-01T12:01:00Z"))
    );
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 2));
    let log = owner.log(&created).await;
    assert!(log.contains(&"system: Attempt 2: the previous runner was lost".to_owned()), "{log:?}");
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_deployment_that_lost_three_runners_has_failed() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    for _ in 0..3 {
        world.lose_a_runner(&owner, &created).await;
        world.clock.advance(LEASE);
    }
    world.deliver(&owner, &created).await;
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "failed");
    let message = "3 runners were lost before one reported a result";
    assert_eq!(ended["failure"], json!({"code": "runner_lost", "message": message}));
    assert_eq!(ended["finished_at"], "2026-01-01T12:03:00Z");
    assert_eq!(outside.counted(), 0);
    let listed = owner.get("/v1/repositories/app/deployments?status=failed").await;
    assert_eq!(listed.body["meta"]["total"], 1, "each claim left the counts exact");
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_runner_that_is_alive_keeps_its_lease_however_long_it_takes() {
    let world = World::start_with(redelivering(1000)).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.count(), &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    outside.started().await;
    for _ in 0..10 {
        world.clock.advance(LEASE / 4);
        let renewed = async || {
            let lease_until = world.stored(&owner, &created).await.lease_until;
            (lease_until == Some(world.clock.now().plus(LEASE))).then_some(())
        };
        eventually("a renewed lease", renewed).await;
    }
    world.deliver(&owner, &created).await;
    delivered(&world, "held", 2).await;
    outside.open("gate");
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 1));
    world.queue_is_empty().await;
}

#[tokio::test]
async fn a_runner_that_lost_its_lease_to_another_stops() {
    let world = World::start_with(redelivering(1000)).await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.background(), "echo started", &outside.wait_for("gate"), &outside.count()]);
    let created = deploy(&owner, &source, json!({})).await;
    is_logged(&owner, &created, "stdout: started").await;
    world.lose_a_runner(&owner, &created).await;
    assert!(outside.background_runs());

    world.clock.advance(LEASE / 4);
    delivered(&world, "stale", 1).await;
    eventually("the end of its processes", async || (!outside.background_runs()).then_some(())).await;
    world.clock.advance(LEASE);
    outside.open("gate");
    let ended = owner.ended(&created).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!((outside.counted(), world.stored(&owner, &created).await.attempt), (1, 3));
    world.queue_is_empty().await;
}

/// A connection to DynamoDB that can be cut.
struct Wire {
    endpoint: String,
    forwarding: JoinHandle<()>,
}

impl Wire {
    async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&target).await.unwrap();
                connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            }
        });
        Self { endpoint, forwarding }
    }

    /// Delivers a deployment to a consumer that uses this connection. Returns its batch response.
    fn consume(&self, world: &World, owner: &Actor, deployment: &Value) -> JoinHandle<Value> {
        let mut environment = Environment::clone(world.stack.environment());
        environment.settings.set("AWS_ENDPOINT_URL_DYNAMODB", self.endpoint.clone());
        let (consumer, event) = (environment.consumer().unwrap(), event(owner, deployment));
        tokio::spawn(async move { consumer.invoke(event).await.unwrap() })
    }

    fn cut(&self) {
        self.forwarding.abort();
    }
}

async fn wire(world: &World) -> Wire {
    Wire::to(world.stack.app().settings().get("AWS_ENDPOINT_URL_DYNAMODB").unwrap()).await
}

#[tokio::test]
async fn a_runner_that_is_cut_off_has_stopped_when_its_lease_is_over() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let source = commands(&[&outside.background(), "echo started", &outside.wait_for("gate")]);
    let created = deploy(&owner, &source, json!({})).await;
    let wire = wire(&world).await;
    let response = wire.consume(&world, &owner, &created);
    is_logged(&owner, &created, "stdout: started").await;
    wire.cut();
    world.clock.advance(LEASE / 4);
    warned(&world, "a lease could not be renewed").await;
    assert!(outside.background_runs(), "one failure does not stop the build");

    world.clock.advance(LEASE * 3 / 4);
    let response = response.await.unwrap();
    assert_eq!(response, json!({"batchItemFailures": [{"itemIdentifier": "m1"}]}));
    eventually("the end of its processes", async || (!outside.background_runs()).then_some(())).await;
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    outside.open("gate");
    world.deliver(&owner, &created).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
}

#[tokio::test]
async fn the_artifacts_of_a_runner_that_could_not_report_are_not_those_of_the_next() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let outside = Outside::new();
    let count = outside.path("count").display().to_string();
    let made = format!("touch made-in-attempt-$(wc -l < {count})");
    let spec = buildspec(&[&outside.count(), &outside.wait_for("gate"), &made]) + "artifacts:\n  files: made-*\n";
    let source = GitRepository::new(&[("buildspec.yml", &spec)]);
    let created = deploy(&owner, &source, json!({})).await;
    let wire = wire(&world).await;
    let response = wire.consume(&world, &owner, &created);
    outside.started().await;
    wire.cut();
    outside.open("gate");
    assert_eq!(response.await.unwrap()["batchItemFailures"][0]["itemIdentifier"], "m1");
    assert_eq!(owner.get(created["url"].as_str().unwrap()).await.body["status"], "in_progress");

    world.clock.advance(LEASE);
    world.deliver(&owner, &created).await;
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let archive = Archive::new(world.stack.app()).unwrap();
    let stored = world.stored(&owner, &created).await;
    let kept = archive.list_artifacts(&stored.artifacts_prefix()).await.unwrap();
    assert_eq!(kept.iter().map(|artifact| artifact.path.as_str()).collect::<Vec<_>>(), ["made-in-attempt-2"]);
    let log = owner.log(&created).await;
    let told: Vec<_> = log.iter().filter(|line| line.contains("Succeeded") || line.contains("Attempt")).collect();
    assert_eq!(
        told,
        [
            "system: Succeeded. Artifacts: 1",
            "system: Attempt 2: the previous runner was lost",
            "system: Succeeded. Artifacts: 1"
        ]
    );
}
