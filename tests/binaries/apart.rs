//! The consumer's execution environment, which builds for one account only.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use shared::clock::Clock;
use shared::settings::{QUEUE_URL, Settings};
use tests::{Actor, GitRepository, World, sample_event, without_queue};

use super::{PATIENCE, Running};

/// Returns the consumer's event for a deployment.
pub(super) fn event(owner: &Actor, deployment: &Value) -> Value {
    let mut event = sample_event("deployment-consumer");
    let body = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]});
    event["Records"][0]["body"] = json!(body.to_string());
    event
}

pub(super) async fn status(owner: &Actor, deployment: &Value) -> Value {
    owner.get(deployment["url"].as_str().unwrap()).await.body["status"].take()
}

/// Returns whether a process runs. A zombie does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Starts a stack, and returns it with the settings of a consumer whose queue nothing else consumes, so that the messages stay for the
/// test.
pub(super) async fn without_consumer() -> (World, Settings) {
    let world = World::start_with(|options| {
        options.clock = Clock::system();
        without_queue(options);
    })
    .await;
    let mut settings = world.stack.environment().settings.clone();
    settings.set(QUEUE_URL, world.stack.dead_letter_queue().to_owned());
    (world, settings)
}

#[tokio::test]
async fn a_build_leaves_no_temporary_files_to_the_next_one_in_its_environment() {
    let (world, settings) = without_consumer().await;
    let temporary = Arc::new(tempfile::tempdir().unwrap());
    let left = temporary.path().join("left/by/a/build");
    let make = format!("mkdir -p {0} && echo full > {0}/file && chmod 500 {0}", left.display());
    let source = GitRepository::with_commands(&[&format!("test ! -e {}", left.display()), &make]);
    let owner = world.owner("acme").await;
    owner.repository("app", &source).await;
    let mut consumer = Running::start_in(temporary.clone(), "deployment-consumer", &settings).await;
    for environment in ["preview", "staging"] {
        let deployment = owner.deploy("app", json!({"ref": "main", "environment": environment})).await;
        let done = Ok(json!({"batchItemFailures": []}));
        assert_eq!(consumer.invoke(event(&owner, &deployment)).await, done);
        assert_eq!(status(&owner, &deployment).await, "succeeded", "{:?}", owner.log(&deployment).await);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn an_environment_that_has_built_for_an_account_ends_before_it_builds_for_another() {
    let (world, settings) = without_consumer().await;
    let source = GitRepository::with_commands(&["true"]);
    let (first, second) = (world.owner("acme").await, world.owner("globex").await);
    let mut deployments = Vec::new();
    for (owner, environment) in [(&first, "preview"), (&first, "staging"), (&second, "preview")] {
        if environment == "preview" {
            owner.repository("app", &source).await;
        }
        deployments.push(owner.deploy("app", json!({"ref": "main", "environment": environment})).await);
    }

    let done = Ok(json!({"batchItemFailures": []}));
    let temporary = Arc::new(tempfile::tempdir().unwrap());
    let mut consumer = Running::start_in(temporary.clone(), "deployment-consumer", &settings).await;
    for deployment in &deployments[..2] {
        assert_eq!(consumer.invoke(event(&first, deployment)).await, done);
        assert_eq!(status(&first, deployment).await, "succeeded");
    }
    assert_eq!(consumer.invoke(event(&second, &deployments[2])).await, done, "the message is not returned");
    let ended = tokio::time::timeout(PATIENCE, consumer.process.wait()).await.expect("the environment ends").unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(status(&second, &deployments[2]).await, "queued");
    let outcomes: Vec<_> = consumer.end_of_log().await.iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["succeeded", "succeeded", "handed_on"]);

    // It is sent again, for another environment.
    let sqs = world.stack.app().aws().sqs();
    let sent =
        sqs.receive_message().queue_url(world.stack.dead_letter_queue()).wait_time_seconds(10).send().await.unwrap();
    let [message] = sent.messages() else { panic!("one message: {sent:?}") };
    let mut again = sample_event("deployment-consumer");
    again["Records"][0]["body"] = json!(message.body());
    assert_eq!(again, event(&second, &deployments[2]));
    // Lambda may start that one with the files of the first.
    std::fs::create_dir_all(temporary.path().join("left/by/a/build")).unwrap();
    let mut another = Running::start_in(temporary.clone(), "deployment-consumer", &settings).await;
    assert_eq!(another.invoke(again).await, done);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    assert_eq!(status(&second, &deployments[2]).await, "succeeded");
}

/// In Lambda, a build can reach the Runtime API at an address that everybody knows. A process that asks it for events would get
/// those of other deployments.
#[tokio::test]
async fn a_build_is_told_nothing_of_the_runtime_and_nothing_of_it_waits_for_the_next_event() {
    let (world, settings) = without_consumer().await;
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name).display().to_string();
    let mut consumer = Running::start("deployment-consumer", &settings).await;
    let thief = format!(
        "import os, sys, time, urllib.request\n\
         os.setpgid(0, os.getpgid(int(sys.argv[1])))\n\
         open({pid:?}, 'w').write(str(os.getpid()))\n\
         stolen = urllib.request.urlopen('http://{address}/2018-06-01/runtime/invocation/next').read()\n\
         open({stolen:?}, 'wb').write(stolen)\n",
        pid = at("pid"),
        stolen = at("stolen"),
        address = consumer.address,
    );
    std::fs::write(outside.path().join("thief"), thief).unwrap();
    let (started, variables) = (at("pid"), at("variables"));
    // It hides in the process group of the function itself.
    let commands = [
        format!("env > {variables}"),
        format!("python3 {} $PPID >/dev/null 2>&1 & while [ ! -s {started} ]; do sleep 0.02; done", at("thief")),
    ];
    let source = GitRepository::with_commands(&commands.each_ref().map(String::as_str));
    let owner = world.owner("acme").await;
    owner.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let next = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let done = Ok(json!({"batchItemFailures": []}));
    assert_eq!(consumer.invoke(event(&owner, &deployment)).await, done);
    assert_eq!(status(&owner, &deployment).await, "succeeded", "{:?}", owner.log(&deployment).await);
    assert!(!runs(&std::fs::read_to_string(&started).unwrap()), "it has ended before the response");
    std::fs::remove_file(&started).unwrap();
    let told = std::fs::read_to_string(&variables).unwrap();
    for name in ["AWS_LAMBDA", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TABLE_NAME", "QUEUE_URL"] {
        assert!(!told.contains(name), "{name}: {told}");
    }
    assert_eq!(consumer.invoke(event(&owner, &next)).await, done);
    assert_eq!(status(&owner, &next).await, "succeeded");
    assert!(!outside.path().join("stolen").exists(), "the second event was the function's");
}
