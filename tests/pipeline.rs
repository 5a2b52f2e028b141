//! Deployments from the queue to their end.

mod build;
mod cache;
mod delivery;
mod folder;
mod lease;
mod log;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Actor, GitRepository, World, eventually};

/// The length of a runner's lease.
const LEASE: Duration = Duration::from_secs(60);

/// A folder that a build and a test share.
struct Outside(TempDir);

impl Outside {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Returns the path of a file in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns a command that counts its runs.
    fn count(&self) -> String {
        format!("echo once >> {}", self.path("count").display())
    }

    /// Returns the number of runs.
    fn counted(&self) -> usize {
        std::fs::read_to_string(self.path("count")).unwrap_or_default().lines().count()
    }

    /// Waits until the build runs.
    async fn started(&self) {
        eventually("the build's start", async || (self.counted() == 1).then_some(())).await;
    }

    /// Returns a command that waits until the gate is open.
    fn wait_for(&self, gate: &str) -> String {
        format!("while [ ! -e {} ]; do sleep 0.02; done", self.path(gate).display())
    }

    fn open(&self, gate: &str) {
        std::fs::write(self.path(gate), "").unwrap();
    }

    /// Returns a command that starts a process in the background, which runs until it is killed.
    fn background(&self) -> String {
        format!("sleep 1000 & echo $! > {}", self.path("pid").display())
    }

    fn background_runs(&self) -> bool {
        let pid = std::fs::read_to_string(self.path("pid")).expect("the process was started");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

/// Registers `source` as `app` and deploys its main branch.
async fn deploy(owner: &Actor, source: &GitRepository, body: Value) -> Value {
    owner.repository("app", source).await;
    let mut request = json!({"ref": "main"});
    request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    owner.deploy("app", request).await
}

/// Creates a repository whose build runs these commands.
fn commands(commands: &[&str]) -> GitRepository {
    let quoted: Vec<_> = commands.iter().map(|command| json!(command).to_string()).collect();
    GitRepository::with_commands(&quoted.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns the outcome of each delivery so far.
fn outcomes(world: &World) -> Vec<String> {
    let lines = world.log();
    let of_consumer = lines.iter().filter(|line| line["function"] == "deployment-consumer");
    of_consumer.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

/// Waits until this many deliveries had the outcome.
async fn delivered(world: &World, outcome: &str, times: usize) {
    let count = || outcomes(world).iter().filter(|one| *one == outcome).count();
    eventually(&format!("delivery number {times} that is {outcome}"), async || (count() >= times).then_some(())).await;
}

/// Waits until a function has logged a warning.
async fn warned(world: &World, message: &str) {
    let found = async || world.log().iter().any(|line| line["message"] == message).then_some(());
    eventually(message, found).await;
}

/// Waits until a deployment's log has a line.
async fn is_logged(owner: &Actor, deployment: &Value, line: &str) {
    let found = async || owner.log(deployment).await.contains(&line.to_owned()).then_some(());
    eventually(&format!("{line:?} in the log"), found).await;
}

/// Returns the event that delivers a deployment's message to the consumer.
fn event(owner: &Actor, deployment: &Value) -> Value {
    let body = json!({"account_id": owner.account_id, "deployment_id": deployment["id"]});
    json!({"Records": [{"messageId": "m1", "body": body.to_string(), "eventSource": "aws:sqs"}]})
}
