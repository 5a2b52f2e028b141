//! Runs of buildspecs in real shells.

#[cfg(target_os = "linux")]
mod contained;
mod format;
#[cfg(target_os = "linux")]
mod hostile;
mod masking;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use archive::Stream::{Stderr, Stdout, System};
use deployment_consumer::buildspec::PhaseName;
use deployment_consumer::process::{Artifact, Exit, Folder, MAX_LINE_BYTES, Outcome, Run, RunError};
use redaction::Redaction;
use tokio::sync::mpsc;
use tokio::time::Instant;

use run::{Build, failed, nobody, timed_out, written};

/// Returns whether the process has ended. A zombie without another thread counts as ended.
fn has_ended(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            let [state, threads] = [0, 17].map(|at| fields[at]);
            state == "Z" && threads == "1"
        }
        Err(_) => {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::test_kill_process(pid).is_err()
        }
    }
}

fn has_bash() -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("bash").is_file())
}

/// A signal is sent before it is delivered.
#[track_caller]
fn assert_ends_soon(pid: &str) {
    for _ in 0..1000 {
        if has_ended(pid) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{pid} still runs");
}

#[tokio::test]
async fn a_build_that_succeeds_logs_phases_commands_and_output_in_order() {
    let build = Build::of(
        "phases:\n  install: {commands: echo one}\n  build:\n    commands:\n      - echo two; echo err >&2\n      - |\n        printf 'three\\r\\n\\n'\n        printf unfinished\n",
    );
    let ran = build.run().await;
    assert_eq!(ran.succeeded(), []);
    let without_err: Vec<_> =
        ran.lines.iter().filter(|line| line.0 != Stderr).map(|(stream, text)| (*stream, text.as_str())).collect();
    assert_eq!(
        without_err,
        [
            (System, "Entering phase INSTALL"),
            (System, "Running command echo one"),
            (Stdout, "one"),
            (System, "Phase complete: INSTALL State: SUCCEEDED"),
            (System, "Entering phase BUILD"),
            (System, "Running command echo two; echo err >&2"),
            (Stdout, "two"),
            (System, "Running command printf 'three\\r\\n\\n'"),
            (System, "printf unfinished"),
            (Stdout, "three"),
            (Stdout, ""),
            (Stdout, "unfinished"),
            (System, "Phase complete: BUILD State: SUCCEEDED"),
        ]
    );
    assert_eq!(ran.of(Stderr), ["err"]);
}

#[tokio::test]
async fn a_failing_command_ends_its_phase_and_the_build_with_its_exit_code() {
    let build = Build::of(
        "phases:\n  pre_build:\n    commands: [echo a, exit 7, echo b]\n    finally: [echo cleanup, 'false', echo c]\n  build: {commands: echo d}\n  post_build: {commands: echo e}\n",
    );
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::PreBuild, "exit 7", Exit::Code(7)));
    assert_eq!(ran.of(Stdout), ["a", "cleanup"]);
    assert_eq!(
        ran.of(System)[3..],
        [
            "Command did not exit successfully: exit status 7",
            "Running command echo cleanup",
            "Running command false",
            "Command did not exit successfully: exit status 1",
            "Phase complete: PRE_BUILD State: FAILED",
        ]
    );
}

#[tokio::test]
async fn a_command_ended_by_a_signal_fails_and_a_failing_finally_fails_its_phase() {
    let killed = Build::with(&["kill -9 $$"]).run().await;
    assert_eq!(killed.outcome, failed(PhaseName::Build, "kill -9 $$", Exit::Signal(9)));

    let finally = Build::of("phases: {build: {commands: 'true', finally: exit 3}}").run().await;
    assert_eq!(finally.outcome, failed(PhaseName::Build, "exit 3", Exit::Code(3)));

    let missing = Build::with(&["no-such-program-here"]).run().await;
    assert_eq!(missing.outcome, failed(PhaseName::Build, "no-such-program-here", Exit::Code(127)));

    let syntax = Build::with(&["echo a", "if then"]).run().await;
    let Outcome::Failed { command, exit: Exit::Code(1..), .. } = &syntax.outcome else {
        panic!("{:?}", syntax.outcome)
    };
    assert_eq!((command.as_str(), syntax.of(Stdout)), ("if then", vec!["a"]));
}

#[tokio::test]
async fn post_build_runs_after_a_failed_build_unless_that_aborts() {
    let phases = "  build:\n    commands: [echo $CODEBUILD_BUILD_SUCCEEDING, 'false']\n    finally: echo $CODEBUILD_BUILD_SUCCEEDING\n@  post_build:\n    commands: echo post $CODEBUILD_BUILD_SUCCEEDING\n";
    let default = Build::of(&format!("phases:\n{}", phases.replace('@', ""))).run().await;
    assert_eq!(default.outcome, failed(PhaseName::Build, "false", Exit::Code(1)));
    assert_eq!(default.of(Stdout), ["1", "0", "post 0"]);

    let abort = Build::of(&format!("phases:\n{}", phases.replace('@', "    on-failure: ABORT\n"))).run().await;
    assert_eq!(abort.outcome, failed(PhaseName::Build, "false", Exit::Code(1)));
    assert_eq!(abort.of(Stdout), ["1", "0"]);

    let install = "phases:\n  install: {commands: exit 4, on-failure: CONTINUE}\n  build: {commands: exit 5}\n  post_build: {commands: echo end}\n";
    let carried_on = Build::of(install).run().await;
    assert_eq!(carried_on.outcome, failed(PhaseName::Install, "exit 4", Exit::Code(4)), "the first failure counts");
    assert_eq!(carried_on.of(Stdout), ["end"]);
}

#[tokio::test]
async fn variables_and_the_working_directory_carry_over() {
    for shell in if has_bash() { vec!["sh", "bash"] } else { vec!["sh"] } {
        let build = Build::of(&format!(
            r#"
env:
  shell: {shell}
  variables: {{GIVEN: given, GONE: gone}}
phases:
  pre_build:
    commands:
      - export EXPORTED="it's \"quoted\" \\ and
          more"; plain=set; unset GONE; FIRST=1
      - mkdir -p 'a b/c' && cd 'a b'
      - cd c; EARLY=exit; exit 0
    finally:
      - echo "$GIVEN|$EXPORTED|$plain|${{GONE-unset}}|$EARLY"
  build:
    commands:
      - pwd
      - sh -c 'echo "$plain"'
      - printf 'x\n\ny' > file; LINES_=$(cat file)
      - printf '%s\n' "$LINES_"
      - set -e; set -C; echo on
      - false; echo "still on"
      - rm -r "$PWD"
      - pwd
"#
        ));
        let ran = build.run().await;
        ran.succeeded();
        let source = build.source();
        assert_eq!(
            ran.of(Stdout),
            [
                "given|it's \"quoted\" \\ and more|set|unset|exit",
                source.join("a b/c").to_str().unwrap(),
                "set",
                "x",
                "",
                "y",
                "on",
                "still on",
                source.to_str().unwrap(),
            ],
            "{shell}"
        );
        assert!(ran.of(System).contains(&"The working directory is gone; the command starts in the source folder."));
    }
}

#[tokio::test]
async fn functions_carry_over_under_bash_if_that_is_installed() {
    let build = Build::of(
        "env: {shell: bash}\nphases:\n  install: {commands: 'greet() { echo \"hi $1\"; }'}\n  build: {commands: 'greet you; [[ -n $BASH ]]'}\n",
    );
    if !has_bash() {
        assert!(matches!(build.try_run().await.map(|ran| ran.outcome), Err(RunError::NoShell("bash"))));
        return;
    }
    let ran = build.run().await;
    ran.succeeded();
    assert_eq!(ran.of(Stdout), ["hi you"]);
}

#[tokio::test]
async fn a_child_sees_only_its_own_environment() {
    // Cargo sets the variable for each test. It stands for the environment of a function.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let mut build = Build::of(
        "env: {variables: {WEAK: buildspec, MIDDLE: buildspec, STRONG: buildspec, LANG: buildspec}}\nphases:\n  install: {commands: env}\n  build: {commands: [env, cat]}\n",
    );
    build.variables = [("MIDDLE", "deployment"), ("STRONG", "deployment"), ("CODEBUILD_SRC_DIR", "/")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    build.reserved = BTreeMap::from([("STRONG".to_owned(), "reserved".to_owned())]);
    let ran = build.run().await;
    ran.succeeded();

    let scratch = build.folder.path().join("scratch");
    let expected = BTreeMap::from([
        ("PATH", std::env::var("PATH").unwrap()),
        ("HOME", scratch.join("home").to_str().unwrap().to_owned()),
        ("TMPDIR", scratch.join("tmp").to_str().unwrap().to_owned()),
        ("LANG", "buildspec".to_owned()),
        ("CI", "true".to_owned()),
        ("WEAK", "buildspec".to_owned()),
        ("MIDDLE", "***".to_owned()),
        ("STRONG", "reserved".to_owned()),
        ("CODEBUILD_SRC_DIR", build.source().to_str().unwrap().to_owned()),
        ("CODEBUILD_BUILD_SUCCEEDING", "1".to_owned()),
    ]);
    let printed = ran.of(Stdout);
    let own: Vec<_> = printed.iter().filter(|line| !is_the_shells_own(line)).collect();
    assert_eq!(own.len(), 2 * expected.len(), "{printed:#?}");
    for seen in own.chunks(expected.len()) {
        let seen: BTreeMap<_, _> = seen.iter().map(|line| line.split_once('=').unwrap()).collect();
        assert_eq!(seen, expected.iter().map(|(name, value)| (*name, value.as_str())).collect());
    }
    for folder in ["home", "tmp"] {
        assert!(scratch.join(folder).is_dir());
    }
}

/// Root can read it nevertheless, and systems other than Linux have nothing to read.
#[cfg(target_os = "linux")]
#[test]
fn a_hidden_environment_belongs_to_root() {
    use std::os::unix::fs::MetadataExt;

    deployment_consumer::process::hide_environment().unwrap();
    let environment = fs::metadata("/proc/self/environ").unwrap();
    assert_eq!((environment.uid(), environment.mode() & 0o077), (0, 0));
    let behavior = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(behavior, rustix::process::DumpableBehavior::NotDumpable);
}

fn is_the_shells_own(line: &str) -> bool {
    ["PWD=", "OLDPWD=", "SHLVL=", "_=", "OPTIND=", "PPID="].iter().any(|name| line.starts_with(name))
}

#[tokio::test]
async fn the_time_limit_ends_background_processes_too() {
    let build = || {
        let mut build = Build::of(
            "phases:\n  install: {commands: '(sleep 60; echo late) & echo $!'}\n  build:\n    commands:\n      - sh -c 'sleep 61 & echo $!; wait'\n    finally: echo finally\n  post_build: {commands: echo post}\n",
        );
        // SIGTERM is enough. A process that it doesn't end has time to say so.
        build.grace = Duration::from_secs(300);
        build
    };
    let ran = timed_out(build, |ran| ran.of(Stdout).len() >= 2).await;
    let Outcome::TimedOut { phase: PhaseName::Build, after } = ran.outcome else { panic!("{:?}", ran.outcome) };
    let stopped = format!("The build was stopped after {} s.", after.as_secs_f64());
    assert_eq!(ran.of(System).last(), Some(&stopped.as_str()));
    let printed = ran.of(Stdout);
    assert_eq!(printed.len(), 2, "two pids, nothing after them: {printed:?}");
    for pid in printed {
        assert_ends_soon(pid);
    }
}

#[tokio::test]
async fn sigterm_gives_a_grace_period_and_then_sigkill_comes() {
    let polite = || {
        let mut build = Build::with(&["trap 'sleep 0.2; echo bye; exit' TERM; echo on; while :; do sleep 0.05; done"]);
        build.grace = Duration::from_secs(300);
        build
    };
    let ran = timed_out(polite, |ran| !ran.of(Stdout).is_empty()).await;
    assert!(matches!(ran.outcome, Outcome::TimedOut { .. }));
    assert_eq!(ran.of(Stdout), ["on", "bye"]);

    let stubborn = || {
        let mut build = Build::with(&["trap '' TERM; echo $$; while :; do sleep 60; done"]);
        build.grace = Duration::from_millis(300);
        build
    };
    let started = Instant::now();
    let ran = timed_out(stubborn, |ran| !ran.of(Stdout).is_empty()).await;
    let Outcome::TimedOut { after, .. } = ran.outcome else { panic!("{:?}", ran.outcome) };
    assert!(started.elapsed() >= after + Duration::from_millis(300), "it has no grace period");
    assert_ends_soon(ran.of(Stdout)[0]);
}

#[tokio::test]
async fn a_run_can_be_canceled() {
    let build = Build::with(&["sleep 60 & echo $! > pid; wait"]);
    let (ran, pid) = tokio::join!(build.run(), async {
        let pid = written(&build, "pid").await;
        build.cancel.cancel();
        pid
    });
    assert_eq!(ran.outcome, Outcome::Canceled);
    assert_ends_soon(&pid);

    let before = Build::with(&["echo ran"]);
    before.cancel.cancel();
    let ran = before.run().await;
    assert_eq!((ran.outcome.clone(), ran.of(Stdout)), (Outcome::Canceled, vec![]));
}

#[tokio::test]
async fn a_dropped_run_ends_its_processes() {
    let build = Build::with(&["echo $$ > pid; sleep 60"]);
    let pid = tokio::select! {
        ran = build.run() => panic!("{:?}", ran.outcome),
        pid = written(&build, "pid") => pid,
    };
    assert_ends_soon(&pid);
}

#[tokio::test]
async fn a_background_process_works_through_later_commands_and_ends_with_the_build() {
    let build = Build::with(&[
        "(while test ! -e stop; do sleep 0.05; done; echo heard; touch heard; sleep 60; echo late) & echo $! > pid",
        "echo meanwhile; touch stop; while test ! -e heard; do sleep 0.05; done",
        "echo last",
    ]);
    let ran = build.run().await;
    ran.succeeded();
    // Nobody waits for the pipe that the process holds open.
    assert_eq!(ran.of(Stdout), ["meanwhile", "heard", "last"]);
    assert_ends_soon(fs::read_to_string(build.source().join("pid")).unwrap().trim());
}

#[tokio::test]
async fn a_command_that_kills_its_group_fails_and_the_next_one_runs() {
    let build = Build::of("phases: {build: {commands: kill -9 0, finally: echo still}}");
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, "kill -9 0", Exit::Signal(9)));
    assert_eq!(ran.of(Stdout), ["still"]);
}

#[tokio::test]
async fn output_arrives_while_the_command_runs() {
    let build = Build::with(&["echo first; echo second >&2; while test ! -e go; do sleep 0.02; done; echo third"]);
    let (sender, mut receiver) = mpsc::channel(4);
    let none = BTreeMap::new();
    let source = build.source();
    let run = Run {
        buildspec: &build.buildspec,
        source: &Folder::open(&source).unwrap(),
        scratch: &build.folder.path().join("scratch"),
        variables: &none,
        reserved: &none,
        redaction: Redaction::new([]),
        clock: shared::clock::Clock::system(),
        time_limit: Duration::from_secs(300),
        grace: Duration::ZERO,
        survivors: nobody(),
    };
    let watch = async {
        let mut seen = Vec::new();
        while let Some((stream, text)) = receiver.recv().await {
            seen.push((stream, text));
            // The command continues only after both lines were received.
            if seen.iter().filter(|line| line.0 != System).count() == 2 {
                fs::write(source.join("go"), "").unwrap();
            }
        }
        seen
    };
    let (ran, seen) = tokio::join!(run.run(sender, &build.cancel), watch);
    assert_eq!(ran.unwrap().0, Outcome::Succeeded { artifacts: vec![], exported: BTreeMap::new() });
    for line in [(Stdout, "first"), (Stderr, "second"), (Stdout, "third")] {
        assert!(seen.contains(&(line.0, line.1.to_owned())), "{seen:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_replaced() {
    let ran = Build::with(&[r"printf 'a\377b\n\303\251\n'"]).run().await;
    assert_eq!(ran.of(Stdout), ["a\u{fffd}b", "é"]);
}

#[tokio::test]
async fn a_long_line_is_split_between_characters_and_never_within_a_secret() {
    let mut build = Build::with(&["cat long"]);
    build.variables = BTreeMap::from([("SECRET".to_owned(), "hunter22".to_owned())]);
    let mut long = "é".repeat(500_000);
    // The value spans the first split, which is at 16,384 bytes.
    long.replace_range(16_380..16_388, "hunter22");
    long.insert(100_000, 'x');
    fs::write(build.source().join("long"), &long).unwrap();
    let ran = build.run().await;
    ran.succeeded();

    let pieces = ran.of(Stdout);
    assert!(pieces.len() > 60, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() <= MAX_LINE_BYTES));
    assert!(pieces.concat() == long.replace("hunter22", "***"), "nothing is lost");
}

#[tokio::test]
async fn a_mebibyte_without_a_line_end_is_passed_on_in_pieces() {
    let ran = Build::with(&["head -c 1048576 /dev/zero | tr '\\0' a; echo done >&2"]).run().await;
    ran.succeeded();
    let pieces = ran.of(Stdout);
    assert_eq!(pieces.len(), 64);
    assert!(pieces.iter().all(|piece| piece.len() == MAX_LINE_BYTES && piece.bytes().all(|byte| byte == b'a')));
    assert_eq!(ran.of(Stderr), ["done"]);
}

#[tokio::test]
async fn secrets_are_redacted_from_output_commands_and_outcome() {
    let mut build = Build::with(&["echo $TOKEN >&2", "echo hunter22; false hunter22"]);
    build.variables = BTreeMap::from([("TOKEN".to_owned(), "hunter22".to_owned())]);
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, "echo ***; false ***", Exit::Code(1)));
    assert_eq!((ran.of(Stdout), ran.of(Stderr)), (vec!["***"], vec!["***"]));
    assert!(!format!("{:?}", ran.lines).contains("hunter22"));
}

#[tokio::test]
async fn artifacts_are_regular_files_in_the_source_folder() {
    let build = Build::of(
        "phases:\n  build:\n    commands:\n      - mkdir -p dist/deep; echo a > dist/a.txt; echo b > dist/deep/b.txt; echo c > dist/c.log; echo d > out.txt\n      - mkfifo dist/pipe.txt\nartifacts:\n  base-directory: dist\n  files: ['**/*.txt', '**/passwd']\n  exclude-paths: ['deep/no*']\n",
    );
    let outside = build.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("passwd"), "secret").unwrap();
    fs::create_dir(build.source().join("dist")).unwrap();
    symlink("/etc/passwd", build.source().join("dist/passwd")).unwrap();
    symlink(&outside, build.source().join("dist/folder")).unwrap();

    let ran = build.run().await;
    let artifact = |name: &str| Artifact { path: Path::new("dist").join(name), name: name.to_owned() };
    assert_eq!(ran.succeeded(), [artifact("a.txt"), artifact("deep/b.txt")]);
    assert_eq!(
        ran.of(System)[4..],
        ["Left out of the artifacts: 2 symbolic link(s) or special file(s)", "Found 2 artifact file(s)"]
    );
}

#[tokio::test]
async fn discarded_paths_keep_the_first_of_two_names() {
    let build = Build::of(
        "phases: {build: {commands: 'mkdir a b; echo 1 > a/x; echo 2 > b/x; echo 3 > b/y'}}\nartifacts: {files: '**/*', discard-paths: yes}\n",
    );
    let ran = build.run().await;
    let found: Vec<_> =
        ran.succeeded().iter().map(|artifact| (artifact.name.as_str(), artifact.path.as_path())).collect();
    assert_eq!(found, [("x", Path::new("a/x")), ("y", Path::new("b/y"))]);
    assert!(ran.of(System).contains(&"Left out of the artifacts: b/x, because another file has the name x"));
}

#[tokio::test]
async fn what_git_made_is_no_artifact_unless_it_is_named() {
    for (artifacts, found) in [
        ("{files: '**/*'}", vec!["a", "lib/a"]),
        ("{files: ['**/*', .git/HEAD]}", vec![".git/HEAD", "a", "lib/.git", "lib/a"]),
        ("{files: HEAD, base-directory: .git}", vec!["HEAD"]),
    ] {
        let commands = "mkdir .git lib; echo x > .git/HEAD; echo x > a; echo x > lib/.git; echo x > lib/a";
        let build = Build::of(&format!("phases: {{build: {{commands: '{commands}'}}}}\nartifacts: {artifacts}\n"));
        let ran = build.run().await;
        let names: Vec<_> = ran.succeeded().iter().map(|artifact| artifact.name.as_str()).collect();
        assert_eq!(names, found, "{artifacts}");
    }
}

#[tokio::test]
async fn a_build_without_the_artifacts_that_it_names_is_told_apart() {
    let build = Build::of("phases: {build: {commands: 'true'}}\nartifacts: {files: 'dist/**/*'}\n");
    assert_eq!(build.run().await.outcome, Outcome::NoArtifacts);
}

#[tokio::test]
async fn a_receiver_that_is_gone_does_not_stop_the_build() {
    let build = Build::with(&["head -c 300000 /dev/zero | tr '\\0' '\\n'", "echo x > made"]);
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let none = BTreeMap::new();
    let run = Run {
        buildspec: &build.buildspec,
        source: &Folder::open(&build.source()).unwrap(),
        scratch: &build.folder.path().join("scratch"),
        variables: &none,
        reserved: &none,
        redaction: Redaction::new([]),
        clock: shared::clock::Clock::system(),
        time_limit: Duration::from_secs(300),
        grace: Duration::ZERO,
        survivors: nobody(),
    };
    let nothing = Outcome::Succeeded { artifacts: vec![], exported: BTreeMap::new() };
    assert_eq!(run.run(sender, &build.cancel).await.unwrap().0, nothing);
    assert!(build.source().join("made").exists());
}

#[tokio::test]
async fn a_scratch_folder_that_cannot_be_made_is_an_error_of_the_machine() {
    let build = Build::with(&["true"]);
    fs::write(build.folder.path().join("scratch"), "a file").unwrap();
    assert!(matches!(build.try_run().await.map(|ran| ran.outcome), Err(RunError::Scratch(_))));
    let permissions = fs::metadata(build.source()).unwrap().permissions();
    assert_ne!(permissions.mode() & 0o700, 0, "the source is as it was");
}
