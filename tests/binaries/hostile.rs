//! Builds that harm the execution environment that they run in. Each environment has namespaces of its own, so that nothing else is harmed.

use std::sync::Arc;

use serde_json::{Value, json};
use shared::settings::Settings;
use tests::{Actor, GitRepository, World};
use tokio::process::Command;

use super::apart::{event, status, without_consumer};
use super::{PATIENCE, Running, binary};

/// Starts the consumer's binary by a script, whose arguments are the binary. The script is the first process of new namespaces and has
/// the name `contained`. Returns `None` if the machine allows no namespaces.
async fn contained(script: &str, settings: &Settings) -> Option<Running> {
    let is_root = rustix::process::geteuid().is_root();
    let mut arguments = vec!["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    // A user other than root may have namespaces in a namespace of users.
    arguments.extend((!is_root).then_some("--map-root-user"));
    let is_allowed = Command::new("unshare").args(&arguments).arg("true").status().await;
    if !is_allowed.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "a test needs namespaces: run it as root, or allow them to users");
        eprintln!("SKIPPED: this machine allows no namespaces");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(&arguments).args(["sh", "-c", script, "contained"]).arg(binary("deployment-consumer"));
    let temporary = Arc::new(tempfile::tempdir().unwrap());
    Some(Running::start_by(command, temporary, "deployment-consumer", settings).await)
}

/// Creates an account with a repository `app` that runs a command, and a deployment of it.
async fn deployment_of(world: &World, account: &str, command: &str) -> (Actor, GitRepository, Value) {
    let source = GitRepository::with_commands(&[command]);
    let owner = world.owner(account).await;
    owner.repository("app", &source).await;
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    (owner, source, deployment)
}

#[tokio::test]
async fn an_environment_in_which_a_process_of_a_build_goes_on_says_so_and_ends() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can start a process of another user");
        return eprintln!("SKIPPED: only root can start a process of another user");
    }
    let (world, settings) = without_consumer().await;
    let daemon = "setsid setpriv --reuid=65534 --regid=65534 --clear-groups sleep 600 >/dev/null 2>&1 & \
                  until grep -q '^Name:.sleep' /proc/$!/status && grep -q 65534 /proc/$!/status; do sleep 0.02; done";
    let (owner, _source, deployment) = deployment_of(&world, "acme", daemon).await;
    // The runner may not signal processes of other users, as if it were another user than root.
    let script = r#"setpriv --bounding-set=-kill "$@"; exit $?"#;
    let Some(mut consumer) = contained(script, &settings).await else { return };
    let done = Ok(json!({"batchItemFailures": []}));
    assert_eq!(consumer.invoke(event(&owner, &deployment)).await, done);
    assert_eq!(status(&owner, &deployment).await, "succeeded", "the build is what its commands made it");
    let ended = tokio::time::timeout(PATIENCE, consumer.process.wait()).await.expect("the environment ends").unwrap();
    assert!(ended.success(), "{ended}");
    let lines = consumer.end_of_log().await;
    let [report] = &lines.iter().filter(|line| line["level"] == "ERROR").collect::<Vec<_>>()[..] else {
        panic!("one line for operators: {lines:#?}")
    };
    assert_eq!(report["message"], "processes of a build could not be ended");
    assert_eq!((&report["deployment_id"], &report["account_id"]), (&deployment["id"], &json!(owner.account_id)));
    let process = &report["processes"][0];
    assert_eq!((&process["program"], &process["user_id"]), (&json!("sleep"), &json!(65534)));
    let log = owner.log(&deployment).await;
    assert!(log.iter().any(|line| line.contains("Processes of the build that could not be ended: ")), "{log:?}");
}
