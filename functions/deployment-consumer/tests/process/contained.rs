//! Builds that harm the machine that they run on. Each test runs again in namespaces of its own, from which no process reaches another
//! one and no mount is seen.

use std::fs;
use std::process::Command;
use std::time::Duration;

use archive::Stream::{Stdout, System};
use deployment_consumer::buildspec::PhaseName;
use deployment_consumer::process::{Exit, Outcome};

use crate::has_ended;
use crate::run::{Build, Ran, failed};

/// The variable that a test finds if it runs in namespaces of its own.
const CONTAINED: &str = "TEST_IS_CONTAINED";

/// Runs a test again, by a script of the first process in new namespaces, whose arguments are the test's command line. Returns whether
/// this is that run.
fn is_contained(test: &str, script: &str) -> bool {
    if std::env::var_os(CONTAINED).is_some() {
        return true;
    }
    let is_root = rustix::process::geteuid().is_root();
    let namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let unshare = |arguments: &[&str]| {
        let mut unshare = Command::new("unshare");
        // A user other than root may have namespaces in a namespace of users.
        unshare.args((!is_root).then_some("--map-root-user")).args(namespaces).args(arguments);
        unshare
    };
    if !unshare(&["true"]).status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "a test needs namespaces: run it as root, or allow them to users");
        eprintln!("SKIPPED: this machine allows no namespaces");
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut again = unshare(&["sh", "-c", script, "sh"]);
    again.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture", &format!("contained::{test}")]);
    let output = again.env(CONTAINED, "true").env("TMPDIR", folder.path()).output().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && printed[0].contains("1 passed"), "{}", printed.concat());
    false
}

#[tokio::test]
async fn a_build_that_fills_the_disk_fails_or_succeeds_but_is_no_fault_of_the_machine() {
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$TMPDIR" && "$@""#;
    if !is_contained("a_build_that_fills_the_disk_fails_or_succeeds_but_is_no_fault_of_the_machine", script) {
        return;
    }
    let fill = "cat /dev/zero > full";
    let build = Build::with(&["ONE=1", fill, "echo never"]);
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, fill, Exit::Code(1)));
    assert!(ran.lines.iter().any(|(_, line)| line.contains("No space left on device")), "{:#?}", ran.lines);
    drop(build);

    // The shell of each command keeps its variables in a file. Without space for it, the next command finds the earlier ones.
    let build = Build::of(&format!(
        "env: {{exported-variables: [ONE, TWO]}}\nphases:\n  build:\n    on-failure: RETRY-1\n    commands:\n{}  post_build: {{commands: 'echo post'}}\nartifacts: {{files: ['full', 'other']}}\n",
        ["ONE=1", "cat /dev/zero > full || TWO=2", "echo one is $ONE", "echo x > other; false"]
            .map(|command| format!("      - {command:?}\n"))
            .concat()
    ));
    let ran = build.run().await;
    let Outcome::Failed { command, artifacts, .. } = &ran.outcome else { panic!("{:?}", ran.outcome) };
    assert_eq!(command, "echo x > other; false", "{:#?}", ran.lines);
    assert_eq!(ran.of(Stdout), ["one is 1", "one is"], "the disk is full when the phase begins again");
    assert!(artifacts.is_empty(), "the build ended before its last phase");
    drop(build);

    let build = Build::of(
        "env: {exported-variables: [ONE]}\nphases: {build: {commands: ['ONE=1', 'cat /dev/zero > full || true']}}\nartifacts: {files: '*'}\n",
    );
    let ran = build.run().await;
    let artifacts: Vec<_> = ran.succeeded().iter().map(|artifact| artifact.name.as_str()).collect();
    assert_eq!(artifacts, ["full"]);
    assert!(ran.of(System).iter().any(|line| line.contains("ONE is not exported")), "{:#?}", ran.lines);
}

/// The command that starts a program as another user.
const OTHER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
/// The script of a runner that may not signal processes of other users, as if it were another user than root.
const WITHOUT_KILL: &str = r#"setpriv --bounding-set=-kill "$@"; exit $?"#;

/// Returns whether the test may go on in namespaces of its own, where it can start processes of another user.
fn has_another_user(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can start a process of another user");
        eprintln!("SKIPPED: only root can start a process of another user");
        return false;
    }
    is_contained(test, WITHOUT_KILL)
}

/// Asserts that a process of the other user is all that a build has left.
fn assert_is_reported(ran: &Ran) {
    let [survivor] = &ran.survivors[..] else { panic!("{:?}: {:#?}", ran.survivors, ran.lines) };
    assert_eq!((survivor.program.as_str(), survivor.user_id), ("sleep", 65534));
    assert!(!has_ended(&survivor.process_id.to_string()));
    let said = format!("Processes of the build that could not be ended: {survivor}");
    assert!(ran.of(System).contains(&said.as_str()), "{:#?}", ran.lines);
}

#[tokio::test]
async fn a_daemon_that_has_become_another_users_is_reported() {
    if !has_another_user("a_daemon_that_has_become_another_users_is_reported") {
        return;
    }
    let is_other = "grep -q '^Name:.sleep' /proc/$!/status && grep -q 65534 /proc/$!/status";
    let build = Build::with(&[&format!("{OTHER} sleep 600 >/dev/null 2>&1 & until {is_other}; do sleep 0.02; done")]);
    let ran = build.run().await;
    assert!(matches!(ran.outcome, Outcome::Succeeded { .. }), "{:?}", ran.outcome);
    assert_is_reported(&ran);
    // It is older than the next build, which neither waits for it nor reports it.
    Build::with(&["true"]).run().await.succeeded();
}

#[tokio::test]
async fn a_command_that_has_become_another_users_holds_up_no_cancelation() {
    if !has_another_user("a_command_that_has_become_another_users_holds_up_no_cancelation") {
        return;
    }
    let mut build = Build::with(&[&format!("exec {OTHER} sleep 600")]);
    build.grace = Duration::ZERO;
    let is_other = |process: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(process.unwrap().path().join("status")).unwrap_or_default();
        status.starts_with("Name:\tsleep\n") && status.contains("\nUid:\t65534")
    };
    let cancel = async {
        while !fs::read_dir("/proc").unwrap().any(is_other) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        build.cancel.cancel();
    };
    let (ran, ()) = tokio::join!(build.run(), cancel);
    assert_eq!(ran.outcome, Outcome::Canceled);
    assert_is_reported(&ran);
}
