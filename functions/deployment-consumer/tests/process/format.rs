//! Constructs of the format that the process runner acts on.

use std::collections::BTreeMap;
use std::fs;

use archive::Stream::{Stdout, System};
use deployment_consumer::buildspec::PhaseName;
use deployment_consumer::process::{Exit, Outcome};
use shared::model::BuildPhase;
use shared::model::BuildPhaseName::{self, Install, PostBuild, PreBuild};
use shared::model::BuildPhaseStatus::{Failed, Succeeded, TimedOut};

use crate::run::{Build, Ran, failed, timed_out};

fn names(ran: &Ran) -> Vec<&str> {
    let (Outcome::Succeeded { artifacts, .. } | Outcome::Failed { artifacts, .. }) = &ran.outcome else {
        panic!("{:?}", ran.outcome)
    };
    artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

#[tokio::test]
async fn in_version_0_1_no_command_leaves_anything_to_the_next() {
    let mut build = Build::of_file(
        "version: 0.1\nenv: {variables: {A: file}, exported-variables: A}\nphases:\n  build:\n    commands:\n      - mkdir d; cd d; A=changed; export B=set\n      - echo \"$A|${B-unset}|$PWD|$CODEBUILD_BUILD_SUCCEEDING\"\n      - 'false'\n    finally: echo $CODEBUILD_BUILD_SUCCEEDING\n",
    );
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, "false", Exit::Code(1)));
    let second = format!("file|unset|{}|1", build.source().display());
    assert_eq!(ran.of(Stdout), [second.as_str(), "0"]);

    build.buildspec.phases[0].commands.pop();
    build.buildspec.phases[0].commands[0] = "A=changed".to_owned();
    let exported = BTreeMap::from([("A".to_owned(), "file".to_owned())]);
    assert_eq!(build.run().await.outcome, Outcome::Succeeded { artifacts: vec![], exported });
}

#[tokio::test]
async fn exported_variables_have_the_values_of_the_builds_end() {
    let build = Build::of(
        "env: {exported-variables: [PLAIN, EXPORTED, LINES_, EMPTY, GONE, NEVER, GIVEN], variables: {GONE: x}}\nphases:\n  install: {commands: ['PLAIN=1', 'export EXPORTED=\"a b\"']}\n  post_build: {commands: ['PLAIN=2; unset GONE; EMPTY=', \"LINES_=$(printf 'x\\n=y')\"]}\n",
    );
    let mut build = build;
    build.variables = BTreeMap::from([("GIVEN".to_owned(), "given".to_owned())]);
    let ran = build.run().await;
    let expected = [("EMPTY", ""), ("EXPORTED", "a b"), ("GIVEN", "given"), ("LINES_", "x\n=y"), ("PLAIN", "2")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(ran.outcome, Outcome::Succeeded { artifacts: vec![], exported: expected.into() });
    let system = ran.of(System);
    for name in ["GONE", "NEVER"] {
        let sentence = format!("The variable {name} is not exported: it is not set.");
        assert!(system.contains(&sentence.as_str()), "{system:?}");
    }
}

#[tokio::test]
async fn patterns_of_artifacts_have_the_variables_of_the_builds_end() {
    let build = Build::of(
        "env: {variables: {VERSION: '0'}}\nphases: {build: {commands: ['VERSION=1.2', 'mkdir out; touch out/app-$VERSION.zip out/other.zip out/app-0.zip']}}\nartifacts:\n  files: 'app-${VERSION}.zip'\n  base-directory: $CODEBUILD_SRC_DIR/out\n",
    );
    let ran = build.run().await;
    assert_eq!(names(&ran), ["app-1.2.zip"]);

    let outside = Build::of("phases: {build: {commands: touch a}}\nartifacts: {files: [a, /etc/passwd, '$HOME/x']}\n");
    fs::create_dir_all(outside.folder.path().join("scratch/home")).unwrap();
    fs::write(outside.folder.path().join("scratch/home/x"), "").unwrap();
    let ran = outside.run().await;
    assert_eq!(names(&ran), ["a"]);
    let home =
        format!("Left out of the artifacts: \"{}/scratch/home/x\" leads out of", outside.folder.path().display());
    let system = ran.of(System);
    assert!(
        system.contains(&"Left out of the artifacts: \"/etc/passwd\" leads out of the source folder"),
        "{system:?}"
    );
    assert!(system.iter().any(|line| line.starts_with(&home)), "{system:?}");
}

/// CodeBuild uploads artifacts after the phase `post_build`, whether or not the build succeeded.
#[tokio::test]
async fn a_failed_build_keeps_its_artifacts_if_it_came_to_its_last_phase() {
    let artifacts = "artifacts: {files: report.xml}\n";
    let build = |phases: &str| Build::of(&format!("phases:\n{phases}{artifacts}"));
    let ran = build("  build: {commands: [echo x > report.xml, exit 1]}\n").run().await;
    assert!(
        matches!(&ran.outcome, Outcome::Failed { phase: PhaseName::Build, exit: Exit::Code(1), .. }),
        "{:?}",
        ran.outcome
    );
    assert_eq!(names(&ran), ["report.xml"]);

    let ran = build("  post_build: {commands: [echo x > report.xml, exit 1]}\n").run().await;
    assert_eq!(names(&ran), ["report.xml"]);
    let ran = build("  install: {commands: [echo x > report.xml, exit 1]}\n").run().await;
    assert_eq!(names(&ran), [""; 0]);
    let ran = build("  build: {commands: [echo x > report.xml, exit 1], on-failure: ABORT}\n").run().await;
    assert_eq!(names(&ran), [""; 0]);
    let ran = build("  install: {commands: [echo x > report.xml, exit 1], on-failure: CONTINUE}\n").run().await;
    assert_eq!(names(&ran), ["report.xml"]);
    let ran = build("  build: {commands: exit 1}\n").run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, "exit 1", Exit::Code(1)), "missing artifacts are not the failure");
}

#[tokio::test]
async fn what_this_runner_does_otherwise_is_said_before_the_first_command() {
    let build = Build::of(
        "run-as: somebody\nphases:\n  install: {run-as: root, runtime-versions: {nodejs: 22, cobol: 85}, commands: echo one}\n  build: {commands: echo two}\nartifacts: {files: a, enable-symlinks: yes}\n",
    );
    let ran = build.run().await;
    let system = ran.of(System);
    let first = system.iter().position(|line| *line == "Entering phase INSTALL").unwrap();
    let said = &system[..first];
    let is_root = rustix::process::geteuid().is_root();
    let root = "`run-as: root` of phase install is ignored: commands run as the runner's user.";
    assert_eq!(said.contains(&root), !is_root, "{said:?}");
    for sentence in [
        "`run-as: somebody` of phase build is ignored: commands run as the runner's user.",
        "`runtime-versions` selects cobol 85, and commands use what is installed.",
        "`artifacts.enable-symlinks` is ignored: symbolic links are left out of the artifacts.",
    ] {
        assert!(said.contains(&sentence), "{said:?}");
    }
    let node = said.iter().find(|line| line.starts_with("`runtime-versions` selects nodejs 22, ")).unwrap();
    let installed =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("node").is_file());
    let end = if installed { "what is installed: v" } else { "what is installed: there is no node." };
    assert!(node.contains(end), "{node}");
}

/// The folder of the shell's state is no secret: it is beside the home folder.
#[tokio::test]
async fn a_command_that_puts_something_else_in_the_place_of_the_shells_state_stalls_nothing() {
    for trick in ["mkfifo", "ln -s /dev/zero", "mkdir", "head -c 5000000 /dev/zero >"] {
        let state = "\"$HOME/../state/next-directory\"";
        let build = Build::with(&["ONE=1", &format!("trap '' EXIT; {trick} {state}; cd /; ONE=2")]);
        let ran = build.run().await;
        assert_eq!(ran.succeeded(), [], "{trick}");
    }
    let gone = Build::with(&["trap 'pwd > \"$HOME/../state/next-directory\"' EXIT", "echo $PWD"]);
    let ran = gone.run().await;
    assert_eq!(ran.of(Stdout), [gone.source().display().to_string()]);
}

#[tokio::test]
async fn a_phase_that_fails_is_run_again_as_often_as_its_buildspec_says() {
    let phases = |on_failure: &str, command: &str| {
        let ran = "echo x >> $CODEBUILD_SRC_DIR/attempts";
        Build::of(&format!(
            "phases:\n  build:\n    on-failure: {on_failure}\n    commands:\n      - {ran}\n      - {command:?}\n  post_build: {{commands: echo after}}\n"
        ))
    };
    let attempts = |build: &Build| fs::read_to_string(build.source().join("attempts")).unwrap().len() / 2;
    for (on_failure, expected) in [
        ("RETRY", 4),
        ("RETRY-1", 2),
        ("RETRY-0", 1),
        ("RETRY-2-exit status 9", 3),
        ("RETRY-2-nothing", 1),
        ("ABORT", 1),
    ] {
        let build = phases(on_failure, "exit 9");
        let ran = build.run().await;
        assert_eq!(ran.outcome, failed(PhaseName::Build, "exit 9", Exit::Code(9)), "{on_failure}");
        assert_eq!((attempts(&build), ran.of(Stdout)), (expected, vec![]), "{on_failure}");
    }

    let build =
        phases("'RETRY-3-timed out|refused$'", "[ $(wc -l <attempts) = 3 ] || { echo connection refused; exit 1; }");
    let ran = build.run().await;
    assert_eq!(ran.succeeded(), []);
    assert_eq!((attempts(&build), ran.of(Stdout)), (3, vec!["connection refused", "connection refused", "after"]));
    let said: Vec<_> =
        ran.of(System).into_iter().filter(|line| line.contains("again") || line.contains("Phase")).collect();
    assert_eq!(
        said[..5],
        [
            "Phase complete: BUILD State: FAILED",
            "Running the phase again: attempt 2 of 4",
            "Phase complete: BUILD State: FAILED",
            "Running the phase again: attempt 3 of 4",
            "Phase complete: BUILD State: SUCCEEDED",
        ]
    );
    let refused = phases("RETRY-3-timed out", "echo refused >&2; exit 1").run().await;
    let sentence = "The phase is not run again: no line of the failed command matches timed out";
    assert!(refused.of(System).contains(&sentence), "{:?}", refused.lines);
}

#[tokio::test]
async fn an_attempt_starts_where_the_first_one_did_and_a_repeated_success_is_one() {
    let build = Build::of(
        "phases:\n  install: {commands: [mkdir a, cd a, ONE=1]}\n  build:\n    on-failure: RETRY-1\n    commands:\n      - echo $PWD $ONE $TWO $CODEBUILD_BUILD_SUCCEEDING\n      - mkdir -p b; cd b; TWO=2; ONE=\n      - '[ -e ../again ] || { touch ../again; exit 1; }'\n    finally: echo finally $CODEBUILD_BUILD_SUCCEEDING\n  post_build: {commands: echo $CODEBUILD_BUILD_SUCCEEDING}\n",
    );
    let ran = build.run().await;
    assert_eq!(ran.succeeded(), []);
    let start = format!("{}/a 1 1", build.source().display());
    assert_eq!(ran.of(Stdout), [&start, "finally 0", &start, "finally 1", "1"]);
}

#[tokio::test]
async fn an_expression_sees_neither_secrets_nor_what_an_earlier_command_printed() {
    let mut build = Build::of(
        "phases:\n  build:\n    on-failure: RETRY-1-hunter2|earlier\n    commands: [echo earlier, echo $PASSWORD, 'echo $PASSWORD; exit 1']\n",
    );
    build.variables.insert("PASSWORD".to_owned(), "hunter2".to_owned());
    let ran = build.run().await;
    assert_eq!(ran.of(Stdout), ["earlier", "***", "***"]);
}

#[tokio::test]
async fn each_phase_that_began_has_its_outcome_its_time_and_the_command_that_failed() {
    let facts = |ran: &Ran| -> Vec<_> {
        let fact = |phase: &BuildPhase| {
            let failed =
                phase.failed_command.as_ref().map(|failed| (failed.command.clone(), failed.exit_code, failed.signal));
            (phase.name, phase.status, phase.attempts, failed)
        };
        ran.phases.iter().map(fact).collect()
    };
    let mut build = Build::of(
        "phases:\n  install: {commands: sleep 0.1}\n  build:\n    on-failure: RETRY-1\n    commands: ['true', echo $TOKEN hunter2; exit 3]\n    finally: exit 4\n  post_build: {commands: 'true'}\n",
    );
    build.variables.insert("TOKEN".to_owned(), "hunter2".to_owned());
    let ran = build.run().await;
    let failed = ("echo $TOKEN ***; exit 3".to_owned(), Some(3), None);
    assert_eq!(facts(&ran), [(Install, Succeeded, 1, None), (BuildPhaseName::Build, Failed, 2, Some(failed))]);
    assert!(ran.phases[0].duration_ms >= 100, "{:?}", ran.phases);
    assert!(ran.phases[0].started_at <= ran.phases[1].started_at);
    assert!(ran.phases[1].failed_command.as_ref().unwrap().duration_ms.unwrap() <= ran.phases[1].duration_ms);

    let ran =
        Build::of("phases: {pre_build: {commands: kill -9 $$, on-failure: CONTINUE}, post_build: {commands: 'true'}}")
            .run()
            .await;
    let killed = ("kill -9 $$".to_owned(), None, Some(9));
    assert_eq!(facts(&ran), [(PreBuild, Failed, 1, Some(killed)), (PostBuild, Succeeded, 1, None)]);

    let late = timed_out(|| Build::with(&["sleep 100"]), |ran| !ran.phases.is_empty()).await;
    assert_eq!(facts(&late), [(BuildPhaseName::Build, TimedOut, 1, None)]);
    let canceled = Build::with(&["sleep 100"]);
    canceled.cancel.cancel();
    assert_eq!(facts(&canceled.run().await), []);
}

#[tokio::test]
async fn each_command_that_began_has_its_outcome_and_its_time() {
    let facts = |ran: &Ran| -> Vec<_> {
        let commands = ran.phases.iter().flat_map(|phase| &phase.commands);
        commands
            .map(|one| (one.number, one.phase, one.command.clone(), one.status, one.exit_code, one.signal))
            .collect()
    };
    let fact = |number, command: &str, status, exit_code, signal| {
        (number, BuildPhaseName::Build, command.to_owned(), status, exit_code, signal)
    };
    let ran =
        Build::of("phases:\n  build:\n    commands: [sleep 0.1, kill -9 $$, never]\n    finally: exit 4\n").run().await;
    let expected = [
        fact(1, "sleep 0.1", Succeeded, Some(0), None),
        fact(2, "kill -9 $$", Failed, None, Some(9)),
        fact(3, "exit 4", Failed, Some(4), None),
    ];
    assert_eq!(facts(&ran), expected);
    let commands = &ran.phases[0].commands;
    assert!(commands[0].duration_ms >= 100 && commands[0].started_at < commands[1].started_at, "{commands:?}");

    let late = timed_out(|| Build::with(&["true", "sleep 100"]), |ran| facts(ran).len() > 1).await;
    let expected = [fact(1, "true", Succeeded, Some(0), None), fact(2, "sleep 100", TimedOut, None, None)];
    assert_eq!(facts(&late), expected);
}
