//! Constructs of the format that the process runner acts on.

use std::collections::BTreeMap;
use std::fs;

use archive::Stream::{Stdout, System};
use deployment_consumer::buildspec::PhaseName;
use deployment_consumer::process::{Exit, Outcome};

use crate::run::{Build, Ran, failed};

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
        assert_eq!((ran.succeeded(), build.time_limit.as_secs()), (&[][..], 30), "{trick}");
    }
    let gone = Build::with(&["trap 'pwd > \"$HOME/../state/next-directory\"' EXIT", "echo $PWD"]);
    let ran = gone.run().await;
    assert_eq!(ran.of(Stdout), [gone.source().display().to_string()]);
}
