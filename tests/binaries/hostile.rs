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
async fn a_build_that_kills_its_runner_fails_after_three_of_them_and_another_one_is_not_affected() {
    let (world, settings) = without_consumer().await;
    // The last process of an environment is not killed by itself: the kernel ends what is left with the first one.
    let script = r#""$@"; exit $?"#;
    let all = "grep -q contained /proc/1/cmdline && kill -9 -1";
    for (account, command) in [("acme", "kill -9 $PPID; sleep 600"), ("globex", all)] {
        let (owner, _source, deployment) = deployment_of(&world, account, command).await;
        for attempt in 1..=3 {
            let Some(mut consumer) = contained(script, &settings).await else { return };
            let ended = consumer.die_of(event(&owner, &deployment)).await;
            assert_eq!(ended.code(), Some(128 + 9), "{command}: {ended}");
            assert_eq!(status(&owner, &deployment).await, "in_progress", "{command}: attempt {attempt}");
            world.expire_lease(&owner, &deployment).await;
        }
        let mut consumer = contained(script, &settings).await.unwrap();
        let done = Ok(json!({"batchItemFailures": []}));
        assert_eq!(consumer.invoke(event(&owner, &deployment)).await, done);
        let ended = owner.deployment(&deployment).await;
        assert_eq!((&ended["status"], &ended["failure"]["code"]), (&json!("failed"), &json!("runner_lost")));
        assert_eq!(ended["failure"]["message"], "3 runners were lost before one reported a result");

        let (other, _source, deployment) = deployment_of(&world, &format!("{account}-beside"), "true").await;
        let mut consumer = contained(script, &settings).await.unwrap();
        assert_eq!(consumer.invoke(event(&other, &deployment)).await, done);
        assert_eq!(status(&other, &deployment).await, "succeeded");
    }
}

#[tokio::test]
async fn an_environment_whose_disk_is_full_builds_the_next_deployment() {
    let (world, settings) = without_consumer().await;
    let source = GitRepository::with_commands(&["cat /dev/zero > full"]);
    let owner = world.owner("acme").await;
    owner.repository("app", &source).await;
    let full = owner.deploy("app", json!({"ref": "main"})).await;
    source.commit(&[("buildspec.yml", &tests::buildspec(&["echo built"]))]);
    let next = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$TMPDIR" && "$@""#;
    let Some(mut consumer) = contained(script, &settings).await else { return };
    for deployment in [&full, &next] {
        let done = Ok(json!({"batchItemFailures": []}));
        assert_eq!(consumer.invoke(event(&owner, deployment)).await, done);
    }
    let ended = owner.deployment(&full).await;
    assert_eq!((&ended["status"], &ended["failure"]["code"]), (&json!("failed"), &json!("command_failed")));
    let log = owner.log(&full).await;
    assert!(log.iter().any(|line| line.contains("No space left on device")), "{log:?}");
    assert_eq!(status(&owner, &next).await, "succeeded", "{:?}", owner.log(&next).await);
    let lines = consumer.end().await;
    assert!(lines.iter().all(|line| line["level"] == "INFO"), "{lines:#?}");
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
